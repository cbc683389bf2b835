// Package scheduler runs functions and DAGs: it decides which executor runs which part of a run, and when.
//
// A call is answered exactly once, whatever fails, and no call waits for a goroutine of the scheduler's: the goroutine that
// brings the call invokes the first functions, and the goroutine that brings a function's answer invokes the functions after it.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Scheduler runs what is called. Safe for concurrent use.
type Scheduler struct {
	cfg        Config
	planner    *planner
	candidates []*Candidate
	only       *Candidate // the one candidate when there is no choice
	store      Store
	table      *table
	missing    *pending
	results    *results
	recent     *recent
	stats      counters
	failures   failures
	rates      *rates
	pace       pace

	inFlight atomic.Int64
	draining atomic.Bool
	stopped  atomic.Bool
	quiet    chan struct{} // signalled when nothing is in flight while draining
	ticking  atomic.Bool   // the deadlines loop ticks
	wake     chan struct{}
	jitter   func(time.Duration) time.Duration
}

// submission is a call that has not become a run yet.
type submission struct {
	client    uint64     // whose call it is
	parent    wire.RunID // the run above a continuation whose call names none
	call      *pb.Call
	id        wire.RunID
	values    [][]byte
	after     [][]byte    // the values of its continuation
	before    []byte      // the result of the run that it continues
	continues bool        // it is a continuation: its result is stored
	admitted  bool        // it has been let in before
	items     *wire.Items // where what it yields goes, if its result is streamed
	cancelled *wire.Error // while it waits for the registry; guarded by pending.mu
	started   time.Time
	done      Done
}

// New returns a scheduler over one executor or more; it enforces no deadline before Run.
func New(cfg Config, functions Functions, executors []Executor, store Store) (*Scheduler, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if len(executors) == 0 {
		return nil, errors.New("a scheduler needs an executor")
	}
	s := &Scheduler{
		cfg:      cfg,
		planner:  newPlanner(functions),
		store:    store,
		table:    newTable(time.Now()),
		missing:  newPending(functions),
		results:  newResults(cfg),
		recent:   newRecent(cfg.RecentRuns, cfg.RecentBytes),
		failures: failures{logger: cfg.Logger},
		quiet:    make(chan struct{}, 1),
		wake:     make(chan struct{}, 1),
		jitter:   jittered,
	}
	s.rates = newRates(s.table)
	for _, e := range executors {
		holder, _ := e.(Holder)
		queue, _ := e.(Queue)
		s.candidates = append(s.candidates, &Candidate{executor: e, holder: holder, queue: queue})
	}
	if len(s.candidates) == 1 {
		s.only = s.candidates[0]
	}
	return s, nil
}

// Call starts a run, or joins the one that has the call's run id. values are the arguments in the order of call.Arguments,
// and then those of its continuation; they and call must not change afterwards. done gets the result. client tells the
// callers apart that are served in turn: any number that is the same for all calls of one of them. items is nil, unless the function yields
// its result item by item: then items gets them, and done comes after the last of them. Such a result is not stored, and the run is not
// tried again once an item has come.
func (s *Scheduler) Call(client uint64, call *pb.Call, values [][]byte, items *wire.Items, done Done) {
	q := &submission{client: client, call: call, started: time.Now(), done: done, items: items}
	var err error
	if q.id, err = check(q.call); err == nil {
		q.values, q.after, err = cutContinuation(q.call, values)
	}
	if err == nil && q.items != nil {
		err = checkStreamed(q)
	}
	if err != nil {
		s.refuse(q, err)
		return
	}
	s.start(q, true)
}

// Expects reports whether a run that is under way will leave its result under a key, which is made of the run's id.
func (s *Scheduler) Expects(key string) bool {
	id, err := wire.ParseResultKey(key)
	if err != nil {
		return false
	}
	r := s.table.find(id)
	return r != nil && r.store && r.call.GetOutputKey() == ""
}

// start makes a run of a submission. A name that is not known here may have been registered a moment ago on another node, so
// the registry is asked once before the call is refused.
func (s *Scheduler) start(q *submission, ask bool) {
	r, err := s.prepare(q)
	if err != nil {
		s.startWithoutPlan(q, err, ask)
		return
	}
	existing, err := s.table.add(r, func() error { return s.enter(q.admitted || q.continues) })
	switch {
	case err != nil:
		s.refuse(q, err)
		return
	case existing != nil:
		existing.attach(q)
		return
	}
	s.tickSoon()
	if result, ok := s.stored(r.key); ok && r.items == nil && !dagIsBack(result) {
		s.stats.attached.Add(1)
		r.resume(result)
		return
	}
	s.stats.started.Add(1)
	if q.call.GetResent() && r.atMostOnce(r.plan.once) {
		r.end(wire.Result{Err: wire.Errorf(pb.Code_CODE_OUTCOME_UNKNOWN,
			"run of %s: the connection over which it was called broke, this node does not know the run, and it may run at most once (retries=0), so it "+
				"is not run; whether it took effect before is not known: find out before you call it again", r.plan)})
		return
	}
	if err := r.join(); err != nil {
		r.end(wire.Result{Err: err})
		return
	}
	if q.admitted {
		if err := s.missing.refusal(q); err != nil {
			r.end(wire.Result{Err: wire.AsError(err)})
			return
		}
	}
	r.begin()
}

// dagIsBack reports whether a call, for which there is a plan now, was refused before because its DAG was gone: an anonymous one, which
// its client has registered again.
func dagIsBack(stored wire.Result) bool {
	return stored.Err != nil && stored.Err.Code == pb.Code_CODE_DAG_NOT_FOUND
}

// prepare returns the run of a submission, not yet in the table.
func (s *Scheduler) prepare(q *submission) (*run, error) {
	p, err := s.planner.of(q.call)
	if err != nil {
		return nil, err
	}
	for next := q.call.GetContinuation(); next != nil; next = next.GetContinuation() {
		if err := s.checkContinuation(next); err != nil {
			return nil, fmt.Errorf("the continuation of %s: %w", p, err)
		}
	}
	return s.newRun(q, p)
}

// checkContinuation returns an error for a continuation that could not start as things are.
func (s *Scheduler) checkContinuation(call *pb.Call) error {
	if _, err := check(call); err != nil {
		return err
	}
	p, err := s.planner.of(call)
	if err != nil {
		return err
	}
	if _, err := s.timeout(call, p); err != nil {
		return err
	}
	n := len(p.functions)
	return route(p, call, make([]wire.Step, n), make([]span, n))
}

// startWithoutPlan answers a call that cannot be run as things are: by the run that is under way, by the result that is
// stored, after asking the registry, or not at all.
func (s *Scheduler) startWithoutPlan(q *submission, reason error, ask bool) {
	if existing := s.table.find(q.id); existing != nil {
		existing.attach(q)
		return
	}
	if result, ok := s.stored(q.id.ResultKey()); ok && q.items == nil {
		s.stats.attached.Add(1)
		q.done(result)
		return
	}
	if !ask || !errors.Is(reason, wire.ErrFunctionNotFound) && !errors.Is(reason, wire.ErrDAGNotFound) {
		s.refuse(q, reason)
		return
	}
	if err := s.enter(q.continues); err != nil {
		s.refuse(q, err)
		return
	}
	q.admitted = true
	if !s.missing.add(q) {
		s.leave()
		s.refuse(q, reason)
	}
}

// refuse answers a call that does not become a run. Where a result was promised, the reason takes its place: another call may
// refer to it already.
func (s *Scheduler) refuse(q *submission, reason error) {
	s.stats.refused.Add(1)
	result := wire.Result{Err: wire.AsError(reason)}
	if q.continues {
		s.cfg.Logger.Warn("a continuation did not start", "target", targetOf(q.call), "run", q.id.String(), "error", reason)
	}
	if q.continues || q.call.GetStore() && final(q, result.Err) {
		s.keepAside(q.id, q.id.ResultKey(), q.call.GetOutputKey(), result)
	}
	q.done(result)
	if next := q.call.GetContinuation(); next != nil && q.continues {
		s.proceed(q.client, q.parent, next, q.after, result)
	}
}

// final reports whether a call would be refused again, so that its client does not send it a second time.
func final(q *submission, reason *wire.Error) bool {
	return q.id != wire.RunID{} && reason.Code != pb.Code_CODE_UNAVAILABLE && reason.Code != pb.Code_CODE_NO_RESOURCES
}

// enter counts a run in, if there may be one more.
func (s *Scheduler) enter(admitted bool) error {
	n := s.inFlight.Add(1)
	var err error
	switch {
	case s.stopped.Load():
		err = wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the node is stopping")
	case admitted:
		return nil
	case s.draining.Load():
		err = wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the node is draining: it finishes what runs and takes no new calls")
	case n > int64(s.cfg.RunsMax):
		full := wire.Errorf(pb.Code_CODE_NO_RESOURCES, "%d runs are in flight already, the limit (scheduler.runs_max); try again later", s.cfg.RunsMax)
		full.RetryAfter = s.pace.comeBack(n)
		err = full
	default:
		return nil
	}
	s.leave()
	return err
}

func (s *Scheduler) leave() {
	if s.inFlight.Add(-1) == 0 && s.draining.Load() {
		select {
		case s.quiet <- struct{}{}:
		default:
		}
	}
}

// Run enforces deadlines until ctx ends. What is in flight then fails; drain first.
func (s *Scheduler) Run(ctx context.Context) error {
	defer s.stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { s.deadlines(ctx); return nil })
	group.Go(func() error { s.ask(ctx); return nil })
	group.Go(func() error { s.forget(ctx); return nil })
	return group.Wait()
}

// stop fails what is in flight and refuses what comes.
func (s *Scheduler) stop() {
	s.stopped.Store(true)
	stopping := wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the node is stopping")
	for _, q := range s.missing.close() {
		s.refuse(q, stopping)
		s.leave()
	}
	for _, r := range s.table.all() {
		r.end(wire.Result{Err: stopping})
	}
}

// Drain takes no new runs and returns when none is in flight, or when ctx ends, with an error that says how many are.
func (s *Scheduler) Drain(ctx context.Context) error {
	s.draining.Store(true)
	for {
		n := s.inFlight.Load()
		if n == 0 {
			return nil
		}
		select {
		case <-s.quiet:
		case <-ctx.Done():
			return fmt.Errorf("%d runs have not finished: %w", n, ctx.Err())
		}
	}
}
