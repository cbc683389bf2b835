package kernel

import (
	"math"
	"testing"

	"cloudburst/lattice"
)

// absentOnly writes a value unless there is one, as a client that asks for that does.
type absentOnly struct{ value string }

func (m absentOnly) Make(held *lattice.State, _ lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	if held.Live(nowMillis) != nil {
		return nil, 0, nil
	}
	return lattice.Put(lattice.Timestamp{}, []byte(m.value)), 1, nil
}

type deletion struct{}

func (deletion) Make(_ *lattice.State, stamp lattice.Timestamp, _ int64) (*lattice.State, int64, error) {
	return lattice.Delete(stamp), 7, nil
}

func oneKernel() *Kernel {
	return New(Config{
		Writer: 1, Partitions: []int{0}, PartitionOf: func(uint16) int { return 0 }, Reserved: func(string) bool { return false },
		PublishesMax: 16, RecordKeysMax: 1, RecordBytesMax: 1 << 20, PublishTimeout: 1e6, DurableTimeout: 1e6, RetryMin: 1e3, RetryMax: 1e6, TombstoneGrace: 1e6,
		ChangesetBytesMax: 1 << 20, MemoryBytesMax: math.MaxInt, CompactRecords: 16, ParkedMax: 16,
	})
}

func mismatched(err error) bool {
	reason, ok := ReasonOf(err)
	return ok && reason == Mismatch
}

func step(t *testing.T, k *Kernel, w *Write) Reply {
	t.Helper()
	var out Effects
	w.Ticket, w.Ack = t, Memory
	k.Step(Moment{Wall: 1e15}, w, &out)
	if len(out.Replies) != 1 {
		t.Fatalf("replies: %v", out.Replies)
	}
	return out.Replies[0]
}

func TestMakerDecidesFromWhatIsHeld(t *testing.T) {
	t.Parallel()
	k := oneKernel()
	for i, want := range []int64{1, 0} {
		if r := step(t, k, &Write{Key: "k", Make: absentOnly{[]string{"first", "second"}[i]}}); r.Err != nil || r.Value != want {
			t.Fatalf("write %d: %+v", i, r)
		}
	}
	state, _ := k.Get(1e15, "k")
	if got := state.Lattice.(*lattice.LWW).Value; string(got) != "first" {
		t.Fatalf("held %q", got)
	}
	if r := step(t, k, &Write{Key: "k", Make: deletion{}}); r.Err != nil || r.Value != 7 {
		t.Fatalf("delete: %+v", r)
	}
	if _, found := k.Get(1e15, "k"); found != Absent {
		t.Fatalf("after the delete: %v", found)
	}
	if r := step(t, k, &Write{Key: "k", Make: absentOnly{"third"}}); r.Value != 1 {
		t.Fatalf("after the delete: %+v", r)
	}
}

func TestReplaceOverwritesAnotherType(t *testing.T) {
	t.Parallel()
	k := oneKernel()
	step(t, k, &Write{Key: "k", Delta: lattice.SetAdd(lattice.Timestamp{}, []byte("member"))})
	r := step(t, k, &Write{Key: "k", Delta: lattice.Put(lattice.Timestamp{}, []byte("value"))})
	if !mismatched(r.Err) {
		t.Fatalf("a value over a set: %+v", r)
	}
	for _, w := range []*Write{
		{Key: "k", Delta: lattice.Put(lattice.Timestamp{}, []byte("value")), Replace: true},
		{Key: "k", Delta: &lattice.State{Lattice: lattice.NewCounter(lattice.Timestamp{}, []lattice.Count{{Writer: 1, Up: 3}})}, Replace: true},
	} {
		want := w.Delta.Lattice.Type()
		if r := step(t, k, w); r.Err != nil {
			t.Fatal(r.Err)
		}
		state, _ := k.Get(1e15, "k")
		if got := state.Live(1e12); got == nil || got.Type() != want || len(state.Others()) != 0 {
			t.Fatalf("held %v and %v, want a %v", got, state.Others(), want)
		}
	}
}

func TestWritesInPlace(t *testing.T) {
	t.Parallel()
	k := oneKernel()
	key := []byte("lent")
	write := func(w *Write) int64 {
		t.Helper()
		w.Key = string(key)
		r := step(t, k, w)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		return r.Value
	}
	var last lattice.Timestamp
	for _, value := range []string{"first", "second", "third"} {
		write(&Write{Put: []byte(value)})
		state, _ := k.Get(1e15, "lent")
		lww := state.Lattice.(*lattice.LWW)
		if string(lww.Value) != value || !last.Less(lww.Timestamp) {
			t.Fatalf("held %q at %v", lww.Value, lww.Timestamp)
		}
		last = lww.Timestamp
	}
	write(&Write{Delete: true})
	for want := int64(1); want <= 3; want++ {
		if got := write(&Write{Add: 1}); got != want {
			t.Fatalf("counted %d, want %d", got, want)
		}
	}
	if r := step(t, k, &Write{Key: "lent", Put: []byte("value")}); !mismatched(r.Err) {
		t.Fatalf("a value over a counter: %+v", r)
	}
	write(&Write{Put: []byte("value"), Replace: true})
	if r := step(t, k, &Write{Key: "lent", Add: 1}); !mismatched(r.Err) {
		t.Fatalf("a count on a value: %+v", r)
	}
	if got := write(&Write{Add: 1, Make: deletion{}}); got != 7 {
		t.Fatalf("what cannot be counted was not made: %d", got)
	}
	if stats := k.Stats(); stats.Keys != 0 || stats.ChangesetBytes == 0 {
		t.Fatalf("%+v", stats)
	}
}
