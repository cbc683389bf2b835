package executor

import (
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
