package anna_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/lattice"
	"cloudburst/wire/pb"
)

// soonHot lets keys become hot that a test can read so often, on any machine.
func soonHot() anna.Config {
	cfg := fewSlots(1)
	cfg.HotRate, cfg.ColdRate, cfg.HotReplicasMax = 200, 100, 2
	cfg.HotInterval, cfg.ColdAfter = 20*time.Millisecond, 200*time.Millisecond
	return cfg
}

// hotKey returns what a node says of a hot key; nil if it is not hot there.
func (r *running) hotKey(t testing.TB, key string) *pb.AnnaHotKey {
	t.Helper()
	for _, hot := range r.server.Overview(t.Context()).GetHot() {
		if string(hot.GetKey()) == key {
			return hot
		}
	}
	return nil
}

// eventuallyHot waits until all nodes know of so many replicas of a key that answer; with 0, until it is not hot any more.
func eventuallyHot(t testing.TB, nodes []*running, key string, replicas int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		missing := slices.IndexFunc(nodes, func(n *running) bool {
			hot := n.hotKey(t, key)
			return replicas == 0 && hot != nil || replicas > 0 && len(hot.GetServing()) != replicas
		})
		if missing < 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("node %d knows %v of %q; want %d replicas", missing, nodes[missing].hotKey(t, key), key, replicas)
		}
	}
}

// readAll reads a key through nodes again and again until it is stopped.
func readAll(t testing.TB, nodes []*running, key string) (stop func()) {
	var stopped atomic.Bool
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			for !stopped.Load() {
				n.get(t, key)
			}
		})
	}
	stop = sync.OnceFunc(func() { stopped.Store(true); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

// holds reports whether a node answers for a key at once.
func (r *running) holds(key string) bool { return r.server.View(key, func(*lattice.State) {}) }

// holders returns the nodes that answer for a key at once, once those that have fetched it do so no more.
func holders(t testing.TB, nodes []*running, key string, want int) (held []*running) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		held = slices.DeleteFunc(slices.Clone(nodes), func(n *running) bool { return !n.holds(key) })
		if len(held) == want {
			return held
		}
	}
	t.Fatalf("%d nodes answer for %s, want %d", len(held), key, want)
	return nil
}

// TestHotKeysGetReplicas: a key that is read often is held by further nodes, which show every change of it, and are rid of it when
// it is read no more.
func TestHotKeysGetReplicas(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, soonHot(), 5)
	nodes[0].eventuallyRests(t, 5)
	nodes[0].put(t, "hot", "1", kernel.Durable)
	nodes[0].put(t, "cool", "1", kernel.Durable)
	if held := holders(t, nodes, "hot", 1); len(held) != 1 {
		t.Fatal("not only its master holds it")
	}
	stop := readAll(t, nodes, "hot")
	eventuallyHot(t, nodes, "hot", 2)
	for i, n := range nodes {
		for j := range 5 {
			value := fmt.Sprint(i, "-", j)
			n.put(t, "hot", value, kernel.Ack(j%2))
			if got := n.get(t, "hot"); got != value {
				t.Fatalf("node %d has written %q and reads %q", i, value, got)
			}
			for _, other := range nodes {
				other.eventually(t, "hot", value)
			}
		}
	}
	for _, n := range nodes {
		if n.hotKey(t, "cool") != nil {
			t.Fatal("a key is hot that nobody reads")
		}
	}
	stop()
	// Changes go on to whoever holds it.
	held := holders(t, nodes, "hot", 3)
	replicas, answered := 0, uint64(0)
	for _, n := range held {
		m := n.server.Metrics()
		replicas += m.Replicas
		answered += m.Reads
	}
	if replicas != 2 || answered == 0 {
		t.Fatalf("%d replicas, %d reads at those who hold it", replicas, answered)
	}
	eventuallyHot(t, nodes, "hot", 0)
	held = holders(t, nodes, "hot", 1)
	held[0].put(t, "hot", "cold again", kernel.Durable)
	for _, n := range nodes {
		n.eventually(t, "hot", "cold again")
		if m := n.server.Metrics(); m.Replicas != 0 || m.ReplicaBytes != 0 || m.HotKeys != 0 {
			t.Fatalf("%d replicas of %d bytes are left, %d hot keys", m.Replicas, m.ReplicaBytes, m.HotKeys)
		}
	}
}

// TestHotKeysOfEveryKind: counters, sets, deletion and expiry reach replicas too.
func TestHotKeysOfEveryKind(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, soonHot(), 4)
	nodes[0].eventuallyRests(t, 4)
	if _, err := nodes[0].write(t, &kernel.Write{Key: "n", Add: 1}); err != nil {
		t.Fatal(err)
	}
	readAll(t, nodes, "n")
	eventuallyHot(t, nodes, "n", 2)
	for range 25 {
		for _, n := range nodes {
			if _, err := n.write(t, &kernel.Write{Key: "n", Add: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, n := range nodes {
		n.eventuallyHolds(t, "n", "101")
	}
	for i, n := range nodes {
		if _, err := n.write(t, &kernel.Write{Key: "n", Delete: true}); err != nil {
			t.Fatal(err)
		}
		n.view(t, "n", func(s *lattice.State) {
			if s != nil {
				t.Errorf("node %d has deleted it and sees it", i)
			}
		})
		n.put(t, "n", "again", kernel.Durable)
		for _, other := range nodes {
			other.eventually(t, "n", "again")
		}
	}
	expiring := lattice.Put(lattice.Timestamp{}, []byte("for a moment"))
	expiring.Merge(lattice.ExpireAt(lattice.Timestamp{}, time.Now().Add(300*time.Millisecond).UnixMilli()))
	if _, err := nodes[1].write(t, &kernel.Write{Key: "n", Delta: expiring}); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		n.eventually(t, "n", "")
	}
	if winner, err := nodes[2].write(t, &kernel.Write{Key: "n", Make: onlyOnce{"taken"}}); err != nil || winner != 1 {
		t.Fatal(winner, err)
	}
	if got := nodes[2].get(t, "n"); got != "taken" {
		t.Fatalf("who has taken it reads %q", got)
	}
}

// TestReplicasOutliveMasters: a master that is gone without a word takes nothing along that was acknowledged as durable, and what
// replicas show goes on.
func TestReplicasOutliveMasters(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, soonHot(), 4)
	nodes[0].eventuallyRests(t, 4)
	nodes[0].put(t, "hot", "before", kernel.Durable)
	master := holders(t, nodes, "hot", 1)[0]
	rest := slices.DeleteFunc(slices.Clone(nodes), func(n *running) bool { return n == master })
	readAll(t, rest, "hot")
	eventuallyHot(t, nodes, "hot", 2)
	master.crash()
	rest[0].eventuallyRests(t, 3)
	for i, n := range rest {
		value := fmt.Sprint("after", i)
		n.put(t, "hot", value, kernel.Durable)
		for _, other := range rest {
			other.eventually(t, "hot", value)
		}
	}
	eventuallyHot(t, rest, "hot", 2)
}

// TestReplicasThatHearNothing answer no more: what they show could be older than it may be.
func TestReplicasThatHearNothing(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, soonHot(), 4)
	nodes[0].eventuallyRests(t, 4)
	nodes[0].put(t, "hot", "before", kernel.Durable)
	master := holders(t, nodes, "hot", 1)[0]
	rest := slices.DeleteFunc(slices.Clone(nodes), func(n *running) bool { return n == master })
	stop := readAll(t, rest, "hot")
	eventuallyHot(t, nodes, "hot", 2)
	stop()
	replica := holders(t, rest, "hot", 2)[0]
	replica.crash()
	for deadline := time.Now().Add(patience); replica.holds("hot"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it still answers")
		}
	}
}

// TestWritersReadWhatTheyWrote: on any node, whoever else reads there, and whichever of several masters has taken it.
func TestWritersReadWhatTheyWrote(t *testing.T) {
	t.Parallel()
	cfg := fewSlots(2)
	nodes := startNodes(t, cfg, 4)
	nodes[0].eventuallyRests(t, 4)
	const keys = 8
	for k := range keys {
		nodes[0].put(t, fmt.Sprint("k", k), "-", kernel.Durable)
		if k%2 == 0 {
			readAll(t, nodes, fmt.Sprint("k", k))
		}
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 150 {
				// No two write to the same key.
				key, value := fmt.Sprint("k", w+4*(i%2)), fmt.Sprint(i)
				n := nodes[(w+i/10)%4]
				n.put(t, key, value, kernel.Ack(i%3/2))
				if got := n.get(t, key); got != value {
					t.Errorf("whoever has written %q to %s reads %q", value, key, got)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestHotKeysOfOneNode: where there is nobody else, the operator sees them all the same.
func TestHotKeysOfOneNode(t *testing.T) {
	t.Parallel()
	cfg := soonHot()
	n := startServer(t, cfg, "")
	n.put(t, "hot", "1", kernel.Durable)
	readAll(t, []*running{n}, "hot")
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if hot := n.hotKey(t, "hot"); hot != nil && len(hot.GetReplicas()) == 0 && hot.GetRate() > float64(cfg.HotRate) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the key is not hot")
		}
	}
}

// TestReplicasThatHaveNoRoom are not held, and their keys are read at the masters.
func TestReplicasThatHaveNoRoom(t *testing.T) {
	t.Parallel()
	cfg := soonHot()
	cfg.HotBytesMax = 1 << 20
	nodes := startNodes(t, cfg, 2)
	nodes[0].eventuallyRests(t, 2)
	value := make([]byte, 2<<20)
	nodes[0].put(t, "large", string(value), kernel.Durable)
	nodes[0].put(t, "small", "1", kernel.Durable)
	readAll(t, nodes, "large")
	readAll(t, nodes, "small")
	eventuallyHot(t, nodes, "small", 1)
	for _, n := range nodes {
		for deadline := time.Now().Add(patience); n.hotKey(t, "large") == nil; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the key is not hot")
			}
		}
		if got := n.get(t, "large"); len(got) != len(value) {
			t.Fatalf("it has %d bytes", len(got))
		}
		if m := n.server.Metrics(); m.ReplicaBytes > 1<<20 {
			t.Fatalf("replicas take %d bytes", m.ReplicaBytes)
		}
	}
}
