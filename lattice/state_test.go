package lattice

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func at(n uint64) Timestamp { return Timestamp{Time: n, Writer: 1} }

func merged(states ...*State) *State {
	s := new(State)
	for _, d := range states {
		s.Merge(d)
	}
	return s
}

func TestLive(t *testing.T) {
	t.Parallel()
	a := []byte("a")
	for name, c := range map[string]struct {
		state   *State
		live    Type // at 100 ms
		expired bool
		expires int64
	}{
		"nothing":                      {new(State), TypeNone, false, 0},
		"a value":                      {Put(at(1), a), TypeLWW, false, 0},
		"deleted":                      {merged(Put(at(1), a), Delete(at(1))), TypeNone, false, 0},
		"written again":                {merged(Delete(at(1)), Put(at(2), a)), TypeLWW, false, 0},
		"later":                        {merged(Put(at(1), a), ExpireAt(at(1), 101)), TypeLWW, false, 101},
		"expired":                      {merged(Put(at(1), a), ExpireAt(at(1), 100)), TypeNone, true, 100},
		"expiry taken back":            {merged(Put(at(1), a), ExpireAt(at(1), 100), ExpireAt(at(2), 0)), TypeLWW, false, 0},
		"overwritten":                  {merged(Put(at(1), a), ExpireAt(at(1), 100), Put(at(2), a)), TypeLWW, false, 0},
		"expiry set later":             {merged(Put(at(1), a), ExpireAt(at(2), 100)), TypeNone, true, 100},
		"a set added to":               {merged(SetAdd(at(1), a), ExpireAt(at(1), 100), SetAdd(at(2), a)), TypeNone, true, 100},
		"expiry deleted":               {merged(SetAdd(at(1), a), ExpireAt(at(1), 100), Delete(at(2)), SetAdd(at(3), a)), TypeSet, false, 0},
		"an emptied set":               {merged(SetAdd(at(1), a), SetRemove(at(2), a)), TypeNone, false, 0},
		"of two types":                 {merged(SetAdd(at(1), a), Put(at(1), a)), TypeLWW, false, 0},
		"of two types, the lower gone": {merged(SetAdd(at(1), a), SetRemove(at(2), a), MaxPut(new(State), 1)), TypeMax, false, 0},
		"an expiry alone":              {ExpireAt(at(1), 100), TypeNone, false, 0},
	} {
		live := TypeNone
		if l := c.state.Live(100); l != nil {
			live = l.Type()
		}
		if live != c.live || c.state.Expired(100) != c.expired || c.state.ExpiresAt() != c.expires {
			t.Errorf("%s: shows %v, expired %v, expires %d", name, live, c.state.Expired(100), c.state.ExpiresAt())
		}
	}
}

func TestComplete(t *testing.T) {
	t.Parallel()
	held := merged(
		must(CounterAdd(new(State), 1, 5)), Delete(at(10)), must(CounterAdd(Delete(at(10)), 1, 7)),
		SetAdd(at(11), []byte("old")), MapPut("f", Delete(at(12))), MapPut("f", MaxPut(Delete(at(12)), 3)),
	)
	put := merged(
		Put(Timestamp{}, []byte("v")), SetAdd(Timestamp{}, []byte("m")), must(OrderedSetAdd(Timestamp{}, []byte("m"), 1)),
		must(CounterAdd(new(State), 2, 1)), MaxPut(new(State), 1), MinPut(new(State), 1), must(PriorityPut(new(State), 1, nil)),
		MapPut("f", MaxPut(new(State), 4)), MapPut("g", Put(Timestamp{}, []byte("w"))),
		must(CausalPut(new(State), Version{Value: []byte("c")})), ExpireAt(Timestamp{}, 9),
	)
	put.Complete(at(20), held)
	if put.Of(TypeLWW).(*LWW).Timestamp != at(20) || put.Expiry().Timestamp != at(20) {
		t.Errorf("not stamped: %v", show(put))
	}
	held.Merge(put)
	for kind, l := range map[Type]Lattice{
		TypeLWW: held.Of(TypeLWW), TypeSet: held.Of(TypeSet), TypeOrderedSet: held.Of(TypeOrderedSet), TypeMax: held.Of(TypeMax),
		TypeMin: held.Of(TypeMin), TypePriority: held.Of(TypePriority), TypeCausal: held.Of(TypeCausal),
	} {
		if l == nil || l.Empty() {
			t.Errorf("the put of a %v is taken for one from before the deletion: %v", kind, show(held))
		}
	}
	if n := held.Of(TypeSet).(*Set).Len(); n != 2 {
		t.Errorf("%d members", n)
	}
	if n := held.Of(TypeCounter).(*Counter).Value(); n != 8 {
		t.Errorf("counts %d", n)
	}
	if n := held.Field("f").Lattice.(*Max).Value; n != 4 {
		t.Errorf("the field has %d", n)
	}
	if held.Field("g").Lattice == nil {
		t.Error("the new field is gone")
	}
	// A stamp that is there stays.
	put = Put(at(1), []byte("v"))
	put.Complete(at(20), nil)
	if put.Lattice.(*LWW).Timestamp != at(1) {
		t.Errorf("stamped again: %v", show(put))
	}
}

func TestCounterBounds(t *testing.T) {
	t.Parallel()
	s := merged(must(CounterAdd(new(State), 1, math.MaxInt64)))
	if _, err := CounterAdd(s, 2, 1); !errors.Is(err, ErrOverflow) {
		t.Errorf("above: %v", err)
	}
	s.Merge(must(CounterAdd(s, 1, math.MinInt64)))
	s.Merge(must(CounterAdd(s, 1, math.MinInt64+1)))
	if v := s.Lattice.(*Counter).Value(); v != math.MinInt64 {
		t.Errorf("value %d", v)
	}
	if _, err := CounterAdd(s, 2, -1); !errors.Is(err, ErrOverflow) {
		t.Errorf("below: %v", err)
	}
	// One writer that goes up and down for ever comes to an end of its own.
	s.Merge(must(CounterAdd(s, 1, math.MaxInt64)))
	if _, err := CounterAdd(s, 1, -1); !errors.Is(err, ErrOverflow) {
		t.Errorf("all that one writer took away: %v", err)
	}
	// Masters that do not know of each other can leave the range together.
	both := merged(must(CounterAdd(new(State), 1, math.MaxInt64)), must(CounterAdd(new(State), 2, math.MaxInt64)))
	if v := both.Lattice.(*Counter).Value(); v != math.MaxInt64 {
		t.Errorf("value %d", v)
	}
	both = merged(must(CounterAdd(new(State), 1, math.MinInt64)), must(CounterAdd(new(State), 2, math.MinInt64)))
	if v := both.Lattice.(*Counter).Value(); v != math.MinInt64 {
		t.Errorf("value %d", v)
	}
}

// TestOneFormOfNothing checks that a state that has lost everything is like one that never had anything.
func TestOneFormOfNothing(t *testing.T) {
	t.Parallel()
	s := merged(SetAdd(at(1), []byte("a")), SetRemove(at(2), []byte("a")), Delete(at(3)), ExpireAt(at(4), 5), ExpireAt(at(6), 0),
		MapPut("f", Delete(at(7))))
	if s.IsZero() {
		t.Fatal("nothing is held before it is collected")
	}
	s.Collect(at(8))
	if !s.IsZero() || !s.Equal(new(State)) || s.rest != nil {
		t.Errorf("left: %v", show(s))
	}
	for name, s := range map[string]*State{
		"a deletion of nothing": Delete(Timestamp{}), "an expiry of nothing": ExpireAt(Timestamp{}, 0),
		"parts": NewState(at(1), Expiry{}, Put(at(1), []byte("a")).Lattice), "no parts": NewState(Timestamp{}, Expiry{}),
		"no member": SetAdd(at(1)), "no field": MapPut("f", new(State)),
	} {
		if got := merged(s); got.Lattice != nil || name != "parts" && !got.IsZero() {
			t.Errorf("%s: %v", name, show(got))
		}
	}
	if s := NewState(at(1), Expiry{}, new(Set), &Max{Generation: at(1)}, Put(at(2), nil).Lattice); fmt.Sprint(s.Lattice.Type(), len(s.Others())) != "lww 1" {
		t.Errorf("parts of several types: %v", show(s))
	}
}

// TestMergeTakesCopies checks the cases in which content is replaced as a whole: what it was replaced by must not change with
// it.
func TestMergeTakesCopies(t *testing.T) {
	t.Parallel()
	later := Delete(at(1))
	first := must(CounterAdd(later, 1, 1))
	version := func(writer string) *State {
		return must(CausalPut(later, Version{Clock: VectorClock{}.Increment(writer), Value: []byte(writer)}))
	}
	for name, c := range map[string]struct{ held, replacement, more *State }{
		"counter": {must(CounterAdd(new(State), 1, 5)), first, must(CounterAdd(first, 1, 1))},
		"causal":  {must(CausalPut(new(State), Version{Value: []byte("x")})), version("a"), version("b")},
	} {
		before := show(c.replacement)
		c.held.Merge(c.replacement)
		c.held.Merge(c.more)
		if after := show(c.replacement); after != before {
			t.Errorf("%s: merging changed what was merged before:\n%s\n%s", name, before, after)
		}
	}
}

// TestInPlaceIsMerging holds what is done in place against merging the delta.
func TestInPlaceIsMerging(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		held, merged := new(State), new(State)
		stamp := Timestamp{Time: 10, Writer: 1}
		both := func(delta *State) {
			held.Merge(delta.Clone())
			merged.Merge(delta)
		}
		for range rapid.IntRange(0, 4).Draw(rt, "before") {
			stamp.Time++
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0:
				both(Put(stamp, []byte("old")))
			case 1:
				if delta, err := CounterAdd(held, uint64(rapid.IntRange(1, 2).Draw(rt, "writer")), 5); err == nil {
					both(delta)
				}
			case 2:
				both(Delete(stamp))
			case 3:
				both(ExpireAt(stamp, 1000))
			case 4:
				both(SetAdd(stamp, []byte("member")))
			}
		}
		stamp.Time++
		if value := []byte("new"); held.Rewrite(stamp, value) {
			merged.Merge(Put(stamp, value))
		}
		n := rapid.SampledFrom([]int64{1, -7, math.MaxInt64, math.MinInt64}).Draw(rt, "n")
		before := held.Clone()
		if sum, ok := held.Count(1, n); ok {
			delta, err := CounterAdd(merged, 1, n)
			if err != nil {
				rt.Fatalf("counted in place, and else: %v", err)
			}
			merged.Merge(delta)
			if got := merged.Lattice.(*Counter).Value(); got != sum {
				rt.Fatalf("the sum is %d, and %d in place", got, sum)
			}
		} else if !held.Equal(before) {
			rt.Fatal("a count that was not made has changed the state")
		}
		if !held.Equal(merged) {
			rt.Fatalf("in place: %+v; merged: %+v", held, merged)
		}
	})
}
