package main

import "testing"

func TestGrowthBetweenCollections(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int{0: 6400, 8 << 20: 800, 64 << 20: 100, 128 << 20: 50, 10 << 30: 50} {
		if got := percentFor(live); got != want {
			t.Errorf("with %d live bytes the heap grows by %d %%, want %d %%", live, got, want)
		}
	}
}
