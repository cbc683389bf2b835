package executor

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cloudburst/cache"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func equal(t testing.TB, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v (%T), want %v (%T)", got, got, want, want)
	}
}

func wantError(t testing.TB, err *wire.Error, sentinel error, words ...string) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Fatalf("got %v (%v), want %v", err, err.Code, sentinel)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err.Error(), word)
		}
	}
}

func TestInvoke(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	for x := uint64(1); x < 50; x++ {
		first, values := n.step("incr", x)
		second, _ := n.step("sq")
		r := within(t, n.begin(&wire.Invocation{Steps: []wire.Step{first, second}, Values: values}), "the chain")
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		equal(t, decode(t, r.Value), (x+1)*(x+1))
	}
	described := n.call("describe").([]any)
	equal(t, described[:4], []any{"01020300000000000000000000000000", "describe", uint64(1), uint64(1)})
	equal(t, n.PythonVersion() != "", true)
	stats := n.Stats()
	equal(t, []any{stats.Busy, stats.Queued, stats.Died, stats.Finished}, []any{0, 0, uint64(0), uint64(50)})
}

func TestManyCallersAtOnce(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMax: 4})
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 50 {
				x := uint64(g*1000 + i)
				r := n.result("incr", x)
				if r.Err != nil || decode(t, r.Value) != x+1 {
					t.Errorf("incr(%d): %v %v", x, r.Value, r.Err)
				}
			}
		})
	}
	wg.Wait()
}

func TestFailuresOfFunctions(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: 1, WorkersMax: 1})
	before := n.call("pid")
	err := n.fails("boom", 1)
	wantError(t, err, wire.ErrExecution, "ZeroDivisionError", "boom@1")
	equal(t, []any{err.Exception.GetType(), err.Exception.GetFunction(), len(err.Pickle) > 0}, []any{"ZeroDivisionError", "boom", true})
	if !strings.Contains(err.Exception.GetTraceback(), "in boom") {
		t.Error(err.Exception.GetTraceback())
	}
	equal(t, n.fails("incr").Exception.GetType(), "TypeError")
	equal(t, n.fails("incr", 1, 2).Exception.GetType(), "TypeError")
	wantError(t, n.fails("unpicklable"), wire.ErrExecution, "lock")
	wantError(t, n.fails("broken"), wire.ErrExecution, "broken@1")
	wantError(t, n.fails("large", 70<<20), wire.ErrTooLarge, "67108864")
	wantError(t, n.fails("same", raw{0x63}), wire.ErrExecution, "unknown codec")
	equal(t, n.call("pid"), before) // the worker has lived through all of it
}

func TestInvocationsThatCannotRun(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: 1, WorkersMax: 1})
	first, values := n.step("incr", 1)
	class, _ := n.step("counter")
	wantError(t, n.failed(n.begin(&wire.Invocation{Steps: []wire.Step{first, class}, Values: values})), wire.ErrInternal, "counter@1", "alone")
	wantError(t, n.failed(n.begin(&wire.Invocation{})), wire.ErrInvalidArgument)
	other := n.invocation("incr", 1)
	other.Steps[0].Function.Runtime = 99
	wantError(t, n.failed(n.begin(other)), wire.ErrUnsupported, "runtime")

	n.functions.python = "2.7"
	wantError(t, n.fails("sq", 1), wire.ErrIncompatible, "2.7", n.PythonVersion())
	n.functions.python = n.PythonVersion()
	equal(t, n.call("sq", 3), uint64(9))

	n.functions.remove("same")
	gone := n.invocation("incr", 1)
	gone.Steps[0].Function = &pb.Function{Name: "same", Version: 1}
	wantError(t, n.failed(n.begin(gone)), wire.ErrFunctionNotFound, "load function same@1", "deleted")
	equal(t, n.call("sq", 3), uint64(9))
}

func TestValuesOfAnySize(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	for _, size := range []int{0, 1, 31 << 10, 33 << 10, 1 << 20, 10 << 20, 64 << 20} {
		argument := bytes.Repeat([]byte{7}, size)
		r := n.result("same", argument)
		if r.Err != nil {
			t.Fatal(size, r.Err)
		}
		if !bytes.Equal(r.Value[1:], argument) {
			t.Fatalf("%d bytes came back as %d others", size, len(r.Value)-1)
		}
	}
	// Each fits, and together they do not: the invocation fails, and nothing else.
	third := make([]byte, 50<<20)
	wantError(t, n.fails("same", third, third, third), wire.ErrTooLarge, "134217728")
	equal(t, n.call("incr", 1), uint64(2))
	equal(t, n.Stats().Died, uint64(0))
}

func TestVersionsOfAFunction(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: 1, WorkersMax: 1})
	for range 2 {
		for _, ref := range []string{"incr@1", "incr@2", "incr@3"} {
			equal(t, n.call(ref, 1), uint64(2))
		}
	}
	// Two versions in one chain do not push each other out.
	first, values := n.step("incr@1", 1)
	second, _ := n.step("incr@2")
	r := within(t, n.begin(&wire.Invocation{Steps: []wire.Step{first, second}, Values: values}), "the chain")
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	equal(t, decode(t, r.Value), uint64(3))
}

// Death of workers.

func TestADeadWorkersInvocationIsLost(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	path := filepath.Join(t.TempDir(), "attempts")
	other := n.begin(n.invocation("wait_for", "k", 60))
	inv := n.invocation("die", path, 1)
	r := within(t, n.begin(inv), "the loss")
	equal(t, r.Lost, wire.LostRunning)
	wantError(t, r.Err, wire.ErrWorkerDied, "worker ", "was killed by signal 9 (killed)")
	attempts, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, string(attempts), "x\n") // the executor tries nothing again by itself
	r = within(t, n.again(inv), "the second attempt")
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	equal(t, decode(t, r.Value), uint64(2))
	// No other call has noticed.
	if err := n.cache.Put(t.Context(), []cache.Write{lww("k", encode(t, 5))}, pb.Ack_ACK_MEMORY); err != nil {
		t.Fatal(err)
	}
	r = within(t, other, "the other function")
	equal(t, decode(t, r.Value), uint64(5))
	equal(t, n.Stats().Lost, uint64(1))
	line := n.logs.wait(t, "worker died while it had an invocation")
	equal(t, line["how"], "was killed by signal 9 (killed)")
	equal(t, line["functions"], "die@1")
	equal(t, line["started"], true)
	wantError(t, n.fails("leave", 3), wire.ErrWorkerDied, "exited with status 3")
	eventually(t, "the pool to be full again", func() bool { return n.Stats().Workers == 2 })
}

// An invocation whose worker ends before the invocation is sent to it has had no effect, and says so.
func TestALostInvocationThatHasNotStarted(t *testing.T) {
	t.Parallel()
	w, theirs := strangeWorker(t)
	answers := make(chan wire.Result, 1)
	inv := &wire.Invocation{Steps: []wire.Step{{Function: &pb.Function{Name: "f", Version: 1}}}, Attempt: 1, Done: func(r wire.Result) { answers <- r }}
	inv.Trace = new(wire.Trace)
	w.e.mu.Lock()
	w.reserve(&invocation{queued: time.Now(), limit: time.Hour, inv: inv})
	w.e.mu.Unlock()
	w.exited <- "was killed"
	_ = theirs.Close()
	w.read()
	r := within(t, answers, "the loss")
	equal(t, r.Lost, wire.LostUnstarted)
	wantError(t, r.Err, wire.ErrWorkerDied, "was killed")
}

func TestAnIdleWorkerThatDiesIsReplaced(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	for range 3 {
		eventually(t, "two workers", func() bool { return len(n.pids()) == 2 })
		before := n.pids()
		for _, pid := range before {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "two others", func() bool {
			now := n.pids()
			return len(now) == 2 && !slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(before, pid) })
		})
	}
	equal(t, n.call("incr", 1), uint64(2))
}

func TestTheZygoteIsStartedAgain(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	for range 2 {
		before := n.pids()
		inv := n.invocation("wait_for", "k", 60)
		running := n.begin(inv)
		n.mu.Lock()
		z := n.zygote
		n.mu.Unlock()
		if err := z.command.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := n.cache.Put(t.Context(), []cache.Write{lww("k", encode(t, 5))}, pb.Ack_ACK_MEMORY); err != nil {
			t.Fatal(err)
		}
		r := within(t, running, "the function to be lost")
		if r.Lost != wire.NotLost {
			r = within(t, n.again(inv), "the function to be run again")
		}
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		equal(t, decode(t, r.Value), uint64(5))
		eventually(t, "the workers of the first zygote to end", func() bool { return !slices.ContainsFunc(before, alive) })
	}
}

func TestAZygoteThatCannotStart(t *testing.T) {
	t.Parallel()
	store := startStore(t)
	for _, interpreter := range []string{"/no/such/python", "/bin/false"} {
		e, err := New(Config{Python: interpreter}, store, newTestFunctions(t))
		if err != nil {
			t.Fatal(err)
		}
		waiting := make(chan wire.Result, 1)
		e.Invoke(&wire.Invocation{Steps: []wire.Step{{Function: &pb.Function{Name: "f", Version: 1}}}, Done: func(r wire.Result) { waiting <- r }})
		if err := e.Run(t.Context()); err == nil || !strings.Contains(err.Error(), interpreter) {
			t.Errorf("%s: %v", interpreter, err)
		}
		wantError(t, within(t, waiting, "the invocation").Err, wire.ErrUnavailable)
	}
}

// Deadlines.

func TestDeadlines(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	for _, ref := range []string{"spin", "sleep"} {
		inv := n.invocation(ref)
		if ref == "sleep" {
			inv = n.invocation(ref, 1000)
		}
		inv.Deadline = time.Now().Add(100 * time.Millisecond)
		wantError(t, n.failed(n.begin(inv)), wire.ErrDeadlineExceeded, ref+"@1", "worker was stopped")
	}
	own := n.invocation("spin")
	own.Steps[0].Function.TimeoutMilliseconds = 100
	wantError(t, n.failed(n.begin(own)), wire.ErrDeadlineExceeded, "spin@1")
	equal(t, n.Stats().Overdue, uint64(3))
	equal(t, n.Stats().Lost, uint64(0))
	equal(t, n.call("incr", 1), uint64(2))
}

func TestADeadlineInTheQueue(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: 1, WorkersMax: 1})
	blocker := n.begin(n.invocation("wait_for", "k", 60))
	inv := n.invocation("incr", 1)
	inv.Deadline = time.Now().Add(50 * time.Millisecond)
	wantError(t, n.failed(n.begin(inv)), wire.ErrDeadlineExceeded, "incr@1: it has not started, and its deadline has come", "for a worker",
		"1 × incr@1 wait", "1 of at most 1 workers are up (executor.workers_max) and run 1 × wait_for@1")
	// A function's own timeout begins when it runs.
	patient := n.invocation("sleep", 0.01)
	patient.Deadline = time.Now().Add(patience)
	patient.Steps[0].Function.TimeoutMilliseconds = 1000
	waiting := n.begin(patient)
	if err := n.cache.Put(t.Context(), []cache.Write{lww("k", encode(t, 5))}, pb.Ack_ACK_MEMORY); err != nil {
		t.Fatal(err)
	}
	within(t, blocker, "the blocker")
	if r := within(t, waiting, "the patient one"); r.Err != nil {
		t.Fatal(r.Err)
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: 1, WorkersMax: 1, QueueMax: 3})
	answers := []<-chan wire.Result{n.begin(n.invocation("wait_for", "k", 60))}
	for range 3 {
		answers = append(answers, n.begin(n.invocation("incr", 1)))
	}
	full := n.fails("incr", 1)
	wantError(t, full, wire.ErrNoResources, "3 invocations", "executor.queue_max")
	equal(t, full.RetryAfter, queueRetryAfter)
	if err := n.cache.Put(t.Context(), []cache.Write{lww("k", encode(t, 5))}, pb.Ack_ACK_MEMORY); err != nil {
		t.Fatal(err)
	}
	for _, answer := range answers {
		if r := within(t, answer, "an answer"); r.Err != nil {
			t.Error(r.Err)
		}
	}
}

func TestAStuckZygote(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: 1, StartTimeout: 5 * time.Second})
	n.mu.Lock()
	z := n.zygote
	n.mu.Unlock()
	if err := z.command.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// Deadlines hold without it, and what is not forked in time is forked by another.
	inv := n.invocation("spin")
	inv.Deadline = time.Now().Add(100 * time.Millisecond)
	wantError(t, n.failed(n.begin(inv)), wire.ErrDeadlineExceeded)
	waiting := n.invocation("incr", 1)
	r := within(t, n.begin(waiting), "the worker to be given up")
	equal(t, r.Lost, wire.LostUnstarted) // it was sent, and the process that was to read it was never there
	equal(t, decode(t, within(t, n.again(waiting), "another worker").Value), uint64(2))
	n.logs.wait(t, "the Python zygote does not fork and is stopped")
}

// Classes.

func TestAClassHasOneInstance(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	equal(t, n.call("counter", 1), uint64(101))
	equal(t, n.call("counter", 10), uint64(111))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			equal(t, n.call("counter", 1).(uint64) > 111, true)
			if inside := n.call("slow"); inside != uint64(0) {
				t.Errorf("%v invocations of one instance at once", inside)
			}
		})
	}
	wg.Wait()
	equal(t, n.call("counter", 0), uint64(131))
	equal(t, n.Stats().Classes, 2)
}

func TestTheInstanceOfAnOlderClassStaysWhileItIsCalled(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	equal(t, n.call("counter", 1), uint64(101))
	n.functions.register("counter")
	equal(t, n.call("counter", 5), uint64(105))
	equal(t, n.call("counter@1", 1), uint64(102))
	equal(t, n.Stats().Classes, 2)
}

func TestANewerClassRetiresTheOldOne(t *testing.T) {
	t.Parallel()
	n := start(t, Config{IdleTimeout: 20 * time.Millisecond})
	equal(t, n.call("counter", 1), uint64(101))
	n.functions.register("counter")
	equal(t, n.call("counter", 5), uint64(105))
	eventually(t, "the old instance to go", func() bool { return n.Stats().Classes == 1 })
	equal(t, n.call("counter", 1), uint64(106))
	n.functions.remove("counter")
	eventually(t, "the deleted class to go", func() bool { return n.Stats().Classes == 0 && n.Stats().Workers == 2 })
	equal(t, n.Stats().Died, uint64(0))
}

func TestClassesAreBounded(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: 1})
	n.mu.Lock()
	for i := range classesMax {
		key := functionKey{fmt.Sprintf("class%d", i), 1}
		l := newLane(1)
		l.class = key
		n.classes[key] = l
		n.functions.latest[key.name] = 1
		n.functions.all = cloneWith(n.functions.all, key.name)
	}
	n.mu.Unlock()
	wantError(t, n.fails("counter", 1), wire.ErrNoResources, "64 classes")
	equal(t, n.call("incr", 1), uint64(2))
}

func cloneWith(all map[string]definition, name string) map[string]definition {
	clone := maps.Clone(all)
	clone[name] = definition{}
	return clone
}

func TestADeadInstanceIsBuiltAgain(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: 1})
	equal(t, n.call("counter", 1), uint64(101))
	n.mu.Lock()
	pid := 0
	for _, l := range n.classes {
		pid = l.idle[0].pid
	}
	n.mu.Unlock()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the instance to end", func() bool { return n.Stats().Classes == 0 })
	equal(t, n.call("counter", 1), uint64(101))
}

// The end.

func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMax: 4, IdleTimeout: time.Hour})
	var pids []int
	for _, pid := range n.call("children").([]any) {
		pids = append(pids, int(pid.(uint64)))
	}
	n.mu.Lock()
	pids = append(pids, n.zygote.command.Process.Pid)
	n.mu.Unlock()
	running := n.begin(n.invocation("spin"))
	waiting := n.begin(n.invocation("same", reference("missing", true)))
	pids = append(pids, n.pids()...)
	for _, pid := range pids {
		if !alive(pid) {
			t.Fatalf("process %d is not there", pid)
		}
	}
	n.stop()
	wantError(t, n.failed(running), wire.ErrUnavailable, "spin@1", "stopping")
	wantError(t, n.failed(waiting), wire.ErrUnavailable)
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
	wantError(t, n.fails("incr", 1), wire.ErrUnavailable)
}
