package hot_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"cloudburst/anna/hot"
)

// TestSketchErrs: by no more than it says, and never by more than the total divided by its size.
func TestSketchErrs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 12).Draw(t, "size")
		keys := rapid.IntRange(1, 40).Draw(t, "keys")
		sketch := hot.NewSketch(size)
		counted, total := map[string]float64{}, 0.0
		check := func() {
			const rounding = 1e-9
			found := map[string]hot.Frequency{}
			for i, f := range sketch.Frequent(0) {
				if _, twice := found[f.Key]; twice || i >= size {
					t.Fatalf("%s is the %dth of %d, or there twice", f.Key, i+1, size)
				}
				found[f.Key] = f
				if n := counted[f.Key]; n > f.Count+rounding || n < f.Least()-rounding {
					t.Fatalf("%s was counted %v times; the sketch says %v to %v", f.Key, n, f.Least(), f.Count)
				}
				if f.Error > total/float64(size)+rounding {
					t.Fatalf("%s may be wrong by %v; of %v in %d counters that is too much", f.Key, f.Error, total, size)
				}
			}
			for key, n := range counted {
				if _, ok := found[key]; !ok && n > total/float64(size)+rounding {
					t.Fatalf("%s was counted %v times of %v and is not among %d", key, n, total, size)
				}
			}
		}
		for range rapid.IntRange(0, 400).Draw(t, "steps") {
			if rapid.IntRange(0, 60).Draw(t, "decay") == 0 {
				sketch.Decay()
				for key := range counted {
					counted[key] /= 2
				}
				total /= 2
				check()
				continue
			}
			// Low numbers come more often.
			key := fmt.Sprint("k", rapid.IntRange(0, rapid.IntRange(0, keys-1).Draw(t, "range")).Draw(t, "key"))
			sketch.Add(key, 0)
			counted[key]++
			total++
		}
		check()
	})
}

func TestSketchKeepsItsKeys(t *testing.T) {
	t.Parallel()
	sketch := hot.NewSketch(2)
	lent := []byte("key")
	for range 3 {
		sketch.Add(string(lent), 7)
	}
	sketch.Add("once", 1)
	got := sketch.Frequent(2)
	if len(got) != 1 || got[0].Key != "key" || got[0].Slot != 7 || got[0].Least() != 3 {
		t.Fatalf("%+v", got)
	}
}
