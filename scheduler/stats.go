package scheduler

import (
	"math/bits"
	"sync/atomic"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// latencyBuckets is how many buckets a histogram has: bucket i counts what took less than 2^i microseconds, the last one
// everything else.
const latencyBuckets = 32

type counters struct {
	started     atomic.Uint64
	finished    atomic.Uint64
	failed      atomic.Uint64
	cancelled   atomic.Uint64
	refused     atomic.Uint64
	attached    atomic.Uint64
	retried     atomic.Uint64
	delayed     atomic.Uint64
	undelivered atomic.Uint64
	lost        atomic.Uint64
	forgotten   atomic.Uint64
	latencySum  atomic.Uint64 // microseconds
	latency     [latencyBuckets]atomic.Uint64
}

func (c *counters) ended(result wire.Result, took time.Duration) {
	switch {
	case result.Err == nil:
		c.finished.Add(1)
	case result.Err.Code == pb.Code_CODE_CANCELLED:
		c.cancelled.Add(1)
	default:
		c.failed.Add(1)
	}
	micros := uint64(max(took.Microseconds(), 0))
	c.latencySum.Add(micros)
	c.latency[min(bits.Len64(micros), latencyBuckets-1)].Add(1)
}

// ends returns how many runs have ended.
func (c *counters) ends() uint64 { return c.finished.Load() + c.failed.Load() + c.cancelled.Load() }

// Stats is a reading of a scheduler's gauges and counters.
type Stats struct {
	InFlight    int       // runs under way
	Started     uint64    // runs begun
	Finished    uint64    // runs that gave a result
	Failed      uint64    // runs that ended with an error, cancelled ones left out
	Cancelled   uint64    // runs that were cancelled, or ended with a run above them
	Refused     uint64    // calls that did not become a run
	Attached    uint64    // calls that joined a run under way, or took the stored result of one
	Retried     uint64    // invocations run again because a function raised or a worker was lost
	Delayed     uint64    // invocations that had to wait for their function's rate limit
	Undelivered uint64    // results that no waiter took, and that were stored
	Lost        uint64    // results that could not be stored
	Forgotten   uint64    // stored results that had to make room for others
	Results     int       // results that are stored under their runs' ids
	ResultBytes int       // about what they take
	Latency     Histogram // of runs, from the call to the result
}

// Histogram counts durations by their length.
type Histogram struct {
	// Counts[i] is how many took less than 2^i microseconds and did not fall into a bucket before; the last bucket has no
	// bound.
	Counts [latencyBuckets]uint64
	// Sum of all of them.
	Sum time.Duration
}

// Buckets returns the histogram as upper bounds in seconds and how many durations are below each, the number of all, and
// their sum in seconds.
func (h Histogram) Buckets() (cumulative map[float64]uint64, count uint64, sum float64) {
	cumulative = make(map[float64]uint64, latencyBuckets-1)
	for i, n := range h.Counts {
		count += n
		if i < latencyBuckets-1 {
			cumulative[float64(uint64(1)<<i)/1e6] = count
		}
	}
	return cumulative, count, h.Sum.Seconds()
}

// Stats returns a reading.
func (s *Scheduler) Stats() Stats {
	c := &s.stats
	out := Stats{
		InFlight: int(s.inFlight.Load()),
		Started:  c.started.Load(), Finished: c.finished.Load(), Failed: c.failed.Load(), Cancelled: c.cancelled.Load(), Refused: c.refused.Load(),
		Attached: c.attached.Load(), Retried: c.retried.Load(), Delayed: c.delayed.Load(), Undelivered: c.undelivered.Load(), Lost: c.lost.Load(),
	}
	out.Forgotten = c.forgotten.Load()
	out.Results, out.ResultBytes = s.results.held()
	for i := range out.Latency.Counts {
		out.Latency.Counts[i] = c.latency[i].Load()
	}
	out.Latency.Sum = time.Duration(c.latencySum.Load()) * time.Microsecond
	return out
}
