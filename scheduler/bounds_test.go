package scheduler

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// slowRegistry takes its time to say what is new.
type slowRegistry struct {
	*fakeRegistry
	takes atomic.Int64 // nanoseconds
}

func (r *slowRegistry) Sync(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(r.takes.Load())):
		return r.fakeRegistry.Sync(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// However many calls name something unknown, the registry is asked one question at a time, and no other call waits for it.
func TestUnknownNamesAreAskedForTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := &slowRegistry{fakeRegistry: newFakeRegistry()}
		registry.takes.Store(int64(time.Second))
		registry.register(&pb.Function{Name: "f"})
		s := start(t, Config{}, registry, newFakeStore(), immediately)
		var refused atomic.Int64
		for i := range 100 {
			s.Call(1, callFunction(runID(i), "nope", 0), nil, nil, func(r wire.Result) bool {
				if fails(r, wire.ErrFunctionNotFound) {
					refused.Add(1)
				}
				return true
			})
		}
		if r := await(t, s, callFunction(runID(1000), "f", 0)); r.Err != nil || refused.Load() != 0 {
			t.Errorf("a call that needs nothing: %v, after %d refusals", r.Err, refused.Load())
		}
		time.Sleep(3 * time.Second)
		if refused.Load() != 100 || registry.syncs > 2 {
			t.Errorf("%d calls were refused after %d questions", refused.Load(), registry.syncs)
		}
		registry.takes.Store(int64(time.Hour))
		if r := await(t, s, callFunction(runID(1001), "nope", 0)); !fails(r, wire.ErrUnavailable) {
			t.Errorf("without an answer: %v", r.Err)
		}
	})
}

func TestPendingIsBounded(t *testing.T) {
	t.Parallel()
	// Nothing takes the calls out, since the scheduler does not run.
	s, err := New(Config{}, newFakeRegistry(), []Executor{immediately}, newFakeStore())
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range pendingMax + 1 {
		s.Call(1, callFunction(runID(i), "nope", 0), nil, nil, func(r wire.Result) bool {
			refused++
			return true
		})
	}
	if refused != 1 {
		t.Errorf("%d calls were refused at once, want 1", refused)
	}
	s.stop()
	if refused != pendingMax+1 || s.Stats().InFlight != 0 {
		t.Errorf("%d calls were answered when the scheduler stopped, %+v", refused, s.Stats())
	}
}

func TestWaitersAreBounded(t *testing.T) {
	t.Parallel()
	registry := newFakeRegistry()
	registry.register(&pb.Function{Name: "f"})
	held := make(chan *wire.Invocation, 1)
	s := start(t, Config{}, registry, newFakeStore(), executorFunc(func(inv *wire.Invocation) { held <- inv }))
	answered, refused := 0, 0
	for range waitersMax + 1 {
		s.Call(1, callFunction(runID(1), "f", 0), nil, nil, func(r wire.Result) bool {
			if fails(r, wire.ErrNoResources) {
				refused++
			} else {
				answered++
			}
			return true
		})
	}
	(<-held).Done(wire.Result{Value: text("x")})
	if answered != waitersMax || refused != 1 {
		t.Errorf("%d answered, %d refused", answered, refused)
	}
}

func TestContinuationsAreBounded(t *testing.T) {
	t.Parallel()
	registry := newFakeRegistry()
	registry.register(&pb.Function{Name: "f"})
	s := start(t, Config{}, registry, newFakeStore(), immediately)
	call := callFunction(runID(0), "f", 0)
	last := call
	for i := range continuationsMax {
		last.Continuation = callFunction(runID(i+1), "f", 0)
		last = last.Continuation
	}
	if r := await(t, s, call); r.Err != nil {
		t.Error(r.Err)
	}
	if stats := s.Stats(); stats.Finished != continuationsMax+1 {
		t.Errorf("%+v", stats)
	}
	last.Continuation = callFunction(runID(999), "f", 0)
	call.RunId[5] = 1
	if r := await(t, s, call); !fails(r, wire.ErrInvalidArgument) || !strings.Contains(r.Err.Error(), "16") {
		t.Errorf("one too many: %v", r.Err)
	}
}

func TestArgumentsAreValues(t *testing.T) {
	t.Parallel()
	registry := newFakeRegistry()
	registry.register(&pb.Function{Name: "f"})
	s := start(t, Config{}, registry, newFakeStore(), immediately)
	if r := await(t, s, callFunction(runID(1), "f", 1), []byte{}); !fails(r, wire.ErrInvalidArgument) {
		t.Errorf("no bytes: %v", r.Err)
	}
	large := make([]byte, wire.ValueBytesMax+wire.ValueOverheadMax+1)
	if r := await(t, s, callFunction(runID(1), "f", 1), large); !fails(r, wire.ErrTooLarge) || !strings.Contains(r.Err.Error(), "64 MiB") {
		t.Errorf("too large: %v", r.Err)
	}
}

// A failure that is too large to be kept is kept without what makes it so.
func TestFailuresFit(t *testing.T) {
	t.Parallel()
	value := encodeFailure(&wire.Error{Code: pb.Code_CODE_EXECUTION, Message: "boom", Pickle: make([]byte, wire.ValueBytesMax)})
	if failure := codec.DecodeFailure(value); failure == nil || failure.Code != pb.Code_CODE_EXECUTION || len(value) > 1024 {
		t.Errorf("%d bytes: %v", len(value), failure)
	}
}

func TestHistogram(t *testing.T) {
	t.Parallel()
	var c counters
	for _, took := range []time.Duration{0, time.Microsecond, 100 * time.Microsecond, time.Hour} {
		c.ended(wire.Result{}, took)
	}
	s := Scheduler{results: newResults(Config{})}
	for i := range c.latency {
		s.stats.latency[i].Store(c.latency[i].Load())
	}
	cumulative, count, _ := s.Stats().Latency.Buckets()
	if count != 4 || cumulative[1e-6] != 1 || cumulative[2e-6] != 2 || cumulative[128e-6] != 3 || cumulative[64e-6] != 2 {
		t.Errorf("%d in %v", count, cumulative)
	}
}

// Results that are stored are never too many nor too large together: the oldest make room. Those that have expired count no
// more.
func TestStoredResultsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry, store := newFakeRegistry(), newFakeStore()
		registry.register(&pb.Function{Name: "f"})
		value := text("small")
		executor := executorFunc(func(inv *wire.Invocation) { inv.Done(wire.Result{Value: value}) })
		s := start(t, Config{ResultsMax: 1000, ResultsBytesMax: 2 * wire.ValueBytesMax}, registry, store, executor)
		next := 0
		run := func() {
			call := callFunction(runID(next), "f", 0)
			call.RunId[1], call.RunId[2] = byte(next>>8), byte(next)
			call.Store = true
			next++
			if r := await(t, s, call); r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		check := func(what string, count int) {
			t.Helper()
			synctest.Wait()
			store.mu.Lock()
			stored := len(store.entries)
			store.mu.Unlock()
			if stats := s.Stats(); stored != count || stats.Results != count {
				t.Errorf("%s: %d are stored, %d are counted, want %d", what, stored, stats.Results, count)
			}
		}
		for range 3000 {
			run()
		}
		check("many", 1000)
		value = make([]byte, wire.ValueBytesMax/2)
		value[0] = codec.KindBytes
		for range 10 {
			run()
		}
		check("large", 3)
		time.Sleep(time.Hour)
		if stats := s.Stats(); stats.Results != 0 || stats.ResultBytes != 0 || stats.Forgotten != 3007 {
			t.Errorf("after their time: %+v", stats)
		}
	})
}

func TestResultsRing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := newResults(Config{ResultsMax: rapid.IntRange(1, 200).Draw(t, "max"), ResultsBytesMax: 1 << 40, ResultTTL: time.Hour})
		added, removed := 0, 0
		for range rapid.IntRange(1, 20).Draw(t, "rounds") {
			for range rapid.IntRange(0, 150).Draw(t, "added") {
				added++
				r.add(runID(added), added)
			}
			for keys := r.excess(); len(keys) > 0; keys = r.excess() {
				for _, key := range keys {
					removed++
					if key != runID(removed).ResultKey() {
						t.Fatalf("%s made room, want %s", key, runID(removed))
					}
				}
			}
			sum := 0
			for i := removed + 1; i <= added; i++ {
				sum += i + resultOverheadBytes
			}
			if count, bytes := r.held(); count != added-removed || count > r.max || bytes != sum {
				t.Fatalf("%d with %d bytes, want %d with %d", count, bytes, added-removed, sum)
			}
		}
	})
}
