package anna

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// tasks are goroutines that belong to Run and that other parts of a server begin.
type tasks struct {
	mu    sync.Mutex
	ctx   context.Context
	group *errgroup.Group
}

func (t *tasks) open(ctx context.Context, group *errgroup.Group) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ctx, t.group = ctx, group
}

// close makes start fail from now on.
func (t *tasks) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.group = nil
}

// start begins a task, unless Run is about to end.
func (t *tasks) start(task func(context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.group == nil {
		return false
	}
	ctx := t.ctx
	t.group.Go(func() error { task(ctx); return nil })
	return true
}
