package executor

import (
	"testing"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Only what is cancelled leaves the queue, although another run has the same id by now.
func TestTakeCancelled(t *testing.T) {
	t.Parallel()
	l := newLane(10)
	queued := func(run byte, cancelled bool) *invocation {
		inv := &wire.Invocation{
			RunID: wire.RunID{run}, Steps: []wire.Step{{Function: &pb.Function{Name: "f", Version: 1}}}, Trace: new(wire.Trace),
		}
		if cancelled {
			inv.Trace.Cancel("a test")
		}
		one := &invocation{inv: inv, queued: time.Now()}
		l.push(one)
		return one
	}
	first, again, other := queued(1, true), queued(1, false), queued(2, true)
	if taken := l.takeCancelled(wire.RunID{1}); len(taken) != 1 || taken[0] != first {
		t.Fatalf("took %v", taken)
	}
	if err := first.cancelled(); err == nil || err.Code != pb.Code_CODE_CANCELLED || err.Message != "a test" {
		t.Errorf("it ends with %v", err)
	}
	for _, want := range []*invocation{again, other} {
		if got := l.pop(); got != want {
			t.Errorf("%v follows, want %v", got, want)
		}
	}
	if l.waiting() != 0 {
		t.Errorf("%d wait", l.waiting())
	}
}

// What is cancelled before it comes to the executor is answered at once, and what waits for a reference stops waiting.
func TestCancelledBeforeItBegins(t *testing.T) {
	t.Parallel()
	e, err := New(Config{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan wire.Result, 1)
	inv := &wire.Invocation{
		Steps: []wire.Step{{Function: &pb.Function{Name: "f", Version: 1}}}, Trace: new(wire.Trace), Done: func(r wire.Result) { answers <- r },
	}
	inv.Trace.Cancel("too late")
	e.Invoke(inv)
	if r := <-answers; r.Err == nil || r.Err.Code != pb.Code_CODE_CANCELLED || r.Err.Message != "too late" {
		t.Errorf("answered with %+v", r)
	}
	if n := e.Stats().Cancelled; n != 1 {
		t.Errorf("%d are counted", n)
	}
	stopped := false
	waiting := &invocation{inv: &wire.Invocation{Trace: new(wire.Trace)}}
	if !e.resolvable(waiting, func() { stopped = true }) {
		t.Fatal("it is taken for cancelled")
	}
	waiting.inv.Trace.Cancel("now")
	e.Cancel([]*wire.Invocation{waiting.inv})
	if !stopped {
		t.Error("the wait for its reference goes on")
	}
	e.resolved(waiting)
	if e.resolvable(waiting, func() {}) {
		t.Error("it waits again")
	}
}
