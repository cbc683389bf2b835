package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Whatever workers and functions do, no function of a DAG runs more often than was said, and a run whose functions may still run is not
// given up.
func TestAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := drawComposition(t)
		registry := newFakeRegistry()
		for _, f := range c.functions {
			registry.register(f)
		}
		d := &pb.Dag{Name: "d", Functions: c.graph.Functions}
		for _, l := range c.graph.Links {
			d.Links = append(d.Links, &pb.Link{Source: l.Source, Sink: l.Sink})
		}
		if err := registry.registerDAG(d); err != nil {
			t.Fatal(err)
		}
		id := runID(1)
		call := &pb.Call{RunId: id[:], Target: &pb.Call_Dag{Dag: "d"}, TimeoutMilliseconds: uint64(time.Hour.Milliseconds())}
		if rapid.IntRange(0, 3).Draw(t, "the call says how often") == 0 {
			call.Retries = new(rapid.Uint32Range(0, 2).Draw(t, "retries of the call"))
		}
		var held []*wire.Invocation
		s, err := New(Config{}, registry, []Executor{executorFunc(func(inv *wire.Invocation) { held = append(held, inv) })}, newFakeStore())
		if err != nil {
			t.Fatal(err)
		}
		var results []wire.Result
		s.Call(1, call, nil, nil, func(r wire.Result) bool { results = append(results, r); return true })
		executed, counted := make(map[string]uint32), make(map[string]uint32)
		now := time.Now()
		for len(results) == 0 {
			if len(held) == 0 {
				now = now.Add(2 * retryDelayMax)
				for _, a := range s.table.due(now, nil) {
					a.run.launch(a.retry, now)
				}
			}
			if len(held) == 0 {
				t.Fatal("nothing is under way, and the run has not ended")
			}
			i := rapid.IntRange(0, len(held)-1).Draw(t, "answered next")
			inv := held[i]
			held = slices.Delete(held, i, i+1)
			f := inv.Steps[0].Function
			retries, said := f.Retries, f.Retries != nil
			if call.Retries != nil {
				retries, said = call.Retries, true
			}
			bound := uint32(lossesUnsaid)
			if said {
				bound = *retries
			}
			if want := counted[f.GetName()] + 1; inv.Attempt != want {
				t.Fatalf("%s: attempt %d, want %d", f.GetName(), inv.Attempt, want)
			}
			if once := said && bound == 0; inv.Once != once {
				t.Fatalf("%s: said to run at most once: %v, want %v", f.GetName(), inv.Once, once)
			}
			what := rapid.SampledFrom([]string{"returns", "returns", "raises", "is lost", "is lost", "is not started", "is lost along"}).Draw(t, f.GetName())
			if what != "is not started" {
				executed[f.GetName()]++
			}
			if said && bound == 0 && executed[f.GetName()] > 1 {
				t.Fatalf("%s ran %d times", f.GetName(), executed[f.GetName()])
			}
			end := wire.Result{Err: wire.Errorf(pb.Code_CODE_WORKER_DIED, "a worker ended")}
			final := false
			var code pb.Code
			switch what {
			case "returns":
				end = wire.Result{Value: evaluate(inv)}
			case "raises":
				counted[f.GetName()]++
				end.Err = wire.Errorf(pb.Code_CODE_EXECUTION, "boom")
				final, code = !said || counted[f.GetName()] > bound, pb.Code_CODE_EXECUTION
			case "is lost":
				counted[f.GetName()]++
				end.Lost = wire.LostRunning
				final, code = counted[f.GetName()] > bound, pb.Code_CODE_WORKER_DIED
			case "is not started":
				end.Lost = wire.LostUnstarted
			default:
				end.Lost = wire.LostAlong
				final, code = said && bound == 0, pb.Code_CODE_OUTCOME_UNKNOWN
			}
			if final && said && bound == 0 && code == pb.Code_CODE_WORKER_DIED {
				code = pb.Code_CODE_OUTCOME_UNKNOWN
			}
			inv.Done(end)
			if what != "returns" && final != (len(results) > 0) && executed[f.GetName()] < uncountedMax {
				t.Fatalf("%s %s, attempt %d of %d: ended %v", f.GetName(), what, inv.Attempt, bound+1, len(results) > 0)
			}
			if final && (results[0].Err == nil || results[0].Err.Code != code) {
				t.Fatalf("%s %s: got %v, want %v", f.GetName(), what, results[0].Err, code)
			}
			if counted[f.GetName()] > bound+1 {
				t.Fatalf("%s: %d attempts, at most %d", f.GetName(), counted[f.GetName()], bound+1)
			}
		}
		if s.Stats().InFlight != 0 {
			t.Fatalf("stats %+v", s.Stats())
		}
	})
}

// An invocation that ends every worker without its fault does not go on for ever, and its error says what has happened.
func TestUncountedAttemptsEnd(t *testing.T) {
	t.Parallel()
	for _, lost := range []wire.Loss{wire.LostUnstarted, wire.LostAlong} {
		registry := newFakeRegistry()
		registry.register(&pb.Function{Name: "f"})
		attempts := 0
		s := start(t, Config{}, registry, newFakeStore(), executorFunc(func(inv *wire.Invocation) {
			attempts++
			inv.Done(wire.Result{Err: wire.Errorf(pb.Code_CODE_WORKER_DIED, "worker %d ended", attempts), Lost: lost})
		}))
		r := await(t, s, callFunction(runID(1), "f", 0))
		if !fails(r, wire.ErrWorkerDied) || attempts != uncountedMax+1 {
			t.Errorf("%d attempts, %v", attempts, r.Err)
		}
	}
}

// The pauses between retries grow to their bound, and the time that a run is given has room for all of them.
func TestBackoff(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := &pb.Function{BackoffMilliseconds: rapid.Uint64().Draw(t, "backoff"), TimeoutMilliseconds: rapid.Uint64().Draw(t, "timeout")}
		retries := rapid.Uint32Range(0, 1000).Draw(t, "retries")
		f.Retries = &retries
		var sum, before time.Duration
		for n := uint32(1); n <= retries; n++ {
			pause := backoff(f, n)
			if pause < before || pause > max(backoffLongest, before, backoffMax) || n == 2 && pause != before && pause != 2*before && pause != backoffLongest {
				t.Fatalf("pause %d is %v after %v", n, pause, before)
			}
			if longest := jittered(pause); longest < pause || longest > pause+pause/4 {
				t.Fatalf("%v became %v", pause, longest)
			}
			sum += pause + pause/4
			before = pause
		}
		if f.GetBackoffMilliseconds() == 0 {
			sum = 0 // the node's own pauses are short
		}
		running, pauses := patience([]*pb.Function{f, f}, nil)
		if running < 0 || running > timeoutSumMax || pauses != min(2*sum, timeoutSumMax) {
			t.Fatalf("%v and %v, want %v", running, pauses, 2*sum)
		}
	})
}

func TestTheHistoryOfAttemptsIsBounded(t *testing.T) {
	t.Parallel()
	p := new(past)
	for i := range 3 * endsMax {
		p.note(fmt.Sprint("end ", i+1))
	}
	got := p.history("the last")
	want := "…; attempt 17: end 17; attempt 18: end 18; attempt 19: end 19; attempt 20: end 20; attempt 21: end 21; " +
		"attempt 22: end 22; attempt 23: end 23; attempt 24: end 24; attempt 25: the last"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
