package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cloudburst/cache"
	"cloudburst/codec"
	"cloudburst/dag"
	"cloudburst/registry"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeRegistry holds functions and DAGs in memory. What is hidden appears with the next Sync.
type fakeRegistry struct {
	mu        sync.RWMutex
	versions  map[string][]*pb.Function
	dags      map[string]*registry.DAG
	hidden    []func()
	syncs     int
	syncFails error
}

func newFakeRegistry() *fakeRegistry {
	return &fakeRegistry{versions: make(map[string][]*pb.Function), dags: make(map[string]*registry.DAG)}
}

func (r *fakeRegistry) register(f *pb.Function) *pb.Function {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.Version = uint64(len(r.versions[f.GetName()]) + 1)
	r.versions[f.GetName()] = append(r.versions[f.GetName()], f)
	return f
}

func (r *fakeRegistry) registerDAG(d *pb.Dag) error {
	links := make([]dag.Link, len(d.GetLinks()))
	for i, l := range d.GetLinks() {
		links[i] = dag.Link{Source: l.GetSource(), Sink: l.GetSink()}
	}
	graph, err := dag.New(d.GetName(), d.GetFunctions(), links)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dags[d.GetName()] = &registry.DAG{Dag: d, Graph: graph}
	return nil
}

func (r *fakeRegistry) Function(ref string) (*pb.Function, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	name, version, versioned := strings.Cut(ref, "@")
	known := r.versions[name]
	n := len(known)
	if versioned {
		n, _ = strconv.Atoi(version)
	}
	if n < 1 || n > len(known) {
		return nil, wire.Errorf(pb.Code_CODE_FUNCTION_NOT_FOUND, "function %q not found", ref)
	}
	return known[n-1], nil
}

func (r *fakeRegistry) DAG(name string) (*registry.DAG, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if d := r.dags[name]; d != nil {
		return d, nil
	}
	return nil, wire.Errorf(pb.Code_CODE_DAG_NOT_FOUND, "dag %q not found", name)
}

func (r *fakeRegistry) Sync(context.Context) error {
	r.mu.Lock()
	hidden, err := r.hidden, r.syncFails
	r.hidden = nil
	r.syncs++
	r.mu.Unlock()
	for _, appear := range hidden {
		appear()
	}
	return err
}

// fakeStore keeps entries in memory.
type fakeStore struct {
	mu      sync.Mutex
	entries map[string]cache.Entry
	fails   error
	wrote   func(cache.Write, pb.Ack)
}

func newFakeStore() *fakeStore { return &fakeStore{entries: make(map[string]cache.Entry)} }

func (s *fakeStore) Peek(key string) (cache.Entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry, ok := s.entries[key]
	return entry, ok
}

func (s *fakeStore) PutAsync(writes []cache.Write, ack pb.Ack, done func(error)) {
	s.mu.Lock()
	err := s.fails
	for _, w := range writes {
		if err == nil {
			s.entries[w.Key] = cache.Entry{Type: w.Type, Values: w.Values}
		}
		if s.wrote != nil {
			s.wrote(w, ack)
		}
	}
	s.mu.Unlock()
	done(err)
}

func (s *fakeStore) Delete(_ context.Context, keys []string, _ pb.Ack) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.entries, key)
	}
	return s.fails
}

// executorFunc is an executor that is a function.
type executorFunc func(*wire.Invocation)

func (f executorFunc) Invoke(inv *wire.Invocation) { f(inv) }

func (f executorFunc) Cancel([]*wire.Invocation) {}

// text is a value of this package's tests: bytes that spell an expression. A tuple is a sequence.
func text(s string) []byte { return append([]byte{codec.KindBytes}, s...) }

func tuple(elements ...[]byte) []byte { return codec.JoinSequence(elements) }

// show returns a value as people read it.
func show(value []byte) string {
	if len(value) == 0 {
		return "?"
	}
	switch value[0] {
	case codec.KindSequence:
		return "<" + strings.Join(showAll(spread(value)), ", ") + ">"
	case codec.KindFailure:
		return "failure: " + codec.DecodeFailure(value).Error()
	default:
		return string(value[1:])
	}
}

func showAll(values [][]byte) []string {
	shown := make([]string, len(values))
	for i, v := range values {
		shown[i] = show(v)
	}
	return shown
}

// spread returns the elements of a tuple, and any other value alone.
func spread(value []byte) [][]byte {
	if value[0] != codec.KindSequence {
		return [][]byte{value}
	}
	elements, err := codec.SplitSequence(value)
	if err != nil {
		panic(err)
	}
	return elements
}

// apply is what every function does: it returns the expression that calls it. One whose name begins with "pair" returns two
// of them as a tuple.
func apply(f *pb.Function, arguments []string) []byte {
	call := fmt.Sprintf("%s(%s)", f.GetName(), strings.Join(arguments, ", "))
	if strings.HasPrefix(f.GetName(), "pair") {
		return tuple(text(call+".0"), text(call+".1"))
	}
	return text(call)
}

// evaluate runs an invocation as a worker does.
func evaluate(inv *wire.Invocation) []byte {
	values := inv.Values
	var result []byte
	for i := range inv.Steps {
		step := &inv.Steps[i]
		var arguments []string
		for k := range step.Positional {
			if slices.Contains(step.Spread, uint32(k)) {
				arguments = append(arguments, showAll(spread(values[k]))...)
			} else {
				arguments = append(arguments, show(values[k]))
			}
		}
		if i > 0 {
			arguments = append(arguments, showAll(spread(result))...)
		}
		values = values[step.Positional:]
		for k, keyword := range step.Keywords {
			arguments = append(arguments, keyword+"="+show(values[k]))
		}
		values = values[len(step.Keywords):]
		result = apply(step.Function, arguments)
	}
	if len(values) != 0 {
		panic(fmt.Sprintf("%d values are left over", len(values)))
	}
	return result
}

func runID(n int) wire.RunID {
	var id wire.RunID
	id[0], id[14], id[15] = byte(n), byte(n>>8), byte(n)
	return id
}

// callFunction returns a call of a function with positional arguments.
func callFunction(id wire.RunID, ref string, positional int) *pb.Call {
	return &pb.Call{
		RunId: id[:], Target: &pb.Call_Function{Function: ref},
		Arguments: []*pb.Arguments{{Function: ref, Positional: uint32(positional)}},
	}
}

// start runs a scheduler until the test ends.
func start(t testing.TB, cfg Config, functions Functions, store Store, executors ...Executor) *Scheduler {
	t.Helper()
	s, err := New(cfg, functions, executors, store)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	})
	return s
}

// await makes a call and returns its result.
func await(t testing.TB, s *Scheduler, call *pb.Call, values ...[]byte) wire.Result {
	t.Helper()
	results := make(chan wire.Result, 1)
	s.Call(1, call, values, nil, func(r wire.Result) bool { results <- r; return true })
	select {
	case r := <-results:
		return r
	case <-time.After(time.Minute):
		t.Fatal("no answer")
		return wire.Result{}
	}
}

// fails reports whether a result is an error of that kind.
func fails(r wire.Result, sentinel error) bool { return r.Err != nil && errors.Is(r.Err, sentinel) }
