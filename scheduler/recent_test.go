package scheduler

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// The rings hold the last runs of each kind, within their bounds, and find each by its id.
func TestRecent(t *testing.T) {
	t.Parallel()
	p := newPlanOf("f", &pb.Function{Name: "f", Version: 1})
	rapid.Check(t, func(t *rapid.T) {
		q := newRecent(rapid.IntRange(1, 100).Draw(t, "runs"), rapid.IntRange(2000, 40_000).Draw(t, "bytes"))
		var kept [2][]wire.RunID
		var sizes [2][]int
		for range rapid.IntRange(0, 300).Draw(t, "ended") {
			r := &run{
				s: &Scheduler{recent: q}, id: wire.RunID{rapid.Byte().Draw(t, "id")}, plan: p, call: &pb.Call{Label: rapid.StringN(0, 200, 200).Draw(t, "label")},
				started: time.Unix(1, 0), ended: true, endedAt: time.Unix(2, 0),
			}
			r.invocations = r.invocation1[:1]
			which := 0
			if rapid.Bool().Draw(t, "fails") {
				which, r.result.Err = 1, wire.Errorf(pb.Code_CODE_EXECUTION, "oops")
			}
			q.add(r)
			var one record
			r.record(&one)
			kept[which], sizes[which] = append(kept[which], r.id), append(sizes[which], one.size())
		}
		var seen [2][]wire.RunID
		q.visit(func(r *record) {
			which := 0
			if r.err != nil {
				which = 1
			}
			seen[which] = append(seen[which], r.id)
		})
		for which := range seen {
			n, bytes := 0, 0
			for n < len(kept[which]) && n < q.runsMax {
				size := sizes[which][len(kept[which])-1-n]
				if n > 0 && bytes+size > q.bytesMax {
					break
				}
				bytes += size
				n++
			}
			want := slices.Clone(kept[which][len(kept[which])-n:])
			slices.Reverse(want)
			if !slices.Equal(seen[which], want) {
				t.Fatalf("ring %d has %v, want %v", which, seen[which], want)
			}
			if q.rings[which].bytes != bytes {
				t.Fatalf("ring %d counts %d bytes, want %d", which, q.rings[which].bytes, bytes)
			}
			for _, id := range want {
				if slices.Contains(kept[1-which], id) {
					continue // the record of the run that ended last may be forgotten before that of another run of the same id
				}
				if found, ok := q.find(id); !ok || found.id != id {
					t.Fatalf("run %v is not found", id)
				}
			}
		}
		if len(q.places) > len(seen[0])+len(seen[1]) {
			t.Fatalf("%d places for %d records", len(q.places), len(seen[0])+len(seen[1]))
		}
	})
}

// What a run that has ended waited for is not kept: neither the ids nor the room that they took.
func TestARecordKeepsNoWaits(t *testing.T) {
	t.Parallel()
	r := &run{plan: newPlanOf("f", &pb.Function{Name: "f", Version: 1}), call: new(pb.Call), ended: true}
	r.invocations = r.invocation1[:1]
	r.invocations[0].trace.Wait(make([]wire.RunID, 1000))
	var one record
	r.record(&one)
	if one.step.Waits != nil {
		t.Errorf("%d waits, with room for %d", len(one.step.Waits), cap(one.step.Waits))
	}
}

// A cancelled call that waits for the registry never becomes a run.
func TestCancelWhileTheRegistryIsAsked(t *testing.T) {
	t.Parallel()
	registry := newFakeRegistry()
	s, err := New(Config{}, registry, []Executor{executorFunc(func(*wire.Invocation) { t.Error("it was invoked") })}, newFakeStore())
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan wire.Result, 1)
	s.Call(1, callFunction(runID(1), "late", 0), nil, nil, func(r wire.Result) bool { results <- r; return true })
	registry.register(&pb.Function{Name: "late"})
	if err := s.Cancel(runID(1), "a test", "no reason"); err != nil {
		t.Fatal(err)
	}
	for _, q := range s.missing.take() {
		s.startAsked(q, nil)
		s.leave()
	}
	if r := <-results; !fails(r, wire.ErrCancelled) {
		t.Errorf("it ended with %+v", r)
	}
	if err := s.Cancel(runID(2), "a test", ""); wire.CodeOf(err) != pb.Code_CODE_RUN_NOT_FOUND {
		t.Errorf("a run that is not known: %v", err)
	}
}

// What it costs to remember a run that has ended.
func BenchmarkRecent(b *testing.B) {
	q := newRecent(1<<13, 16<<20)
	r := &run{
		s: &Scheduler{recent: q}, plan: newPlanOf("f", &pb.Function{Name: "f", Version: 1}), call: new(pb.Call), started: time.Unix(1, 0), ended: true,
		endedAt: time.Unix(2, 0),
	}
	r.invocations = r.invocation1[:1]
	b.ReportAllocs()
	for n := range b.N {
		binary.LittleEndian.PutUint64(r.id[:], uint64(n)*0x9e3779b97f4a7c15)
		q.add(r)
	}
}
