package descriptors

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// refusalsEvery is how often at most refusals are logged while they go on.
	refusalsEvery = 10 * time.Second
	pauseMin      = 10 * time.Millisecond
	pauseMax      = time.Second
)

// Refusals logs that connections are refused: the first at once, those that follow together every ten seconds, and the end. Safe
// for concurrent use.
type Refusals struct {
	// Logger gets the lines.
	Logger *slog.Logger
	// Port names the port in them.
	Port string

	refusing atomic.Bool
	mu       sync.Mutex
	count    int
	logged   time.Time
	pause    time.Duration
}

// Refused takes note of a connection that was refused, and why.
func (r *Refusals) Refused(reason string, attributes ...any) {
	r.refusing.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	r.log(reason, attributes)
}

// log writes a line unless there was one lately; r.mu is held.
func (r *Refusals) log(reason string, attributes []any) {
	if time.Since(r.logged) < refusalsEvery {
		return
	}
	r.Logger.Warn("connections are refused: "+reason, append([]any{"port", r.Port, "refused", r.count}, attributes...)...)
	r.logged, r.count = time.Now(), 0
}

// Failed takes note that no connection could be accepted, which is tried again after a pause that grows from try to try; it returns
// after the pause, or when ctx ends.
func (r *Refusals) Failed(ctx context.Context, err error) {
	r.refusing.Store(true)
	r.mu.Lock()
	r.pause = min(max(2*r.pause, pauseMin), pauseMax)
	pause := r.pause
	r.log("none can be accepted", []any{"error", err, "limit", Limit()})
	r.mu.Unlock()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Accepted takes note of a connection that was accepted.
func (r *Refusals) Accepted() {
	if !r.refusing.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pause = 0; time.Since(r.logged) < refusalsEvery {
		return // it may be refused again at once
	}
	r.refusing.Store(false)
	r.Logger.Info("connections are accepted again", "port", r.Port, "refused", r.count)
	r.count = 0
}

// Scarce is the reason of a refusal for the sake of the log.
func Scarce() (reason string, attributes []any) {
	limit := Limit()
	return "the file descriptors that are left are kept for the log (ulimit -n, or LimitNOFILE)", []any{"limit", limit, "kept", Reserve(limit)}
}
