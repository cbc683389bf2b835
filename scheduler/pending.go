package scheduler

import (
	"context"
	"fmt"
	"sync"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// pending holds the calls that wait for the registry to say whether what they name exists. Safe for concurrent use.
type pending struct {
	functions Functions
	wake      chan struct{}

	mu          sync.Mutex
	submissions []*submission
	asked       []*submission // taken, and started once the registry has answered
	closed      bool
}

func newPending(functions Functions) *pending {
	return &pending{functions: functions, wake: make(chan struct{}, 1)}
}

// add takes a call in; it reports false when there are too many.
func (p *pending) add(q *submission) bool {
	kept := *q
	p.mu.Lock()
	if p.closed || len(p.submissions) >= pendingMax {
		p.mu.Unlock()
		return false
	}
	p.submissions = append(p.submissions, &kept)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return true
}

func (p *pending) take() []*submission {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked, p.submissions = p.submissions, nil
	return p.asked
}

// started forgets the calls that were taken.
func (p *pending) started() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = nil
}

// cancel marks a call that waits: it is refused when its turn comes. It reports false when none of that run waits.
func (p *pending) cancel(id wire.RunID, by, reason string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := false
	for _, waiting := range [][]*submission{p.submissions, p.asked} {
		for _, q := range waiting {
			if q.id == id && q.cancelled == nil {
				q.cancelled, found = cancelled(id, targetOf(q.call), by, reason), true
			}
		}
	}
	return found
}

// refusal returns why a call has been cancelled, or nil.
func (p *pending) refusal(q *submission) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.cancelled == nil {
		return nil
	}
	return q.cancelled
}

// close returns what waits and lets nothing more in.
func (p *pending) close() []*submission {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.submissions
	p.submissions, p.closed = nil, true
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
		submissions := s.missing.take()
		bounded, cancel := context.WithTimeout(ctx, syncTimeout)
		err := s.missing.functions.Sync(bounded)
		cancel()
		for _, q := range submissions {
			s.startAsked(q, err)
			s.leave()
		}
		s.missing.started()
	}
}

// startAsked starts a call again after the registry was asked, with or without success.
func (s *Scheduler) startAsked(q *submission, failed error) {
	if err := s.missing.refusal(q); err != nil {
		s.refuse(q, err)
		return
	}
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
