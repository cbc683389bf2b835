package lattice

import (
	"fmt"
	"testing"
)

// TestTouch looks for members in lattices of all kinds, and finds those that an index leads to.
func TestTouch(t *testing.T) {
	t.Parallel()
	set, ordered, few := new(Set), new(OrderedSet), new(Set)
	for i := range 1000 {
		m := fmt.Appendf(nil, "%c:%d", 'a'+i%26, i)
		set.Add(Timestamp{Time: 1}, m)
		must(ordered.Add(Timestamp{Time: 1}, m, float64(i)))
	}
	few.Add(Timestamp{Time: 1}, []byte("a:0"))
	set.Remove(Timestamp{Time: 2}, []byte("b:1"))
	for _, test := range []struct {
		lattice Lattice
		member  string
		seen    int
	}{
		{set, "a:0", 'a'},
		{set, "b:1", 'b'},
		{set, "b:2", 0},
		{ordered, "c:2", 'c'},
		{ordered, "", 0},
		{few, "a:0", 0},
		{new(Set), "a:0", 0},
		{NewCounter(Timestamp{}, nil), "a:0", 0},
		{nil, "a:0", 0},
	} {
		if seen := Touch([]Lattice{test.lattice}, []string{test.member}); seen != test.seen {
			t.Errorf("%q in %v: %d, not %d", test.member, test.lattice, seen, test.seen)
		}
	}
	lattices, members := make([]Lattice, TouchMax), make([]string, TouchMax)
	for i := range members {
		lattices[i], members[i] = set, fmt.Sprintf("a:%d", i*26%1000)
	}
	held := set.Clone()
	Touch(lattices, members)
	if !set.Equal(held) {
		t.Error("it has changed what it looked at")
	}
}
