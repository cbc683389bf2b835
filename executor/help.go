package executor

import (
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// A worker whose function waits for a run helps: it carries out an invocation of that run itself, nested, when no idle worker takes it.
// Then each invocation in a worker but the last waits for the one above it, so that however deep calls are nested they need
// no more workers than there are. An invocation that is not wanted there after all is declined, and goes back to the queue.

// nests reports whether an invocation may be carried out by a worker that waits for it.
func (t *invocation) nests() bool {
	for i := range t.inv.Steps {
		f := t.inv.Steps[i].Function
		if f.GetAlone() || f.GetCoroutine() || f.GetGenerator() || f.GetConvention() == pb.Convention_CONVENTION_CLASS {
			return false
		}
	}
	return true
}

// precious reports whether an invocation should not share the fate of another one: it may run at most once, or has lost a worker to one
// before.
func (t *invocation) precious() bool { return t.inv.Once || t.inv.Along }

// helping returns the wait in which a worker can carry out invocations, or nil. One that runs something precious does so only as a
// last resort. Executor.mu is held.
func (w *worker) helping(lastResort bool) *wait {
	s := w.last()
	if s == nil || s.helps == nil || s.helps.ended != 0 || w.gone || w.condemned || w.lane != w.e.shared {
		return nil
	}
	if !lastResort {
		for _, s := range w.slots {
			if s.t.precious() {
				return nil
			}
		}
	}
	return s.helps
}

// helpWith reserves a waiting worker for a queued invocation without which its wait cannot end, and returns that. Executor.mu is held.
func (e *Executor) helpWith(w *worker) *invocation { return e.helpAs(w, false) }

func (e *Executor) helpAs(w *worker, lastResort bool) *invocation {
	x := w.helping(lastResort)
	if x == nil || x.w.lane.queue.count == 0 {
		return nil
	}
	seen := make(map[wire.RunID]struct{})
	for _, run := range x.runs {
		if t := e.claimFor(run, seen); t != nil {
			w.reserve(t)
			return t
		}
	}
	return nil
}

// claimFor takes an invocation out of the queue without which a run cannot end. Executor.mu is held.
func (e *Executor) claimFor(run wire.RunID, seen map[wire.RunID]struct{}) *invocation {
	if _, ok := seen[run]; ok {
		return nil
	}
	seen[run] = struct{}{}
	if t := e.shared.claim(run); t != nil {
		return t
	}
	for _, b := range e.waits.blocked[run] {
		for _, r := range b.runs {
			if t := e.claimFor(r, seen); t != nil {
				return t
			}
		}
	}
	return nil
}

// helperFor returns a worker whose function waits for an invocation that has just come; nil if there is none. Executor.mu is held.
func (e *Executor) helperFor(t *invocation) *worker {
	if len(e.waits.of) == 0 || !t.nests() {
		return nil
	}
	return e.helperOf(t.inv.RunID, make(map[wire.RunID]struct{}))
}

func (e *Executor) helperOf(run wire.RunID, seen map[wire.RunID]struct{}) *worker {
	if _, ok := seen[run]; ok {
		return nil
	}
	seen[run] = struct{}{}
	for _, x := range e.waits.of[run] {
		if x.w.helping(false) == x {
			return x.w
		}
	}
	for t := range e.waits.blocks[run] {
		if w := e.helperOf(t.inv.RunID, seen); w != nil {
			return w
		}
	}
	return nil
}

// help gives queued invocations to the workers that wait for them, where that was not possible when they came. Workers that run something
// precious are among them when nothing else can run: no worker can be added, and all of them wait.
func (e *Executor) help() {
	for {
		e.mu.Lock()
		w, t := e.helpOne()
		e.mu.Unlock()
		if t == nil {
			return
		}
		e.dispatch(w, t)
	}
}

func (e *Executor) helpOne() (*worker, *invocation) {
	if e.shared.queue.count == 0 || len(e.waits.of) == 0 {
		return nil, nil
	}
	stuck := e.room(e.cfg.WorkersSpare) <= 0
	for _, w := range e.workers {
		if w.lane == e.shared && w.helping(true) == nil {
			stuck = false
		}
		if t := e.helpWith(w); t != nil {
			return w, t
		}
	}
	if stuck {
		for _, w := range e.workers {
			if t := e.helpAs(w, true); t != nil {
				return w, t
			}
		}
	}
	return nil, nil
}

// declined reports whether a worker answered that it does not carry out a nested invocation, since what it came for is over.
func declined(s *slot, r wire.Result) bool {
	return s.level > 0 && r.Err != nil && r.Err.Code == pb.Code_CODE_UNAVAILABLE
}
