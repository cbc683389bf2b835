package anna

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"cloudburst/anna/slots"
)

// takePart makes this node a member until ctx ends. It returns when the node serves the slots that it got first, and then true; or when
// stop is closed.
func (s *Server) takePart(ctx context.Context, group *errgroup.Group, stop <-chan struct{}) (ready bool, err error) {
	m := s.members
	if err := m.open(ctx); err != nil {
		return false, err
	}
	if err := m.replaceFormer(ctx); err != nil {
		return false, err
	}
	if err := insist(ctx, m.announce); err != nil {
		return false, err
	}
	loaded := make(chan struct{})
	group.Go(func() error { m.track(ctx, loaded); return nil })
	group.Go(func() error { s.pulse(ctx); return nil })
	select {
	case <-loaded:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	group.Go(func() error { s.mover.run(ctx); return nil })
	select {
	case <-s.mover.ready:
		return true, nil
	case err := <-s.mover.failed:
		return false, err
	case <-stop:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// pulse keeps this node's presence alive.
func (s *Server) pulse(ctx context.Context) {
	ticker := time.NewTicker(s.cfg.MemberTTL / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := s.members.announce(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("the other nodes may take this one for gone", "error", err)
		}
	}
}

// handOver lets others take over all slots before this node goes, as far as they do so in time.
func (s *Server) handOver(ctx context.Context) {
	s.mover.tell(ctx, slots.Leave{})
	select {
	case err := <-s.mover.stopped:
		if err != nil {
			s.cfg.Logger.Warn("this node goes before others have taken over all of its slots", "error", err)
		}
	case <-ctx.Done():
	}
}

// setServes changes which slots this node answers requests for.
func (s *Server) setServes(which []uint16, is bool) {
	for _, slot := range which {
		s.serves[slot].Store(is)
	}
}
