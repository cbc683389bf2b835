package client_test

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

	"cloudburst/client"
)

func TestCalls(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
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
		{"sorted", []any{[]int{1, 3, 2}, client.Keywords{"reverse": true}}, []any{int64(3), int64(2), int64(1)}},
		{"divmod", []any{7, 2}, client.Tuple{int64(3), int64(1)}},
		{"set", []any{[]int{2, 1, 2}}, client.Set{int64(1), int64(2)}},
		{"repr", []any{map[string]any{"a": nil}}, "{'a': None}"},
		{"repr", []any{map[int]struct{}{1: {}}}, "{1}"},
		{"identity", []any{map[any]any{int64(1): "x"}}, map[any]any{int64(1): "x"}},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s%v", test.function, test.args), func(t *testing.T) {
			t.Parallel()
			future, err := cloud.Call(t.Context(), test.function, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			got, err := client.Get[any](t.Context(), future)
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %#v, %v, want %#v", got, err, test.want)
			}
		})
	}
	future, err := cloud.Call(t.Context(), "neg", huge)
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Get[*big.Int](t.Context(), future)
	if err != nil || got.Cmp(huge.Neg(huge)) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
	future, err = cloud.Call(t.Context(), "complex", 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.Get[client.Pickle](t.Context(), future); err != nil || len(got) == 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestCallsThatFail(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	call := func(ctx context.Context, function string, args ...any) error {
		future, err := cloud.Call(ctx, function, args...)
		if err != nil {
			return err
		}
		return future.Get(ctx, new(any))
	}
	err := call(t.Context(), "div", 1, 0)
	e, ok := errors.AsType[*client.Error](err)
	if !ok || !errors.Is(err, client.ErrExecution) || e.Exception.GetType() != "ZeroDivisionError" {
		t.Errorf("got %v", err)
	}
	if err := call(t.Context(), "nothing"); !errors.Is(err, client.ErrFunctionNotFound) {
		t.Errorf("got %v", err)
	}
	if err := call(t.Context(), "neg", make(chan int)); !errors.Is(err, client.ErrInvalidArgument) || !strings.Contains(err.Error(), "argument 1") {
		t.Errorf("got %v", err)
	}
	if err := call(t.Context(), "len", strings.Repeat("x", 65<<20)); !errors.Is(err, client.ErrTooLarge) || !strings.Contains(err.Error(), "64 MiB") {
		t.Errorf("got %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := call(short, "sleep", 600); !errors.Is(err, client.ErrDeadlineExceeded) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := call(short, "neg", 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAResultOutlivesTheWaitForIt(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	future, err := cloud.Call(t.Context(), "sleep", 0.2)
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
	cloud := connect(t)
	if err := cloud.Put(t.Context(), "references/a", 40); err != nil {
		t.Fatal(err)
	}
	first, err := cloud.Call(t.Context(), "add", client.Ref{Key: "references/a"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	second, err := cloud.Call(t.Context(), "add", first, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.Get[int](t.Context(), second); err != nil || got != 42 {
		t.Errorf("got %v, %v", got, err)
	}
	list, err := cloud.Call(t.Context(), "sorted", []any{second, client.Ref{Key: "references/a"}, 41})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.Get[[]int](t.Context(), list); err != nil || !slices.Equal(got, []int{40, 41, 42}) {
		t.Errorf("got %v, %v", got, err)
	}
	var stored int
	if err := cloud.Get(t.Context(), second.Key(), &stored); err != nil || stored != 42 {
		t.Errorf("the result under its run's id: %v, %v", stored, err)
	}
}

func TestWhatIsPrinted(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	future, err := cloud.Call(t.Context(), "add", 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	<-future.Done()
	failing, err := cloud.Call(t.Context(), "div", 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	<-failing.Done()
	if err := cloud.Put(t.Context(), "printed", client.Tuple{1, "x"}, client.AckMemory, client.TTL(time.Hour)); err != nil {
		t.Fatal(err)
	}
	entries, err := cloud.GetAll(t.Context(), "printed", "printed/not")
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		fmt.Sprint(future):     "future of run " + future.ID() + `, call "add": done`,
		fmt.Sprint(failing):    "future of run " + failing.ID() + `, call "div": failed`,
		fmt.Sprint(entries[0]): `"printed": {"$tuple":[1,"x"]}`,
		fmt.Sprint(entries[1]): `"printed/not": nothing is stored there`,
		fmt.Sprint(cloud):      "client of the node at 127.0.0.1:" + port(t, cloud),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func port(t *testing.T, cloud *client.Client) string {
	t.Helper()
	s, err := cloud.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Address[strings.LastIndex(s.Address, ":")+1:]
}

func TestState(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	ctx := t.Context()
	if err := cloud.Get(ctx, "state/none", new(any)); !errors.Is(err, client.ErrKeyNotFound) || !strings.Contains(err.Error(), "state/none") {
		t.Errorf("got %v", err)
	}
	type point struct{ X, Y int }
	want := map[string]point{"a": {1, 2}}
	if err := cloud.Put(ctx, "state/points", want); err != nil {
		t.Fatal(err)
	}
	var got map[string]point
	if err := cloud.Get(ctx, "state/points", &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, set := range []client.Set{{1, 2}, {2, 3}} {
		if err := cloud.Put(ctx, "state/set", set); err != nil {
			t.Fatal(err)
		}
	}
	var members []int
	if err := cloud.Get(ctx, "state/set", &members); err != nil || !slices.Equal(members, []int{1, 2, 3}) {
		t.Errorf("got %v, %v", members, err)
	}
	if err := cloud.Put(ctx, "state/set", 1); !errors.Is(err, client.ErrLatticeMismatch) {
		t.Errorf("got %v", err)
	}
	array := client.Array{DType: "<f8", Shape: []int{2}, Order: "C", Data: make([]byte, 16)}
	err := cloud.PutAll(ctx, client.AckMemory, client.Write{Key: "state/array", Value: array, TTL: time.Hour}, client.Write{Key: "state/x", Value: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var back client.Array
	if err := cloud.Get(ctx, "state/array", &back); err != nil || !reflect.DeepEqual(array, back) {
		t.Errorf("got %v, %v", back, err)
	}
	keys, more, err := cloud.Keys(ctx, "state/", "", 2)
	if err != nil || !more || !slices.Equal(keys, []string{"state/array", "state/points"}) {
		t.Errorf("got %v, %v, %v", keys, more, err)
	}
	keys, more, err = cloud.Keys(ctx, "state/", keys[1], 0)
	if err != nil || more || !slices.Equal(keys, []string{"state/set", "state/x"}) {
		t.Errorf("got %v, %v, %v", keys, more, err)
	}
	if err := cloud.Delete(ctx, "state/x", "state/none"); err != nil {
		t.Fatal(err)
	}
	if err := cloud.Get(ctx, "state/x", new(any)); !errors.Is(err, client.ErrKeyNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestCatalogue(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	ctx := t.Context()
	name := "catalogue-" + rand.Text() // versions go on, however often this runs
	for _, callable := range []string{"abs", "neg"} {
		if err := cloud.RegisterPickle(ctx, name+"-neg", callables[callable]); err != nil {
			t.Fatal(err)
		}
	}
	functions, err := cloud.Functions(ctx, name+"-")
	if err != nil || len(functions) != 1 || functions[0].Version != 2 || functions[0].Convention != "plain" || time.Since(functions[0].Registered) > time.Minute {
		t.Errorf("got %+v, %v", functions, err)
	}
	if f, err := cloud.Function(ctx, name+"-neg@1"); err != nil || f.Version != 1 {
		t.Errorf("got %+v, %v", f, err)
	}
	for _, ref := range []string{name + "-neg@9", name + "-ne"} {
		if _, err := cloud.Function(ctx, ref); !errors.Is(err, client.ErrFunctionNotFound) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	dag := client.DAG{
		Name: name + "-dag", Functions: []string{name + "-neg", "abs"},
		Links: []client.Link{{Source: name + "-neg", Sink: "abs"}},
	}
	if err := cloud.RegisterDAG(ctx, dag); err != nil {
		t.Fatal(err)
	}
	if err := cloud.RegisterDAG(ctx, dag); !errors.Is(err, client.ErrDAGExists) {
		t.Errorf("got %v", err)
	}
	got, err := cloud.DAG(ctx, name+"-dag")
	got.Registered = time.Time{}
	if err != nil || !reflect.DeepEqual(got, dag) {
		t.Errorf("got %+v, %v", got, err)
	}
	future, err := cloud.CallDAG(ctx, name+"-dag", map[string][]any{name + "-neg": {5}})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := client.Get[int](ctx, future); err != nil || n != 5 {
		t.Errorf("got %v, %v", n, err)
	}
	if err := cloud.DeleteFunction(ctx, name+"-neg"); !errors.Is(err, client.ErrInvalidArgument) {
		t.Errorf("a function that a DAG uses: %v", err)
	}
	cyclic := dag
	cyclic.Name, cyclic.Links = name+"-cyclic", append(cyclic.Links, client.Link{Source: "abs", Sink: name + "-neg"})
	if err := cloud.RegisterDAG(ctx, cyclic); !errors.Is(err, client.ErrInvalidArgument) {
		t.Errorf("got %v", err)
	}
	if err := cloud.DeleteDAG(ctx, name+"-dag"); err != nil {
		t.Error(err)
	}
	if err := cloud.DeleteDAG(ctx, name+"-dag"); !errors.Is(err, client.ErrDAGNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := cloud.DAG(ctx, name+"-dag"); !errors.Is(err, client.ErrDAGNotFound) {
		t.Errorf("got %v", err)
	}
	if err := cloud.DeleteFunction(ctx, name+"-neg"); err != nil {
		t.Error(err)
	}
	s, err := cloud.Status(ctx)
	if err != nil || s.Workers == 0 || s.Functions < len(callables) || s.MemoryBytes == 0 || s.PythonVersion == "" || s.Runs == 0 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	const callers, calls = 32, 30
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			for j := range calls {
				future, err := cloud.Call(t.Context(), "add", i, j)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := client.Get[int](t.Context(), future); err != nil || got != i+j {
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
		options []client.Option
		is      error
		want    string
	}{
		{"no node there", []client.Option{client.WithAddress(free)}, client.ErrUnavailable, "cloudburst serve"},
		{"no node there", []client.Option{client.WithAddress(free)}, client.ErrUnavailable, free},
		{"wrong token", []client.Option{client.WithToken("wrong")}, client.ErrUnauthenticated, "refuses the token"},
		{"no token at all", []client.Option{client.WithToken("with\nbreak")}, client.ErrUnauthenticated, "characters"},
		{"no address", []client.Option{client.WithAddress("ftp://x")}, client.ErrInvalidArgument, "scheme ftp"},
		{"too much", []client.Option{client.WithAddress("http://x/y")}, client.ErrInvalidArgument, "more than a host"},
		{"settings", []client.Option{client.WithRequestTimeout(-1), client.WithRunTimeout(0)}, nil, "run timeout"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := client.Connect(t.Context(), test.options...)
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	future, err := cloud.Call(t.Context(), "sleep", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cloud.Close(), cloud.Close()); err != nil {
		t.Fatal(err)
	}
	if err := future.Get(t.Context(), new(any)); !errors.Is(err, client.ErrCancelled) {
		t.Errorf("got %v", err)
	}
	if _, err := cloud.Call(t.Context(), "neg", 1); !errors.Is(err, client.ErrCancelled) {
		t.Errorf("got %v", err)
	}
	if err := cloud.Put(t.Context(), "x", 1); !errors.Is(err, client.ErrCancelled) {
		t.Errorf("got %v", err)
	}
}
