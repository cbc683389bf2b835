package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"cloudburst/wire/pb"
)

// watcherStopWait bounds the wait for a watcher that was told to stop.
const watcherStopWait = time.Second

var (
	errWatchLost   = errors.New("the watch of the registry's log ended")
	errReconnected = errors.New("the connection to the registry's log was lost for a while")
)

// garbage is what a deletion left in the stores.
type garbage struct {
	functions []*pb.Function
	revision  uint64 // of the deletion
}

// follow watches the bucket until ctx ends, beginning again whenever the watch is lost. It fails when the registry is not loaded
// at the deadline.
func (r *Registry) follow(ctx context.Context, group *errgroup.Group, deadline time.Time) error {
	for attempt := 0; ; attempt++ {
		began := time.Now()
		err := r.watch(ctx, group)
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-r.ready:
		default:
			if time.Now().Before(deadline) && pause(ctx, attempt) {
				continue
			}
			return fmt.Errorf("load the registry from JetStream bucket %s: %w", r.cfg.Bucket, err)
		}
		if time.Since(began) > auditInterval {
			attempt = 0
		}
		r.cfg.Logger.Warn("following the registry again", "bucket", r.cfg.Bucket, "error", err)
		if !pause(ctx, attempt) {
			return nil
		}
	}
}

// watch loads the bucket into a state of its own, makes that the registry's as soon as it is no older, and follows.
func (r *Registry) watch(ctx context.Context, group *errgroup.Group) error {
	// A connection that was away for a while has lost its watch with it, and would notice that much later.
	back := r.conn.NATS.StatusChanged(nats.CONNECTED)
	defer r.conn.NATS.RemoveStatusListener(back)
	attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	info, err := r.stream.Info(attempt)
	if err != nil {
		return err
	}
	watcher, err := r.keyValue.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer stop(watcher)
	audit := time.NewTicker(auditInterval)
	defer audit.Stop()
	audited := uint64(0)

	loading, loaded := newState(), false
	var swept []garbage
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-back:
			if !ok {
				return errWatchLost
			}
			return errReconnected
		case <-audit.C:
			if audited, err = r.audit(ctx, audited); err != nil {
				return err
			}
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				return errWatchLost
			case loading == nil:
				r.applyWatched(entry)
			case entry == nil:
				// Entries that were written over or purged are gone, so the last one there is may be older than the log's end.
				loading.applied, loaded = max(loading.applied, info.State.LastSeq), true
			default:
				if functions := r.take(loading, entry); len(functions) > 0 {
					swept = append(swept, garbage{functions, entry.Revision()})
				}
			}
			if loading != nil && loaded && r.install(loading) {
				loading = nil
				if len(swept) > 0 {
					left := swept
					swept = nil
					group.Go(func() error { r.sweepAll(ctx, left); return nil })
				}
			}
		}
	}
}

// install makes s the registry's state unless it is older than the present one.
func (r *Registry) install(s *state) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.applied < r.state.applied {
		return false
	}
	r.state = s
	r.notify()
	select {
	case <-r.ready:
	default:
		close(r.ready)
	}
	return true
}

// applyWatched takes in an entry that the watch brought, unless a change of this process was faster.
func (r *Registry) applyWatched(entry jetstream.KeyValueEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if entry == nil || entry.Revision() <= r.state.applied {
		return
	}
	// The node that deleted a function removes what is left of it.
	_ = r.take(r.state, entry)
	r.notify()
}

// take applies an entry to s. One that cannot be read changes nothing but the revision.
func (r *Registry) take(s *state, entry jetstream.KeyValueEntry) []*pb.Function {
	if entry.Operation() != jetstream.KeyValuePut {
		s.applied = max(s.applied, entry.Revision())
		r.cfg.Logger.Warn("ignoring a removal that the registry did not make", "key", entry.Key(), "revision", entry.Revision())
		return nil
	}
	rec, err := decode(entry.Key(), entry.Value())
	if err != nil {
		s.applied = max(s.applied, entry.Revision())
		r.cfg.Logger.Warn("ignoring an entry of the registry", "key", entry.Key(), "revision", entry.Revision(), "error", err)
		return nil
	}
	return s.apply(rec, entry.Revision())
}

// audit fails when the state is still behind where the log was an audit ago. It returns where the log is now.
func (r *Registry) audit(ctx context.Context, before uint64) (uint64, error) {
	r.mu.RLock()
	applied := r.state.applied
	r.mu.RUnlock()
	if applied < before {
		return 0, fmt.Errorf("%w: it is at %d, the log was at %d long ago", errWatchLost, applied, before)
	}
	info, err := r.stream.Info(ctx)
	if err != nil {
		// The log cannot be reached; the connection says so, and the watch goes on when it is back.
		return before, nil //nolint:nilerr // see above
	}
	return info.State.LastSeq, nil
}

// stop ends a watcher and waits for its goroutine, which may be busy handing over an entry.
func stop(watcher jetstream.KeyWatcher) {
	_ = watcher.Stop() // fails only when the connection, and the watcher with it, is closed
	timer := time.NewTimer(watcherStopWait)
	defer timer.Stop()
	for {
		select {
		case _, ok := <-watcher.Updates():
			if !ok {
				return
			}
		case <-timer.C:
			return
		}
	}
}

// sweepAll removes what deletions of an earlier life have left.
func (r *Registry) sweepAll(ctx context.Context, all []garbage) {
	for _, g := range all {
		r.sweep(ctx, g)
	}
}

// sweep removes the definitions of deleted versions, and then their entries: in this order, so that after a crash in between
// the next start finds the entries and does it again. The deletion has happened before; a failure only leaves waste.
func (r *Registry) sweep(ctx context.Context, g garbage) {
	if len(g.functions) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepTimeout)
	defer cancel()
	name := g.functions[0].GetName()
	for _, f := range g.functions {
		r.cached.drop(f.GetDefinitionKey())
		if err := r.definitions.Delete(ctx, f.GetDefinitionKey()); err != nil {
			r.cfg.Logger.Warn("a definition of a deleted function stays until the next start", "function", name, "version", f.GetVersion(), "error", err)
			return
		}
	}
	err := r.stream.Purge(ctx, jetstream.WithPurgeSubject(r.subject(functionPrefix+encodeName(name)+".*")), jetstream.WithPurgeSequence(g.revision))
	if err != nil {
		r.cfg.Logger.Warn("entries of a deleted function stay until the next start", "function", name, "error", err)
	}
}
