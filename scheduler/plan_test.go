package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cloudburst/codec"
	"cloudburst/dag"
	"cloudburst/registry"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// composition is a random DAG with its functions.
type composition struct {
	graph     *dag.DAG
	functions []*pb.Function
}

func drawComposition(t *rapid.T) composition {
	n := rapid.IntRange(1, 10).Draw(t, "functions")
	c := composition{}
	names := make([]string, n)
	for i := range names {
		f := &pb.Function{Name: fmt.Sprint("f", i)}
		if rapid.IntRange(0, 3).Draw(t, "returns a tuple") == 0 {
			f.Name = fmt.Sprint("pair", i)
		}
		if rapid.IntRange(0, 4).Draw(t, "is a class") == 0 {
			f.Convention = pb.Convention_CONVENTION_CLASS
		}
		if n := rapid.IntRange(-4, 2).Draw(t, "retries"); n >= 0 {
			f.Retries = new(uint32(n))
		}
		names[i] = f.Name
		c.functions = append(c.functions, f)
	}
	var links []dag.Link
	for i := range n - 1 {
		// At least one later function takes the result of i, so that the last is the only sink.
		first := rapid.IntRange(i+1, n-1).Draw(t, "to")
		for j := i + 1; j < n; j++ {
			if j == first || rapid.IntRange(0, 3).Draw(t, "also") == 0 {
				links = append(links, dag.Link{Source: names[i], Sink: names[j]})
			}
		}
	}
	// The order of the links is that of the arguments; the order of the list has no meaning.
	links = rapid.Permutation(links).Draw(t, "links")
	order := rapid.Permutation(c.functions).Draw(t, "list")
	c.functions = order
	for i, f := range order {
		names[i] = f.GetName()
	}
	graph, err := dag.New("d", names, links)
	if err != nil {
		t.Fatal(err)
	}
	c.graph = graph
	return c
}

// direct evaluates the composition as its definition says: a function is applied to its own arguments, then to what those
// upstream return, then to its keywords.
func (c composition) direct(positional map[string][]string, keywords map[string][]string) string {
	results := make(map[int][]byte)
	var value func(i int) []byte
	value = func(i int) []byte {
		if v, ok := results[i]; ok {
			return v
		}
		name := c.graph.Functions[i]
		arguments := slices.Clone(positional[name])
		for _, up := range c.graph.Upstream(i) {
			arguments = append(arguments, showAll(spread(value(up)))...)
		}
		arguments = append(arguments, keywords[name]...)
		results[i] = apply(c.functions[i], arguments)
		return results[i]
	}
	return show(value(c.graph.Sink()))
}

// However a DAG is cut, and in whatever order its chains are answered, its result is that of the definition, and everything
// that is retried was asked to be.
func TestRunsMeanWhatTheDAGSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := drawComposition(t)
		registry := newFakeRegistry()
		for _, f := range c.functions {
			registry.register(f)
		}
		d := &pb.Dag{Name: "d", Functions: c.graph.Functions}
		for _, l := range c.graph.Links {
			d.Links = append(d.Links, &pb.Link{Source: l.Source, Sink: l.Sink})
		}
		if err := registry.registerDAG(d); err != nil {
			t.Fatal(err)
		}
		id := runID(1)
		call := &pb.Call{
			RunId: id[:], Target: &pb.Call_Dag{Dag: "d"}, Store: rapid.Bool().Draw(t, "store"),
			TimeoutMilliseconds: uint64(time.Hour.Milliseconds()),
		}
		var values [][]byte
		positional, keywords := make(map[string][]string), make(map[string][]string)
		for _, name := range rapid.Permutation(c.graph.Functions).Draw(t, "order of the arguments") {
			a := &pb.Arguments{Function: name}
			for k := range rapid.IntRange(0, 2).Draw(t, "positional") {
				v := fmt.Sprintf("%s.%d", name, k)
				a.Positional++
				values = append(values, text(v))
				positional[name] = append(positional[name], v)
			}
			for k := range rapid.IntRange(0, 2).Draw(t, "keywords") {
				keyword := fmt.Sprint("k", k)
				a.Keywords = append(a.Keywords, keyword)
				values = append(values, text(keyword))
				keywords[name] = append(keywords[name], keyword+"="+keyword)
			}
			if a.GetPositional() > 0 || len(a.GetKeywords()) > 0 || rapid.Bool().Draw(t, "none is said") {
				call.Arguments = append(call.Arguments, a)
			}
		}
		failures := make(map[string]*atomic.Int64)
		for _, f := range c.functions {
			failures[f.GetName()] = new(atomic.Int64)
			failures[f.GetName()].Store(int64(rapid.IntRange(0, int(f.GetRetries())).Draw(t, "failures")))
		}
		var held []*wire.Invocation
		hold := executorFunc(func(inv *wire.Invocation) { held = append(held, inv) })
		s, err := New(Config{}, registry, []Executor{hold}, newFakeStore())
		if err != nil {
			t.Fatal(err)
		}
		var results []wire.Result
		s.Call(1, call, values, nil, func(r wire.Result) bool { results = append(results, r); return true })
		// The test drives the scheduler's clock: what is due is launched when nothing else is to be done.
		now := time.Now()
		for range 1000 {
			if len(held) == 0 {
				now = now.Add(2 * retryDelayMax)
				for _, a := range s.table.due(now, nil) {
					if a.retry == nil {
						t.Fatal("the deadline came")
					}
					a.run.launch(a.retry, now)
				}
			}
			if len(held) == 0 {
				break
			}
			i := rapid.IntRange(0, len(held)-1).Draw(t, "answered next")
			inv := held[i]
			held = slices.Delete(held, i, i+1)
			for _, step := range inv.Steps {
				class := step.Function.GetConvention() == pb.Convention_CONVENTION_CLASS
				if (class || step.Function.Retries != nil) && len(inv.Steps) > 1 {
					t.Fatalf("%s is not alone", step.Function.GetName())
				}
			}
			if failures[inv.Steps[0].Function.GetName()].Add(-1) >= 0 {
				inv.Done(wire.Result{Err: wire.Errorf(pb.Code_CODE_EXECUTION, "not yet")})
				continue
			}
			inv.Done(wire.Result{Value: evaluate(inv)})
		}
		want := c.direct(positional, keywords)
		if len(results) != 1 || results[0].Err != nil || show(results[0].Value) != want {
			t.Fatalf("got %v\nwant %s", results, want)
		}
		if stats := s.Stats(); stats.InFlight != 0 || stats.Finished != 1 {
			t.Fatalf("stats %+v", stats)
		}
	})
}

// A plan has every function once, those of a chain feed each other in a row, and its chains fit together like the DAG.
func TestPlansCoverEveryDAG(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := drawComposition(t)
		stepsMax := rapid.IntRange(1, 4).Draw(t, "steps max")
		p := newPlan(&registry.DAG{Dag: &pb.Dag{Name: "d"}, Graph: c.graph}, c.functions, stepsMax)
		checkPlan(t, c, p, stepsMax)
		checkPlan(t, c, p.apart(), 1)
	})
}

func checkPlan(t *rapid.T, c composition, p *plan, stepsMax int) {
	chainOf := make([]int, len(p.functions))
	next := 0
	for i, chain := range p.chains {
		if chain.first != next || chain.end <= chain.first || chain.end-chain.first > stepsMax {
			t.Fatalf("chain %d is %+v", i, chain)
		}
		next = chain.end
		for at := chain.first; at < chain.end; at++ {
			chainOf[at] = i
		}
	}
	if next != len(p.functions) || len(p.functions) != len(c.functions) {
		t.Fatalf("%d of %d functions", next, len(c.functions))
	}
	for f, at := range p.position {
		if p.functions[at] != c.functions[f] || p.refs[at] != c.graph.Functions[f] {
			t.Fatalf("function %d is not at %d", f, at)
		}
		chain := &p.chains[chainOf[at]]
		upstream := c.graph.Upstream(f)
		if at > chain.first {
			if len(upstream) != 1 || p.position[upstream[0]] != at-1 || len(chain.downstream) > 0 && chainOf[at] == chain.downstream[0] {
				t.Fatalf("function %d stands in a chain behind one that does not feed it alone", f)
			}
			continue
		}
		var want []int
		for _, up := range upstream {
			want = append(want, chainOf[p.position[up]])
			if p.position[up] != p.chains[chainOf[p.position[up]]].end-1 {
				t.Fatalf("function %d feeds another from the middle of a chain", up)
			}
			if !slices.Contains(p.chains[chainOf[p.position[up]]].downstream, chainOf[at]) {
				t.Fatalf("chain %d does not know that it feeds %d", chainOf[p.position[up]], chainOf[at])
			}
		}
		if !slices.Equal(chain.upstream, want) {
			t.Fatalf("chain of function %d is fed by %v, want %v", f, chain.upstream, want)
		}
	}
	if p.functions[p.chains[p.sink].end-1] != c.functions[c.graph.Sink()] {
		t.Fatal("the sink is another one")
	}
}

// Arguments that are large together must not meet in one invocation.
func TestLargeArgumentsTravelApart(t *testing.T) {
	t.Parallel()
	registry := newFakeRegistry()
	registry.register(&pb.Function{Name: "f"})
	registry.register(&pb.Function{Name: "g"})
	if err := registry.registerDAG(&pb.Dag{Name: "d", Functions: []string{"f", "g"}, Links: []*pb.Link{{Source: "f", Sink: "g"}}}); err != nil {
		t.Fatal(err)
	}
	var invoked []string
	s := start(t, Config{}, registry, newFakeStore(), executorFunc(func(inv *wire.Invocation) {
		var names []string
		for _, step := range inv.Steps {
			names = append(names, step.Function.GetName())
		}
		invoked = append(invoked, strings.Join(names, "→"))
		inv.Done(wire.Result{Value: text("x")})
	}))
	large := make([]byte, chainBytesMax/2+1)
	large[0] = codec.KindBytes
	id := runID(1)
	r := await(t, s, &pb.Call{
		RunId: id[:], Target: &pb.Call_Dag{Dag: "d"},
		Arguments: []*pb.Arguments{{Function: "f", Positional: 1}, {Function: "g", Positional: 1}},
	}, large, large)
	if r.Err != nil || !slices.Equal(invoked, []string{"f", "g"}) {
		t.Errorf("invoked %v, %v", invoked, r.Err)
	}
}

// Plans are made once for as long as nothing changes, and do not pile up.
func TestPlannerKeepsPlans(t *testing.T) {
	t.Parallel()
	registry := newFakeRegistry()
	registry.register(&pb.Function{Name: "f"})
	if err := registry.registerDAG(&pb.Dag{Name: "d", Functions: []string{"f"}}); err != nil {
		t.Fatal(err)
	}
	p := newPlanner(registry)
	of := func(call *pb.Call) *plan {
		made, err := p.of(call)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	function, composed := &pb.Call{Target: &pb.Call_Function{Function: "f"}}, &pb.Call{Target: &pb.Call_Dag{Dag: "d"}}
	first, second := of(function), of(composed)
	if of(function) != first || of(composed) != second {
		t.Error("a plan was made again without a reason")
	}
	registry.register(&pb.Function{Name: "f"})
	if of(function) == first || of(composed) == second {
		t.Error("a plan outlived its function")
	}
	for i := range plansMax + 10 {
		registry.register(&pb.Function{Name: fmt.Sprint("g", i)})
		of(&pb.Call{Target: &pb.Call_Function{Function: fmt.Sprint("g", i)}})
	}
	if len(p.functions) > plansMax {
		t.Errorf("%d plans are kept", len(p.functions))
	}
}
