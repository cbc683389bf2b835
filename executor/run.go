package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	restartBackoffMin = 50 * time.Millisecond
	restartBackoffMax = 5 * time.Second
)

// Run starts the workers and runs invocations until ctx ends. What runs then is stopped, so drain the callers first. It
// fails when the workers cannot be started the first time; later they are started again.
func (e *Executor) Run(ctx context.Context) error {
	clients, err := newConnections()
	if err != nil {
		return fmt.Errorf("start the Python workers: %w", err)
	}
	defer clients.close()
	defer e.stop()
	e.mu.Lock()
	e.clients = clients
	e.mu.Unlock()
	z, notice, err := startZygote(ctx, e.cfg)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	e.begin(z, notice)
	close(e.ready)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { clients.serve(e.cfg.Accept); return nil })
	defer context.AfterFunc(ctx, clients.end)()
	group.Go(func() error { e.deadlines(ctx); return nil })
	group.Go(func() error { e.supervise(ctx, z); return nil })
	return group.Wait()
}

// begin makes a zygote the one that workers come from, and starts the first of them.
func (e *Executor) begin(z *zygote, notice zygoteNotice) {
	e.python.Store(&notice)
	e.mu.Lock()
	e.zygote = z
	e.spawnAfter = time.Time{}
	e.shared.keep, e.shared.floor = e.cfg.WorkersMin, e.cfg.WorkersMin
	var lanes []*lane
	e.lanes(func(l *lane) { lanes = append(lanes, l) })
	e.mu.Unlock()
	for _, l := range lanes {
		e.refill(l)
	}
	e.cfg.Logger.Info("workers ready", "python", notice.Python, "workers", e.cfg.WorkersMin)
}

// supervise reads the zygote's notices and starts another zygote when it ends.
func (e *Executor) supervise(ctx context.Context, z *zygote) {
	backoff := restartBackoffMin
	for {
		began := time.Now()
		stop := context.AfterFunc(ctx, func() { _ = z.control.SetReadDeadline(time.Unix(1, 0)) })
		err := e.notices(z)
		stop()
		if ctx.Err() != nil {
			return // stop ends the zygote
		}
		e.mu.Lock()
		e.zygote = nil
		e.mu.Unlock()
		z.kill()
		<-z.waited
		if time.Since(began) > restartBackoffMax {
			backoff = restartBackoffMin
		}
		e.cfg.Logger.Error("the Python zygote ended, it is started again", "error", err, "printed", z.stderr.String())
		if z, backoff = e.restart(ctx, backoff); z == nil {
			return
		}
	}
}

// restart starts a zygote, trying until ctx ends.
func (e *Executor) restart(ctx context.Context, backoff time.Duration) (*zygote, time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return nil, backoff
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, restartBackoffMax)
		z, notice, err := startZygote(ctx, e.cfg)
		switch {
		case err == nil:
			e.begin(z, notice)
			return z, backoff
		case ctx.Err() != nil:
			return nil, backoff
		}
		e.cfg.Logger.Error("the Python zygote cannot be started", "error", err, "again_in", backoff)
	}
}

// notices handles what the zygote says until its socket ends.
func (e *Executor) notices(z *zygote) error {
	for {
		notice, err := z.read()
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			return io.EOF
		}
		if err != nil {
			return err
		}
		switch {
		case notice.Forked != 0:
			e.forked(notice)
		case notice.Exited != 0:
			e.exited(notice)
		}
	}
}

// stop ends all workers and fails what waits.
func (e *Executor) stop() {
	e.mu.Lock()
	z := e.zygote
	e.zygote, e.stopped = nil, true
	var waiting []*invocation
	e.lanes(func(l *lane) { waiting = append(waiting, l.takeIf(func(*invocation) bool { return true })...) })
	workers := make([]*worker, 0, len(e.workers))
	for _, w := range e.workers {
		workers = append(workers, w)
	}
	e.mu.Unlock()
	e.endLife()
	for _, t := range waiting {
		t.failStopping()
	}
	if z != nil {
		z.end()
	}
	for _, w := range workers {
		_ = w.conn.Close() // its process has ended
	}
	e.goroutines.Wait()
}
