package executor

import (
	"time"

	"cloudburst/wire/pb"
)

// A coroutine function has workers of its own, like a class. Each of them runs many invocations of it at once, in one event loop. Its slots
// do not lie on each other then: an invocation is answered whenever it ends, and is cancelled by a frame when it runs past its deadline.

const (
	// coroutinesMax bounds how many invocations of a coroutine function one worker runs at once, unless it asks for more (concurrency); then
	// another worker is started.
	coroutinesMax = 256
	// overdueGrace is how long a coroutine that ran past its deadline may take to end before its worker is stopped.
	overdueGrace = 2 * time.Second
)

// concurrent reports whether an invocation can share a worker with others of its function.
func (t *invocation) concurrent() bool {
	if len(t.inv.Steps) != 1 {
		return false
	}
	f := t.inv.Steps[0].Function
	return f.GetCoroutine() && !f.GetGenerator() && f.GetConvention() != pb.Convention_CONVENTION_CLASS
}

// shares reports whether the workers of a lane run several invocations at once.
func (l *lane) shares() bool { return l.perWorker > 1 }

// offer makes a worker that has just been given an invocation available for more, if there is room in it. Executor.mu is held.
func (l *lane) offer(w *worker) {
	if l.shares() && len(w.slots) < l.perWorker {
		l.putIdle(w)
	}
}

// runs reports whether anything runs in a lane. Executor.mu is held.
func (l *lane) runs() bool {
	if l.size > len(l.idle) {
		return true
	}
	if l.shares() {
		for _, w := range l.idle {
			if w.busy() {
				return true
			}
		}
	}
	return false
}

// dispatchTo sends an invocation to a worker that others send to as well.
func (e *Executor) dispatchTo(w *worker, t *invocation) {
	if w.dispatching.TryLock() {
		if w.holds(t.inv.Steps[0].Function) {
			e.invoke(w, t)
			w.dispatching.Unlock()
			return
		}
		w.dispatching.Unlock()
	}
	// The definition may have to be fetched, so the calling goroutine is spared the wait.
	e.start(func() {
		w.dispatching.Lock()
		defer w.dispatching.Unlock()
		e.loadAndInvoke(w, t)
	})
}

// expire returns the coroutines of a worker that have just run past their deadlines, and condemns the worker when one of them has not
// ended in time since. Executor.mu is held.
func (w *worker) expire(now time.Time) (overdue []*slot) {
	for _, s := range w.slots {
		switch {
		case !s.t.giveUp.IsZero() && now.After(s.t.giveUp):
			s.t.overdue, w.condemned = true, true
		case !now.After(s.t.deadline):
		case !s.t.overdue:
			s.t.overdue = true
			w.e.stats.overdue.Add(1)
			overdue = append(overdue, s)
		case now.After(s.t.deadline.Add(overdueGrace)):
			w.condemned = true
		}
	}
	if w.condemned {
		w.lane.unidle(w) // it may have had room for more
	}
	return overdue
}

// cancelling is an invocation that a worker is told to cancel.
type cancelling struct {
	w   *worker
	id  uint64
	run []byte
}

// shrinkConcurrent ends the workers of a coroutine function that has not been called for long.
func (e *Executor) shrinkConcurrent(l *lane, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.waiting() > 0 || len(l.idle) < l.size {
		return
	}
	for _, w := range l.idle {
		if w.busy() || now.Sub(w.idleSince) < e.cfg.IdleTimeout {
			return
		}
	}
	e.retire(l)
}

// cancelOverdue tells a worker that an invocation of it has run past its deadline.
func (w *worker) cancelOverdue(id uint64, run []byte) {
	cancel := &pb.Cancel{Id: id, RunId: run, Reason: "its deadline has passed"}
	// A failed send shows again at the next one, and as the end of the worker.
	_ = w.sender.Send(&pb.Header{Body: &pb.Header_Cancel{Cancel: cancel}}, nil)
}
