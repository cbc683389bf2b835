package executor

import (
	"io"
	"testing"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func coroutine(concurrency uint32) *pb.Function {
	return &pb.Function{Name: "f", Version: 1, Coroutine: true, Concurrency: concurrency}
}

func invocationOf(f *pb.Function) *invocation {
	return &invocation{inv: &wire.Invocation{Steps: []wire.Step{{Function: f}}, Trace: new(wire.Trace)}, limit: time.Second}
}

// What shares a worker with others of its kind: coroutine functions, not classes, generators, or functions in a row with others.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	plain, class, generator, row := coroutine(0), coroutine(0), coroutine(0), invocationOf(coroutine(0))
	plain.Coroutine = false
	class.Convention = pb.Convention_CONVENTION_CLASS
	generator.Generator = true
	row.inv.Steps = append(row.inv.Steps, row.inv.Steps[0])
	if !invocationOf(coroutine(0)).concurrent() {
		t.Error("a coroutine function does not")
	}
	for _, other := range []*invocation{invocationOf(plain), invocationOf(class), invocationOf(generator), row} {
		if other.concurrent() {
			t.Errorf("%s does", other.names())
		}
	}
}

// A worker is idle while it has room, and its slots are released in any order.
func TestRoomInAWorker(t *testing.T) {
	t.Parallel()
	e, err := New(Config{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	l, refused := e.laneOf(invocationOf(coroutine(300)))
	if refused != nil || l == e.shared || l.perWorker != 300 {
		t.Fatalf("%v, %v", l, refused)
	}
	if again, _ := e.laneOf(invocationOf(coroutine(300))); again != l {
		t.Error("another lane for the same function")
	}
	l.perWorker = 2
	w := &worker{e: e, number: 1, lane: l}
	l.size = 1
	first, second := invocationOf(coroutine(0)), invocationOf(coroutine(0))
	w.reserve(first)
	l.offer(w)
	if got := l.takeIdle(); got != w {
		t.Fatal("a worker with room is not idle")
	}
	w.reserve(second)
	l.offer(w)
	if l.takeIdle() != nil {
		t.Fatal("a full worker is idle")
	}
	first.slot.id.Store(7)
	second.slot.id.Store(8)
	if late := w.expire(first.deadline.Add(time.Millisecond)); len(late) != 2 || w.condemned {
		t.Fatalf("%d ran past their deadlines, condemned: %v", len(late), w.condemned)
	}
	w.release(w.slotOf(7)).answer()
	if w.slotOf(7) != nil || w.slotOf(8) != second.slot || w.holder(first) != nil || !l.runs() {
		t.Error("the wrong slot was released")
	}
	if late := w.expire(second.deadline.Add(overdueGrace + time.Millisecond)); len(late) != 0 || !w.condemned {
		t.Errorf("%d are told again, condemned: %v", len(late), w.condemned)
	}
	w.release(w.last()).answer()
	l.putIdle(w)
	l.putIdle(w)
	if len(l.idle) != 1 || l.runs() {
		t.Errorf("%d idle workers", len(l.idle))
	}
}

// A worker that is being stopped is given nothing, although it had room for more.
func TestACondemnedWorkerIsGivenNothing(t *testing.T) {
	t.Parallel()
	w, _ := strangeWorker(t)
	e := w.e
	first, second := invocationOf(coroutine(0)), invocationOf(coroutine(0))
	e.mu.Lock()
	l, refused := e.laneOf(first)
	if refused != nil {
		t.Fatal(refused)
	}
	e.shared.size, w.lane, l.size = 0, l, 1
	w.reserve(first)
	l.offer(w)
	w.expire(first.deadline.Add(time.Millisecond))
	w.expire(first.deadline.Add(overdueGrace + time.Millisecond))
	l.push(second)
	e.mu.Unlock()
	e.serve(l)
	if len(l.idle) != 0 || len(w.slots) != 1 || l.waiting() != 1 {
		t.Errorf("%d idle workers, %d invocations in it, %d wait", len(l.idle), len(w.slots), l.waiting())
	}
	second.inv.Done = func(wire.Result) {} // at the end of the executor
}

// A worker that ended on its own is forgotten, however its invocations were answered.
func TestAWorkerThatEndedIsForgotten(t *testing.T) {
	t.Parallel()
	w, _ := strangeWorker(t)
	answers := make(chan wire.Result, 1)
	one := invocationOf(coroutine(0))
	one.inv.Done = func(r wire.Result) { answers <- r }
	w.give(one)
	one.overdue = true // it was told to cancel, and the worker ended within the grace
	w.e.died(w, io.EOF)
	wantError(t, (<-answers).Err, wire.ErrDeadlineExceeded, "f@1")
	if n := len(w.e.leaving); n != 0 {
		t.Errorf("%d workers are kept", n)
	}
}
