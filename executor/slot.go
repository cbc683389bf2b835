package executor

import (
	"slices"
	"sync/atomic"
	"time"
)

// levelShift is where the level of a slot stands in the number that messages are addressed to; the rest is the worker's number.
const levelShift = 48

// slot is where a worker runs one invocation. Most of the time a worker has one at most. While the function in it waits for a run,
// the worker may carry out an invocation of that run in a slot above it. Those of a coroutine function's worker are side by side.
type slot struct {
	level   int // from 0: how many are below it
	t       *invocation
	id      atomic.Uint64 // of the Invoke frame; 0 between the reservation and that
	running *running      // what the log lines belong to while it is the last one; owned by the goroutine that has reserved it
	mail    mailbox
	waits   []*wait // of the threads of the function
	helps   *wait   // that of its first thread, if the worker helps meanwhile
}

// address returns the number by which messages reach what runs in a slot.
func (w *worker) address(s *slot) uint64 { return w.number | uint64(s.level)<<levelShift }

// reserve puts an invocation into a slot above those of the worker. Executor.mu is held.
func (w *worker) reserve(t *invocation) {
	now := time.Now()
	t.reserved(now)
	t.inv.Trace.Start(now, w.number, t.inv.Attempt)
	s := w.freeSlot()
	s.level, s.t = len(w.slots), t
	s.id.Store(0)
	t.slot = s
	w.slots = append(w.slots, s)
}

func (w *worker) freeSlot() *slot {
	n := len(w.free)
	if n == 0 {
		return new(slot)
	}
	s := w.free[n-1]
	w.free = w.free[:n-1]
	return s
}

// release empties a slot, and returns the recvs that still wait there. Executor.mu is held.
func (w *worker) release(s *slot) waiters {
	at := slices.Index(w.slots, s)
	w.slots = slices.Delete(w.slots, at, at+1)
	w.lane.exit(s.t)
	w.e.waits.leave(s)
	s.t = nil
	cut := s.mail.clear()
	if last := w.last(); last != nil && !w.lane.shares() {
		w.running.Store(last.running)
	}
	w.free = append(w.free, s)
	return cut
}

// busy reports whether the worker runs something. Executor.mu is held.
func (w *worker) busy() bool { return len(w.slots) > 0 }

// last returns the slot of what the worker runs now, which no other one is above; nil while it is idle. Executor.mu is held.
func (w *worker) last() *slot {
	if n := len(w.slots); n > 0 {
		return w.slots[n-1]
	}
	return nil
}

// holder returns the slot of an invocation, or nil when it is not here any more. Executor.mu is held.
func (w *worker) holder(t *invocation) *slot {
	if s := t.slot; s != nil && s.t == t && slices.Contains(w.slots, s) {
		return s
	}
	return nil
}

// slotOf returns the slot of the invocation whose Invoke frame had an id, or nil. Executor.mu is held.
func (w *worker) slotOf(id uint64) *slot {
	if id == 0 {
		return nil
	}
	for i := len(w.slots) - 1; i >= 0; i-- {
		if s := w.slots[i]; s.id.Load() == id {
			return s
		}
	}
	return nil
}
