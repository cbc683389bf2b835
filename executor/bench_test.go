package executor

import (
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// BenchmarkChain runs sq(incr(x)) in a real worker, one call after another.
func BenchmarkChain(b *testing.B) {
	n := start(b, Config{WorkersMin: 1})
	incr, _ := n.step("incr", 0)
	sq, _ := n.step("sq")
	steps := []wire.Step{incr, sq}
	answers := make(chan wire.Result, 1)
	call := func(x int) {
		body, err := cbor.Marshal(x)
		if err != nil {
			b.Fatal(err)
		}
		n.Invoke(&wire.Invocation{
			Steps:  steps,
			Values: [][]byte{append([]byte{codec.KindPlain}, body...)},
			Done:   func(r wire.Result) { answers <- r },
		})
		if r := <-answers; r.Err != nil {
			b.Fatal(r.Err)
		}
	}
	for x := range 1000 {
		call(x)
	}
	took := make([]time.Duration, 0, 1<<20)
	b.ReportAllocs()
	for x := 0; b.Loop(); x++ {
		began := time.Now()
		call(x<<40 | x)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
}

// BenchmarkSpawn starts workers, each until its first answer.
func BenchmarkSpawn(b *testing.B) {
	n := start(b, Config{WorkersMin: 1})
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		n.mu.Lock()
		l := newLane(1)
		fresh, err := n.spawn(l)
		if err != nil {
			n.mu.Unlock()
			b.Fatal(err)
		}
		inv := n.invocation("incr", 1)
		answers := make(chan wire.Result, 1)
		inv.Trace, inv.Done = new(wire.Trace), func(r wire.Result) { answers <- r }
		t := &invocation{inv: inv, queued: began, limit: time.Minute}
		fresh.reserve(t)
		n.mu.Unlock()
		n.dispatch(fresh, t)
		if r := within(b, answers, "the first answer"); r.Err != nil {
			b.Fatal(r.Err)
		}
		took = append(took, time.Since(began))
		fresh.retire()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
}

// BenchmarkGet reads a small cached key from a function.
func BenchmarkGet(b *testing.B) {
	n := start(b, Config{WorkersMin: 1})
	n.put(lww("k", encode(b, 1<<40)))
	n.call("get_often", "k", 1000)
	for b.Loop() {
		b.ReportMetric(n.call("get_often", "k", 10_000).(float64), "µs/get")
	}
}

// BenchmarkQueue queues an invocation behind a thousand others of its client, and takes the one that goes next.
func BenchmarkQueue(b *testing.B) {
	l := newLane(1 << 16)
	waiting := make([]invocation, 1001)
	for i := range waiting {
		waiting[i].inv = &wire.Invocation{RunID: wire.RunID{byte(i), byte(i >> 8)}, Steps: []wire.Step{{Function: &pb.Function{Name: "f"}}}}
	}
	for i := range 1000 {
		l.push(&waiting[i])
	}
	next := &waiting[1000]
	b.ReportAllocs()
	for b.Loop() {
		next.place = 0
		l.push(next)
		next = l.pop()
	}
}
