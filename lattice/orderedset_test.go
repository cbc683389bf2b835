package lattice

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRanking holds an ordered set of several levels of nodes against a sorted slice, while it grows, shrinks and moves
// members.
func TestRanking(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		set, want := new(OrderedSet), map[string]float64{}
		stamp := Timestamp{}
		domain := rapid.SampledFrom([]int{10, 100, 20_000}).Draw(t, "members")
		for range rapid.IntRange(1, 6).Draw(t, "phases") {
			mostly := rapid.SampledFrom([]string{"add", "append", "remove", "clone", "drop", "cut out"}).Draw(t, "phase")
			for i := range rapid.IntRange(1, 3000).Draw(t, "writes") {
				stamp.Time++
				member := fmt.Appendf(nil, "m%05d", random.IntN(domain))
				score := float64(random.IntN(50))
				if mostly == "append" || mostly == "cut out" {
					member, score = fmt.Appendf(nil, "a%05d", i), float64(i)
				}
				if (mostly == "remove") == (random.IntN(10) > 0) {
					set.Remove(stamp, member)
					delete(want, string(member))
				} else {
					must(set.Add(stamp, member, score))
					want[string(member)] = score
				}
			}
			switch mostly {
			case "cut out": // whole nodes, between full ones
				for _, m := range set.Range(set.Len()/4, set.Len()/2) {
					set.Remove(stamp, m.Member)
					delete(want, string(m.Member))
				}
			case "clone":
				set = set.Clone().(*OrderedSet)
			case "drop":
				deleted := Timestamp{Time: stamp.Time - min(stamp.Time, uint64(random.IntN(2000)))}
				for member, mark := range set.Marks() {
					if !mark.Removed && !deleted.Less(mark.Stamp) {
						delete(want, member)
					}
				}
				set.Drop(deleted)
			}
			checkRanking(t, set, want, random)
		}
	})
}

func (m Scored) equal(other Scored) bool {
	return m.Score == other.Score && string(m.Member) == string(other.Member)
}

func checkRanking(t *rapid.T, set *OrderedSet, want map[string]float64, random *rand.Rand) {
	var order []Scored
	for member, score := range want {
		order = append(order, Scored{[]byte(member), score})
	}
	slices.SortFunc(order, func(a, b Scored) int {
		return cmp.Or(cmp.Compare(a.Score, b.Score), slices.Compare(a.Member, b.Member))
	})
	same := func(got, want []Scored) {
		if !slices.EqualFunc(got, want, Scored.equal) {
			t.Fatalf("ranked %v, not %v", got, want)
		}
	}
	same(set.Range(-1, len(order)+1), order)
	for range 20 {
		from, to := random.IntN(len(order)+1), random.IntN(len(order)+1)
		same(set.Range(from, to), order[min(from, to):to])
		limit := float64(random.IntN(52) - 1)
		below := slices.IndexFunc(append(order, Scored{Score: math.Inf(1)}), func(m Scored) bool { return m.Score >= limit })
		above := slices.IndexFunc(append(order, Scored{Score: math.Inf(1)}), func(m Scored) bool { return m.Score > limit })
		if got := [2]int{set.CountBelow(limit, false), set.CountBelow(limit, true)}; got != [2]int{below, above} {
			t.Fatalf("below %v: %v, not %v", limit, got, [2]int{below, above})
		}
		if from < len(order) {
			if rank, ok := set.Rank(order[from].Member); !ok || rank != from {
				t.Fatalf("rank %v of %v, not %d", rank, order[from], from)
			}
		}
	}
	if _, ok := set.Rank([]byte("nobody")); ok {
		t.Fatal("a member that was never added has a rank")
	}
	checkNode(t, set.ranking.root, true)
}

// checkNode checks what keeps the tree shallow.
func checkNode(t *rapid.T, n *rankNode, root bool) (depth int) {
	if n == nil {
		return 0
	}
	if n.children == nil {
		if len(n.items) > rankNodeMax || len(n.items) == 0 || n.count != len(n.items) {
			t.Fatalf("a leaf counts %d and has %d items", n.count, len(n.items))
		}
		return 1
	}
	count := 0
	for i, child := range n.children {
		d := checkNode(t, child, false)
		if i > 0 && d != depth {
			t.Fatalf("leaves at %d and %d", d, depth)
		}
		depth = d
		count += child.count
	}
	if count != n.count || len(n.children) != len(n.firsts) || len(n.children) > rankNodeMax || root && len(n.children) < 2 {
		t.Fatalf("a node counts %d and has %d in %d children", n.count, count, len(n.children))
	}
	return depth + 1
}

func TestScoresAreNumbers(t *testing.T) {
	t.Parallel()
	if _, err := OrderedSetAdd(Timestamp{}, []byte("m"), math.NaN()); !errors.Is(err, ErrScore) {
		t.Errorf("score: %v", err)
	}
	if _, err := PriorityPut(new(State), math.NaN(), nil); !errors.Is(err, ErrScore) {
		t.Errorf("priority: %v", err)
	}
	s := must(OrderedSetAdd(Timestamp{}, []byte("m"), math.Copysign(0, -1)))
	if score, _ := s.Lattice.(*OrderedSet).Score([]byte("m")); math.Signbit(score) {
		t.Error("a negative zero is kept")
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var got table[int]
		want := map[string]int{}
		for range rapid.IntRange(1, 5).Draw(t, "phases") {
			for i := range rapid.IntRange(0, 3000).Draw(t, "adds") {
				key := fmt.Sprint(random.IntN(4000))
				if at := got.find(key); at >= 0 {
					got.entries[at].value = i
				} else {
					got.add(key, i)
				}
				want[key] = i
			}
			if rapid.Bool().Draw(t, "clone") {
				got = got.clone()
			}
			divisor := rapid.IntRange(1, 9).Draw(t, "divisor")
			got.retain(func(e *entry[int]) bool { return e.value%divisor == 0 })
			bytes := 0
			for key, value := range want {
				at := got.find(key)
				if value%divisor != 0 {
					delete(want, key)
					if at >= 0 {
						t.Fatalf("%s is still there", key)
					}
					continue
				}
				if at < 0 || got.entries[at] != (entry[int]{key, value}) {
					t.Fatalf("%s is at %d", key, at)
				}
				bytes += allocated(len(key))
			}
			if got.len() != len(want) || got.keyBytes != bytes || got.bytes() < bytes {
				t.Fatalf("%d entries with %d bytes of keys, not %d with %d", got.len(), got.keyBytes, len(want), bytes)
			}
			sorted := got.sorted()
			if !slices.IsSortedFunc(sorted, func(a, b int) int { return cmp.Compare(got.entries[a].key, got.entries[b].key) }) {
				t.Fatal("not sorted")
			}
		}
	})
}
