package wire

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ReadsListedMax is how many keys that an invocation has read are remembered one by one; further reads are counted.
const ReadsListedMax = 64

// Trace is where an executor notes how an invocation goes, for those who look at its run, and where it sees that the invocation
// has been cancelled. The zero value is that of an invocation that has not come to an executor. Safe for concurrent use.
type Trace struct {
	queued, started atomic.Int64 // Unix microseconds
	worker          atomic.Uint64
	attempt         atomic.Uint32
	reads           atomic.Pointer[Reads]
	waits           atomic.Pointer[[]RunID]
	cancelled       atomic.Pointer[string]
}

// Queue notes that the invocation has come to an executor, for the first time or again.
func (t *Trace) Queue(now time.Time) {
	if t.reads.Load() != nil {
		t.reads.Store(nil)
	}
	if t.started.Load() != 0 {
		t.started.Store(0)
	}
	t.queued.Store(now.UnixMicro())
}

// Start notes that a worker has taken the invocation, for its attempt-th attempt.
func (t *Trace) Start(now time.Time, worker uint64, attempt uint32) {
	t.worker.Store(worker)
	t.attempt.Store(attempt)
	t.started.Store(now.UnixMicro())
}

// Read notes that the value of a key was asked for, and whether the store had to answer because the cache did not hold it. A nil Trace
// notes nothing.
func (t *Trace) Read(key string, store bool) {
	if t == nil {
		return
	}
	reads := t.reads.Load()
	if reads == nil {
		reads = new(Reads)
		reads.listed = reads.first[:0]
		if !t.reads.CompareAndSwap(nil, reads) {
			reads = t.reads.Load()
		}
	}
	if reads != nil { // else it is begun anew at this moment
		reads.add(Read{Key: key, Store: store})
	}
}

// Wait notes the runs that the invocation waits for, or none; those that have ended are waited for no more. A nil Trace notes nothing.
func (t *Trace) Wait(runs []RunID) {
	if t == nil {
		return
	}
	if len(runs) == 0 {
		t.waits.Store(nil)
		return
	}
	t.waits.Store(&runs)
}

// Cancel notes that the invocation is to end, and why. Its executor has yet to be told.
func (t *Trace) Cancel(reason string) { t.cancelled.CompareAndSwap(nil, &reason) }

// Cancelled reports whether the invocation is to end, and why.
func (t *Trace) Cancelled() (reason string, cancelled bool) {
	if t == nil {
		return "", false
	}
	if why := t.cancelled.Load(); why != nil {
		return *why, true
	}
	return "", false
}

// Traced is a reading of a Trace. Times are Unix times in microseconds; 0 = not yet.
type Traced struct {
	Queued, Started int64
	Worker          uint64
	Attempt         uint32
	Reads           *Reads  // nil = none
	Waits           []RunID // runs that it waits for
}

// Reading returns what has been noted.
func (t *Trace) Reading() Traced {
	out := Traced{
		Queued: t.queued.Load(), Started: t.started.Load(), Worker: t.worker.Load(), Attempt: t.attempt.Load(), Reads: t.reads.Load(),
	}
	if waits := t.waits.Load(); waits != nil {
		out.Waits = *waits
	}
	return out
}

// Read is a key that an invocation has asked for. Store says that the store answered, else the cache did.
type Read struct {
	Key   string
	Store bool
}

// Reads are the keys that an invocation has asked for: each once, with where it was answered. Safe for concurrent use.
type Reads struct {
	mu       sync.Mutex
	listed   []Read
	bytes    int
	unlisted uint32
	first    [2]Read // room for few, so that they are one allocation
}

func (r *Reads) add(one Read) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.listed, one) {
		return
	}
	if len(r.listed) >= ReadsListedMax {
		r.unlisted++
		return
	}
	r.listed = append(r.listed, one)
	r.bytes += len(one.Key)
}

// All returns the keys, and how many further reads were counted only.
func (r *Reads) All() (listed []Read, unlisted uint32) {
	if r == nil {
		return nil, 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Read(nil), r.listed...), r.unlisted
}

// Bytes returns how many bytes the keys have together.
func (r *Reads) Bytes() int {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}
