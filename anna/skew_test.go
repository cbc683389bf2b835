package anna_test

import (
	"errors"
	"fmt"
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

// TestClocksAreSet: the clocks of nodes jump by an hour, forth and back, while all of them write. Nothing that was acknowledged is
// lost, whoever wrote a key last has written it, all hold the same, and nobody has to wait for the hour to pass.
func TestClocksAreSet(t *testing.T) {
	t.Parallel()
	cluster := startNATSCluster(t)
	cfg := fewSlots(1)
	cfg.Replicas, cfg.PublishTimeout = 3, time.Second
	nodes := make([]*running, 3)
	skews := make([]atomic.Int64, len(nodes))
	for i := range nodes {
		nodes[i] = startBy(t, cfg, cluster.connect(i), func() time.Duration { return time.Duration(skews[i].Load()) })
	}
	nodes[0].eventuallyRests(t, len(nodes))
	var stop atomic.Bool
	var wg sync.WaitGroup
	acknowledged := make([]atomic.Int64, 6)
	for w := range acknowledged {
		wg.Go(func() {
			for i := int64(1); !stop.Load(); i++ {
				for _, write := range []*kernel.Write{
					{Key: fmt.Sprint("w", w), Delta: lattice.Put(lattice.Timestamp{}, fmt.Append(nil, i))},
					{Key: fmt.Sprint("w", w, "-", i), Delta: lattice.Put(lattice.Timestamp{}, fmt.Append(nil, i))},
					{Key: fmt.Sprint("n", w), Add: 1},
				} {
					if _, err := nodes[w%3].write(t, write); err != nil {
						t.Errorf("write %d to %s: %v", i, write.Key, err)
						return
					}
				}
				acknowledged[w].Store(i)
			}
		})
	}
	progress := func(what string) {
		t.Helper()
		began := time.Now()
		for w := range acknowledged {
			from := acknowledged[w].Load()
			for acknowledged[w].Load() < from+3 {
				if time.Since(began) > patience || t.Failed() {
					t.Fatalf("%s: writer %d gets no further", what, w)
				}
				time.Sleep(time.Millisecond)
			}
		}
		t.Logf("%s: every writer got on within %v", what, time.Since(began).Round(time.Millisecond))
	}
	progress("clocks agree")
	for i := range nodes {
		for _, skew := range []time.Duration{time.Hour, -time.Hour, 0} {
			skews[i].Store(int64(skew))
			progress(fmt.Sprintf("clock %d set to %v", i, skew))
		}
	}
	stop.Store(true)
	wg.Wait()
	for w := range acknowledged {
		last := acknowledged[w].Load()
		for _, n := range nodes {
			n.eventually(t, fmt.Sprint("w", w), fmt.Sprint(last))
			n.eventuallyHolds(t, fmt.Sprint("n", w), fmt.Sprint(last))
			for i := range last {
				n.eventually(t, fmt.Sprint("w", w, "-", i+1), fmt.Sprint(i+1))
			}
		}
	}
}

// TestOverwritesByClocksThatDiffer: masters whose clocks are hours apart stamp what is written one after another through one node,
// before they have heard of each other's. What was acknowledged last is what all hold in the end, also while slots move.
func TestOverwritesByClocksThatDiffer(t *testing.T) {
	t.Parallel()
	cfg := fewSlots(3)
	cfg.Streams = 1
	start := skewed(t)
	masters := []*running{start(cfg, time.Hour), start(cfg, -time.Hour), start(cfg, 0)}
	masters[0].eventuallyRests(t, len(masters))
	guest := cfg
	guest.Guest = true
	asking := start(guest, -time.Hour)
	cache := asking.server.Join(func([]kernel.Push) {})

	var mu sync.Mutex
	last := map[string]string{}
	// overwrite writes to one key after another, several times to each; the last of these deletes some.
	overwrite := func(n *running, name string, cache uint16, deletes bool, stop func(i int) bool) {
		for i := 0; !stop(i) && !t.Failed(); i++ {
			key, value := fmt.Sprint(name, "-", i), ""
			for turn := range 6 {
				value = fmt.Sprint(turn)
				w := &kernel.Write{Key: key, Ack: kernel.Ack((i + turn) % 3 % 2)}
				switch {
				case deletes && turn == 5 && i%2 == 0:
					w.Delete, value = true, ""
				case cache != 0 && w.Ack == kernel.Memory && turn%2 == 0:
					w.Cache = cache
					fallthrough
				default:
					w.Delta = lattice.Put(lattice.Timestamp{}, []byte(value))
				}
				if _, err := n.write(t, w); err != nil {
					t.Errorf("write %d to %s: %v", turn, key, err)
					return
				}
			}
			mu.Lock()
			last[key] = value
			mu.Unlock()
		}
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			overwrite(asking, fmt.Sprint("asked", w), cache*uint16(w%2), true, func(i int) bool { return i == 40 })
		})
	}
	wg.Wait()

	var moved atomic.Bool
	for w, n := range []*running{asking, masters[1], masters[2]} {
		wg.Go(func() { overwrite(n, fmt.Sprint("moved", w), 0, false, func(int) bool { return moved.Load() }) })
	}
	fourth := start(cfg, time.Hour)
	masters[1].eventuallyRests(t, 5)
	fourth.stop()
	masters[1].eventuallyRests(t, 4)
	moved.Store(true)
	wg.Wait()

	for i, n := range masters {
		n.eventuallyWritten(t)
		n.put(t, fmt.Sprint("end", i), "here", kernel.Durable)
	}
	for i, n := range masters {
		for j := range masters {
			n.eventually(t, fmt.Sprint("end", j), "here") // and so is everything before it in the log
		}
		for key, want := range last {
			if got := n.get(t, key); got != want {
				t.Errorf("master %d has %q under %s, which was overwritten by %q", i, got, key, want)
			}
		}
	}
	t.Logf("%d keys", len(last))
}

// eventuallyWritten waits until the log has everything that was written to a node.
func (r *running) eventuallyWritten(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(patience); r.server.Stats().ChangesetBytes > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what was written does not get to the log")
		}
	}
}

// skewed starts nodes on one log whose clocks are so far ahead.
func skewed(t *testing.T) func(cfg anna.Config, skew time.Duration) *running {
	t.Helper()
	nats, err := embedded.Start(t.Context(), embedded.Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Shutdown)
	return func(cfg anna.Config, skew time.Duration) *running {
		t.Helper()
		conn, err := nats.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		return startBy(t, cfg, conn, func() time.Duration { return skew })
	}
}

// TestClocksAreHeardOf: a node whose clock is behind, and that has neither asked for a key nor read it, stamps what it writes to it later
// than what is there, since nodes tell each other where their clocks are.
func TestClocksAreHeardOf(t *testing.T) {
	t.Parallel()
	start := skewed(t)
	cfg := fewSlots(1)
	ahead := start(cfg, time.Hour)
	guest := cfg
	guest.Guest = true
	behind := start(guest, -time.Hour)
	ahead.put(t, "k", "old", kernel.Durable)
	var old uint64
	ahead.view(t, "k", func(s *lattice.State) { old = s.Lattice.(*lattice.LWW).Timestamp.Time })
	for deadline := time.Now().Add(patience); behind.server.ClockReached() < old; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the clock that is ahead is not heard of")
		}
	}
	cache := behind.server.Join(func([]kernel.Push) {})
	w := &kernel.Write{Key: "k", Delta: lattice.Put(lattice.Timestamp{}, []byte("new")), Ack: kernel.Memory, Cache: cache}
	if _, err := behind.write(t, w); err != nil {
		t.Fatal(err)
	}
	if got := ahead.get(t, "k"); got != "new" {
		t.Fatalf("%q is there after it was overwritten", got)
	}
}

// TestClockIsDaysAhead: what is written through a node whose clock is days ahead the masters refuse, and say why, rather than that nobody
// could overwrite it, or that it could be lost without a word.
func TestClockIsDaysAhead(t *testing.T) {
	t.Parallel()
	start := skewed(t)
	cfg := fewSlots(1)
	cfg.Name = "right"
	master := start(cfg, 0)
	guest := cfg
	guest.Guest, guest.Name = true, "wrong"
	wrong := start(guest, 48*time.Hour)
	cache := wrong.server.Join(func([]kernel.Push) {})
	w := &kernel.Write{Key: "k", Delta: lattice.Put(lattice.Timestamp{}, []byte("2")), Ack: kernel.Memory, Cache: cache}
	if _, err := wrong.write(t, w); err == nil || !strings.Contains(err.Error(), "set the clock") {
		t.Fatalf("a stamp that is days ahead: %v", err)
	}
	_, err := wrong.write(t, &kernel.Write{Key: "k", Delta: lattice.Put(lattice.Timestamp{}, []byte("3"))})
	if !errors.Is(err, wire.ErrUnavailable) || !strings.Contains(err.Error(), "right, which is a master of the key: set the clock") {
		t.Fatalf("a write of a node that has stamped one days ahead: %v", err)
	}
	master.put(t, "k", "4", kernel.Durable)
	for _, n := range []*running{master, wrong} {
		n.eventually(t, "k", "4")
	}
}

// TestClockIsDaysBehind: what is written through a node whose clock is days behind is stamped by the masters.
func TestClockIsDaysBehind(t *testing.T) {
	t.Parallel()
	start := skewed(t)
	cfg := fewSlots(1)
	master := start(cfg, 0)
	guest := cfg
	guest.Guest = true
	wrong := start(guest, -48*time.Hour)
	for i := range 3 {
		master.put(t, "k", "master's", kernel.Durable)
		wrong.put(t, "k", fmt.Sprint(i), kernel.Durable)
		if got := master.get(t, "k"); got != fmt.Sprint(i) {
			t.Fatalf("%q is there after it was overwritten by %d", got, i)
		}
	}
	if v, err := wrong.write(t, &kernel.Write{Key: "k", Delete: true}); err != nil || v != 1 {
		t.Fatal(v, err)
	}
	master.eventually(t, "k", "")
}

// startAsking starts two masters, and a guest that asks them.
func startAsking(t *testing.T) (masters []*running, asking *running) {
	t.Helper()
	cfg := fewSlots(2)
	cfg.Streams, cfg.MemberTTL = 1, patience
	masters = startNodes(t, cfg, 2)
	masters[0].eventuallyRests(t, len(masters))
	cfg.Guest = true
	asking = masters[0].beside(t, cfg)
	for deadline := time.Now().Add(patience); len(asking.server.Status().Members) < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the nodes do not find each other")
		}
	}
	return masters, asking
}

// TestPipelineMeetsASlowMaster: what is written to a key without waiting for what was written before stays in that order, also when the
// first is asked of a slow master and made by another when that has made the second.
func TestPipelineMeetsASlowMaster(t *testing.T) {
	t.Parallel()
	nodes, asking := startAsking(t)
	resume := nodes[1].server.Stall()
	const keys = 16
	var answers sync.WaitGroup
	for i := range keys {
		for _, value := range []string{"first", "", "last"} {
			w := &kernel.Write{Key: fmt.Sprint("k", i), Ack: kernel.Memory, Put: []byte(value), Delete: value == ""}
			if w.Delete {
				w.Put = nil
			}
			answers.Add(1)
			asking.server.Write(w, anna.CompletionFunc(func(_ int64, err error) {
				if err != nil {
					t.Error(err)
				}
				answers.Done()
			}))
		}
	}
	answers.Wait()
	resume()
	for i, n := range nodes {
		n.eventuallyWritten(t)
		n.put(t, fmt.Sprint("end", i), "here", kernel.Durable)
	}
	for i, n := range nodes {
		for j := range nodes {
			n.eventually(t, fmt.Sprint("end", j), "here") // and so is everything before it in the log
		}
		for j := range keys {
			if got := n.get(t, fmt.Sprint("k", j)); got != "last" {
				t.Errorf("master %d has %q under k%d", i, got, j)
			}
		}
	}
}

// TestLateDuplicates: a master is slow to take a write, so that another is asked for it, and takes it as well when something else has been
// written to the key and acknowledged.
func TestLateDuplicates(t *testing.T) {
	t.Parallel()
	nodes, asking := startAsking(t)
	put := func(value string) *kernel.Write {
		return &kernel.Write{Delta: lattice.Put(lattice.Timestamp{}, []byte(value))}
	}
	member := []byte("member")
	kinds := []struct{ seed, first, second func() *kernel.Write }{
		{
			func() *kernel.Write { return put("seed") }, func() *kernel.Write { return put("first") }, func() *kernel.Write { return put("second") },
		},
		{
			func() *kernel.Write { return put("seed") }, func() *kernel.Write { return put("first") },
			func() *kernel.Write { return &kernel.Write{Delete: true} },
		},
		{
			func() *kernel.Write { return put("seed") }, func() *kernel.Write { return &kernel.Write{Delete: true} },
			func() *kernel.Write { return put("second") },
		},
		{
			func() *kernel.Write { return &kernel.Write{Delta: lattice.SetAdd(lattice.Timestamp{}, []byte("seed"))} },
			func() *kernel.Write { return &kernel.Write{Delta: lattice.SetAdd(lattice.Timestamp{}, member)} },
			func() *kernel.Write { return &kernel.Write{Delta: lattice.SetRemove(lattice.Timestamp{}, member)} },
		},
	}
	const each = 4
	writeAll := func(which func(kind int) *kernel.Write) {
		var wg sync.WaitGroup
		for i := range each * len(kinds) {
			wg.Go(func() {
				w := which(i / each)
				w.Key, w.Ack = fmt.Sprint(i/each, "-", i%each), kernel.Memory
				if _, err := asking.write(t, w); err != nil {
					t.Errorf("write to %s: %v", w.Key, err)
				}
			})
		}
		wg.Wait()
	}
	writeAll(func(kind int) *kernel.Write { return kinds[kind].seed() })
	for _, n := range nodes {
		n.eventuallyWritten(t)
	}
	resume := nodes[1].server.Stall()
	writeAll(func(kind int) *kernel.Write { return kinds[kind].first() })
	writeAll(func(kind int) *kernel.Write { return kinds[kind].second() })
	resume()
	for i, n := range nodes {
		n.put(t, fmt.Sprint("end", i), "here", kernel.Durable)
		asking.put(t, fmt.Sprint("asked", i), "here", kernel.Durable)
	}
	for i, n := range nodes {
		n.eventuallyWritten(t)
		n.put(t, fmt.Sprint("after", i), "here", kernel.Durable)
	}
	for i, n := range nodes {
		for j := range nodes {
			n.eventually(t, fmt.Sprint("after", j), "here") // and so is everything before it in the log
		}
		for kind, want := range []string{"second", "", "second"} {
			for j := range each {
				if got := n.get(t, fmt.Sprint(kind, "-", j)); got != want {
					t.Errorf("master %d has %q under %d-%d, where %q was written last", i, got, kind, j, want)
				}
			}
		}
		for j := range each {
			n.view(t, fmt.Sprint("3-", j), func(s *lattice.State) {
				if s == nil || s.Lattice.(*lattice.Set).Contains(member) {
					t.Errorf("master %d has under 3-%d what was removed last: %v", i, j, s)
				}
			})
		}
	}
}
