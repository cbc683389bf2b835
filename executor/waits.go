package executor

import (
	"fmt"
	"slices"
	"strings"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// wait says that a function waits for runs: for all of them, or for the first one.
type wait struct {
	w     *worker
	slot  *slot  // of the function that waits
	id    uint64 // of the Wait frame
	runs  []wire.RunID
	helps bool // the thread that waits carries out invocations of these runs meanwhile
	any   bool
	ended uint64 // id of the Waited frame that is answered once nothing is in a slot above; 0 while the wait is on
}

// waits knows what waits for which run: the threads of functions, and invocations whose arguments are results that are not there yet. A
// wait that has ended well is forgotten with the next one of its thread, or with its invocation. Guarded by Executor.mu.
type waits struct {
	of      map[wire.RunID][]*wait                  // by the run that is waited for
	by      map[wire.RunID][]*wait                  // by the run that waits
	blocked map[wire.RunID][]blocked                // invocations that wait for results, by the run that waits
	blocks  map[wire.RunID]map[*invocation]struct{} // the same, by the run that is waited for
}

// blocked is an invocation that waits for the results of runs, which are its arguments.
type blocked struct {
	t    *invocation
	runs []wire.RunID
}

func newWaits() waits {
	return waits{
		of: make(map[wire.RunID][]*wait), by: make(map[wire.RunID][]*wait),
		blocked: make(map[wire.RunID][]blocked), blocks: make(map[wire.RunID]map[*invocation]struct{}),
	}
}

// add registers a wait, in the place of the one before that helped on the same thread.
func (ws *waits) add(x *wait) {
	if x.helps {
		if before := x.slot.helps; before != nil {
			ws.remove(before)
		}
		x.slot.helps = x
	}
	x.slot.waits = append(x.slot.waits, x)
	x.slot.t.inv.Trace.Wait(x.runs)
	run := x.slot.t.inv.RunID
	ws.by[run] = append(ws.by[run], x)
	for _, r := range x.runs {
		ws.of[r] = append(ws.of[r], x)
	}
}

func (ws *waits) remove(x *wait) {
	x.slot.t.inv.Trace.Wait(nil)
	if x.slot.helps == x {
		x.slot.helps = nil
	}
	if at := slices.Index(x.slot.waits, x); at >= 0 {
		x.slot.waits = slices.Delete(x.slot.waits, at, at+1)
	}
	drop(ws.by, x.slot.t.inv.RunID, x)
	for _, r := range x.runs {
		drop(ws.of, r, x)
	}
}

func drop(index map[wire.RunID][]*wait, run wire.RunID, x *wait) {
	left := index[run]
	if at := slices.Index(left, x); at >= 0 {
		left = slices.Delete(left, at, at+1)
	}
	if len(left) == 0 {
		delete(index, run)
	} else {
		index[run] = left
	}
}

// leave forgets the waits of a slot whose invocation has ended.
func (ws *waits) leave(s *slot) {
	for len(s.waits) > 0 {
		ws.remove(s.waits[len(s.waits)-1])
	}
}

// block notes that an invocation cannot start before runs have ended.
func (ws *waits) block(t *invocation, runs []wire.RunID) {
	ws.blocked[t.inv.RunID] = append(ws.blocked[t.inv.RunID], blocked{t, runs})
	for _, r := range runs {
		if ws.blocks[r] == nil {
			ws.blocks[r] = make(map[*invocation]struct{})
		}
		ws.blocks[r][t] = struct{}{}
	}
}

func (ws *waits) unblock(t *invocation) {
	run := t.inv.RunID
	left := slices.DeleteFunc(ws.blocked[run], func(b blocked) bool {
		if b.t != t {
			return false
		}
		for _, r := range b.runs {
			if delete(ws.blocks[r], t); len(ws.blocks[r]) == 0 {
				delete(ws.blocks, r)
			}
		}
		return true
	})
	if len(left) == 0 {
		delete(ws.blocked, run)
	} else {
		ws.blocked[run] = left
	}
}

// edge is why one run cannot end before another.
type edge struct {
	to wire.RunID
	by *invocation // of the run that waits
}

// edges returns what a run waits for so that it cannot end before: waits for one of several, and those of other threads, do not count.
func (ws *waits) edges(run wire.RunID) []edge {
	var edges []edge
	for _, x := range ws.by[run] {
		if x.helps && !x.any && x.ended == 0 {
			for _, r := range x.runs {
				edges = append(edges, edge{r, x.slot.t})
			}
		}
	}
	for _, b := range ws.blocked[run] {
		for _, r := range b.runs {
			edges = append(edges, edge{r, b.t})
		}
	}
	return edges
}

// cycle returns the error of a wait that would never end, since what is waited for waits for the run that waits; nil if it does not.
func (ws *waits) cycle(waiter *invocation, runs []wire.RunID) *wire.Error {
	seen := make(map[wire.RunID]struct{})
	var open []*link
	for _, r := range runs {
		open = append(open, &link{edge: edge{r, waiter}})
	}
	for len(open) > 0 {
		at := open[len(open)-1]
		open = open[:len(open)-1]
		if at.to == waiter.inv.RunID {
			return wire.Errorf(pb.Code_CODE_CYCLE, "runs that wait for each other never end: %s", at.path())
		}
		if _, ok := seen[at.to]; ok {
			continue
		}
		seen[at.to] = struct{}{}
		for _, next := range ws.edges(at.to) {
			open = append(open, &link{edge: next, via: at})
		}
	}
	return nil
}

// link is an edge on a way through the runs.
type link struct {
	edge
	via *link // the one before; nil for the first
}

// path says in order which run waits for which.
func (l *link) path() string {
	var says []string
	for ; l != nil; l = l.via {
		says = append(says, fmt.Sprintf("run %v (%s) waits for run %v", l.by.inv.RunID, l.by.names(), l.to))
	}
	slices.Reverse(says)
	return strings.Join(says, ", ")
}

// Waits returns the runs that a run under way waits for. Runs that have ended since may be among them.
func (e *Executor) Waits(run wire.RunID) []wire.RunID {
	e.mu.Lock()
	defer e.mu.Unlock()
	var runs []wire.RunID
	for _, x := range e.waits.by[run] {
		runs = append(runs, x.runs...)
	}
	for _, b := range e.waits.blocked[run] {
		runs = append(runs, b.runs...)
	}
	return runs
}

// awaits takes note of what a function waits for. A worker whose thread helps is given an invocation of that at once, if one is queued.
func (w *worker) awaits(id uint64, body *pb.Wait) error {
	runs := make([]wire.RunID, 0, len(body.GetRunIds()))
	for _, run := range body.GetRunIds() {
		if len(run) != len(wire.RunID{}) {
			return fmt.Errorf("%w: a function waits for a run whose id is %d bytes", wire.ErrFrame, len(run))
		}
		runs = append(runs, wire.RunID(run))
	}
	if len(runs) > waitedRunsMax {
		return fmt.Errorf("%w: a function waits for %d runs at once", wire.ErrFrame, len(runs))
	}
	e := w.e
	e.mu.Lock()
	s := w.slotOf(body.GetInvocation())
	if s == nil || len(s.waits) >= slotWaitsMax {
		e.mu.Unlock()
		return nil // by a thread that has outlived its function, or one too many to be known
	}
	x := &wait{w: w, slot: s, id: id, runs: runs, helps: body.GetHelps(), any: body.GetAny()}
	if x.helps {
		if err := e.waits.cycle(s.t, runs); err != nil {
			e.mu.Unlock()
			w.reply(id, err)
			return nil
		}
	}
	e.waits.add(x)
	next := e.helpWith(w)
	e.mu.Unlock()
	if next != nil {
		e.dispatch(w, next)
	}
	return nil
}

// waited ends a wait before what it waits for has succeeded. It is answered when nothing more will come because of it.
func (w *worker) waited(id uint64, body *pb.Waited) {
	w.e.mu.Lock()
	for _, s := range w.slots {
		for _, x := range s.waits {
			if x.id != body.GetId() {
				continue
			}
			if s != w.last() && x.helps {
				x.ended = id // an invocation is on its way, which the worker declines
				w.e.mu.Unlock()
				return
			}
			w.e.waits.remove(x)
			w.e.mu.Unlock()
			w.reply(id, nil)
			return
		}
	}
	w.e.mu.Unlock()
	w.reply(id, nil)
}
