package resp

import (
	"context"
	"sync"
	"time"
)

// tasks are goroutines that belong to Run and are begun by commands.
type tasks struct {
	mu      sync.Mutex
	ctx     context.Context // ends with Run; nil outside of it
	running sync.WaitGroup
	count   int
	max     int
	timeout time.Duration
}

// open lets tasks begin until ctx ends.
func (t *tasks) open(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ctx = ctx
}

// close lets none begin any more and waits for those that run; ctx must have ended.
func (t *tasks) close() {
	t.mu.Lock()
	t.ctx = nil
	t.mu.Unlock()
	t.running.Wait()
}

// start begins a task, unless there are too many, or Run is about to end.
func (t *tasks) start(task func(context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx == nil || t.count >= t.max {
		return false
	}
	ctx, cancel := context.WithTimeout(t.ctx, t.timeout)
	t.count++
	t.running.Go(func() {
		defer cancel()
		task(ctx)
		t.mu.Lock()
		t.count--
		t.mu.Unlock()
	})
	return true
}

// under returns how many run.
func (t *tasks) under() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}
