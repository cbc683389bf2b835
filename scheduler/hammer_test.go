package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Calls that succeed, fail, are retried, time out, join each other and come while the scheduler drains: each is answered once,
// and with its own result.
func TestHammer(t *testing.T) {
	t.Parallel()
	const callers, calls = 16, 300
	registry := newFakeRegistry()
	registry.register(&pb.Function{Name: "a"})
	registry.register(&pb.Function{Name: "b"})
	registry.register(&pb.Function{Name: "c"})
	registry.register(&pb.Function{Name: "flaky", Retries: proto.Uint32(1)})
	registry.register(&pb.Function{Name: "silent"})
	links := []*pb.Link{{Source: "a", Sink: "b"}, {Source: "a", Sink: "c"}, {Source: "b", Sink: "flaky"}, {Source: "c", Sink: "flaky"}}
	if err := registry.registerDAG(&pb.Dag{Name: "diamond", Functions: []string{"a", "b", "c", "flaky"}, Links: links}); err != nil {
		t.Fatal(err)
	}
	var executing sync.WaitGroup
	defer executing.Wait()
	executor := executorFunc(func(inv *wire.Invocation) {
		switch {
		case inv.Steps[0].Function.GetName() == "silent":
		case inv.Steps[0].Function.GetName() == "flaky" && rand.IntN(8) == 0:
			inv.Done(wire.Result{Err: wire.Errorf(pb.Code_CODE_EXECUTION, "flaky")})
		case rand.IntN(2) == 0:
			inv.Done(wire.Result{Value: evaluate(inv)})
		default:
			executing.Go(func() { inv.Done(wire.Result{Value: evaluate(inv)}) })
		}
	})
	store := newFakeStore()
	s := start(t, Config{}, registry, store, executor, executor)
	var answered, wrong atomic.Int64
	var waiting sync.WaitGroup
	call := func(id wire.RunID, caller, n int) {
		waiting.Add(1)
		argument := fmt.Sprintf("%x", id[1:5])
		c := &pb.Call{RunId: id[:], Store: n%3 == 0}
		want := fmt.Sprintf("flaky(b(a(%s)), c(a(%s)))", argument, argument)
		switch n % 4 {
		case 0:
			c.Target = &pb.Call_Function{Function: "silent"}
			c.TimeoutMilliseconds = uint64(1 + n%20)
			want = ""
		default:
			c.Target = &pb.Call_Dag{Dag: "diamond"}
			c.Arguments = []*pb.Arguments{{Function: "a", Positional: 1}}
		}
		values := [][]byte{text(argument)}
		if want == "" {
			values = nil
		}
		var once atomic.Bool
		s.Call(1, c, values, nil, func(r wire.Result) bool {
			if !once.CompareAndSwap(false, true) {
				wrong.Add(1)
				return true
			}
			answered.Add(1)
			switch {
			case r.Err != nil && r.Err.Code == pb.Code_CODE_EXECUTION && want != "":
			case r.Err != nil && r.Err.Code == pb.Code_CODE_DEADLINE_EXCEEDED && want == "":
			case r.Err == nil && show(r.Value) == want:
			default:
				t.Errorf("caller %d, call %d: got %s %v, want %s", caller, n, show(r.Value), r.Err, want)
			}
			waiting.Done()
			return n%5 != 0
		})
	}
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			for n := range calls {
				var id wire.RunID
				id[0], id[1], id[2], id[3] = byte(n), byte(caller), byte(n>>8), byte(n)
				call(id, caller, n)
				if n%7 == 0 {
					call(id, caller, n)
				}
			}
		})
	}
	group.Wait()
	waiting.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		t.Error(err)
	}
	if wrong.Load() != 0 {
		t.Errorf("%d calls were answered twice", wrong.Load())
	}
	if stats := s.Stats(); stats.InFlight != 0 || stats.Retried == 0 || stats.Attached == 0 || stats.Undelivered == 0 {
		t.Errorf("stats %+v", stats)
	}
	for _, c := range s.candidates {
		if c.Load() < 0 {
			t.Errorf("load %d", c.Load())
		}
	}
}
