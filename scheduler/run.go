package scheduler

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// run is one execution of a plan. Its tasks are answered in any order and by any goroutine; the first error, the result of
// the sink or the deadline ends it, whichever comes first, and what its tasks answer after that is dropped.
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
	alarm    alarm  // guarded by the table
	key      string // of the result, unless the call names one: the id in hexadecimal
	store    bool   // keep the result in the store

	mu        sync.Mutex
	tasks     []task
	waiters   []Done
	colocated *Candidate // where the first of the functions was placed that must share a node
	ended     bool
	resumed   bool // the result is that of an earlier run of the same id
	delivered bool // the waiters have been called
	result    wire.Result

	// Room for a small run, so that it is one allocation.
	task1   [1]task
	steps2  [2]wire.Step
	spans2  [2]span
	waiter1 [1]Done
}

// Done takes the result of a run and reports whether it was handed to whoever waited for it. It is called exactly once, on
// any goroutine, and must not block.
type Done = func(wire.Result) (delivered bool)

// span is a part of a run's values.
type span struct {
	first, end int
	given      bool // by the call, be it without values
}

// task is one piece of a run's plan on its way. Guarded by run.mu.
type task struct {
	run     *run
	piece   int
	missing int // upstream results that are not there yet
	retries uint32
	running bool
	since   time.Time // when it was first invoked
	result  []byte
	on      *Candidate
	inv     *wire.Invocation
}

// newRun returns a run of a plan whose arguments have been routed, or the reason why the call cannot be run.
func (s *Scheduler) newRun(q *request, p *plan) (*run, error) {
	r := &run{
		s: s, id: q.id, key: q.id.String(), call: q.call, plan: p, started: q.started,
		values: q.values, before: q.before, after: q.after,
		store: q.call.GetStore() || q.continues,
	}
	timeout, err := s.timeout(q.call, p)
	if err != nil {
		return nil, err
	}
	r.deadline = r.started.Add(timeout)
	if n := len(p.functions); n <= len(r.steps2) {
		r.steps, r.spans = r.steps2[:n], r.spans2[:n]
	} else {
		r.steps, r.spans = make([]wire.Step, n), make([]span, n)
	}
	if err := r.route(); err != nil {
		return nil, err
	}
	if n := len(r.plan.pieces); n <= len(r.task1) {
		r.tasks = r.task1[:n]
	} else {
		r.tasks = make([]task, n)
	}
	for i := range r.tasks {
		t := &r.tasks[i]
		t.run, t.piece, t.missing = r, i, len(r.plan.pieces[i].upstream)
	}
	r.waiters = append(r.waiter1[:0], q.done)
	r.alarm.run = r
	return r, nil
}

// timeout returns how long a run may take.
func (s *Scheduler) timeout(call *pb.Call, p *plan) (time.Duration, error) {
	asked := call.GetTimeoutMilliseconds()
	if asked == 0 {
		return min(max(s.cfg.Timeout, p.timeout), s.cfg.TimeoutMax), nil
	}
	if asked > uint64(s.cfg.TimeoutMax.Milliseconds()) {
		return 0, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: a timeout of %d ms is longer than %v, the limit (scheduler.timeout_max)", p, asked, s.cfg.TimeoutMax)
	}
	return time.Duration(asked) * time.Millisecond, nil
}

// begin starts the pieces that nothing feeds.
func (r *run) begin() {
	for i := range r.tasks {
		if len(r.plan.pieces[i].upstream) == 0 {
			r.launch(&r.tasks[i], r.started)
		}
	}
}

// launch invokes a task whose inputs are all there.
func (r *run) launch(t *task, now time.Time) {
	piece := &r.plan.pieces[t.piece]
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return
	}
	if !t.running {
		t.running, t.since = true, now
	}
	if t.inv == nil {
		t.inv = r.invocation(piece)
		t.inv.Done = t.done
	}
	inv, on := t.inv, r.s.only
	if on == nil {
		on = r.place(piece, inv)
	}
	t.on = on
	r.mu.Unlock()
	on.load.Add(1)
	on.executor.Invoke(inv)
}

// place asks the policy where an invocation runs. Functions that must share a node follow the first of them. r.mu is held,
// and let go while the policy thinks.
func (r *run) place(piece *piece, inv *wire.Invocation) *Candidate {
	if piece.colocated && r.colocated != nil {
		return r.colocated
	}
	r.mu.Unlock()
	on := r.s.cfg.Policy.Place(Work{Steps: inv.Steps, Values: inv.Values}, r.s.candidates)
	r.mu.Lock()
	if piece.colocated {
		if r.colocated == nil {
			r.colocated = on
		}
		return r.colocated
	}
	return on
}

// invocation puts together what an executor needs to run a piece. Upstream results come after the positional arguments of
// the first function and before its keyword arguments. r.mu is held.
func (r *run) invocation(piece *piece) *wire.Invocation {
	steps := r.steps[piece.first:piece.end:piece.end]
	inv := &wire.Invocation{RunID: r.id, Steps: steps, Level: r.call.GetLevel(), Deadline: r.deadline}
	upstream := r.upstream(piece)
	if len(upstream) == 0 {
		if values, ok := r.contiguous(piece); ok {
			inv.Values = values
			return inv
		}
	}
	n := len(upstream)
	for _, s := range r.spans[piece.first:piece.end] {
		n += s.end - s.first
	}
	inv.Values = make([][]byte, 0, n)
	for i, s := range r.spans[piece.first:piece.end] {
		own := r.values[s.first:s.end]
		if i == 0 && len(upstream) > 0 {
			first := &steps[0]
			inv.Values = append(append(inv.Values, own[:first.Positional]...), upstream...)
			own = own[first.Positional:]
			first.Spread = make([]uint32, len(upstream))
			for k := range upstream {
				first.Spread[k] = uint32(first.Positional + k)
			}
			first.Positional += len(upstream)
		}
		inv.Values = append(inv.Values, own...)
	}
	return inv
}

// upstream returns the results that the first function of a piece takes. r.mu is held.
func (r *run) upstream(piece *piece) [][]byte {
	if len(piece.upstream) == 0 {
		if r.before == nil {
			return nil
		}
		return [][]byte{r.before}
	}
	results := make([][]byte, len(piece.upstream))
	for i, up := range piece.upstream {
		results[i] = r.tasks[up].result
	}
	return results
}

// contiguous returns the arguments of a piece when they follow one another among the values of the call.
func (r *run) contiguous(piece *piece) ([][]byte, bool) {
	var all span
	for _, s := range r.spans[piece.first:piece.end] {
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

// done takes the answer to a task's invocation.
func (t *task) done(result wire.Result) {
	r := t.run
	t.on.load.Add(-1)
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return
	}
	if result.Err != nil {
		if result.Err.Code == pb.Code_CODE_EXECUTION && t.retries < r.plan.functions[r.plan.pieces[t.piece].first].GetRetries() {
			t.retries++
			retries := t.retries
			r.mu.Unlock()
			r.s.retryLater(t, retries)
			return
		}
		r.mu.Unlock()
		r.end(result)
		return
	}
	if t.piece == r.plan.sink {
		r.mu.Unlock()
		r.end(result)
		return
	}
	t.running, t.result, t.inv = false, result.Value, nil
	var ready []*task
	for _, down := range r.plan.pieces[t.piece].downstream {
		next := &r.tasks[down]
		if next.missing--; next.missing == 0 {
			ready = append(ready, next)
		}
	}
	r.mu.Unlock()
	now := time.Now()
	for _, next := range ready {
		r.launch(next, now)
	}
}

// attach lets another call wait for the run.
func (r *run) attach(call *pb.Call, done Done) {
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
	for i := range r.tasks {
		t := &r.tasks[i]
		names := r.names(t)
		switch {
		case t.running && t.retries > 0:
			waited = append(waited, fmt.Sprintf("%s (for %v, attempt %d)", names, now.Sub(t.since).Round(time.Millisecond), t.retries+1))
		case t.running:
			waited = append(waited, fmt.Sprintf("%s (for %v)", names, now.Sub(t.since).Round(time.Millisecond)))
		case t.missing > 0:
			waiting = append(waiting, names)
		}
	}
	r.mu.Unlock()
	message := fmt.Sprintf("run of %s: not finished after %v, its timeout; it waited for %s", r.plan, r.deadline.Sub(r.started).Round(time.Millisecond), enumerate(waited))
	if len(waiting) > 0 {
		message += ", and did not come to " + enumerate(waiting)
	}
	r.end(wire.Result{Err: &wire.Error{Code: pb.Code_CODE_DEADLINE_EXCEEDED, Message: message}})
}

// names returns the functions of a task as people write them.
func (r *run) names(t *task) string {
	piece := &r.plan.pieces[t.piece]
	names := make([]string, 0, piece.end-piece.first)
	for _, f := range r.plan.functions[piece.first:piece.end] {
		names = append(names, fmt.Sprintf("%s@%d", f.GetName(), f.GetVersion()))
	}
	return strings.Join(names, " → ")
}
