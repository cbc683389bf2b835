package cloudburst_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloudburst"
)

func TestCalls(t *testing.T) {
	t.Parallel()
	client := connect(t)
	huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	tests := []struct {
		function string
		args     []any
		want     any
	}{
		{"add", []any{1, 2}, int64(3)},
		{"add", []any{"a", "b"}, "ab"},
		{"add", []any{[]byte("a"), []byte("b")}, []byte("ab")},
		{"neg", []any{2.5}, -2.5},
		{"add@1", []any{[]any{1}, []string{"x"}}, []any{int64(1), "x"}},
		{"sorted", []any{[]int{1, 3, 2}, cloudburst.Keywords{"reverse": true}}, []any{int64(3), int64(2), int64(1)}},
		{"divmod", []any{7, 2}, []any{int64(3), int64(1)}},
		{"set", []any{[]int{2, 1, 2}}, cloudburst.Set{int64(1), int64(2)}},
		{"repr", []any{map[string]any{"a": nil}}, "{'a': None}"},
		{"repr", []any{map[int]struct{}{1: {}}}, "{1}"},
		{"identity", []any{map[any]any{int64(1): "x"}}, map[any]any{int64(1): "x"}},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s%v", test.function, test.args), func(t *testing.T) {
			t.Parallel()
			future, err := client.Call(t.Context(), test.function, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			got, err := cloudburst.Get[any](t.Context(), future)
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %#v, %v, want %#v", got, err, test.want)
			}
		})
	}
	future, err := client.Call(t.Context(), "neg", huge)
	if err != nil {
		t.Fatal(err)
	}
	got, err := cloudburst.Get[*big.Int](t.Context(), future)
	if err != nil || got.Cmp(huge.Neg(huge)) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
	future, err = client.Call(t.Context(), "complex", 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cloudburst.Get[cloudburst.Pickle](t.Context(), future); err != nil || len(got) == 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestCallsThatFail(t *testing.T) {
	t.Parallel()
	client := connect(t)
	call := func(ctx context.Context, function string, args ...any) error {
		future, err := client.Call(ctx, function, args...)
		if err != nil {
			return err
		}
		return future.Get(ctx, new(any))
	}
	err := call(t.Context(), "div", 1, 0)
	e, ok := errors.AsType[*cloudburst.Error](err)
	if !ok || !errors.Is(err, cloudburst.ErrExecution) || e.Exception.GetType() != "ZeroDivisionError" {
		t.Errorf("got %v", err)
	}
	if err := call(t.Context(), "nothing"); !errors.Is(err, cloudburst.ErrFunctionNotFound) {
		t.Errorf("got %v", err)
	}
	if err := call(t.Context(), "neg", make(chan int)); !errors.Is(err, cloudburst.ErrInvalidArgument) || !strings.Contains(err.Error(), "argument 1") {
		t.Errorf("got %v", err)
	}
	if err := call(t.Context(), "len", strings.Repeat("x", 65<<20)); !errors.Is(err, cloudburst.ErrTooLarge) || !strings.Contains(err.Error(), "64 MiB") {
		t.Errorf("got %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := call(short, "sleep", 600); !errors.Is(err, cloudburst.ErrDeadlineExceeded) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := call(short, "neg", 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAResultOutlivesTheWaitForIt(t *testing.T) {
	t.Parallel()
	client := connect(t)
	future, err := client.Call(t.Context(), "sleep", 0.2)
	if err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := future.Get(impatient, new(any)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	for range 2 {
		if err := future.Get(t.Context(), new(any)); err != nil {
			t.Error(err)
		}
	}
	<-future.Done()
}

func TestReferences(t *testing.T) {
	t.Parallel()
	client := connect(t)
	if err := client.Put(t.Context(), "references/a", 40); err != nil {
		t.Fatal(err)
	}
	first, err := client.Call(t.Context(), "add", cloudburst.Ref{Key: "references/a"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	second, err := client.Call(t.Context(), "add", first, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cloudburst.Get[int](t.Context(), second); err != nil || got != 42 {
		t.Errorf("got %v, %v", got, err)
	}
	list, err := client.Call(t.Context(), "sorted", []any{second, cloudburst.Ref{Key: "references/a"}, 41})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cloudburst.Get[[]int](t.Context(), list); err != nil || !slices.Equal(got, []int{40, 41, 42}) {
		t.Errorf("got %v, %v", got, err)
	}
	var stored int
	if err := client.Get(t.Context(), second.ID(), &stored); err != nil || stored != 42 {
		t.Errorf("the result under its run's id: %v, %v", stored, err)
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	client := connect(t)
	ctx := t.Context()
	if err := client.Get(ctx, "state/none", new(any)); !errors.Is(err, cloudburst.ErrKeyNotFound) || !strings.Contains(err.Error(), "state/none") {
		t.Errorf("got %v", err)
	}
	type point struct{ X, Y int }
	want := map[string]point{"a": {1, 2}}
	if err := client.Put(ctx, "state/points", want); err != nil {
		t.Fatal(err)
	}
	var got map[string]point
	if err := client.Get(ctx, "state/points", &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, set := range []cloudburst.Set{{1, 2}, {2, 3}} {
		if err := client.Put(ctx, "state/set", set); err != nil {
			t.Fatal(err)
		}
	}
	var members []int
	if err := client.Get(ctx, "state/set", &members); err != nil || !slices.Equal(members, []int{1, 2, 3}) {
		t.Errorf("got %v, %v", members, err)
	}
	if err := client.Put(ctx, "state/set", 1); !errors.Is(err, cloudburst.ErrLatticeMismatch) {
		t.Errorf("got %v", err)
	}
	array := cloudburst.Array{DType: "<f8", Shape: []int{2}, Order: "C", Data: make([]byte, 16)}
	err := client.PutAll(ctx, cloudburst.AckMemory, cloudburst.Write{Key: "state/array", Value: array, TTL: time.Hour}, cloudburst.Write{Key: "state/x", Value: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var back cloudburst.Array
	if err := client.Get(ctx, "state/array", &back); err != nil || !reflect.DeepEqual(array, back) {
		t.Errorf("got %v, %v", back, err)
	}
	keys, more, err := client.Keys(ctx, "state/", "", 2)
	if err != nil || !more || !slices.Equal(keys, []string{"state/array", "state/points"}) {
		t.Errorf("got %v, %v, %v", keys, more, err)
	}
	keys, more, err = client.Keys(ctx, "state/", keys[1], 0)
	if err != nil || more || !slices.Equal(keys, []string{"state/set", "state/x"}) {
		t.Errorf("got %v, %v, %v", keys, more, err)
	}
	if err := client.Delete(ctx, "state/x", "state/none"); err != nil {
		t.Fatal(err)
	}
	if err := client.Get(ctx, "state/x", new(any)); !errors.Is(err, cloudburst.ErrKeyNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestCatalogue(t *testing.T) {
	t.Parallel()
	client := connect(t)
	ctx := t.Context()
	name := "catalogue-" + rand.Text() // versions go on, however often this runs
	for _, callable := range []string{"abs", "neg"} {
		if err := client.RegisterPickle(ctx, name+"-neg", callables[callable]); err != nil {
			t.Fatal(err)
		}
	}
	functions, err := client.Functions(ctx, name+"-")
	if err != nil || len(functions) != 1 || functions[0].Version != 2 || functions[0].Convention != "plain" || time.Since(functions[0].Registered) > time.Minute {
		t.Errorf("got %+v, %v", functions, err)
	}
	if f, err := client.Function(ctx, name+"-neg@1"); err != nil || f.Version != 1 {
		t.Errorf("got %+v, %v", f, err)
	}
	for _, ref := range []string{name + "-neg@9", name + "-ne"} {
		if _, err := client.Function(ctx, ref); !errors.Is(err, cloudburst.ErrFunctionNotFound) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	dag := cloudburst.DAG{
		Name: name + "-dag", Functions: []string{name + "-neg", "abs"},
		Links: []cloudburst.Link{{Source: name + "-neg", Sink: "abs"}},
	}
	if err := client.RegisterDAG(ctx, dag); err != nil {
		t.Fatal(err)
	}
	if err := client.RegisterDAG(ctx, dag); !errors.Is(err, cloudburst.ErrDAGExists) {
		t.Errorf("got %v", err)
	}
	got, err := client.DAG(ctx, name+"-dag")
	got.Registered = time.Time{}
	if err != nil || !reflect.DeepEqual(got, dag) {
		t.Errorf("got %+v, %v", got, err)
	}
	future, err := client.CallDAG(ctx, name+"-dag", map[string][]any{name + "-neg": {5}})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := cloudburst.Get[int](ctx, future); err != nil || n != 5 {
		t.Errorf("got %v, %v", n, err)
	}
	if err := client.DeleteFunction(ctx, name+"-neg"); !errors.Is(err, cloudburst.ErrInvalidArgument) {
		t.Errorf("a function that a DAG uses: %v", err)
	}
	cyclic := dag
	cyclic.Name, cyclic.Links = name+"-cyclic", append(cyclic.Links, cloudburst.Link{Source: "abs", Sink: name + "-neg"})
	if err := client.RegisterDAG(ctx, cyclic); !errors.Is(err, cloudburst.ErrInvalidArgument) {
		t.Errorf("got %v", err)
	}
	if err := client.DeleteDAG(ctx, name+"-dag"); err != nil {
		t.Error(err)
	}
	if err := client.DeleteDAG(ctx, name+"-dag"); !errors.Is(err, cloudburst.ErrDAGNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := client.DAG(ctx, name+"-dag"); !errors.Is(err, cloudburst.ErrDAGNotFound) {
		t.Errorf("got %v", err)
	}
	if err := client.DeleteFunction(ctx, name+"-neg"); err != nil {
		t.Error(err)
	}
	s, err := client.Status(ctx)
	if err != nil || s.Workers == 0 || s.Functions < len(callables) || s.MemoryBytes == 0 || s.PythonVersion == "" || s.Runs == 0 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	client := connect(t)
	const callers, calls = 32, 30
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			for j := range calls {
				future, err := client.Call(t.Context(), "add", i, j)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := cloudburst.Get[int](t.Context(), future); err != nil || got != i+j {
					t.Errorf("%d + %d: got %v, %v", i, j, got, err)
				}
			}
		})
	}
	group.Wait()
}

func TestConnectFails(t *testing.T) {
	t.Parallel()
	free := nowhere(t)
	tests := []struct {
		name    string
		options []cloudburst.Option
		is      error
		want    string
	}{
		{"nobody there", []cloudburst.Option{cloudburst.WithAddress(free)}, cloudburst.ErrUnavailable, "cloudburst serve"},
		{"nobody there", []cloudburst.Option{cloudburst.WithAddress(free)}, cloudburst.ErrUnavailable, free},
		{"wrong token", []cloudburst.Option{cloudburst.WithToken("wrong")}, cloudburst.ErrUnauthenticated, "refuses the token"},
		{"no token at all", []cloudburst.Option{cloudburst.WithToken("with\nbreak")}, cloudburst.ErrUnauthenticated, "characters"},
		{"no address", []cloudburst.Option{cloudburst.WithAddress("ftp://x")}, cloudburst.ErrInvalidArgument, "scheme ftp"},
		{"too much", []cloudburst.Option{cloudburst.WithAddress("http://x/y")}, cloudburst.ErrInvalidArgument, "more than a host"},
		{"settings", []cloudburst.Option{cloudburst.WithRequestTimeout(-1), cloudburst.WithRunTimeout(0)}, nil, "run timeout"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := cloudburst.Connect(t.Context(), test.options...)
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	t.Parallel()
	client := connect(t)
	future, err := client.Call(t.Context(), "sleep", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(client.Close(), client.Close()); err != nil {
		t.Fatal(err)
	}
	if err := future.Get(t.Context(), new(any)); !errors.Is(err, cloudburst.ErrCancelled) {
		t.Errorf("got %v", err)
	}
	if _, err := client.Call(t.Context(), "neg", 1); !errors.Is(err, cloudburst.ErrCancelled) {
		t.Errorf("got %v", err)
	}
	if err := client.Put(t.Context(), "x", 1); !errors.Is(err, cloudburst.ErrCancelled) {
		t.Errorf("got %v", err)
	}
}
