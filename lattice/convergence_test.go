package lattice

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// write is one operation of a client, for the model that knows nothing of lattices.
type write struct {
	kind       Type
	stamp      Timestamp
	generation Timestamp // that the replica knew
	member     string
	value      []byte
	removed    bool
	number     int64
	score      float64
	version    Version
}

// replica is a master: its state, its clock and what it has not heard of yet.
type replica struct {
	writer uint64
	state  *State
	clock  *Clock
	inbox  []*State
}

// TestConvergence lets replicas write, and exchange deltas and whole states, late, twice and in any order. In the end all must
// hold the same, and that what the model says of the writes.
func TestConvergence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		replicas := make([]*replica, 3)
		for i := range replicas {
			replicas[i] = &replica{writer: uint64(i + 1), state: new(State), clock: NewClock(uint64(i + 1))}
		}
		var writes []write
		var deltas []*State
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			r := rapid.SampledFrom(replicas).Draw(t, "replica")
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0: // hear of something, and perhaps of the same again later
				r.hear(t)
			case 1: // a whole state in place of deltas
				from := rapid.SampledFrom(replicas).Draw(t, "from")
				r.state.Merge(from.state)
			default:
				w, delta := r.write(t, all)
				writes = append(writes, w)
				deltas = append(deltas, delta)
				before := r.state.Clone()
				r.state.Merge(delta)
				checkInvariants(t, r.state)
				for _, other := range replicas {
					if other != r {
						other.inbox = append(other.inbox, delta)
					}
				}
				// delta = full: what the delta does anywhere is what the whole state with it does.
				at := rapid.SampledFrom(replicas).Draw(t, "compared").state
				byDelta, byState := at.Clone(), at.Clone()
				byDelta.Merge(before)
				byDelta.Merge(delta)
				byState.Merge(r.state)
				if !byDelta.Equal(byState) {
					t.Fatalf("a delta is not the whole:\n%v\n%v", show(byDelta), show(byState))
				}
			}
		}
		for _, r := range replicas {
			for len(r.inbox) > 0 {
				r.hear(t)
			}
		}
		fold := new(State)
		for _, d := range rapid.Permutation(deltas).Draw(t, "order") {
			fold.Merge(d)
		}
		for _, r := range replicas {
			if !r.state.Equal(fold) {
				t.Fatalf("replica %d holds %v, not %v", r.writer, show(r.state), show(fold))
			}
		}
		checkModel(t, fold, writes)

		shown := fold.Clone()
		horizon := Timestamp{Time: math.MaxUint64}
		fold.Collect(horizon)
		if fold.Collect(horizon) || !fold.Deleted().IsZero() {
			t.Fatalf("not all collected: %v", show(fold))
		}
		checkInvariants(t, fold)
		checkShown(t, fold, shown)
	})
}

func (r *replica) hear(t *rapid.T) {
	if len(r.inbox) == 0 {
		return
	}
	at := rapid.IntRange(0, len(r.inbox)-1).Draw(t, "message")
	r.state.Merge(r.inbox[at])
	if rapid.IntRange(0, 3).Draw(t, "again") > 0 {
		r.inbox = slices.Delete(r.inbox, at, at+1)
	}
}

// write makes one write as a master would.
func (r *replica) write(t *rapid.T, types []Type) (write, *State) {
	// Clocks are apart, and go backwards.
	w := write{stamp: r.clock.Now(rapid.Int64Range(0, 50).Draw(t, "now"))}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		return w, Delete(w.stamp)
	case 1:
		w.number = rapid.Int64Range(0, 2).Draw(t, "at")
		return w, ExpireAt(w.stamp, w.number)
	}
	w.kind = rapid.SampledFrom(types).Draw(t, "type")
	w.generation = r.state.Generation(w.kind)
	w.member = string(members.Draw(t, "member"))
	w.value = values.Draw(t, "value")
	w.removed = rapid.Bool().Draw(t, "remove")
	w.number = rapid.Int64Range(-5, 5).Draw(t, "number")
	w.score = scores.Draw(t, "score")
	switch w.kind {
	case TypeLWW:
		return w, Put(w.stamp, w.value)
	case TypeSet:
		if w.removed {
			return w, SetRemove(w.stamp, []byte(w.member))
		}
		return w, SetAdd(w.stamp, []byte(w.member))
	case TypeOrderedSet:
		if w.removed {
			return w, OrderedSetRemove(w.stamp, []byte(w.member))
		}
		return w, must(OrderedSetAdd(w.stamp, []byte(w.member), w.score))
	case TypeCounter:
		return w, must(CounterAdd(r.state, r.writer, w.number))
	case TypeMax:
		return w, MaxPut(r.state, w.number)
	case TypeMin:
		return w, MinPut(r.state, w.number)
	case TypePriority:
		return w, must(PriorityPut(r.state, w.score, w.value))
	case TypeCausal:
		w.version.Value = w.value
		if c, ok := r.state.Of(TypeCausal).(*Causal); ok && rapid.Bool().Draw(t, "read first") {
			w.version.Clock = c.Clock()
		}
		w.version.Clock = w.version.Clock.Increment(fmt.Sprintf("%d-%d", r.writer, w.stamp.Time))
		return w, must(CausalPut(r.state, w.version))
	}
	// A map has a counter and a value in each of a few fields.
	field := fmt.Sprint(w.number % 2)
	if w.removed {
		return w, MapPut(field, must(CounterAdd(r.state.Field(field), r.writer, w.number)))
	}
	return w, MapPut(field, Put(w.stamp, w.value))
}

// checkModel works out what there must be from all writes together.
func checkModel(t *rapid.T, got *State, writes []write) {
	var deleted, expired Timestamp
	for _, w := range writes {
		switch {
		case w.kind == TypeNone && got.Deleted() == w.stamp:
			deleted = w.stamp
		case w.kind == TypeNone && got.Expiry().Timestamp == w.stamp:
			expired = w.stamp
		}
	}
	if deleted != got.Deleted() || expired != got.Expiry().Timestamp {
		t.Fatalf("a tombstone or expiry that was never written: %v", show(got))
	}
	newest := func(kind Type) (g Timestamp) {
		for _, w := range writes {
			if w.kind == kind {
				g = later(g, w.generation)
			}
		}
		return g
	}
	stamped := func(kind Type) (some []write) {
		for _, w := range writes {
			if w.kind == kind && deleted.Less(w.stamp) {
				some = append(some, w)
			}
		}
		slices.SortFunc(some, func(a, b write) int { return a.stamp.Compare(b.stamp) })
		return some
	}
	current := func(kind Type) (some []write) {
		g := newest(kind)
		for _, w := range writes {
			if w.kind == kind && w.generation == g && !g.Less(deleted) {
				some = append(some, w)
			}
		}
		return some
	}
	same := func(kind Type, got, want any) {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%v: %v, not %v", kind, got, want)
		}
	}

	if l, ok := got.Of(TypeLWW).(*LWW); ok {
		some := stamped(TypeLWW)
		same(TypeLWW, l.Value, some[len(some)-1].value)
	} else {
		same(TypeLWW, 0, len(stamped(TypeLWW)))
	}
	for _, kind := range []Type{TypeSet, TypeOrderedSet} {
		there := map[string]float64{}
		for _, w := range stamped(kind) {
			if w.removed {
				delete(there, w.member)
			} else {
				there[w.member] = w.score
			}
		}
		names := slices.Sorted(maps.Keys(there))
		switch l := got.Of(kind).(type) {
		case *Set:
			same(kind, fmt.Sprintf("%s", l.Members()), names)
		case *OrderedSet:
			slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(there[a], there[b]) })
			var ranked []string
			for i, m := range l.Range(0, math.MaxInt) {
				ranked = append(ranked, string(m.Member))
				rank, ok := l.Rank(m.Member)
				same(kind, []any{m.Score, rank, ok}, []any{there[string(m.Member)] + 0, i, true})
			}
			same(kind, ranked, names)
		default:
			same(kind, 0, len(stamped(kind)))
		}
	}
	var sum int64
	largest, smallest := int64(math.MinInt64), int64(math.MaxInt64)
	for _, w := range current(TypeCounter) {
		sum += w.number
	}
	for _, w := range current(TypeMax) {
		largest = max(largest, w.number)
	}
	for _, w := range current(TypeMin) {
		smallest = min(smallest, w.number)
	}
	if l, ok := got.Of(TypeCounter).(*Counter); ok {
		same(TypeCounter, l.Value(), sum)
	} else {
		same(TypeCounter, 0, len(current(TypeCounter)))
	}
	if l, ok := got.Of(TypeMax).(*Max); ok {
		same(TypeMax, l.Value, largest)
	} else {
		same(TypeMax, 0, len(current(TypeMax)))
	}
	if l, ok := got.Of(TypeMin).(*Min); ok {
		same(TypeMin, l.Value, smallest)
	} else {
		same(TypeMin, 0, len(current(TypeMin)))
	}
	if some := current(TypePriority); len(some) > 0 {
		first := slices.MinFunc(some, func(a, b write) int {
			return cmp.Or(cmp.Compare(a.score, b.score), bytes.Compare(a.value, b.value))
		})
		same(TypePriority, got.Of(TypePriority).(*Priority).Value, first.value)
	}
	if some := current(TypeCausal); len(some) > 0 {
		var want []string
		for _, w := range some {
			if !slices.ContainsFunc(some, func(o write) bool { return w.version.Clock.Compare(o.version.Clock) == Before }) {
				want = append(want, string(w.value))
			}
		}
		slices.Sort(want)
		same(TypeCausal, fmt.Sprintf("%s", got.Of(TypeCausal).(*Causal).Values()), slices.Compact(want))
	}
}

// checkShown checks that two states show the same.
func checkShown(t *rapid.T, got, want *State) {
	for _, kind := range all {
		switch w := want.Of(kind).(type) {
		case *Set:
			l, _ := got.Of(kind).(*Set)
			if l == nil {
				l = new(Set)
			}
			if !slices.EqualFunc(l.Members(), w.Members(), bytes.Equal) {
				t.Fatalf("shows %q, not %q", l.Members(), w.Members())
			}
		case *OrderedSet:
			l, _ := got.Of(kind).(*OrderedSet)
			if l == nil {
				l = new(OrderedSet)
			}
			if fmt.Sprint(l.Range(0, math.MaxInt)) != fmt.Sprint(w.Range(0, math.MaxInt)) {
				t.Fatalf("shows %v, not %v", show(got), show(want))
			}
		case nil:
		default:
			if w.Type() != TypeMap && !got.Of(kind).Equal(w) {
				t.Fatalf("shows %v, not %v", show(got), show(want))
			}
		}
	}
}
