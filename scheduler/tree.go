package scheduler

import (
	"fmt"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// place is where a run stands in the tree of runs. What ends with a run hangs below it: the runs that its functions have called,
// unless they are detached or their parent has succeeded.
type place struct {
	above *run // nil = none, or it has ended

	// Guarded by above.mu.
	previous, next *run
	joined, left   bool

	below *run // the first; guarded by the run's own mu
}

// inherit gives a run what it has from the run whose function called it: whose call it is, and no more time. It fails when that
// run has ended in a way that ends what is below it.
func (s *Scheduler) inherit(r *run, q *submission) error {
	r.parent = q.parent
	if len(r.call.GetParent()) == len(r.parent) {
		r.parent = wire.RunID(r.call.GetParent())
	}
	if r.parent == (wire.RunID{}) {
		return nil
	}
	deadline := time.Time{}
	if above := s.table.find(r.parent); above != nil {
		r.client, r.depth, deadline = above.client, above.depth+1, above.deadline
		for i := range above.plan.chains {
			r.priority = max(r.priority, above.priorityOf(&above.plan.chains[i]))
		}
		if !r.call.GetDetached() {
			r.tree.above = above
		}
	} else if ended, ok := s.recent.find(r.parent); ok {
		r.client, r.depth, deadline = ended.client, int(ended.depth)+1, time.UnixMicro(ended.deadline)
		if ended.err != nil && !r.call.GetDetached() {
			return orphaned(r, r.parent, ended.plan, ended.err)
		}
	}
	if deadline.IsZero() || r.call.GetDetached() || !deadline.Before(r.deadline) {
		return nil
	}
	r.deadline = deadline
	if !deadline.After(r.started) {
		return wire.Errorf(pb.Code_CODE_DEADLINE_EXCEEDED, "run %s of %s: not started, because the deadline of its parent, run %s, has passed", r.id, r.plan, r.parent)
	}
	return nil
}

// join puts the run below its parent. It fails when that has ended meanwhile and takes along what is below it.
func (r *run) join() *wire.Error {
	above := r.tree.above
	if above == nil {
		return nil
	}
	above.mu.Lock()
	defer above.mu.Unlock()
	if above.ended {
		if above.result.Err == nil {
			return nil
		}
		return orphaned(r, above.id, above.plan, above.result.Err)
	}
	if r.tree.left {
		return nil
	}
	r.tree.joined, r.tree.next = true, above.tree.below
	if r.tree.next != nil {
		r.tree.next.tree.previous = r
	}
	above.tree.below = r
	return nil
}

// leave takes the run out from below its parent.
func (r *run) leave() {
	above := r.tree.above
	if above == nil {
		return
	}
	above.mu.Lock()
	defer above.mu.Unlock()
	r.tree.left = true
	if !r.tree.joined {
		return
	}
	r.tree.joined = false
	if r.tree.previous == nil {
		above.tree.below = r.tree.next
	} else {
		r.tree.previous.tree.next = r.tree.next
	}
	if r.tree.next != nil {
		r.tree.next.tree.previous = r.tree.previous
	}
	r.tree.previous, r.tree.next = nil, nil
}

// endBelow ends all runs below one that has ended without success, and what of them is at executors: the lowest first, since those above
// may wait for them.
func (r *run) endBelow(now time.Time) {
	ended := []*run{r}
	for i := 0; i < len(ended); i++ { // downwards, so that none comes below a run that has been looked at
		for _, below := range ended[i].children() {
			if below.conclude(wire.Result{Err: endedWith(below, ended[i], r)}, now) {
				ended = append(ended, below)
			}
		}
	}
	for i := len(ended) - 1; i > 0; i-- {
		ended[i].cancelInvocations(ended[i].result.Err.Message)
	}
	switch err := r.result.Err; err.Code {
	case pb.Code_CODE_DEADLINE_EXCEEDED: // executors know the deadline
	case pb.Code_CODE_CANCELLED:
		r.cancelInvocations(err.Message)
	default:
		r.cancelInvocations(fmt.Sprintf("run %s of %s: another of its functions failed", r.id, r.plan))
	}
	for i := len(ended) - 1; i > 0; i-- {
		ended[i].finish(ended[i].result, now, true)
	}
}

// children returns the runs below this one that have not ended.
func (r *run) children() []*run {
	r.mu.Lock()
	defer r.mu.Unlock()
	var children []*run
	for child := r.tree.below; child != nil; child = child.tree.next {
		children = append(children, child)
	}
	return children
}

// cancelInvocations ends what executors have of a run that has ended.
func (r *run) cancelInvocations(reason string) {
	r.mu.Lock()
	sent := make(map[*Candidate][]*wire.Invocation, 1)
	for i := range r.invocations {
		if inv := &r.invocations[i]; inv.running && inv.sent != nil && inv.on != nil {
			inv.trace.Cancel(reason)
			sent[inv.on] = append(sent[inv.on], inv.sent)
		}
	}
	r.mu.Unlock()
	for on, invocations := range sent {
		on.executor.Cancel(invocations)
	}
}

// orphaned returns why a run does not start whose parent has ended without success.
func orphaned(r *run, parent wire.RunID, p *plan, err *wire.Error) *wire.Error {
	return wire.Errorf(pb.Code_CODE_CANCELLED, "run %s of %s: not started, because its parent, run %s of %s, %s; call with detached to start it nevertheless",
		r.id, r.plan, parent, p, howEnded(err))
}

// endedWith returns what a run ends with because the end of another, root, ended its parent.
func endedWith(r, parent, root *run) *wire.Error {
	why := fmt.Sprintf("its parent, run %s of %s, %s", parent.id, parent.plan, howEnded(parent.result.Err))
	if parent != root {
		why = fmt.Sprintf("run %s of %s, which is above it, %s", root.id, root.plan, howEnded(root.result.Err))
	}
	return wire.Errorf(pb.Code_CODE_CANCELLED, "run %s of %s: cancelled, because %s", r.id, r.plan, why)
}

// howEnded says in two words what an error means for those who depend on the run.
func howEnded(err *wire.Error) string {
	switch err.Code {
	case pb.Code_CODE_CANCELLED:
		return "was cancelled"
	case pb.Code_CODE_DEADLINE_EXCEEDED:
		return "ran out of time"
	default:
		return "failed"
	}
}
