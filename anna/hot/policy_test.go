package hot_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cloudburst/anna/hot"
)

const second = 1_000_000 // microseconds

// newPolicy lets a node answer 1,000 reads a second of one key.
func newPolicy() *hot.Policy {
	return &hot.Policy{Rate: 1000, ColdRate: 500, ColdAfter: 10 * second, KeysMax: 2, ReplicasMax: 3}
}

func TestPolicyFollowsTheRate(t *testing.T) {
	t.Parallel()
	p := newPolicy()
	others := []string{"c", "d", "e", "f"}
	for i, step := range []struct {
		at   int64 // seconds
		rate float64
		want []string
	}{
		{0, 1900, nil}, // two masters are enough
		{1, 2000, nil}, // just so
		{2, 2001, []string{"c"}},
		{3, 4500, []string{"c", "d", "e"}},
		{4, 90_000, []string{"c", "d", "e"}}, // no more than there may be
		{5, 2100, []string{"c", "d", "e"}},   // fewer would do, but not for long enough
		{14, 2100, []string{"c", "d", "e"}},
		{15, 2100, []string{"c", "d", "e"}}, // with the margin three are still needed
		{16, 1600, []string{"c", "d", "e"}},
		{25, 1600, []string{"c", "d", "e"}},
		{26, 1600, []string{"c", "d"}},
		{27, 900, []string{"c", "d"}},
		{30, 1100, []string{"c", "d"}}, // once more than the last time
		{37, 900, []string{"c"}},       // the most that was needed meanwhile
		{38, 900, []string{"c"}},
		{40, 1800, []string{"c"}},
		{41, 0, []string{"c"}}, // from here on anew
		{50, 0, []string{"c"}},
		{51, 0, nil},
		{52, 1999, nil},
	} {
		decided := p.Decide(step.at*second, []hot.Demand{{Key: "k", Rate: step.rate, Masters: 2, Candidates: others}})
		var got []string
		if len(decided) > 0 {
			got = decided[0].Members
		}
		if !slices.Equal(got, step.want) {
			t.Fatalf("step %d, %v reads a second: %v, want %v", i, step.rate, got, step.want)
		}
	}
}

func TestPolicyChooses(t *testing.T) {
	t.Parallel()
	p := newPolicy()
	members := func(at int64, rate float64, candidates ...string) []string {
		got := p.Decide(at*second, []hot.Demand{{Key: "k", Rate: rate, Masters: 1, Candidates: candidates}})
		if len(got) != 1 {
			t.Fatalf("%+v", got)
		}
		return got[0].Members
	}
	if got := members(0, 2500); len(got) != 0 {
		t.Errorf("hot where there is nobody else: %v", got)
	}
	if got := members(1, 2500, "b", "c"); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("two are there: %v", got)
	}
	if got := members(2, 2500, "d", "c", "b"); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("who holds it keeps it: %v", got)
	}
	if got := members(3, 2500, "d", "c"); !slices.Equal(got, []string{"c", "d"}) {
		t.Errorf("one has gone: %v", got)
	}
	if got := p.Decide(4*second, nil); len(got) != 0 || len(p.Keys()) != 0 {
		t.Errorf("others decide about the key now: %v", got)
	}
}

func TestPolicyIsBounded(t *testing.T) {
	t.Parallel()
	p := newPolicy()
	demand := func(key string, rate float64) hot.Demand {
		return hot.Demand{Key: key, Rate: rate, Masters: 1, Candidates: []string{"b"}}
	}
	got := p.Decide(0, []hot.Demand{demand("a", 2000), demand("b", 4000), demand("c", 3000), demand("d", 10)})
	if len(got) != 2 || got[0].Key != "b" || got[1].Key != "c" {
		t.Fatalf("the two that are read most: %+v", got)
	}
	got = p.Decide(second, []hot.Demand{demand("a", 9000), demand("b", 4000), demand("c", 3000)})
	if len(got) != 2 || got[0].Key != "b" {
		t.Fatalf("those that are hot stay: %+v", got)
	}
}

// TestPolicyHolds: whatever the rates, there are never more replicas or keys than there may be, always enough of them for the
// rate, and a key that is read evenly never changes.
func TestPolicyHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newPolicy()
		candidates := []string{"b", "c", "d", "e"}
		now := int64(0)
		decide := func(rate float64) int {
			now += rapid.Int64Range(0, 5*second).Draw(t, "passed")
			got := p.Decide(now, []hot.Demand{{Key: "k", Rate: rate, Masters: 2, Candidates: candidates}})
			if len(got) == 0 {
				return 0
			}
			return len(got[0].Members)
		}
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			rate := rapid.Float64Range(0, 8000).Draw(t, "rate")
			n := decide(rate)
			if n > 3 {
				t.Fatalf("%d replicas", n)
			}
			if n < 3 && rate > float64(2+n)*1000 {
				t.Fatalf("%d replicas for %v reads a second", n, rate)
			}
		}
		steady := rapid.Float64Range(0, 8000).Draw(t, "steady")
		for range 6 {
			now += 10 * second
			decide(steady)
		}
		n := decide(steady)
		for i := range 20 {
			if got := decide(steady); got != n {
				t.Fatalf("%d replicas after %d, for %v reads a second each time (%s)", got, n, steady, fmt.Sprint(i))
			}
		}
	})
}
