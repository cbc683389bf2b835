package lattice

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func clockOf(counts map[string]uint64) VectorClock {
	var entries []ClockEntry
	for writer, count := range counts {
		entries = append(entries, ClockEntry{writer, count})
	}
	return NewVectorClock(entries...)
}

func TestVectorClock(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := clocks.Draw(t, "a"), clocks.Draw(t, "b"), clocks.Draw(t, "c")
		less, more := false, false
		for _, w := range []string{"a", "b", "c"} {
			less = less || a.Get(w) < b.Get(w)
			more = more || a.Get(w) > b.Get(w)
			if a.Merge(b).Get(w) != max(a.Get(w), b.Get(w)) || Floor(a, b).Get(w) != min(a.Get(w), b.Get(w)) {
				t.Fatalf("%v and %v: together %v, in common %v", a, b, a.Merge(b), Floor(a, b))
			}
		}
		orders := map[[2]bool]Order{{false, false}: Equal, {true, false}: Before, {false, true}: After, {true, true}: Concurrent}
		want := orders[[2]bool{less, more}]
		if got := a.Compare(b); got != want || a.Covers(b) != (got == After || got == Equal) {
			t.Fatalf("%v is %v %v, not %v", a, got, b, want)
		}
		if a.Merge(b.Merge(c)).sequence(a.Merge(b).Merge(c)) != 0 || a.Merge(b).sequence(b.Merge(a)) != 0 {
			t.Fatalf("merging depends on the order: %v %v %v", a, b, c)
		}
		if next := a.Increment("b"); next.Compare(a) != After || next.Get("b") != a.Get("b")+1 || next.sum() != a.sum()+1 {
			t.Fatalf("after %v comes %v", a, next)
		}
	})
}

// TestVersionsMergeInAnyOrder has the case in which the published lattice, with one clock for all versions, depends on the
// order.
func TestVersionsMergeInAnyOrder(t *testing.T) {
	t.Parallel()
	version := func(value string, counts map[string]uint64) *State {
		return must(CausalPut(new(State), Version{Clock: clockOf(counts), Value: []byte(value)}))
	}
	x, y, z := version("x", map[string]uint64{"a": 1}), version("y", map[string]uint64{"b": 1}), version("z", map[string]uint64{"a": 2})
	for _, order := range [][]*State{{x, y, z}, {y, z, x}, {z, x, y}, {z, y, x}} {
		c := merged(order...).Lattice.(*Causal)
		if got := fmt.Sprintf("%s", c.Values()); got != "[y z]" {
			t.Errorf("values %s", got)
		}
		if got := c.Clock().Compare(clockOf(map[string]uint64{"a": 2, "b": 1})); got != Equal {
			t.Errorf("the clock is %v", c.Clock())
		}
	}
}

func TestDependencies(t *testing.T) {
	t.Parallel()
	k1, k2 := clockOf(map[string]uint64{"a": 1}), clockOf(map[string]uint64{"b": 1})
	c := NewCausal(Timestamp{},
		Version{Clock: k1, Value: []byte("x"), Dependencies: NewDependencies(Dependency{"k", k1}, Dependency{"l", k2})},
		Version{Clock: k2, Value: []byte("y"), Dependencies: NewDependencies(Dependency{"k", k2})})
	d := c.Dependencies()
	if d.Len() != 2 || d.Get("k").Compare(k1.Merge(k2)) != Equal || d.Get("l").Compare(k2) != Equal || d.Get("m").Len() != 0 {
		t.Errorf("dependencies %v", d)
	}
	if !c.Prune(VectorClock{}, map[string]VectorClock{"k": k1}) || c.Prune(VectorClock{}, map[string]VectorClock{"k": k1}) {
		t.Error("not pruned, or again")
	}
	if d := c.Dependencies(); d.Get("k").Compare(k2) != Equal || d.Get("l").Compare(k2) != Equal {
		t.Errorf("dependencies %v", d)
	}
}

func TestTooManyVersions(t *testing.T) {
	t.Parallel()
	s := new(State)
	blind := func(i int) (*State, error) {
		return CausalPut(s, Version{Clock: VectorClock{}.Increment(fmt.Sprint(i)), Value: []byte{byte(i)}})
	}
	for i := range CausalVersionsMax {
		s.Merge(must(blind(i)))
	}
	if _, err := blind(CausalVersionsMax); !errors.Is(err, ErrVersions) {
		t.Fatalf("one version too many: %v", err)
	}
	s.Merge(must(CausalPut(s, Version{Clock: s.Lattice.(*Causal).Clock().Increment("reader"), Value: []byte("all")})))
	if n := s.Lattice.(*Causal).Len(); n != 1 {
		t.Fatalf("%d versions after one that has seen all", n)
	}
}

// TestPrune runs the same writes with and without pruning. Pruning must not lose a version, and when all is quiet and pruned
// show exactly the same, with clocks that do not grow with the number of writers.
func TestPrune(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const n = 3
		var plain, pruned [n]*Causal
		var floors []VectorClock // in the order in which they were found
		var applied [n]int
		for i := range n {
			plain[i], pruned[i] = new(Causal), new(Causal)
		}
		prune := func(i int) {
			for ; applied[i] < len(floors); applied[i]++ {
				pruned[i].Prune(floors[applied[i]], nil)
			}
		}
		// What a floor could not be applied to elsewhere may bring back what it has removed here, so it is given again.
		exchange := func(i, j int) {
			plain[i].Merge(plain[j])
			pruned[i].Merge(pruned[j])
			for _, floor := range floors[:applied[i]] {
				pruned[i].Prune(floor, nil)
			}
		}
		contains := func(i int) {
			for _, value := range plain[i].Values() {
				if !slices.ContainsFunc(pruned[i].Values(), func(v []byte) bool { return string(v) == string(value) }) {
					t.Fatalf("%q is lost:\n%v\n%v", value, plain[i], pruned[i])
				}
			}
		}
		for step := range rapid.IntRange(1, 40).Draw(t, "steps") {
			i, j := rapid.IntRange(0, n-1).Draw(t, "replica"), rapid.IntRange(0, n-1).Draw(t, "from")
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0: // a floor that all have seen, in the clocks that the latest floor has left them
				for i := range n {
					prune(i)
				}
				floors = append(floors, Floor(pruned[0].Clock(), pruned[1].Clock(), pruned[2].Clock()))
			case 1: // apply it here
				prune(i)
			case 2: // exchange
				exchange(i, j)
			default: // every write by a client of its own, that has read or has not
				value, writer := fmt.Append(nil, step), fmt.Sprint("w", step)
				var a, b VectorClock
				if rapid.IntRange(0, 4).Draw(t, "blind") > 0 {
					a, b = plain[i].Clock(), pruned[i].Clock()
				}
				plain[i].add(Version{Clock: a.Increment(writer), Value: value})
				pruned[i].add(Version{Clock: b.Increment(writer), Value: value})
			}
			contains(i)
		}
		for range 2 {
			for i := range n {
				for j := range n {
					exchange(i, j)
				}
			}
			for i := range n {
				prune(i)
			}
		}
		floor := Floor(pruned[0].Clock(), pruned[1].Clock(), pruned[2].Clock())
		for i := range n {
			pruned[i].Prune(floor, nil)
		}
		for i := range n {
			if got, want := pruned[i].Values(), plain[i].Values(); !slices.EqualFunc(got, want, slices.Equal) {
				t.Fatalf("shows %q, not %q", got, want)
			}
			if !pruned[i].Equal(pruned[0]) {
				t.Fatalf("replicas differ: %v and %v", pruned[i], pruned[0])
			}
			if len(pruned[i].versions) == 1 && pruned[i].Clock().Len() > 1 {
				t.Fatalf("the clock is still %v", pruned[i].Clock())
			}
		}
	})
}
