package executor

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"cloudburst/cache"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func TestATimeLimitForWaiting(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: 1, WorkersMax: 1})
	blocker := n.begin(n.invocation("wait_for", "k", 60))
	inv := n.invocation("incr", 1)
	inv.QueueTimeout, inv.Deadline = 20*time.Millisecond, time.Now().Add(patience)
	wantError(t, n.failed(n.begin(inv)), wire.ErrDeadlineExceeded, "incr@1: it has not started", "queue_timeout", "20ms", "1 × wait_for@1")
	n.put(lww("k", encode(t, 5)))
	within(t, blocker, "the blocker")
	patient := n.invocation("incr", 1)
	patient.QueueTimeout = time.Nanosecond // it does not wait
	equal(t, within(t, n.begin(patient), "one that finds an idle worker").Err, (*wire.Error)(nil))
}

func TestAFunctionWithALimit(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: 2})
	limited := func() *wire.Invocation {
		inv := n.invocation("wait_for", "k", 60)
		inv.Steps[0].Function.Concurrency = 1
		return inv
	}
	first, second := n.begin(limited()), n.begin(limited())
	equal(t, n.call("incr", 1), uint64(2)) // it is not held up
	equal(t, []int{n.Stats().Busy, n.Stats().Queued}, []int{1, 1})
	late := limited()
	late.RunID, late.QueueTimeout = wire.RunID{9}, time.Minute
	third := n.begin(late)
	if why := n.Unstarted(late.RunID); !strings.Contains(why, "wait_for runs only so often at once on a node: concurrency=1") {
		t.Error(why)
	}
	equal(t, n.Unstarted(wire.RunID{77}), "")
	expired := limited()
	expired.QueueTimeout = 20 * time.Millisecond
	wantError(t, n.failed(n.begin(expired)), wire.ErrDeadlineExceeded, "queue_timeout", "concurrency=1")
	n.put(lww("k", encode(t, 5)))
	for _, answer := range []<-chan wire.Result{first, second, third} {
		equal(t, within(t, answer, "an answer").Err, (*wire.Error)(nil))
	}
	chained := n.invocation("incr", 1)
	chained.Steps[0].Function.Concurrency = 1
	next, _ := n.step("sq")
	chained.Steps = append(chained.Steps, next)
	wantError(t, n.failed(n.begin(chained)), wire.ErrInternal, "concurrency", "alone")
}

func TestALimitOutlivesTheWorker(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	var answers []<-chan wire.Result
	for range 3 {
		inv := n.invocation("leave", 3)
		inv.Steps[0].Function.Concurrency = 1
		answers = append(answers, n.begin(inv))
	}
	for _, answer := range answers {
		wantError(t, n.failed(answer), wire.ErrWorkerDied)
	}
}

func TestSaturationIsSaidOnce(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: 1, WorkersMax: 1})
	blocker := n.begin(n.invocation("wait_for", "k", 60))
	answers := make([]<-chan wire.Result, 3)
	for i := range answers {
		answers[i] = n.begin(n.invocation("incr", 1))
	}
	const want = "3 × incr@1 wait for a worker; 1 of at most 1 workers are up (executor.workers_max) and run 1 × wait_for@1"
	equal(t, n.logs.wait(t, "saturated: calls wait for workers")["why"], want)
	since, text := n.Saturation()
	equal(t, []any{since.IsZero(), text}, []any{false, want})
	n.put(lww("k", encode(t, 5)))
	within(t, blocker, "the blocker")
	for _, answer := range answers {
		within(t, answer, "an answer")
	}
	n.logs.wait(t, "no longer saturated")
	since, text = n.Saturation()
	equal(t, []any{since.IsZero(), text}, []any{true, ""})
	equal(t, n.logs.count("saturated: calls wait for workers"), 1)
}

func TestFunctionsThatWaitForEachOther(t *testing.T) {
	t.Parallel()
	n := start(t, Config{IdleTimeout: 50 * time.Millisecond})
	const count = 20
	answers := make([]<-chan wire.Result, count)
	for i := range answers {
		answers[i] = n.begin(n.invocation("meet", i, count))
	}
	for i, answer := range answers {
		r := within(t, answer, "all to meet")
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		equal(t, decode(t, r.Value), uint64(i))
	}
	if started := n.Stats().Started; started < count {
		t.Errorf("%d functions ran at once in %d workers", count, started)
	}
	eventually(t, "the pool to shrink", func() bool { return n.Stats().Workers == 2 })
	equal(t, n.call("incr", 1), uint64(2))
	equal(t, n.Stats().Died, uint64(0))
}

func TestSleepersDoNotStarveOthers(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	sleepers := make([]<-chan wire.Result, 8)
	for i := range sleepers {
		sleepers[i] = n.begin(n.invocation("wait_for", "wake", 60))
	}
	for i := range 20 {
		equal(t, n.call("incr", i), uint64(i+1))
	}
	if err := n.cache.Put(t.Context(), []cache.Write{lww("wake", encode(t, 1))}, pb.Ack_ACK_MEMORY); err != nil {
		t.Fatal(err)
	}
	for _, s := range sleepers {
		within(t, s, "a sleeper")
	}
}

func TestSpinnersDoNotStarveTheOneTheyWaitFor(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	spinners := []<-chan wire.Result{n.begin(n.invocation("spin_until", "k")), n.begin(n.invocation("spin_until", "k"))}
	equal(t, n.call("put", "k", 1), map[any]any{"k": true})
	for _, s := range spinners {
		within(t, s, "a spinner")
	}
}

func TestWorkersThatUseTheCoresAreSaidToDoSo(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: runtime.NumCPU()})
	answers := make([]<-chan wire.Result, 4*runtime.NumCPU())
	for i := range answers {
		inv := n.invocation("spin")
		inv.Deadline = time.Now().Add(3 * time.Second)
		answers[i] = n.begin(inv)
	}
	line := n.logs.wait(t, "saturated: calls wait for workers")["why"].(string)
	if !strings.Contains(line, "× spin@1 wait for a worker; ") || !strings.Contains(line, "use the cores, which more would only share, and run ") {
		t.Error(line)
	}
	for _, answer := range answers {
		wantError(t, n.failed(answer), wire.ErrDeadlineExceeded)
	}
}

func TestFunctionsThatUseTheCPUGetFewWorkers(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: runtime.NumCPU()})
	few := runtime.NumCPU() + spinnersExtra
	spinners := make([]<-chan wire.Result, 4*few)
	for i := range spinners {
		spinners[i] = n.begin(n.invocation("spin_for", 0.1))
	}
	equal(t, n.call("incr", 1), uint64(2))
	for _, s := range spinners {
		within(t, s, "a spinner")
	}
	// A worker that others keep from the cores for long looks blocked, so a loaded machine may have more than a few.
	if started := n.Stats().Started; started > 2*uint64(few) {
		t.Errorf("%d workers for %d cores", started, runtime.NumCPU())
	}
}

func TestTrivialCallsGetNoMoreWorkersThanCores(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: runtime.NumCPU()})
	calls := make([]<-chan wire.Result, 5000)
	for i := range calls {
		calls[i] = n.begin(n.invocation("incr", i))
	}
	for _, c := range calls {
		within(t, c, "a call")
	}
	if started := n.Stats().Started; started > uint64(runtime.NumCPU()+spinnersExtra) {
		t.Errorf("%d workers for %d cores", started, runtime.NumCPU())
	}
}
