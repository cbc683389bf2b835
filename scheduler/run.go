package scheduler

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// run is one execution of a plan. Its invocations are answered in any order and by any goroutine; the first error, the result of
// the sink or the deadline ends it, whichever comes first, and what its invocations answer after that is dropped.
type run struct {
	s    *Scheduler
	id   wire.RunID
	call *pb.Call
	plan *plan
	// steps stand in the order of plan.functions; spans says which of values are whose arguments.
	steps    []wire.Step
	spans    []span
	values   [][]byte
	before   []byte   // the result of the run that this one continues
	after    [][]byte // the values of the call that continues this one
	started  time.Time
	deadline time.Time
	client   uint64
	parent   wire.RunID  // zero for a call of a client
	depth    int         // runs above this one
	priority int32       // that its invocations have at least, since the run above it waits for them
	tree     place       // where it stands among other runs
	alarm    alarm       // guarded by the table
	key      string      // of the result, unless the call names one
	store    bool        // keep the result in the store
	items    *wire.Items // where what the sink yields goes, if the result is streamed

	mu          sync.Mutex
	invocations []invocation
	waiters     []Done
	observers   []*func()  // called when the run has ended
	colocated   *Candidate // where the first of the functions was placed that must share a node
	ended       bool
	endedAt     time.Time
	resumed     bool // the result is that of an earlier run of the same id
	delivered   bool // the waiters have been called
	result      wire.Result

	// Room for a small run, so that it is one allocation.
	invocation1 [1]invocation
	steps2      [2]wire.Step
	spans2      [2]span
	waiter1     [1]Done
}

// Done takes the result of a run and reports whether it was handed to a waiting client. It is called exactly once, on
// any goroutine, and must not block.
type Done = func(wire.Result) (delivered bool)

// span is a part of a run's values.
type span struct {
	first, end int
	given      bool // by the call, be it without values
}

// invocation is one chain of a run on its way through an executor. Guarded by run.mu.
type invocation struct {
	run     *run
	chain   int
	missing int // upstream results that are not there yet
	running bool
	failed  bool
	since   time.Time // when it was first invoked
	ended   time.Time
	result  []byte
	on      *Candidate
	sent    *wire.Invocation // what the executor gets
	past    *past            // nil before the first failure
	turn    *turn            // nil unless it waits, or has waited, for its turn
	trace   wire.Trace
}

// newRun returns a run of a plan whose arguments have been routed, or the reason why the call cannot be run.
func (s *Scheduler) newRun(q *submission, p *plan) (*run, error) {
	r := &run{
		s: s, id: q.id, key: q.id.ResultKey(), call: q.call, plan: p, started: q.started,
		values: q.values, before: q.before, after: q.after,
		store: (q.call.GetStore() || q.continues) && q.items == nil, items: q.items,
	}
	if q.call.Retries != nil {
		r.plan = p.apart() // only what has failed is to run again
	}
	timeout, err := s.timeout(q.call, p)
	if err != nil {
		return nil, err
	}
	r.deadline = r.started.Add(timeout)
	r.client, r.priority = q.client, math.MinInt32
	if err := s.inherit(r, q); err != nil {
		return nil, err
	}
	if n := len(p.functions); n <= len(r.steps2) {
		r.steps, r.spans = r.steps2[:n], r.spans2[:n]
	} else {
		r.steps, r.spans = make([]wire.Step, n), make([]span, n)
	}
	if err := r.route(); err != nil {
		return nil, err
	}
	if err := r.checkYields(); err != nil {
		return nil, err
	}
	if n := len(r.plan.chains); n <= len(r.invocation1) {
		r.invocations = r.invocation1[:n]
	} else {
		r.invocations = make([]invocation, n)
	}
	for i := range r.invocations {
		inv := &r.invocations[i]
		inv.run, inv.chain, inv.missing = r, i, len(r.plan.chains[i].upstream)
	}
	r.waiters = append(r.waiter1[:0], q.done)
	r.alarm.run = r
	return r, nil
}

// timeout returns how long a run may take.
func (s *Scheduler) timeout(call *pb.Call, p *plan) (time.Duration, error) {
	asked := call.GetTimeoutMilliseconds()
	if asked == 0 {
		functions, pauses := p.timeout, p.pauses
		if call.Retries != nil {
			functions, pauses = patience(p.functions, call.Retries)
		}
		return min(max(s.cfg.Timeout, functions)+pauses, s.cfg.TimeoutMax), nil
	}
	if asked > uint64(s.cfg.TimeoutMax.Milliseconds()) {
		return 0, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: a timeout of %d ms is longer than %v, the limit (scheduler.timeout_max)", p, asked, s.cfg.TimeoutMax)
	}
	return time.Duration(asked) * time.Millisecond, nil
}

// begin starts the chains that nothing feeds.
func (r *run) begin() {
	for i := range r.invocations {
		if len(r.plan.chains[i].upstream) == 0 {
			r.launch(&r.invocations[i], r.started)
		}
	}
}

// launch hands an invocation whose inputs are all there to an executor.
func (r *run) launch(inv *invocation, now time.Time) {
	chain := &r.plan.chains[inv.chain]
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return
	}
	if !inv.running {
		inv.running, inv.since = true, now
	}
	if inv.sent == nil {
		inv.sent = r.assemble(chain)
		inv.sent.Done, inv.sent.Trace = inv.done, &inv.trace
		if inv.chain == r.plan.sink {
			inv.sent.Items = r.items
		}
	}
	if chain.rateLimit != nil {
		r.mu.Unlock()
		r.launchInTurn(inv, chain, now)
		return
	}
	r.hand(inv, chain)
}

// hand gives an invocation to an executor. r.mu is held, and let go.
func (r *run) hand(inv *invocation, chain *chain) {
	sent, on := inv.sent, r.s.only
	if on == nil {
		on = r.place(chain, sent)
	}
	inv.on = on
	r.mu.Unlock()
	on.load.Add(1)
	on.executor.Invoke(sent)
}

// priorityOf returns the priority that the invocation of a chain has.
func (r *run) priorityOf(chain *chain) int32 {
	own := chain.priority
	if r.call.Priority != nil {
		own = r.call.GetPriority()
	}
	return max(own, r.priority)
}

// queueTimeout returns how long the invocation of a chain may wait until it starts; 0 is until the deadline.
func (r *run) queueTimeout(chain *chain) time.Duration {
	if asked := r.call.GetQueueTimeoutMilliseconds(); asked > 0 {
		return queueTimeoutOf(asked)
	}
	return chain.queueTimeout
}

// place asks the policy where an invocation runs. Functions that must share a node follow the first of them. r.mu is held,
// and let go while the policy thinks.
func (r *run) place(chain *chain, sent *wire.Invocation) *Candidate {
	if chain.colocated && r.colocated != nil {
		return r.colocated
	}
	r.mu.Unlock()
	on := r.s.cfg.Policy.Place(Work{Steps: sent.Steps, Values: sent.Values}, r.s.candidates)
	r.mu.Lock()
	if chain.colocated {
		if r.colocated == nil {
			r.colocated = on
		}
		return r.colocated
	}
	return on
}

// assemble puts together what an executor needs to run a chain. Upstream results come after the positional arguments of
// the first function and before its keyword arguments. r.mu is held.
func (r *run) assemble(chain *chain) *wire.Invocation {
	steps := r.steps[chain.first:chain.end:chain.end]
	out := &wire.Invocation{
		RunID: r.id, Steps: steps, Level: r.call.GetLevel(), Deadline: r.deadline, Client: r.client, Depth: r.depth, Attempt: 1,
		Priority: r.priorityOf(chain), QueueTimeout: r.queueTimeout(chain), Once: r.atMostOnce(chain.once),
	}
	upstream := r.upstream(chain)
	if len(upstream) == 0 {
		if values, ok := r.contiguous(chain); ok {
			out.Values = values
			return out
		}
	}
	n := len(upstream)
	for _, s := range r.spans[chain.first:chain.end] {
		n += s.end - s.first
	}
	out.Values = make([][]byte, 0, n)
	for i, s := range r.spans[chain.first:chain.end] {
		own := r.values[s.first:s.end]
		if i == 0 && len(upstream) > 0 {
			first := &steps[0]
			out.Values = append(append(out.Values, own[:first.Positional]...), upstream...)
			own = own[first.Positional:]
			first.Spread = make([]uint32, len(upstream))
			for k := range upstream {
				first.Spread[k] = uint32(first.Positional + k)
			}
			first.Positional += len(upstream)
		}
		out.Values = append(out.Values, own...)
	}
	return out
}

// upstream returns the results that the first function of a chain takes. r.mu is held.
func (r *run) upstream(chain *chain) [][]byte {
	if len(chain.upstream) == 0 {
		if r.before == nil {
			return nil
		}
		return [][]byte{r.before}
	}
	results := make([][]byte, len(chain.upstream))
	for i, up := range chain.upstream {
		results[i] = r.invocations[up].result
	}
	return results
}

// contiguous returns the arguments of a chain when they follow one another among the values of the call.
func (r *run) contiguous(chain *chain) ([][]byte, bool) {
	var all span
	for _, s := range r.spans[chain.first:chain.end] {
		switch {
		case s.first == s.end:
		case all.first == all.end:
			all = s
		case all.end == s.first:
			all.end = s.end
		default:
			return nil, false
		}
	}
	return r.values[all.first:all.end:all.end], true
}

// done takes the executor's answer to an invocation.
func (inv *invocation) done(result wire.Result) {
	r := inv.run
	inv.on.load.Add(-1)
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return
	}
	if result.Err != nil {
		r.failed(inv, result)
		return
	}
	inv.running = false
	if inv.chain == r.plan.sink {
		r.mu.Unlock()
		r.end(result)
		return
	}
	now := time.Now()
	inv.ended, inv.result, inv.sent = now, result.Value, nil
	var ready []*invocation
	for _, down := range r.plan.chains[inv.chain].downstream {
		next := &r.invocations[down]
		if next.missing--; next.missing == 0 {
			ready = append(ready, next)
		}
	}
	r.mu.Unlock()
	for _, next := range ready {
		r.launch(next, now)
	}
}

// attach lets another call wait for the run.
func (r *run) attach(q *submission) {
	call, done := q.call, q.done
	if q.items != nil || r.items != nil {
		done(wire.Result{Err: wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT,
			"call %s: run %s is under way already, and what is streamed goes to one call only; give every run an id of its own", targetOf(call), r.id)})
		return
	}
	if !sameTarget(r.call, call) {
		done(wire.Result{Err: wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT,
			"call %s: run %s is under way already, of another function or dag or with its result kept elsewhere; give every run an id of its own", targetOf(call), r.id)})
		return
	}
	r.mu.Lock()
	switch {
	case r.delivered:
		result := r.result
		r.mu.Unlock()
		r.s.stats.attached.Add(1)
		if !done(result) {
			r.keepUndelivered()
		}
		return
	case len(r.waiters) >= waitersMax:
		r.mu.Unlock()
		done(wire.Result{Err: wire.Errorf(pb.Code_CODE_NO_RESOURCES, "call %s: %d calls wait for run %s already, the limit", targetOf(call), waitersMax, r.id)})
		return
	}
	r.waiters = append(r.waiters, done)
	r.mu.Unlock()
	r.s.stats.attached.Add(1)
}

// expire ends the run at its deadline.
func (r *run) expire(now time.Time) {
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return
	}
	var waited, waiting []string
	var on *Candidate // what is waited for
	for i := range r.invocations {
		inv := &r.invocations[i]
		names := r.names(inv)
		if inv.running {
			on = inv.on
		}
		switch {
		case inv.running && inv.past != nil:
			waited = append(waited, fmt.Sprintf("%s (for %v, attempt %d)", names, now.Sub(inv.since).Round(time.Millisecond), inv.attempt()))
		case inv.running:
			waited = append(waited, fmt.Sprintf("%s (for %v)", names, now.Sub(inv.since).Round(time.Millisecond)))
		case inv.missing > 0:
			waiting = append(waiting, names)
		}
	}
	r.mu.Unlock()
	message := fmt.Sprintf("run of %s: not finished after %v, its timeout; it waited for %s", r.plan, r.deadline.Sub(r.started).Round(time.Millisecond), enumerate(waited))
	if len(waiting) > 0 {
		message += ", and did not come to " + enumerate(waiting)
	}
	if why := on.unstarted(r.id); why != "" {
		message += "; that has not started: " + why
	}
	r.end(wire.Result{Err: &wire.Error{Code: pb.Code_CODE_DEADLINE_EXCEEDED, Message: message}})
}

// names returns the functions of an invocation as people write them.
func (r *run) names(inv *invocation) string {
	chain := &r.plan.chains[inv.chain]
	names := make([]string, 0, chain.end-chain.first)
	for _, f := range r.plan.functions[chain.first:chain.end] {
		names = append(names, nameOf(f))
	}
	return strings.Join(names, " → ")
}

func nameOf(f *pb.Function) string { return fmt.Sprintf("%s@%d", f.GetName(), f.GetVersion()) }
