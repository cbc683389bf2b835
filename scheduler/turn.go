package scheduler

import (
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// launchInTurn hands an invocation to an executor as soon as the rate limit of its function allows, or ends the run with the reason why that
// takes too long.
func (r *run) launchInTurn(inv *invocation, chain *chain, now time.Time) {
	patience := r.deadline.Sub(now)
	if wait := r.queueTimeout(chain); wait > 0 {
		patience = min(patience, wait)
	}
	t, err := r.s.rates.enter(inv, chain.rateLimit, inv.sent, now, patience)
	if err != nil {
		r.end(wire.Result{Err: err})
		return
	}
	r.mu.Lock()
	switch {
	case r.ended: // meanwhile
		r.mu.Unlock()
		if t != nil {
			r.s.rates.leave(t)
		}
	case t != nil:
		inv.turn = t
		r.mu.Unlock()
		r.s.stats.delayed.Add(1)
	default:
		inv.sent.QueueTimeout = r.queueTimeout(chain)
		r.hand(inv, chain)
	}
}

// open hands the invocations to executors whose turn has come.
func (s *Scheduler) open(g *gate, now time.Time) {
	for _, t := range s.rates.open(g, now) {
		t.inv.run.takeTurn(t, now)
	}
}

// takeTurn hands an invocation to an executor that has waited for its turn.
func (r *run) takeTurn(t *turn, now time.Time) {
	chain := &r.plan.chains[t.inv.chain]
	waited := now.Sub(t.since)
	if waited > t.patience {
		err := wire.Errorf(pb.Code_CODE_NO_RESOURCES, "run %s: it waited %v for its turn (rate_limit), and might wait for %v; try again",
			nameOf(t.inv.sent.Steps[0].Function), waited.Round(time.Millisecond), t.patience)
		err.RetryAfter = queueTimeoutOf(chain.rateLimit.GetPeriodMilliseconds())
		r.end(wire.Result{Err: err})
		return
	}
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return
	}
	if wait := r.queueTimeout(chain); wait > 0 {
		t.inv.sent.QueueTimeout = max(wait-waited, time.Millisecond) // the rest is for the executor's queue
	}
	r.hand(t.inv, chain)
}

// leaveGates takes the invocations of a run that has ended out of the queues in which they wait for their turns.
func (r *run) leaveGates() {
	if !r.plan.limited {
		return
	}
	for i := range r.invocations {
		r.mu.Lock()
		t := r.invocations[i].turn
		r.mu.Unlock()
		if t != nil {
			r.s.rates.leave(t)
		}
	}
}
