package executor

import (
	"context"
	"net"
	"testing"
	"time"

	"cloudburst/cache"
	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// host is a worker whose process is the test, with a function in it that waits.
type host struct {
	t      *testing.T
	w      *worker
	socket net.Conn
	frames *wire.FrameReader
	ended  <-chan wire.Result // of the function that waits
}

var one = []byte{codec.KindPlain, 1}

// run returns the id of a run of a test.
func run(n byte) wire.RunID { return wire.RunID{n} }

func stepOf(f *pb.Function) []wire.Step { return []wire.Step{{Function: f}} }

// startHost returns a worker that runs a function of run 1.
func startHost(t *testing.T, f *pb.Function) *host {
	return startHostOf(t, &wire.Invocation{Steps: stepOf(f)})
}

// startHostOf returns a worker that runs an invocation as that of run 1.
func startHostOf(t *testing.T, inv *wire.Invocation) *host {
	w, socket := strangeWorker(t)
	h := &host{t: t, w: w, socket: socket, frames: wire.NewFrameReader(socket)}
	for _, name := range []string{"parent", "child"} {
		w.loaded[functionKey{name, 1}] = struct{}{}
	}
	ended := make(chan wire.Result, 2)
	h.ended = ended
	inv.RunID, inv.Attempt, inv.Done = run(1), 1, func(r wire.Result) { ended <- r }
	w.give(&invocation{queued: time.Now(), limit: time.Hour, inv: inv})
	w.exited <- "was a test"
	done := make(chan struct{})
	go func() { w.read(); close(done) }()
	t.Cleanup(func() {
		_ = socket.Close()
		within(t, done, "the worker's end")
	})
	equal(t, h.read().GetInvoke().GetRunId()[0], byte(1))
	return h
}

func parent() *pb.Function { return &pb.Function{Name: "parent", Version: 1} }
func child() *pb.Function  { return &pb.Function{Name: "child", Version: 1} }

func (h *host) read() *pb.Header {
	h.t.Helper()
	return within(h.t, readFrame(h.frames), "a frame").Header
}

func (h *host) send(header *pb.Header, values ...[]byte) {
	h.t.Helper()
	if _, err := h.socket.Write(frameOf(h.t, header, values...)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) answer(id uint64) {
	h.t.Helper()
	h.send(&pb.Header{Id: id, Body: &pb.Header_Done{Done: &pb.Done{}}}, one)
}

// waits says that an invocation waits for runs.
func (h *host) waits(id, invocation uint64, runs ...wire.RunID) {
	h.t.Helper()
	wait := &pb.Wait{Invocation: invocation, Helps: true}
	for _, r := range runs {
		wait.RunIds = append(wait.RunIds, r[:])
	}
	h.send(&pb.Header{Id: id, Body: &pb.Header_Wait{Wait: wait}})
}

// call begins an invocation of a run.
func (h *host) call(n byte, f *pb.Function, values ...[]byte) <-chan wire.Result {
	answers := make(chan wire.Result, 2)
	steps := stepOf(f)
	steps[0].Positional = len(values)
	h.w.e.Invoke(&wire.Invocation{RunID: run(n), Steps: steps, Values: values, Attempt: 1, Done: func(r wire.Result) { answers <- r }})
	return answers
}

// nothing fails the test when the executor has sent the worker an order: the answer to a host call that is made now must come first.
func (h *host) nothing() {
	h.t.Helper()
	h.send(&pb.Header{Id: 99, Body: &pb.Header_Send{Send: &pb.Send{Member: "here", Number: 77}}}, one)
	if got := h.read(); got.GetId() != 99 || got.GetDone() == nil {
		h.t.Fatalf("the worker was ordered %v", got)
	}
}

// emptyStore has nothing, and waits for it.
type emptyStore struct{ deafStore }

func (emptyStore) Get(ctx context.Context, keys []string, _ time.Duration) ([]cache.Entry, error) {
	<-ctx.Done()
	return make([]cache.Entry, len(keys)), ctx.Err()
}

func TestAWaitingWorkerHelps(t *testing.T) {
	t.Parallel()
	h := startHost(t, parent())
	queued := h.call(2, child())
	other := h.call(3, child())
	h.nothing()
	h.waits(5, 1, run(2), run(4))
	order := h.read()
	equal(t, []any{order.GetId(), order.GetInvoke().GetRunId()[0]}, []any{uint64(2), byte(2)})
	h.answer(2)
	equal(t, within(t, queued, "the answer").Err == nil, true)
	// What comes while it waits is handed to it at once; what it does not wait for is not.
	later := h.call(4, child())
	equal(t, h.read().GetInvoke().GetRunId()[0], byte(4))
	h.answer(3)
	within(t, later, "the answer")
	h.nothing()
	equal(t, h.w.e.Waits(run(1)), []wire.RunID{run(2), run(4)})
	h.answer(1)
	within(t, h.ended, "the answer of the host")
	equal(t, h.read().GetInvoke().GetRunId()[0], byte(3)) // it is free now
	equal(t, len(h.w.e.Waits(run(1))), 0)
	h.answer(4)
	within(t, other, "the answer")
}

func TestNestedInvocationsWaitThemselves(t *testing.T) {
	t.Parallel()
	h := startHost(t, parent())
	for depth := uint64(1); depth < 20; depth++ {
		h.call(byte(depth+1), child())
		h.waits(100+depth, depth, run(byte(depth+1)))
		equal(t, h.read().GetId(), depth+1)
	}
	// From the top down; an answer of one that has another above it breaks the protocol.
	for depth := uint64(20); depth > 1; depth-- {
		h.answer(depth)
	}
	h.answer(1)
	equal(t, within(t, h.ended, "the answer of the host").Err == nil, true)
}

func TestAWorkerAnswersWhatWaits(t *testing.T) {
	t.Parallel()
	h := startHost(t, parent())
	h.call(2, child())
	h.waits(5, 1, run(2))
	h.read()
	h.answer(1) // which is below the one that runs
	r := within(t, h.ended, "the loss")
	equal(t, r.Lost, wire.LostAlong)
}

func TestAnOrderThatCrossesTheEndOfAWaitIsDeclined(t *testing.T) {
	t.Parallel()
	h := startHost(t, parent())
	queued := h.call(2, child())
	h.waits(5, 1, run(2))
	order := h.read()
	h.send(&pb.Header{Id: 6, Body: &pb.Header_Waited{Waited: &pb.Waited{Id: 5}}})
	h.nothing() // is answered before: the worker still has to say what becomes of the order
	h.send(&pb.Header{Id: order.GetId(), Body: &pb.Header_Error{Error: &pb.Error{Code: pb.Code_CODE_UNAVAILABLE}}})
	over := h.read()
	equal(t, []any{over.GetId(), over.GetDone() != nil}, []any{uint64(6), true})
	h.nothing()
	equal(t, len(queued), 0)
	h.answer(1)
	within(t, h.ended, "the answer of the host")
	again := h.read() // from its place in the queue
	equal(t, []any{again.GetInvoke().GetRunId()[0], again.GetInvoke().GetAttempt()}, []any{byte(2), uint32(1)})
	h.answer(again.GetId())
	equal(t, within(t, queued, "the answer").Err == nil, true)
}

func TestAWaitThatEndsWithoutAnOrder(t *testing.T) {
	t.Parallel()
	h := startHost(t, parent())
	h.waits(5, 1, run(2))
	h.send(&pb.Header{Id: 6, Body: &pb.Header_Waited{Waited: &pb.Waited{Id: 5}}})
	equal(t, h.read().GetId(), uint64(6))
	h.call(2, child())
	h.nothing()
	h.send(&pb.Header{Id: 7, Body: &pb.Header_Waited{Waited: &pb.Waited{Id: 5}}}) // of a wait that is not known
	equal(t, h.read().GetId(), uint64(7))
}

func TestWhatIsNotNested(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		host  wire.Invocation
		guest *pb.Function
	}{
		"alone":            {guest: &pb.Function{Name: "child", Version: 1, Alone: true}},
		"a coroutine":      {guest: &pb.Function{Name: "child", Version: 1, Coroutine: true}},
		"a generator":      {guest: &pb.Function{Name: "child", Version: 1, Generator: true}},
		"a class":          {guest: &pb.Function{Name: "child", Version: 1, Convention: pb.Convention_CONVENTION_CLASS}},
		"at most once":     {host: wire.Invocation{Once: true}, guest: child()},
		"lost with others": {host: wire.Invocation{Along: true}, guest: child()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.host.Steps = stepOf(parent())
			h := startHostOf(t, &c.host)
			h.call(2, c.guest)
			h.waits(5, 1, run(2))
			h.nothing()
			h.call(2, c.guest)
			h.nothing()
		})
	}
}

func TestTheLastResort(t *testing.T) {
	t.Parallel()
	h := startHostOf(t, &wire.Invocation{Steps: stepOf(parent()), Once: true})
	h.call(2, child())
	h.waits(5, 1, run(2))
	h.w.e.help()
	h.nothing() // another worker could be added
	h.w.e.cfg.WorkersMax, h.w.e.cfg.WorkersSpare = 1, 0
	h.w.e.help()
	equal(t, h.read().GetInvoke().GetRunId()[0], byte(2))
}

func TestAnArgumentThatIsAwaitedIsHelpedWith(t *testing.T) {
	t.Parallel()
	h := startHost(t, parent())
	h.w.e.store = emptyStore{}
	made := h.call(3, child())
	h.call(2, child(), codec.EncodeReference(codec.Ref{Key: run(3).ResultKey()}))
	h.waits(5, 1, run(2))
	order := h.read() // either the wait or the argument was known first
	equal(t, order.GetInvoke().GetRunId()[0], byte(3))
	h.answer(order.GetId())
	within(t, made, "the answer")
	equal(t, h.w.e.Waits(run(2)), []wire.RunID{run(3)})
}

func TestRunsThatWaitForEachOther(t *testing.T) {
	t.Parallel()
	h := startHost(t, parent())
	h.waits(5, 1, run(1))
	wantError(t, wire.ErrorFromFrame(wire.Frame{Header: h.read()}), wire.ErrCycle, "run "+run(1).String()+" (parent@1) waits for run "+run(1).String())
	h.call(2, child())
	h.waits(6, 1, run(2))
	h.read()
	h.waits(7, 2, run(4), run(1))
	refused := h.read()
	equal(t, refused.GetId(), uint64(7))
	wantError(t, wire.ErrorFromFrame(wire.Frame{Header: refused}), wire.ErrCycle,
		"run "+run(2).String()+" (child@1) waits for run "+run(1).String()+", run "+run(1).String()+" (parent@1) waits for run "+run(2).String())
	equal(t, len(h.w.e.Waits(run(2))), 0)
	// An argument closes one as well.
	h.waits(8, 2, run(3))
	h.nothing()
	cyclic := h.call(3, child(), codec.EncodeReference(codec.Ref{Key: run(1).ResultKey()}))
	wantError(t, within(t, cyclic, "the refusal").Err, wire.ErrCycle, "child@1")
}

func TestTheDepthOfCalls(t *testing.T) {
	t.Parallel()
	w, _ := strangeWorker(t)
	answers := make(chan wire.Result, 1)
	w.e.Invoke(&wire.Invocation{Depth: 1001, Steps: stepOf(child()), Done: func(r wire.Result) { answers <- r }})
	wantError(t, within(t, answers, "the refusal").Err, wire.ErrTooDeep, "child@1", "executor.depth_max")
}

func TestAWorkerThatEndsTakesItsHostsAlong(t *testing.T) {
	t.Parallel()
	h := startHost(t, parent())
	nested := h.call(2, child())
	h.waits(5, 1, run(2))
	h.read()
	_ = h.socket.Close()
	equal(t, within(t, nested, "the loss").Lost, wire.LostRunning)
	equal(t, within(t, h.ended, "the loss of the host").Lost, wire.LostAlong)
}

func TestANestedInvocationPastItsDeadline(t *testing.T) {
	t.Parallel()
	h := startHost(t, parent())
	late := child()
	late.TimeoutMilliseconds = 1
	nested := h.call(2, late)
	h.waits(5, 1, run(2))
	h.read()
	eventually(t, "the deadline", func() bool {
		h.w.e.tick(time.Now())
		return len(nested) > 0
	})
	wantError(t, (<-nested).Err, wire.ErrDeadlineExceeded, "child@1")
	equal(t, within(t, h.ended, "the loss of the host").Lost, wire.LostAlong)
}

func TestAFunctionThatRunsOutOfTimeSaysWhatItWaitedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		guest *pb.Function
		says  []string
	}{
		"not started": {
			&pb.Function{Name: "child", Version: 1, Alone: true},
			[]string{"parent@1", "so its worker was stopped", "it waited for run " + run(2).String() + " of child@1, which had not started"},
		},
		"running": {child(), []string{"it waited for run " + run(2).String() + " of child@1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHost(t, parent())
			h.call(2, c.guest)
			h.waits(5, 1, run(2))
			if c.guest.GetAlone() {
				h.nothing()
			} else {
				h.read()
			}
			h.w.e.tick(time.Now().Add(2 * time.Hour))
			wantError(t, within(t, h.ended, "the end").Err, wire.ErrDeadlineExceeded, c.says...)
		})
	}
}

func TestMessagesReachTheInvocationThatTheyAreFor(t *testing.T) {
	t.Parallel()
	h := startHost(t, parent())
	h.call(2, child())
	h.waits(5, 1, run(2))
	h.read()
	const nested = 1 | 1<<levelShift
	for _, to := range []uint64{1, nested} {
		h.send(&pb.Header{Body: &pb.Header_Send{Send: &pb.Send{Member: "here", Number: to, Invocation: 2}}}, []byte{codec.KindPlain, byte(to>>levelShift) + 1})
	}
	for invocation, expected := range map[uint64]byte{1: 1, 2: 2} {
		h.send(&pb.Header{Id: 9, Body: &pb.Header_Receive{Receive: &pb.Receive{Invocation: invocation}}})
		frame := within(t, readFrame(h.frames), "the messages")
		equal(t, []any{len(frame.Values), frame.Values[0][1], frame.Header.GetMessages().GetSenders()[0].GetNumber()}, []any{1, expected, uint64(nested)})
	}
	h.send(&pb.Header{Id: 9, Body: &pb.Header_Receive{Receive: &pb.Receive{Invocation: 3}}})
	wantError(t, wire.ErrorFromFrame(wire.Frame{Header: h.read()}), wire.ErrCancelled, "has ended")
}
