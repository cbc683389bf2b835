package anna_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/bus/embedded"
	"cloudburst/lattice"
	"cloudburst/wire"
)

// fewSlots keep the tables of tests small; nodes that are gone are missed soon.
func fewSlots(masters int) anna.Config {
	return short(anna.Config{Slots: 32, Streams: 2, Masters: masters, MemberTTL: time.Second, DurableTimeout: patience, PublishTimeout: patience})
}

// startNodes starts nodes on one log.
func startNodes(t testing.TB, cfg anna.Config, n int) []*running {
	t.Helper()
	nats, err := embedded.Start(context.Background(), embedded.Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Shutdown)
	nodes := make([]*running, n)
	for i := range nodes {
		nodes[i] = startOn(t, cfg, nats)
	}
	return nodes
}

// crash ends a node as if its machine had lost its power: nothing is said to anybody.
func (r *running) crash() { r.conn.NATS.Close() }

func TestEveryNodeReachesEveryKey(t *testing.T) {
	t.Parallel()
	for _, masters := range []int{1, 2} {
		nodes := startNodes(t, fewSlots(masters), 3)
		guest := fewSlots(masters)
		guest.Guest = true
		nodes = append(nodes, nodes[0].beside(t, guest))
		for i := range 60 {
			key := fmt.Sprint("k", i)
			nodes[i%4].put(t, key, "1", kernel.Durable)
			nodes[(i+1)%4].put(t, key, "2", kernel.Memory)
			for _, n := range nodes {
				n.eventually(t, key, "2")
			}
		}
		for i, n := range nodes {
			if v, err := n.write(t, &kernel.Write{Key: "counter", Add: 5}); err != nil || i == 0 && v != 5 {
				t.Fatal(v, err)
			}
		}
		for _, n := range nodes {
			n.eventuallyHolds(t, "counter", "20")
		}
		var all []string
		for i := range 60 {
			all = append(all, fmt.Sprint("k", i))
		}
		slices.Sort(all)
		for _, n := range nodes {
			keys, more, err := n.server.Scan(t.Context(), "k", "", 100)
			if err != nil || more || !slices.Equal(keys, all) {
				t.Fatal(keys, more, err)
			}
			keys, more, err = n.server.Scan(t.Context(), "k", "k2", 5)
			if err != nil || !more || !slices.Equal(keys, all[slices.Index(all, "k2")+1:][:5]) {
				t.Fatal(keys, more, err)
			}
		}
		if _, err := nodes[3].write(t, &kernel.Write{Key: "k1", Delta: lattice.SetAdd(lattice.Timestamp{}, []byte("x"))}); !errors.Is(err, wire.ErrLatticeMismatch) {
			t.Fatalf("a set over a value on another node: %v", err)
		}
		for _, n := range slices.Backward(nodes) {
			n.stop()
		}
	}
}

// eventuallyHolds waits until a node shows a counter's value.
func (r *running) eventuallyHolds(t testing.TB, key, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		r.view(t, key, func(s *lattice.State) {
			if s != nil {
				if c, ok := s.Lattice.(*lattice.Counter); ok {
					got = fmt.Sprint(c.Value())
				}
			}
		})
		if got == want {
			return
		}
	}
	t.Fatalf("%s is %q, want %q", key, got, want)
}

// TestSlotsMoveUnderLoad: nodes join and leave while others write and read. No request fails, and nothing is lost.
func TestSlotsMoveUnderLoad(t *testing.T) {
	t.Parallel()
	cfg := fewSlots(1)
	nodes := startNodes(t, cfg, 2)
	var stop atomic.Bool
	var wg sync.WaitGroup
	var writes atomic.Int64
	last := make([]int, 8)
	for w := range last {
		wg.Go(func() {
			key := fmt.Sprint("w", w)
			for i := 1; !stop.Load(); i++ {
				n := nodes[w%2]
				ack := kernel.Ack(i % 2)
				if _, err := n.write(t, &kernel.Write{Key: key, Delta: lattice.Put(lattice.Timestamp{}, fmt.Append(nil, i)), Ack: ack}); err != nil {
					t.Errorf("write %d of %s: %v", i, key, err)
					return
				}
				if _, err := n.write(t, &kernel.Write{Key: fmt.Sprint("n", w), Add: 1, Ack: ack}); err != nil {
					t.Errorf("addition %d to n%d: %v", i, w, err)
					return
				}
				last[w] = i
				writes.Add(1)
			}
		})
	}
	progress := func() {
		t.Helper()
		from := writes.Load()
		for deadline := time.Now().Add(patience); writes.Load() < from+100; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) || t.Failed() {
				t.Fatal("writes do not go on")
			}
		}
	}
	progress()
	third := nodes[0].beside(t, cfg)
	progress()
	fourth := nodes[0].beside(t, cfg)
	progress()
	third.stop()
	progress()
	fifth := nodes[0].beside(t, cfg)
	progress()
	fourth.stop()
	progress()
	stop.Store(true)
	wg.Wait()
	for w, i := range last {
		for _, n := range []*running{nodes[0], nodes[1], fifth} {
			n.eventually(t, fmt.Sprint("w", w), fmt.Sprint(i))
			n.eventuallyHolds(t, fmt.Sprint("n", w), fmt.Sprint(i))
		}
	}
}

// TestNodeCrashes: what was acknowledged as durable is there when a node is gone without a word, and its slots are served again.
func TestNodeCrashes(t *testing.T) {
	t.Parallel()
	for _, masters := range []int{1, 2} {
		nodes := startNodes(t, fewSlots(masters), 3)
		nodes[0].eventuallyRests(t, 3)
		for i := range 200 {
			nodes[i%3].put(t, fmt.Sprint("k", i), fmt.Sprint(i), kernel.Durable)
		}
		nodes[1].crash()
		began := time.Now()
		for i := range 200 {
			for _, n := range []*running{nodes[0], nodes[2]} {
				n.eventually(t, fmt.Sprint("k", i), fmt.Sprint(i))
			}
		}
		t.Logf("%d masters: everything could be read %v after the crash", masters, time.Since(began).Round(time.Millisecond))
		for i := range 50 {
			nodes[0].put(t, fmt.Sprint("k", i), "again", kernel.Durable)
			nodes[2].eventually(t, fmt.Sprint("k", i), "again")
		}
		nodes[2].eventuallyRests(t, 2)
	}
}

// eventuallyRests waits until so many members serve just what is theirs.
func (r *running) eventuallyRests(t testing.TB, members int) {
	t.Helper()
	var st anna.Status
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		st = r.server.Status()
		leads := 0
		for _, m := range st.Members {
			leads += m.Leads
		}
		if len(st.Members) == members && st.Moving == 0 && leads == len(st.Slots) {
			return
		}
	}
	t.Fatalf("slots still move: %d, members %+v", st.Moving, st.Members)
}

// TestVolatileKeysMove: what is in no log moves with its slot all the same.
func TestVolatileKeysMove(t *testing.T) {
	t.Parallel()
	cfg := fewSlots(1)
	first := startNodes(t, cfg, 1)[0]
	for i := range 100 {
		w := &kernel.Write{Key: fmt.Sprint("v", i), Delta: lattice.Put(lattice.Timestamp{}, []byte("x")), Volatile: true, Ack: kernel.Memory}
		if _, err := first.write(t, w); err != nil {
			t.Fatal(err)
		}
	}
	second := first.beside(t, cfg)
	for i := range 100 {
		second.eventually(t, fmt.Sprint("v", i), "x")
	}
	first.stop()
	for i := range 100 {
		second.eventually(t, fmt.Sprint("v", i), "x")
	}
}

// TestLargeValuesBetweenNodes: what is too large for a message goes in parts.
func TestLargeValuesBetweenNodes(t *testing.T) {
	t.Parallel()
	cfg := fewSlots(1)
	master := startNodes(t, cfg, 1)[0]
	cfg.Guest = true
	guest := master.beside(t, cfg)
	value := strings.Repeat("0123456789abcdef", 200_000)
	guest.put(t, "durable", value, kernel.Durable)
	guest.put(t, "memory", value, kernel.Memory)
	for _, key := range []string{"durable", "memory"} {
		if got := master.get(t, key); got != value {
			t.Fatalf("%s has %d bytes at the master", key, len(got))
		}
		if got := guest.get(t, key); got != value {
			t.Fatalf("%s has %d bytes at the guest", key, len(got))
		}
	}
}

// onlyOnce takes a key that nobody has.
type onlyOnce struct{ who string }

func (m onlyOnce) Make(held *lattice.State, _ lattice.Timestamp, now int64) (*lattice.State, int64, error) {
	if held.Live(now) != nil {
		return nil, 0, nil
	}
	return lattice.Put(lattice.Timestamp{}, []byte(m.who)), 1, nil
}

// TestMakersOnOtherNodes: of many who take a key that nobody has, on any node, one gets it.
func TestMakersOnOtherNodes(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, fewSlots(2), 2)
	for round := range 20 {
		key := fmt.Sprint("lock", round)
		var winners atomic.Int64
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				n, err := nodes[i%2].write(t, &kernel.Write{Key: key, Make: onlyOnce{fmt.Sprint(i)}})
				if err != nil {
					t.Error(err)
				}
				winners.Add(n)
			})
		}
		wg.Wait()
		if winners.Load() != 1 {
			t.Fatalf("%s was taken by %d", key, winners.Load())
		}
	}
}

// counting adds one to the number that a key holds.
type counting struct{}

func (counting) Make(held *lattice.State, _ lattice.Timestamp, now int64) (*lattice.State, int64, error) {
	n := 0
	if live := held.Live(now); live != nil {
		n, _ = strconv.Atoi(string(live.(*lattice.LWW).Value))
	}
	return lattice.Put(lattice.Timestamp{}, []byte(strconv.Itoa(n+1))), int64(n + 1), nil
}

// TestManyMakersOfOneKey: many writes at once that each depend on the one before all succeed, on nodes that must ask another too.
func TestManyMakersOfOneKey(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, fewSlots(2), 2)
	const n = 1000
	done := make(chan error, n)
	for i := range n {
		nodes[i%2].server.Write(&kernel.Write{Key: "n", Make: counting{}}, anna.CompletionFunc(func(_ int64, err error) { done <- err }))
	}
	for range n {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(patience):
			t.Fatal("a write was not answered")
		}
	}
	for _, node := range nodes {
		node.eventually(t, "n", strconv.Itoa(n))
	}
}

// TestWritesAreLent: whoever writes uses the same Write for the next before the first is answered.
func TestWritesAreLent(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, fewSlots(1), 2)
	const n = 64
	for _, node := range nodes {
		var lent kernel.Write
		done := make(chan error, n)
		key := func(i int) string { return fmt.Sprintf("%p-%d", node, i) }
		for i := range n {
			lent = kernel.Write{Key: key(i), Make: onlyOnce{fmt.Sprint(i)}, Ack: kernel.Memory}
			node.server.Write(&lent, anna.CompletionFunc(func(_ int64, err error) { done <- err }))
		}
		for range n {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(patience):
				t.Fatal("a write was not answered")
			}
		}
		for i := range n {
			if got := node.get(t, key(i)); got != fmt.Sprint(i) {
				t.Errorf("%s is %q, want %q", key(i), got, fmt.Sprint(i))
			}
		}
	}
}
