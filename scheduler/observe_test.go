package scheduler

import (
	"testing"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// The end of a run is told to those who ask for it, at once if it has ended, and not to those who have stopped asking.
func TestTheEndOfARunIsObserved(t *testing.T) {
	functions := newFakeRegistry()
	functions.register(&pb.Function{Name: "f"})
	held := make(chan *wire.Invocation, 2)
	s := start(t, Config{}, functions, newFakeStore(), executorFunc(func(inv *wire.Invocation) { held <- inv }))
	parent, child := callFunction(runID(1), "f", 0), callFunction(runID(2), "f", 0)
	id := runID(1)
	child.Parent = id[:]
	s.Call(7, parent, nil, nil, func(wire.Result) bool { return true })
	inv := <-held
	s.Call(8, child, nil, nil, func(wire.Result) bool { return true })
	<-held
	for n, want := range map[int]struct {
		parent wire.RunID
		found  bool
	}{1: {found: true}, 2: {runID(1), true}, 3: {}} {
		client, parent, found := s.Origin(runID(n))
		if parent != want.parent || found != want.found || found && client != 7 {
			t.Errorf("run %d: client %d, parent %s, %v", n, client, parent, found)
		}
	}
	told := map[string]int{}
	ask := func(id wire.RunID, who string) (stop func()) { return s.WhenEnded(id, func() { told[who]++ }) }
	ask(runID(1), "first")
	stop := ask(runID(1), "gone")
	ask(runID(1), "last")
	ask(runID(3), "of no run")
	stop()
	stop()
	if len(told) != 1 || told["of no run"] != 1 {
		t.Errorf("before the end: %v", told)
	}
	inv.Done(wire.Result{Value: text("x")})
	ask(runID(1), "late")
	if len(told) != 4 || told["first"] != 1 || told["last"] != 1 || told["late"] != 1 {
		t.Errorf("after the end: %v", told)
	}
	stop()
}
