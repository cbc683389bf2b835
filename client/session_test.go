package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"cloudburst/client"
	"cloudburst/lattice"
	"cloudburst/lattice/consistency"
)

func ExampleClient_Session() {
	ctx := context.Background()
	cloud, err := client.Connect(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cloud.Close()
	transfer := cloud.Session(client.ReadCommitted | client.ItemCut)
	if err := transfer.Put(ctx, "accounts/ada", 90); err != nil {
		fmt.Println(err)
	}
	if err := transfer.Put(ctx, "accounts/grace", 110); err != nil {
		fmt.Println(err)
	}
	entries, err := cloud.GetAll(ctx, "accounts/ada", "accounts/grace")
	fmt.Println(entries[0].Exists(), entries[1].Exists(), err)
	if err := transfer.Commit(ctx); err != nil {
		fmt.Println(err)
	}
	var grace int
	err = cloud.Get(ctx, "accounts/grace", &grace)
	fmt.Println(grace, err)
	// Output:
	// false false <nil>
	// 110 <nil>
}

func mustGet[T any](t *testing.T, s *client.Session, key string) (value T) {
	t.Helper()
	if err := s.Get(t.Context(), key, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func mustPut(t *testing.T, s *client.Session, key string, value any) {
	t.Helper()
	if err := s.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	put(t, cloud, "txn/a", 1)
	put(t, cloud, "txn/n", client.Increment(5))
	s := cloud.Session(client.ReadCommitted | client.ItemCut)
	if got := mustGet[int](t, s, "txn/a"); got != 1 {
		t.Errorf("a is %d", got)
	}
	put(t, cloud, "txn/a", 2)
	if got := mustGet[int](t, s, "txn/a"); got != 1 {
		t.Errorf("a changed to %d in the transaction", got)
	}
	mustPut(t, s, "txn/a", 3)
	mustPut(t, s, "txn/n", client.Increment(1))
	mustPut(t, s, "txn/n", client.Increment(1))
	if a, n := mustGet[int](t, s, "txn/a"), mustGet[int](t, s, "txn/n"); a != 3 || n != 7 {
		t.Errorf("in the transaction a is %d, n is %d", a, n)
	}
	var a, n int
	if err := errors.Join(cloud.Get(t.Context(), "txn/a", &a), cloud.Get(t.Context(), "txn/n", &n)); err != nil || a != 2 || n != 5 {
		t.Errorf("before the commit a is %d, n is %d, %v", a, n, err)
	}
	if err := s.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cloud.Get(t.Context(), "txn/a", &a), cloud.Get(t.Context(), "txn/n", &n)); err != nil || a != 3 || n != 7 {
		t.Errorf("after the commit a is %d, n is %d, %v", a, n, err)
	}
	mustPut(t, s, "txn/a", 4)
	if err := s.Delete(t.Context(), "txn/n"); err != nil {
		t.Fatal(err)
	}
	s.Abort()
	if a, n := mustGet[int](t, s, "txn/a"), mustGet[int](t, s, "txn/n"); a != 3 || n != 7 {
		t.Errorf("after the abort a is %d, n is %d", a, n)
	}
}

// A counter that is deleted starts from nothing, also for a session that has counted before.
func TestSessionsCountAndDelete(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	s := cloud.Session(client.SessionGuarantees)
	for range 3 {
		mustPut(t, s, "session/n", client.Increment(2))
	}
	if n := mustGet[int](t, s, "session/n"); n != 6 {
		t.Errorf("n is %d", n)
	}
	if err := cloud.Delete(t.Context(), "session/n"); err != nil {
		t.Fatal(err)
	}
	if err := s.Get(t.Context(), "session/n", new(int)); !errors.Is(err, client.ErrKeyNotFound) {
		t.Errorf("after the deletion: %v", err)
	}
	mustPut(t, s, "session/n", client.Increment(1))
	if n := mustGet[int](t, s, "session/n"); n != 1 {
		t.Errorf("after the deletion n is %d", n)
	}
	if err := s.Delete(t.Context(), "session/n"); err != nil {
		t.Fatal(err)
	}
	if err := cloud.Get(t.Context(), "session/n", new(int)); !errors.Is(err, client.ErrKeyNotFound) {
		t.Errorf("after the session's deletion: %v", err)
	}
}

func TestCausalSessions(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	ada, grace := cloud.Session(client.Causal), cloud.Session(client.Causal)
	mustPut(t, ada, "causal/x", "ada's")
	mustPut(t, grace, "causal/x", "grace's") // who has not read ada's
	entries, err := cloud.Session(client.Causal).GetAll(t.Context(), "causal/x")
	if err != nil {
		t.Fatal(err)
	}
	if values, err := client.Concurrent[string](entries[0]); err != nil || !slices.Equal(values, []string{"ada's", "grace's"}) {
		t.Errorf("concurrent: %v %v", values, err)
	}
	reader := cloud.Session(client.Causal)
	_ = mustGet[string](t, reader, "causal/x")
	mustPut(t, reader, "causal/x", "both")
	if got := mustGet[string](t, ada, "causal/x"); got != "both" {
		t.Errorf("after who has read both wrote: %s", got)
	}
	if err := ada.Put(t.Context(), "causal/x", client.Max(1)); !errors.Is(err, client.ErrUnsupported) {
		t.Errorf("a delta: %v", err)
	}
	// What depends on a version that the store does not have is not shown before that has come.
	second := cloud.Session(client.Causal)
	clock := lattice.NewVectorClock(lattice.ClockEntry{Writer: "w", Count: 1})
	put(t, cloud, "causal/z", client.Version(clock, lattice.NewDependencies(lattice.Dependency{Key: "causal/late", Clock: clock}), 2))
	_ = mustGet[int](t, second, "causal/z")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := second.Get(ctx, "causal/late", new(int)); !errors.Is(err, client.ErrDeadlineExceeded) {
		t.Errorf("of what has not come: %v", err)
	}
	late := make(chan error, 1)
	go func() {
		var n int
		err := second.Get(t.Context(), "causal/late", &n)
		if err == nil && n != 1 {
			err = fmt.Errorf("it is %d", n)
		}
		late <- err
	}()
	put(t, cloud, "causal/late", client.Version(clock, lattice.Dependencies{}, 1))
	if err := <-late; err != nil {
		t.Error(err)
	}
}

// recorder records what a session does.
type recorder struct {
	mu      sync.Mutex
	history consistency.History
}

func (r *recorder) record(e consistency.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, e)
}

// Sessions of several clients do what comes to their minds, and what they were promised is checked against what they saw.
func TestSessionsOverANode(t *testing.T) {
	t.Parallel()
	levels := []client.Consistency{
		client.ReadYourWrites, client.MonotonicReads, client.MonotonicWrites, client.WritesFollowReads,
		client.SessionGuarantees, client.ItemCut, client.ReadCommitted | client.ItemCut, client.Causal,
	}
	for _, level := range levels {
		t.Run(level.String(), func(t *testing.T) {
			t.Parallel()
			if faults := run(t, level, level).Check(level); len(faults) > 0 {
				t.Error(errors.Join(faults...))
			}
		})
	}
	t.Run("a session that promises and does not keep", func(t *testing.T) {
		t.Parallel()
		for range 20 {
			if len(run(t, client.ItemCut, client.Eventual).Check(client.ItemCut)) > 0 {
				return
			}
		}
		t.Error("not caught")
	})
}

func run(t *testing.T, promised, kept client.Consistency) consistency.History {
	t.Helper()
	var r recorder
	var running sync.WaitGroup
	prefix := fmt.Sprintf("run/%v/%v/%d/", promised, kept, rand.Uint64())
	for i := range 4 {
		s := connect(t).Session(kept)
		s.Record(func(kind consistency.Kind, key string, state *lattice.State) {
			r.record(consistency.Event{Session: i, Kind: kind, Key: key, State: state})
		})
		running.Go(func() {
			for n := range 60 {
				key := prefix + fmt.Sprint(rand.IntN(3))
				var err error
				switch rand.IntN(5) {
				case 0, 1:
					_, err = s.GetAll(t.Context(), key)
				case 2, 3:
					value := any(fmt.Sprintf("%d/%d", i, n))
					if promised != client.Causal && key != prefix+"0" {
						value = client.AddToSet(value)
					}
					err = s.Put(t.Context(), key, value)
				default:
					err = s.Commit(t.Context())
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	return r.history
}
