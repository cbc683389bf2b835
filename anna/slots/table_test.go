package slots_test

import (
	"fmt"
	"slices"
	"testing"

	"cloudburst/anna/slots"
)

func TestSlotsAreSpread(t *testing.T) {
	t.Parallel()
	members := make([]string, 7)
	for i := range members {
		members[i] = fmt.Sprint("member", i)
	}
	table := slots.NewTable(1024, 2, members)
	count, leads := map[string]int{}, map[string]int{}
	for _, masters := range table {
		if len(masters) != 2 || masters[0] == masters[1] {
			t.Fatal(masters)
		}
		leads[masters[0]]++
		for _, m := range masters {
			count[m]++
		}
	}
	for _, m := range members {
		if n := count[m]; n < 1024*2/7*7/10 || n > 1024*2/7*13/10 {
			t.Errorf("%s has %d slots of %d", m, n, 1024*2/7)
		}
		if n := leads[m]; n < 1024/7/2 || n > 1024/7*2 {
			t.Errorf("%s leads %d slots of %d", m, n, 1024/7)
		}
	}
	// Nobody but the one that goes loses a slot, and nobody but the one that comes gets one.
	fewer := slots.NewTable(1024, 2, members[1:])
	for slot, masters := range table {
		for _, m := range masters {
			if m != members[0] && !slices.Contains(fewer[slot], m) {
				t.Fatalf("slot %d moved from %s, which stayed", slot, m)
			}
		}
	}
	if got := slots.NewTable(4, 2, members[:1]); len(got[3]) != 1 {
		t.Errorf("one member: %v", got)
	}
	if got := slots.NewTable(4, 2, nil); len(got[3]) != 0 {
		t.Errorf("nobody: %v", got)
	}
}
