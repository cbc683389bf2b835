package scheduler

import (
	"context"
	"fmt"
	"sync"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// watchLinger is how long the watch goes on ticking after the last run, so that a steady trickle of calls does not wake it
// for each.
const watchLinger = time.Second

// watchSoon makes sure that the watch is ticking.
func (s *Scheduler) watchSoon() {
	if s.watching.Load() {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// watch ends runs at their deadlines and launches tasks again. One goroutine looks at everything, instead of a timer per
// run; without runs it sleeps.
func (s *Scheduler) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		s.watching.Store(true)
		s.tickWhileBusy(ctx)
		s.watching.Store(false)
		// A run that began just before the line above has not waked the watch.
		if s.inFlight.Load() > 0 {
			s.watchSoon()
		}
	}
}

func (s *Scheduler) tickWhileBusy(ctx context.Context) {
	ticker := time.NewTicker(wheelTickMilliseconds * time.Millisecond)
	defer ticker.Stop()
	last := time.Now()
	var due []*alarm
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		if s.inFlight.Load() > 0 {
			last = now
		} else if now.Sub(last) > watchLinger {
			return
		}
		due = s.table.due(now, due[:0])
		for i, a := range due {
			if a.retry != nil {
				a.run.launch(a.retry, now)
			} else {
				a.run.expire(now)
			}
			due[i] = nil
		}
	}
}

// retryLater has a task launched again that has failed for the retries-th time.
func (s *Scheduler) retryLater(t *task, retries uint32) {
	s.stats.retried.Add(1)
	delay := min(retryDelayMin<<min(retries-1, 16), retryDelayMax)
	s.table.retryAt(t, time.Now().Add(delay))
}

// pending holds the calls that wait for the registry to say whether what they name exists. Safe for concurrent use.
type pending struct {
	functions Functions
	wake      chan struct{}

	mu       sync.Mutex
	requests []*request
	closed   bool
}

func newPending(functions Functions) *pending {
	return &pending{functions: functions, wake: make(chan struct{}, 1)}
}

// add takes a call in; it reports false when there are too many.
func (p *pending) add(q *request) bool {
	kept := *q
	p.mu.Lock()
	if p.closed || len(p.requests) >= pendingMax {
		p.mu.Unlock()
		return false
	}
	p.requests = append(p.requests, &kept)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return true
}

func (p *pending) take() []*request {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.requests
	p.requests = nil
	return taken
}

// close returns what waits and lets nothing more in.
func (p *pending) close() []*request {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.requests
	p.requests, p.closed = nil, true
	return taken
}

// ask brings this node's knowledge of the registry up to date when calls wait for it: once for all that wait, however many
// they are.
func (s *Scheduler) ask(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.missing.wake:
		}
		requests := s.missing.take()
		bounded, cancel := context.WithTimeout(ctx, syncTimeout)
		err := s.missing.functions.Sync(bounded)
		cancel()
		for _, q := range requests {
			s.startAsked(q, err)
			s.leave()
		}
	}
}

// startAsked starts a call again after the registry was asked, with or without success.
func (s *Scheduler) startAsked(q *request, failed error) {
	if failed == nil {
		s.start(q, false)
		return
	}
	if _, err := s.planner.of(q.call); err != nil {
		s.refuse(q, wire.Errorf(pb.Code_CODE_UNAVAILABLE, "%v; and whether it was registered a moment ago could not be found out: %v", err, fmt.Errorf("ask the registry: %w", failed)))
		return
	}
	s.start(q, false)
}
