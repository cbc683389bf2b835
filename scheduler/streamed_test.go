package scheduler

import (
	"testing"
	"testing/synctest"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// streaming makes a streamed call and returns its result and the items that came before.
func streaming(s *Scheduler, call *pb.Call) (wire.Result, []string) {
	var got []string
	items := wire.NewItems(8, func(value []byte) { got = append(got, show(value)) })
	results := make(chan wire.Result, 1)
	s.Call(1, call, nil, items, func(r wire.Result) bool { results <- r; return false })
	return <-results, got
}

func TestStreamedResults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry, store := newFakeRegistry(), newFakeStore()
		retries := uint32(3)
		registry.register(&pb.Function{Name: "items", Generator: true, Retries: &retries})
		registry.register(&pb.Function{Name: "plain"})
		attempts := 0
		s := start(t, Config{}, registry, store, executorFunc(func(inv *wire.Invocation) {
			attempts++
			if inv.Items == nil {
				inv.Done(wire.Result{Value: text("a list")})
				return
			}
			if attempts > 1 {
				_ = inv.Items.Item(text("one"))
			}
			inv.Done(wire.Result{Err: wire.Errorf(pb.Code_CODE_EXECUTION, "attempt %d", attempts)})
		}))
		call := callFunction(runID(1), "items", 0)
		call.Store = true
		result, got := streaming(s, call)
		if result.Err == nil || attempts != 2 || len(got) != 1 {
			t.Errorf("%v after %d attempts with the items %v; it is tried again only before its first item", result.Err, attempts, got)
		}
		if len(store.entries) != 0 {
			t.Errorf("stored: %v", store.entries)
		}
		if result, _ := streaming(s, callFunction(runID(2), "plain", 0)); !fails(result, wire.ErrInvalidArgument) {
			t.Errorf("a function that yields nothing: %v", result.Err)
		}
		named := callFunction(runID(3), "items", 0)
		named.OutputKey = "key"
		if result, _ := streaming(s, named); !fails(result, wire.ErrInvalidArgument) {
			t.Errorf("with a key for the result: %v", result.Err)
		}
		continued := callFunction(runID(4), "items", 0)
		continued.Continuation = callFunction(runID(5), "plain", 0)
		if result, _ := streaming(s, continued); !fails(result, wire.ErrInvalidArgument) {
			t.Errorf("with a continuation: %v", result.Err)
		}
		if result := await(t, s, callFunction(runID(6), "items", 0)); show(result.Value) != "a list" {
			t.Errorf("called plainly: %v", result)
		}
	})
}

// A run whose items go to one call can be joined by no other.
func TestStreamedRunsAreNotJoined(t *testing.T) {
	t.Parallel()
	registry := newFakeRegistry()
	registry.register(&pb.Function{Name: "items", Generator: true})
	held := make(chan *wire.Invocation, 2)
	s := start(t, Config{}, registry, newFakeStore(), executorFunc(func(inv *wire.Invocation) { held <- inv }))
	done := make(chan wire.Result, 1)
	s.Call(1, callFunction(runID(1), "items", 0), nil, wire.NewItems(1, func([]byte) {}), func(r wire.Result) bool { done <- r; return true })
	if result := await(t, s, callFunction(runID(1), "items", 0)); !fails(result, wire.ErrInvalidArgument) {
		t.Errorf("joined: %v", result)
	}
	if result, _ := streaming(s, callFunction(runID(1), "items", 0)); !fails(result, wire.ErrInvalidArgument) {
		t.Errorf("joined for its items: %v", result)
	}
	(<-held).Done(wire.Result{Value: text("end")})
	if result := <-done; result.Err != nil {
		t.Error(result.Err)
	}
}
