package lattice_test

import (
	"strings"
	"testing"

	"cloudburst/lattice"
)

func TestMismatchSaysWhatToDo(t *testing.T) {
	t.Parallel()
	want := `the key "ci" holds a single value, as put stores it, but increment needs a counter: delete the key first, or use another key`
	if got := lattice.Mismatch("ci", lattice.TypeLWW, lattice.TypeCounter); got != want {
		t.Errorf("got %s", got)
	}
	want = `the key "c" holds a counter, but put replaces a single value only: delete the key first, or use another key`
	if got := lattice.Mismatch("c", lattice.TypeCounter, lattice.TypeLWW); got != want {
		t.Errorf("got %s", got)
	}
	for held := lattice.TypeLWW; held <= lattice.TypeCausal; held++ {
		for needed := lattice.TypeLWW; needed <= lattice.TypeCausal; needed++ {
			if got := lattice.Mismatch("k", held, needed); strings.Contains(got, "lattice of") || !strings.Contains(got, "delete the key first") {
				t.Errorf("%v for %v: %s", held, needed, got)
			}
		}
	}
}
