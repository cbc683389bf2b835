package client_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"cloudburst/client"
	"cloudburst/lattice"
)

func put(t *testing.T, cloud *client.Client, key string, value any) {
	t.Helper()
	if err := cloud.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

func TestLatticesMerge(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	clock := lattice.NewVectorClock
	tests := []struct {
		name string
		puts []any
		want any
	}{
		{"a counter", []any{client.Increment(5), client.Increment(-2), client.Increment(4)}, int64(7)},
		{"a maximum", []any{client.Max(5), client.Max(9), client.Max(-2)}, int64(9)},
		{"a minimum", []any{client.Min(5), client.Min(9), client.Min(-2)}, int64(-2)},
		{"a set", []any{client.Set{"a"}, client.AddToSet("b", "c"), client.RemoveFromSet("a", "x")}, client.Set{"b", "c"}},
		{
			"an ordered set",
			[]any{client.AddScored(client.Scored{"a", 3}, client.Scored{"b", 1}, client.Scored{"c", 2}), client.AddScored(client.Scored{"a", 0.5}), client.RemoveScored("c")},
			[]any{client.Tuple{"a", 0.5}, client.Tuple{"b", 1.0}},
		},
		{"a priority", []any{client.Prioritized(2, "two"), client.Prioritized(1, "one"), client.Prioritized(3, "three")}, "one"},
		{
			"a map",
			[]any{client.Fields(map[string]any{"n": client.Increment(1), "name": "x"}), client.Fields(map[string]any{"n": client.Increment(2)})},
			map[string]any{"n": int64(3), "name": "x"},
		},
		{
			"a causal value",
			[]any{
				client.Version(clock(lattice.ClockEntry{Writer: "a", Count: 1}), lattice.Dependencies{}, "first"),
				client.Version(clock(lattice.ClockEntry{Writer: "a", Count: 2}), lattice.Dependencies{}, "second"),
				client.Version(clock(lattice.ClockEntry{Writer: "a", Count: 1}, lattice.ClockEntry{Writer: "b", Count: 1}), lattice.Dependencies{}, "third"),
			},
			"third", // of "second" and "third" the one whose bytes come first
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			key := "merge/" + test.name
			for _, value := range test.puts {
				put(t, cloud, key, value)
			}
			var got any
			if err := cloud.Get(t.Context(), key, &got); err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %#v, %v, want %#v", got, err, test.want)
			}
		})
	}
	t.Run("another type", func(t *testing.T) {
		t.Parallel()
		put(t, cloud, "merge/other", client.Max(1))
		if err := cloud.Put(t.Context(), "merge/other", client.Min(1)); !errors.Is(err, client.ErrLatticeMismatch) {
			t.Errorf("%v", err)
		}
		if err := cloud.Put(t.Context(), "merge/other", client.Delta{}); !errors.Is(err, client.ErrInvalidArgument) {
			t.Errorf("%v", err)
		}
	})
}

// What cannot be written into a frame is refused at once, and the connection stays.
func TestNamesThatAreNotUTF8(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	for name, ask := range map[string]func(ctx context.Context) error{
		"put":       func(ctx context.Context) error { return cloud.Put(ctx, "\xff", 1) },
		"get":       func(ctx context.Context) error { return cloud.Get(ctx, "\xff", new(any)) },
		"delete":    func(ctx context.Context) error { return cloud.Delete(ctx, "ok", "\xff") },
		"functions": func(ctx context.Context) error { _, err := cloud.Functions(ctx, "\xff"); return err },
		"call": func(ctx context.Context) error {
			future, err := cloud.Call(ctx, "\xff")
			if err != nil {
				return err
			}
			return future.Get(ctx, new(any))
		},
		"watch": func(ctx context.Context) error {
			for _, err := range cloud.Watch(ctx, "\xff") {
				return err
			}
			return nil
		},
	} {
		if err := ask(t.Context()); !errors.Is(err, client.ErrInvalidArgument) || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	put(t, cloud, "names/after", 1)
}

func TestATimeToLiveBeyondTheLimit(t *testing.T) {
	t.Parallel()
	err := connect(t).Put(t.Context(), "ttl/max", 1, client.TTL(math.MaxInt64))
	if !errors.Is(err, client.ErrInvalidArgument) || !strings.Contains(err.Error(), "a time to live of 9223372036855 ms") {
		t.Errorf("got %v", err)
	}
}

func TestSeveralKeysAtOnce(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	clock := lattice.NewVectorClock
	err := cloud.PutAll(t.Context(), client.AckMemory,
		client.Write{Key: "several/a", Value: 1},
		client.Write{Key: "several/set", Value: client.AddToSet("x", "y")},
		client.Write{Key: "several/count", Value: client.Increment(3)},
		client.Write{Key: "several/causal", Value: client.Version(clock(lattice.ClockEntry{Writer: "a", Count: 1}), lattice.Dependencies{}, 1)},
		client.Write{Key: "several/causal", Value: client.Version(clock(lattice.ClockEntry{Writer: "b", Count: 1}), lattice.Dependencies{}, 2)},
	)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := cloud.GetAll(t.Context(), "several/a", "several/none", "several/set", "several/count", "several/causal")
	if err != nil {
		t.Fatal(err)
	}
	var a int
	var set []string
	var count int64
	if err := errors.Join(entries[0].Decode(&a), entries[2].Decode(&set), entries[3].Decode(&count)); err != nil || a != 1 || len(set) != 2 || count != 3 {
		t.Errorf("%v %v %v %v", a, set, count, err)
	}
	if entries[1].Exists() || !errors.Is(entries[1].Decode(&a), client.ErrKeyNotFound) {
		t.Errorf("the absent key: %v", entries[1])
	}
	if held, err := entries[3].Lattice(); err != nil || held.(*lattice.Counter).Value() != 3 {
		t.Errorf("the counter: %v %v", held, err)
	}
	if values, err := client.Concurrent[int](entries[4]); err != nil || !slices.Equal(values, []int{1, 2}) {
		t.Errorf("concurrent: %v %v", values, err)
	}
	if values, err := client.Concurrent[int](entries[0]); err != nil || !slices.Equal(values, []int{1}) {
		t.Errorf("not concurrent: %v %v", values, err)
	}
}

func TestScan(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	var writes []client.Write
	for i := range 2500 {
		writes = append(writes, client.Write{Key: fmt.Sprintf("scan/%04d", i), Value: i})
	}
	if err := cloud.PutAll(t.Context(), client.AckMemory, writes...); err != nil {
		t.Fatal(err)
	}
	n := 0
	for key, err := range cloud.Scan(t.Context(), "scan/") {
		if err != nil || key != writes[n].Key {
			t.Fatalf("key %d: %q %v", n, key, err)
		}
		n++
	}
	if n != len(writes) {
		t.Errorf("%d keys", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range cloud.Scan(ctx, "scan/") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	cloud, writer := connect(t), connect(t)
	put(t, writer, "watch/a", 1)
	next := 0
	steps := []struct {
		key  string
		want any
		then func()
	}{
		{"watch/a", int64(1), nil},
		{"watch/b", nil, func() { put(t, writer, "watch/b", client.AddToSet("x")) }},
		{"watch/b", client.Set{"x"}, func() { put(t, cloud, "watch/a", 2) }},
		{"watch/a", int64(2), func() {
			if err := writer.Delete(t.Context(), "watch/a"); err != nil {
				t.Error(err)
			}
		}},
		{"watch/a", nil, func() { put(t, writer, "watch/a", 3) }},
		{"watch/a", int64(3), nil},
	}
	for change, err := range cloud.Watch(t.Context(), "watch/a", "watch/b") {
		if err != nil {
			t.Fatal(err)
		}
		step := steps[next]
		var got any
		if change.Exists() {
			err = change.Decode(&got)
		}
		if err != nil || change.Key != step.key || !reflect.DeepEqual(got, step.want) || change.Lagged {
			t.Fatalf("change %d: %s %v %v lagged %v", next, change.Key, got, err, change.Lagged)
		}
		if step.then != nil {
			step.then()
		}
		if next++; next == len(steps) {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range cloud.Watch(ctx, "watch/a") {
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	for _, err := range cloud.Watch(t.Context(), "") {
		if !errors.Is(err, client.ErrInvalidArgument) {
			t.Error(err)
		}
	}
}

// A loop that is slower than the changes come is told so, and gets the last one.
func TestASlowWatch(t *testing.T) {
	t.Parallel()
	cloud, writer := connect(t), connect(t)
	const last = 5000
	seen, lagged := -1, false
	for change, err := range cloud.Watch(t.Context(), "watch/slow") {
		if err != nil {
			t.Fatal(err)
		}
		if !change.Exists() {
			for i := range last + 1 {
				if err := writer.PutAll(t.Context(), client.AckMemory, client.Write{Key: "watch/slow", Value: i}); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		var n int
		if err := change.Decode(&n); err != nil || n <= seen {
			t.Fatalf("%d after %d: %v", n, seen, err)
		}
		if n > seen+1 && !change.Lagged {
			t.Fatalf("%d after %d without a word", n, seen)
		}
		seen, lagged = n, lagged || change.Lagged
		if n == last {
			break
		}
	}
	if !lagged {
		t.Error("5,000 changes did not lag")
	}
}

// A watch goes on when the node comes back.
func TestAWatchSurvivesItsConnection(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	listen := nowhere(t)
	url, stop, err := startNode(data, listen)
	if err != nil {
		t.Fatal(err)
	}
	token := read(t, filepath.Join(data, "token"))
	cloud := connect(t, client.WithAddress(url), client.WithToken(token))
	put(t, cloud, "k", 1)
	changes := 0
	for change, err := range cloud.Watch(t.Context(), "k") {
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if err := change.Decode(&n); err != nil {
			t.Fatal(err)
		}
		if changes++; changes == 1 {
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if _, stop, err = startNode(data, listen); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if n != 1 || !change.Lagged {
			t.Errorf("after the reconnection: %d, lagged %v", n, change.Lagged)
		}
		break
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
