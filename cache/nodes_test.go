package cache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/bus/embedded"
	"cloudburst/cache"
	"cloudburst/lattice"
	"cloudburst/wire/pb"
)

// node is a server of the store with a cache.
type node struct {
	cache *cache.Cache
	store *anna.Server
	stop  func()
	crash func()
}

// startNode starts a node on a NATS server.
func startNode(t *testing.T, nats *embedded.Server, cfg anna.Config) *node {
	t.Helper()
	conn, err := nats.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	cfg.Slots, cfg.Streams, cfg.MemberTTL = 32, 2, time.Second
	cfg.DurableTimeout, cfg.PublishTimeout = patience, patience
	n := &node{crash: conn.NATS.Close}
	if n.store, err = anna.New(cfg, conn); err != nil {
		t.Fatal(err)
	}
	if n.cache, err = cache.New(cache.Config{}, n.store); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- n.store.Run(ctx) }()
	go func() { ended <- n.cache.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stop)
	select {
	case <-n.cache.Ready():
	case <-time.After(patience):
		t.Fatal("not ready")
	}
	return n
}

func startNATS(t *testing.T) *embedded.Server {
	t.Helper()
	nats, err := embedded.Start(t.Context(), embedded.Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Shutdown)
	return nats
}

// eventually waits until a cache holds a value, without asking for it: pushes bring it.
func eventually(t *testing.T, c *cache.Cache, key, want string) {
	t.Helper()
	var e cache.Entry
	var known bool
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Microsecond) {
		if e, known = c.Peek(key); known && agree(e, want) {
			return
		}
	}
	t.Fatalf("%s is %q (known: %v), want %q", key, value(e), known, want)
}

// TestCachesOfSeveralNodes: what one node writes reaches the caches of all that hold the key, wherever its master is.
func TestCachesOfSeveralNodes(t *testing.T) {
	t.Parallel()
	nats := startNATS(t)
	nodes := []*node{
		startNode(t, nats, anna.Config{}), startNode(t, nats, anna.Config{}), startNode(t, nats, anna.Config{}),
		startNode(t, nats, anna.Config{Guest: true}),
	}
	for i := range 24 {
		key := fmt.Sprint("k", i)
		for _, n := range nodes {
			if e := get(t, n.cache, key); !e.Absent() {
				t.Fatalf("%s: %+v", key, e)
			}
		}
		writer := nodes[i%len(nodes)]
		put(t, writer.cache, pb.Ack_ACK_DURABLE, lww(key, "1"))
		for _, n := range nodes {
			eventually(t, n.cache, key, "1")
		}
		done := make(chan error, 1)
		writer.cache.PutAsync([]cache.Write{lww(key, "2")}, pb.Ack_ACK_MEMORY, func(err error) { done <- err })
		if e := get(t, writer.cache, key); value(e) != "2" {
			t.Fatalf("%s is %q where 2 was just written", key, value(e))
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			eventually(t, n.cache, key, "2")
		}
	}
	// A reader at a node that is a master of no slot waits for a write at another node.
	waited := make(chan error, 1)
	go func() {
		entries, err := nodes[3].cache.Get(t.Context(), []string{"later"}, patience)
		if err == nil && value(entries[0]) != "here" {
			err = fmt.Errorf("got %q", value(entries[0]))
		}
		waited <- err
	}()
	put(t, nodes[1].cache, pb.Ack_ACK_MEMORY, lww("later", "here"))
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	keys, more, err := nodes[3].cache.Keys(t.Context(), "k", "", 0)
	if err != nil || more || len(keys) != 24 {
		t.Fatal(keys, more, err)
	}
	if err := nodes[0].cache.Delete(t.Context(), []string{"k0"}, pb.Ack_ACK_DURABLE); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		for deadline := time.Now().Add(patience); !get(t, n.cache, "k0").Absent(); {
			if time.Now().After(deadline) {
				t.Fatal("k0 is still there")
			}
		}
	}
}

// TestCachesWhenMastersGo: caches hold nothing that is out of date for long when the masters that they hear of changes from leave or
// crash.
func TestCachesWhenMastersGo(t *testing.T) {
	t.Parallel()
	nats := startNATS(t)
	guest := startNode(t, nats, anna.Config{Guest: true})
	first := startNode(t, nats, anna.Config{Masters: 1})
	second := startNode(t, nats, anna.Config{Masters: 1})
	keys := make([]string, 40)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
		put(t, guest.cache, pb.Ack_ACK_DURABLE, lww(keys[i], "0"))
		if e := get(t, guest.cache, keys[i]); value(e) != "0" {
			t.Fatalf("%s is %q", keys[i], value(e))
		}
	}
	round := 0
	check := func(writer *node) {
		t.Helper()
		round++
		want := fmt.Sprint(round)
		for _, key := range keys {
			put(t, writer.cache, pb.Ack_ACK_DURABLE, lww(key, want))
		}
		for _, key := range keys {
			for deadline := time.Now().Add(patience); value(get(t, guest.cache, key)) != want; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%s is still %q, want %q", key, value(get(t, guest.cache, key)), want)
				}
			}
		}
	}
	check(second)
	third := startNode(t, nats, anna.Config{Masters: 1})
	check(third)
	first.stop()
	check(third)
	second.crash()
	check(third)
	check(third)
}

// BenchmarkPropagation measures from a write on one node to the moment at which a cache on another has it.
func BenchmarkPropagation(b *testing.B) {
	nats, err := embedded.Start(context.Background(), embedded.Config{DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer nats.Shutdown()
	servers := make([]*anna.Server, 2)
	caches := make([]*cache.Cache, 2)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range servers {
		conn, err := nats.Connect(ctx)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		if servers[i], err = anna.New(anna.Config{Guest: i == 1}, conn); err != nil {
			b.Fatal(err)
		}
		if caches[i], err = cache.New(cache.Config{}, servers[i]); err != nil {
			b.Fatal(err)
		}
		wg.Go(func() { _ = servers[i].Run(ctx) })
		<-servers[i].Ready()
	}
	defer wg.Wait()
	defer cancel()
	if _, err := caches[1].Get(ctx, []string{"k"}, 0); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		want := fmt.Sprint(i)
		servers[0].Write(&kernel.Write{Key: "k", Delta: lattice.Put(lattice.Timestamp{}, []byte(want)), Ack: kernel.Memory}, nil)
		for {
			if e, ok := caches[1].Peek("k"); ok && len(e.Values) == 1 && string(e.Values[0]) == want {
				break
			}
			time.Sleep(20 * time.Microsecond)
		}
	}
}
