package dag

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	many := make([]string, FunctionsMax+1)
	for i := range many {
		many[i] = fmt.Sprint("f", i)
	}
	for _, test := range []struct {
		name      string
		functions []string
		links     []Link
		want      error
	}{
		{"empty", nil, nil, ErrEmpty},
		{"too many", many, nil, ErrTooManyFunctions},
		{"twice", []string{"a", "a"}, nil, ErrDuplicateFunction},
		{"unknown source", []string{"a"}, []Link{{"x", "a"}}, ErrUnknownFunction},
		{"unknown sink", []string{"a"}, []Link{{"a", "x"}}, ErrUnknownFunction},
		{"link twice", []string{"a", "b"}, []Link{{"a", "b"}, {"a", "b"}}, ErrDuplicateLink},
		{"self", []string{"a"}, []Link{{"a", "a"}}, ErrCycle},
		{"cycle", []string{"a", "b", "c"}, []Link{{"a", "b"}, {"b", "c"}, {"c", "a"}}, ErrCycle},
		{"cycle and a sink", []string{"a", "b", "c"}, []Link{{"a", "b"}, {"b", "a"}, {"b", "c"}}, ErrCycle},
		{"two sinks", []string{"a", "b"}, nil, ErrSeveralSinks},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := New("d", test.functions, test.links); !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestChains(t *testing.T) {
	t.Parallel()
	// a → b ─┬→ c → d ─┬→ f → g
	//        └→ e ─────┘
	d, err := New("d", []string{"a", "b", "c", "d", "e", "f", "g"}, []Link{
		{"a", "b"}, {"b", "c"}, {"b", "e"}, {"c", "d"}, {"e", "f"}, {"d", "f"}, {"f", "g"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(d.Chains())
	want := "[{[0 1] [] [1 2]} {[2 3] [0] [3]} {[4] [0] [3]} {[5 6] [2 1] []}]"
	if got != want {
		t.Errorf("chains\n got %s\nwant %s", got, want)
	}
	if d.Sink() != 6 || !slices.Equal(d.Sources(), []int{0}) || !slices.Equal(d.Upstream(5), []int{4, 3}) {
		t.Errorf("sink %d, sources %v, upstream of f %v", d.Sink(), d.Sources(), d.Upstream(5))
	}
}

// Every function is in one chain, chains come after what feeds them, and the links are all there: inside a chain or
// between two.
func TestChainsCoverEveryDAG(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "functions")
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprint("f", i)
		}
		var links []Link
		for i := range n - 1 {
			// At least one later function takes the result of i, so that the last is the only sink.
			first := rapid.IntRange(i+1, n-1).Draw(t, "to")
			for j := i + 1; j < n; j++ {
				if j == first || rapid.IntRange(0, 3).Draw(t, "also") == 0 {
					links = append(links, Link{names[i], names[j]})
				}
			}
		}
		d, err := New("d", names, links)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[int]int)
		edges := 0
		for c, chain := range d.Chains() {
			for k, f := range chain.Functions {
				if _, twice := seen[f]; twice {
					t.Fatalf("function %d is in two chains", f)
				}
				seen[f] = c
				if k > 0 && !slices.Equal(d.Upstream(f), []int{chain.Functions[k-1]}) {
					t.Fatalf("function %d inside a chain takes %v", f, d.Upstream(f))
				}
			}
			edges += len(chain.Functions) - 1 + len(chain.Upstream)
			for _, up := range chain.Upstream {
				if up >= c || !slices.Contains(d.Chains()[up].Downstream, c) {
					t.Fatalf("chain %d is fed by %d", c, up)
				}
			}
		}
		if len(seen) != n || edges != len(links) {
			t.Fatalf("%d of %d functions, %d of %d links", len(seen), n, edges, len(links))
		}
	})
}
