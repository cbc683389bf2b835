package lattice

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Small domains make stamps collide, members meet and versions relate.
var (
	stamps = rapid.Custom(func(t *rapid.T) Timestamp {
		return Timestamp{Time: rapid.Uint64Range(0, 6).Draw(t, "time"), Writer: rapid.Uint64Range(0, 2).Draw(t, "writer")}
	})
	generations = rapid.SampledFrom([]Timestamp{{}, {Time: 1}, {Time: 3, Writer: 1}})
	members     = rapid.Custom(func(t *rapid.T) []byte {
		// Few most of the time, and sometimes enough for a table with an index and a ranking of several nodes.
		return fmt.Append(nil, rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(0, 200)).Draw(t, "member"))
	})
	values  = rapid.SampledFrom([][]byte{{}, []byte("a"), []byte("b"), []byte("bb")})
	scores  = rapid.SampledFrom([]float64{math.Inf(-1), -1, math.Copysign(0, -1), 0, 0.5, 3, math.Inf(1)})
	writers = rapid.SampledFrom([]string{"a", "a", "b", "b", "c"})
	clocks  = rapid.Custom(func(t *rapid.T) VectorClock {
		return NewVectorClock(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ClockEntry {
			return ClockEntry{writers.Draw(t, "writer"), rapid.Uint64Range(1, 2).Draw(t, "count")}
		}), 0, 2).Draw(t, "entries")...)
	})
	versions = rapid.Custom(func(t *rapid.T) Version {
		deps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Dependency {
			return Dependency{rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key"), clocks.Draw(t, "clock")}
		}), 0, 2).Draw(t, "dependencies")
		return Version{clocks.Draw(t, "clock"), NewDependencies(deps...), values.Draw(t, "value")}
	})
)

// kinds draw one lattice of each type from anything that can be written, whether a writer would write it or not.
var kinds = map[Type]func(t *rapid.T) *State{
	TypeLWW: func(t *rapid.T) *State { return Put(stamps.Draw(t, "stamp"), values.Draw(t, "value")) },
	TypeSet: func(t *rapid.T) *State {
		some := rapid.SliceOfN(members, 0, 30).Draw(t, "members")
		if rapid.Bool().Draw(t, "remove") {
			return SetRemove(stamps.Draw(t, "stamp"), some...)
		}
		return SetAdd(stamps.Draw(t, "stamp"), some...)
	},
	TypeOrderedSet: func(t *rapid.T) *State {
		s := new(OrderedSet)
		for range rapid.IntRange(0, 30).Draw(t, "members") {
			if rapid.Bool().Draw(t, "remove") {
				s.Remove(stamps.Draw(t, "stamp"), members.Draw(t, "member"))
			} else {
				must(s.Add(stamps.Draw(t, "stamp"), members.Draw(t, "member"), scores.Draw(t, "score")))
			}
		}
		return &State{Lattice: s}
	},
	TypeCounter: func(t *rapid.T) *State {
		counts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Count {
			return Count{rapid.Uint64Range(0, 1).Draw(t, "writer"), rapid.Uint64Range(0, 3).Draw(t, "up"), rapid.Uint64().Draw(t, "down")}
		}), 0, 3).Draw(t, "counts")
		return &State{Lattice: NewCounter(generations.Draw(t, "generation"), counts)}
	},
	TypeMax: func(t *rapid.T) *State {
		return &State{Lattice: &Max{Generation: generations.Draw(t, "generation"), Value: rapid.Int64Range(-2, 2).Draw(t, "value")}}
	},
	TypeMin: func(t *rapid.T) *State {
		return &State{Lattice: &Min{Generation: generations.Draw(t, "generation"), Value: rapid.Int64Range(-2, 2).Draw(t, "value")}}
	},
	TypePriority: func(t *rapid.T) *State {
		s := must(PriorityPut(new(State), scores.Draw(t, "priority"), values.Draw(t, "value")))
		s.Lattice.(*Priority).Generation = generations.Draw(t, "generation")
		return s
	},
	TypeCausal: func(t *rapid.T) *State {
		some := rapid.SliceOfN(versions, 0, 4).Draw(t, "versions")
		return &State{Lattice: NewCausal(generations.Draw(t, "generation"), some...)}
	},
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// drawState merges anything of the given types with tombstones and expiries.
func drawState(t *rapid.T, types []Type, depth int) *State {
	s := new(State)
	for range rapid.IntRange(0, 5).Draw(t, "writes") {
		s.Merge(drawDelta(t, types, depth))
	}
	return s
}

func drawDelta(t *rapid.T, types []Type, depth int) *State {
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0:
		return Delete(stamps.Draw(t, "deleted"))
	case 1:
		return ExpireAt(stamps.Draw(t, "expiry"), rapid.Int64Range(0, 2).Draw(t, "at"))
	}
	kind := rapid.SampledFrom(types).Draw(t, "type")
	if kind != TypeMap {
		return kinds[kind](t)
	}
	field := rapid.SampledFrom([]string{"f", "g", "h"}).Draw(t, "field")
	if depth == 0 {
		return MapPut(field, kinds[TypeLWW](t))
	}
	return MapPut(field, drawState(t, all, depth-1))
}

var all = []Type{TypeLWW, TypeSet, TypeOrderedSet, TypeCounter, TypeMax, TypeMin, TypePriority, TypeMap, TypeCausal}

func TestLaws(t *testing.T) {
	t.Parallel()
	check := func(types ...Type) func(*testing.T) {
		return func(t *testing.T) {
			t.Parallel()
			// States are cheap to draw, and the cases that matter rare: so three times as many as usual.
			for range 3 {
				rapid.Check(t, func(t *rapid.T) {
					checkLaws(t, drawState(t, types, 2), drawState(t, types, 2), drawState(t, types, 2))
				})
			}
		}
	}
	for _, kind := range all {
		t.Run(kind.String(), check(kind))
	}
	t.Run("all", check(all...))
}

func checkLaws(t *rapid.T, a, b, c *State) {
	for _, s := range []*State{a, b, c} {
		checkInvariants(t, s)
	}
	before := [3]*State{a.Clone(), b.Clone(), c.Clone()}
	merge := func(states ...*State) *State {
		m := states[0].Clone()
		for _, s := range states[1:] {
			was := m.Clone()
			if changed := m.Merge(s); changed == m.Equal(was) {
				t.Fatalf("Merge says that it changed the state: %v\nbefore %v\nother %v\nafter %v", changed, show(was), show(s), show(m))
			}
			checkInvariants(t, m)
		}
		return m
	}
	equal := func(law string, x, y *State) {
		if !x.Equal(y) || !y.Equal(x) || show(x) != show(y) {
			t.Fatalf("not %s:\na %v\nb %v\nc %v\n%v\n%v", law, show(a), show(b), show(c), show(x), show(y))
		}
	}
	for _, o := range [][3]*State{{a, b, c}, {b, c, a}, {c, a, b}, {c, b, a}, {b, a, c}, {a, c, b}} {
		equal("commutative", merge(o[0], o[1]), merge(o[1], o[0]))
		equal("associative", merge(merge(o[0], o[1]), o[2]), merge(o[0], merge(o[1], o[2])))
	}
	equal("idempotent", merge(a, a), a)
	equal("inflationary", merge(merge(a, b), a), merge(a, b))
	equal("with the empty state as its least", merge(new(State), a), a)
	if a.Lattice != nil && b.Lattice != nil && a.Lattice.Type() == b.Lattice.Type() {
		x, y := a.Lattice.Clone(), b.Lattice.Clone()
		x.Merge(b.Lattice)
		y.Merge(a.Lattice)
		if !x.Equal(y) {
			t.Fatalf("not commutative by themselves: %v and %v", show(a), show(b))
		}
	}
	for i, s := range []*State{a, b, c} {
		equal("leaving what is merged alone", s, before[i])
	}
}

// checkInvariants looks at what is kept redundantly, and that nothing that a tombstone covers is left.
func checkInvariants(t *rapid.T, s *State) {
	var previous Type
	for i, l := range append([]Lattice{s.Lattice}, s.Others()...) {
		if l == nil {
			if i > 0 || len(s.Others()) > 0 {
				t.Fatalf("no lattice before others: %v", show(s))
			}
			continue
		}
		if l.Type() <= previous || l.bottom() {
			t.Fatalf("types out of order, or a lattice that holds nothing: %v", show(s))
		}
		previous = l.Type()
		if d := l.Clone(); d.Drop(s.Deleted()) {
			t.Fatalf("content from before the tombstone: %v", show(s))
		}
		checkLattice(t, l)
	}
	if s.Bytes() <= 0 {
		t.Fatalf("%d bytes: %v", s.Bytes(), show(s))
	}
}

func checkLattice(t *rapid.T, l Lattice) {
	switch l := l.(type) {
	case *Set:
		live := 0
		for member, mark := range l.Marks() {
			if l.Contains([]byte(member)) == mark.Removed || l.latest.Less(mark.Stamp) {
				t.Fatalf("member %q: %v", member, l)
			}
			if !mark.Removed {
				live++
			}
		}
		if live != l.Len() || live != len(l.Members()) || (live == 0) != l.Empty() {
			t.Fatalf("%d members, not %d", l.Len(), live)
		}
	case *OrderedSet:
		var want []Scored
		for member, mark := range l.Marks() {
			if l.latest.Less(mark.Stamp) || mark.Removed && mark.Score != 0 || math.Signbit(mark.Score) && mark.Score == 0 {
				t.Fatalf("member %q: %v", member, mark)
			}
			if !mark.Removed {
				want = append(want, Scored{[]byte(member), mark.Score})
			}
		}
		slices.SortFunc(want, func(a, b Scored) int {
			return cmp.Or(cmp.Compare(a.Score, b.Score), slices.Compare(a.Member, b.Member))
		})
		got := l.Range(0, l.Len())
		if !slices.EqualFunc(got, want, Scored.equal) {
			t.Fatalf("ranked %v, not %v", got, want)
		}
	case *Map:
		live, held := 0, 0
		for name, field := range l.Fields() {
			if field.IsZero() || l.Get(name) != field {
				t.Fatalf("field %q: %v", name, show(field))
			}
			held += field.Bytes()
			if field.shows() {
				live++
			}
			checkInvariants(t, field)
		}
		if live != l.Len() || held != l.held {
			t.Fatalf("%d fields of %d bytes, not %d of %d", l.Len(), l.held, live, held)
		}
	case *Causal:
		for i, v := range l.versions {
			for _, w := range l.versions[i+1:] {
				if order := v.Clock.Compare(w.Clock); order == Before || order == After || v.compare(w) >= 0 {
					t.Fatalf("versions %v and %v", v, w)
				}
			}
		}
	case *Counter:
		if !slices.IsSortedFunc(l.counts, func(a, b Count) int { return cmp.Compare(a.Writer, b.Writer) }) {
			t.Fatalf("counts %v", l.counts)
		}
	}
}

// show prints a state with all that it holds, the same for states that are the same.
func show(s *State) string {
	text := fmt.Sprintf("{deleted %v expiry %v", s.Deleted(), s.Expiry())
	for _, l := range append([]Lattice{s.Lattice}, s.Others()...) {
		if l == nil {
			continue
		}
		var parts []string
		switch l := l.(type) {
		case *Set:
			for member, mark := range l.Marks() {
				parts = append(parts, fmt.Sprintf("%q%v", member, mark))
			}
		case *OrderedSet:
			for member, mark := range l.Marks() {
				parts = append(parts, fmt.Sprintf("%q%v", member, mark))
			}
		case *Map:
			for name, field := range l.Fields() {
				parts = append(parts, fmt.Sprintf("%q%s", name, show(field)))
			}
		default:
			parts = append(parts, fmt.Sprintf("%+v", l))
		}
		slices.Sort(parts)
		text += fmt.Sprintf(" %v %v", l.Type(), parts)
	}
	return text + "}"
}
