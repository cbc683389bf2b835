package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// partStopTimeout is how long one part may take to end once it has been cancelled; one that hangs must not keep the process.
const partStopTimeout = 15 * time.Second

// part is one part of a node: what runs, and how to tell that it is ready.
type part struct {
	name string
	// run blocks until its context ends, or until the part fails.
	run func(context.Context) error
	// ready is closed when the part serves; nil = as soon as it runs.
	ready <-chan struct{}
	// drain lets what is under way finish, within its context; nil = there is nothing to finish.
	drain func(context.Context) error
}

// running is a part that has been started.
type running struct {
	part
	cancel context.CancelFunc
	ended  chan struct{} // closed when run has returned, and err is there
	err    error
}

// supervisor starts parts in order and stops them in reverse. Owned by the goroutine of Node.Run.
type supervisor struct {
	logger *slog.Logger
	began  time.Time
	parts  []*running
	failed chan error // the first part that ended without being told to
}

func newSupervisor(logger *slog.Logger) *supervisor {
	return &supervisor{logger: logger, began: time.Now(), failed: make(chan error, 1)}
}

// start begins to run a part. Its context ends when it is stopped, and not before: a part is told to stop after those that use
// it.
func (s *supervisor) start(ctx context.Context, p part) *running {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{part: p, cancel: cancel, ended: make(chan struct{})}
	s.parts = append(s.parts, r)
	s.trace("started", p.name)
	go func() {
		defer close(r.ended)
		r.err = p.run(ctx)
		if ctx.Err() != nil {
			return
		}
		err := r.err
		if err == nil {
			err = errors.New("it ended without a reason")
		}
		select {
		case s.failed <- fmt.Errorf("%s: %w", p.name, err):
			r.err = nil // it has been told
		default:
		}
	}()
	return r
}

// await returns when the parts are ready, or with the reason that they will not be.
func (s *supervisor) await(ctx context.Context, parts ...*running) error {
	for _, r := range parts {
		if r.ready == nil {
			continue
		}
		select {
		case <-r.ready:
			s.trace("ready", r.name)
		case err := <-s.failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// stop ends the parts, the last one first: each finishes what is under way until ctx ends, and is cancelled then.
func (s *supervisor) stop(ctx context.Context) error {
	var faults []error
	for _, r := range slices.Backward(s.parts) {
		if r.drain != nil && !r.over() && ctx.Err() == nil {
			if err := r.drain(ctx); err != nil {
				s.logger.Warn("not everything could be finished", "part", r.name, "error", err)
			}
			s.trace("drained", r.name)
		}
		r.cancel()
		timer := time.NewTimer(partStopTimeout)
		select {
		case <-r.ended:
			if r.err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", r.name, r.err))
			}
			s.trace("stopped", r.name)
		case <-timer.C:
			faults = append(faults, fmt.Errorf("%s: it did not stop within %v", r.name, partStopTimeout))
		}
		timer.Stop()
	}
	return errors.Join(faults...)
}

func (r *running) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

func (s *supervisor) trace(what, part string) {
	s.logger.Debug(part+" "+what, "after", time.Since(s.began).Round(100*time.Microsecond))
}
