package scheduler

import (
	"testing"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// waitingExecutor is an executor that answers when its test has ended, so that runs are under way until then.
type waitingExecutor struct {
	t   *testing.T
	got chan *wire.Invocation
}

func (e waitingExecutor) Cancel([]*wire.Invocation) {}

func (e waitingExecutor) Invoke(inv *wire.Invocation) {
	e.t.Cleanup(func() { inv.Done(wire.Result{Value: text("late")}) })
	e.got <- inv
}

func TestPriorities(t *testing.T) {
	t.Parallel()
	registry := newFakeRegistry()
	registry.register(&pb.Function{Name: "plain"})
	registry.register(&pb.Function{Name: "urgent", Priority: 5})
	registry.register(&pb.Function{Name: "idle", Priority: -5})
	executor := waitingExecutor{t, make(chan *wire.Invocation, 1)}
	s := start(t, Config{}, registry, newFakeStore(), executor)
	calls := 0
	priorityOf := func(function string, asked *int32, parent []byte) (int32, []byte) {
		t.Helper()
		calls++
		call := callFunction(runID(calls), function, 0)
		call.Priority, call.Parent = asked, parent
		s.Call(1, call, nil, nil, func(wire.Result) bool { return true })
		return (<-executor.got).Priority, call.GetRunId()
	}
	for _, c := range []struct {
		above, below           string
		askedAbove, askedBelow *int32
		wantAbove, wantBelow   int32
	}{
		{above: "plain", below: "plain"},
		{above: "urgent", below: "plain", wantAbove: 5, wantBelow: 5},
		{above: "plain", below: "urgent", wantBelow: 5},
		{above: "idle", below: "plain", wantAbove: -5},
		{above: "idle", below: "idle", wantAbove: -5, wantBelow: -5},
		{above: "urgent", below: "plain", askedAbove: new(int32(0))},
		{above: "plain", below: "urgent", askedAbove: new(int32(7)), askedBelow: new(int32(1)), wantAbove: 7, wantBelow: 7},
	} {
		above, id := priorityOf(c.above, c.askedAbove, nil)
		below, _ := priorityOf(c.below, c.askedBelow, id)
		if above != c.wantAbove || below != c.wantBelow {
			t.Errorf("%s, which calls %s: %d and %d, want %d and %d", c.above, c.below, above, below, c.wantAbove, c.wantBelow)
		}
	}
}
