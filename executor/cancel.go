package executor

import (
	"slices"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Cancel ends those of the invocations that are here and whose traces say that they are cancelled. What waits is answered at once, and is
// never started. A function that runs is interrupted, and its worker replaced if it has not ended after Config.CancelGrace.
func (e *Executor) Cancel(invs []*wire.Invocation) {
	var queued []*invocation
	e.mu.Lock()
	for _, inv := range invs {
		e.lanes(func(l *lane) { queued = append(queued, l.takeCancelled(inv.RunID)...) })
		if stop := e.resolving[inv.Trace]; stop != nil {
			stop()
		}
	}
	e.mu.Unlock()
	for _, t := range queued {
		t.failCancelled(e)
	}
	e.interruptCancelled(time.Now())
}

// takeCancelled removes and returns the invocations of a run that are cancelled. Another run may have the same id by now.
func (l *lane) takeCancelled(run wire.RunID) []*invocation {
	taken := l.takeRun(run)
	return slices.DeleteFunc(taken, func(t *invocation) bool {
		other := t.cancelled() == nil
		if other {
			l.queue.push(t) // to its old place
		}
		return other
	})
}

// interruptCancelled interrupts the workers whose invocations are cancelled. One that waits for others above it in its worker is so once
// they have ended.
func (e *Executor) interruptCancelled(now time.Time) {
	type running struct {
		w *worker
		s *slot
	}
	var found []running
	e.mu.Lock()
	for _, w := range e.workers {
		slots := w.slots
		if n := len(slots); n > 1 && !w.lane.shares() {
			slots = slots[n-1:]
		}
		for _, s := range slots {
			if w.interruptible(s) {
				found = append(found, running{w, s})
			}
		}
	}
	e.mu.Unlock()
	for _, r := range found {
		e.interrupt(r.w, r.s, now)
	}
}

// interruptible reports whether the worker has yet to be told that what runs in a slot is cancelled. Executor.mu is held.
func (w *worker) interruptible(s *slot) bool {
	// Without an id it has not been sent; who sends it looks whether it is cancelled after the id is there.
	return s.t != nil && !s.t.signalled && !w.condemned && s.id.Load() != 0 && s.t.cancelled() != nil
}

// interrupt tells a worker that the invocation in a slot is cancelled: by a frame, which says why, and by a signal, so that its main
// thread looks for the frame whatever it does. The loop over deadlines comes here again until both are on their way. An event loop reads
// the frame without a signal.
func (e *Executor) interrupt(w *worker, s *slot, now time.Time) {
	e.mu.Lock()
	if !w.interruptible(s) {
		e.mu.Unlock()
		return
	}
	t, id, loop := s.t, s.id.Load(), w.lane.shares()
	first := t.giveUp.IsZero()
	if first {
		t.giveUp = now.Add(e.cfg.CancelGrace)
	}
	e.mu.Unlock()
	if first {
		e.wakeDeadlines()
		reason, _ := t.inv.Trace.Cancelled()
		run := t.inv.RunID
		// When it cannot be sent the worker has ended. When the invocation has ended meanwhile the worker ignores it.
		_ = w.sender.Send(&pb.Header{Body: &pb.Header_Cancel{Cancel: &pb.Cancel{Id: id, RunId: run[:], Reason: reason}}}, nil)
	}
	if !loop && w.sender.Waiting() > 0 {
		return // the signal would come before the frame
	}
	e.mu.Lock()
	signal := !loop && !t.signalled && w.slotOf(id) != nil
	t.signalled = true
	e.mu.Unlock()
	if signal {
		w.zygote.interruptWorker(w.number)
	}
}

// resolvable lets an invocation that waits for references be cancelled meanwhile. It reports false when it has been already.
func (e *Executor) resolvable(t *invocation, stop func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, cancelled := t.inv.Trace.Cancelled(); cancelled {
		return false
	}
	e.resolving[t.inv.Trace] = stop
	return true
}

func (e *Executor) resolved(t *invocation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.resolving, t.inv.Trace)
}

// cancelled returns the error of an invocation that is cancelled, or nil.
func (t *invocation) cancelled() *wire.Error {
	if reason, cancelled := t.inv.Trace.Cancelled(); cancelled {
		return wire.Errorf(pb.Code_CODE_CANCELLED, "%s", reason)
	}
	return nil
}

func (t *invocation) failCancelled(e *Executor) {
	e.stats.cancelled.Add(1)
	t.finish(wire.Result{Err: t.cancelled()})
}
