package executor

import (
	"sync/atomic"
	"time"
)

type counters struct {
	started     atomic.Uint64
	died        atomic.Uint64
	finished    atomic.Uint64
	waited      atomic.Uint64
	lost        atomic.Uint64
	overdue     atomic.Uint64
	cancelled   atomic.Uint64
	replaced    atomic.Uint64
	undelivered atomic.Uint64
}

// Stats is a reading of an executor's gauges and counters.
type Stats struct {
	Workers     int    // processes that are up
	Busy        int    // of them, those that run something
	WorkersMax  int    // bound of the pool
	Classes     int    // classes with an instance
	Queued      int    // invocations that wait for a worker
	Started     uint64 // workers started
	Died        uint64 // workers that ended without being told to
	Finished    uint64 // invocations answered by a worker
	Waited      uint64 // invocations that found no idle worker
	Lost        uint64 // invocations whose worker ended while it had them
	Overdue     uint64 // invocations stopped at their deadline
	Cancelled   uint64 // invocations that were cancelled before they ended
	Replaced    uint64 // workers stopped because what they ran did not end after it was cancelled
	Undelivered uint64 // messages to functions that had ended
}

// Saturation returns since when calls wait for workers for long, and what waits for what. The time is zero when none does.
func (e *Executor) Saturation() (since time.Time, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if since = e.saturation.since; !since.IsZero() {
		text = e.saturation.text
	}
	return since, text
}

// Stats returns a reading.
func (e *Executor) Stats() Stats {
	s := Stats{
		WorkersMax: e.cfg.WorkersMax,
		Started:    e.stats.started.Load(), Died: e.stats.died.Load(),
		Finished: e.stats.finished.Load(), Waited: e.stats.waited.Load(),
		Lost: e.stats.lost.Load(), Overdue: e.stats.overdue.Load(),
		Cancelled: e.stats.cancelled.Load(), Replaced: e.stats.replaced.Load(), Undelivered: e.stats.undelivered.Load(),
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Workers = len(e.workers)
	e.lanes(func(l *lane) { s.Queued += l.waiting() })
	for _, l := range e.classes {
		if !l.shares() {
			s.Classes++
		}
	}
	for _, w := range e.workers {
		if w.busy() {
			s.Busy++
		}
	}
	return s
}
