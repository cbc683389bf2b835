package scheduler

import (
	"encoding/binary"
	"sync/atomic"
	"testing"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// immediately answers every invocation at once, so that what is measured is the scheduler alone.
var immediately = executorFunc(func(inv *wire.Invocation) { inv.Done(wire.Result{Value: answer}) })

var answer = text("answer")

// allocationsMax is what a call of a function, or of functions in a row, may allocate in the scheduler.
const allocationsMax = 10

func hot(tb testing.TB) (*Scheduler, []*pb.Call) {
	registry := newFakeRegistry()
	registry.register(&pb.Function{Name: "incr"})
	registry.register(&pb.Function{Name: "sq"})
	if err := registry.registerDAG(&pb.Dag{Name: "d", Functions: []string{"incr", "sq"}, Links: []*pb.Link{{Source: "incr", Sink: "sq"}}}); err != nil {
		tb.Fatal(err)
	}
	s := start(tb, Config{}, registry, newFakeStore(), immediately)
	return s, []*pb.Call{
		callFunction(wire.RunID{}, "sq", 1),
		{Target: &pb.Call_Dag{Dag: "d"}, Arguments: []*pb.Arguments{{Function: "incr", Positional: 1}}},
	}
}

func TestHotPathAllocations(t *testing.T) {
	s, calls := hot(t)
	values := [][]byte{text("3")}
	for _, call := range calls {
		var n uint64
		allocations := testing.AllocsPerRun(1000, func() {
			call.RunId = make([]byte, 16) // one, not the scheduler's
			n++
			binary.BigEndian.PutUint64(call.RunId, n)
			s.Call(1, call, values, nil, func(wire.Result) bool { return true })
		})
		t.Logf("%v allocations", allocations-1)
		if allocations-1 > allocationsMax {
			t.Errorf("%s: %v allocations, at most %d", targetOf(call), allocations-1, allocationsMax)
		}
	}
}

func benchmark(b *testing.B, which int, parallel bool) {
	s, calls := hot(b)
	values := [][]byte{text("3")}
	var ids atomic.Uint64
	done := func(wire.Result) bool { return true }
	one := func() {
		call := &pb.Call{Target: calls[which].Target, Arguments: calls[which].Arguments, RunId: make([]byte, 16)}
		n := ids.Add(1)
		binary.LittleEndian.PutUint64(call.RunId, n*0x9e3779b97f4a7c15)
		s.Call(1, call, values, nil, done)
	}
	b.ReportAllocs()
	b.ResetTimer()
	if parallel {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				one()
			}
		})
		return
	}
	for range b.N {
		one()
	}
}

func BenchmarkFunction(b *testing.B)         { benchmark(b, 0, false) }
func BenchmarkChain(b *testing.B)            { benchmark(b, 1, false) }
func BenchmarkFunctionParallel(b *testing.B) { benchmark(b, 0, true) }
func BenchmarkChainParallel(b *testing.B)    { benchmark(b, 1, true) }
