package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/bus/embedded"
	"cloudburst/cache"
	"cloudburst/codec"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// start returns a cache and the store behind it.
func start(t testing.TB, cfg cache.Config) (*cache.Cache, *anna.Server) {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	conn, err := server.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	store, err := anna.New(anna.Config{DurableTimeout: patience, PublishTimeout: patience}, conn)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.New(cfg, store)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- store.Run(ctx) }()
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-c.Ready():
	case <-time.After(patience):
		t.Fatal("not ready")
	}
	return c, store
}

func lww(key, value string) cache.Write {
	return cache.Write{Key: key, Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: [][]byte{[]byte(value)}}
}

func put(t testing.TB, c *cache.Cache, ack pb.Ack, writes ...cache.Write) {
	t.Helper()
	if err := c.Put(t.Context(), writes, ack); err != nil {
		t.Fatal(err)
	}
}

// putBehind writes to the store past the cache.
func putBehind(t testing.TB, store *anna.Server, w *kernel.Write) {
	t.Helper()
	done := make(chan error, 1)
	store.Write(w, anna.CompletionFunc(func(_ int64, err error) { done <- err }))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func value(e cache.Entry) string {
	if len(e.Values) != 1 {
		return fmt.Sprintf("%q", e.Values)
	}
	return string(e.Values[0])
}

func get(t testing.TB, c *cache.Cache, key string) cache.Entry {
	t.Helper()
	entries, err := c.Get(t.Context(), []string{key}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return entries[0]
}

func wantPeek(t testing.TB, c *cache.Cache, key, want string) {
	t.Helper()
	if e, ok := c.Peek(key); !ok || value(e) != want {
		t.Fatalf("peek %q: %q, known %v; want %q", key, value(e), ok, want)
	}
}

func TestWritesCanBeReadAtOnce(t *testing.T) {
	t.Parallel()
	c, _ := start(t, cache.Config{})
	for i := range 100 {
		done := make(chan error, 1)
		c.PutAsync([]cache.Write{lww("a", fmt.Sprint(i)), lww("b", fmt.Sprint(i))}, pb.Ack_ACK_MEMORY, func(err error) { done <- err })
		wantPeek(t, c, "a", fmt.Sprint(i))
		wantPeek(t, c, "b", fmt.Sprint(i))
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if e, _ := c.Peek("a"); e.Type != pb.LatticeType_LATTICE_TYPE_LWW || e.Timestamp.IsZero() {
		t.Fatalf("%+v", e)
	}
}

func TestChangesByOthers(t *testing.T) {
	t.Parallel()
	c, store := start(t, cache.Config{})
	if _, ok := c.Peek("k"); ok {
		t.Fatal("known before it was asked for")
	}
	if e := get(t, c, "k"); !e.Absent() {
		t.Fatalf("%+v", e)
	}
	if e, ok := c.Peek("k"); !ok || !e.Absent() {
		t.Fatalf("not known to be absent: %+v, %v", e, ok)
	}
	putBehind(t, store, &kernel.Write{Key: "k", Delta: lattice.Put(lattice.Timestamp{}, []byte("1"))})
	wantPeek(t, c, "k", "1")
	putBehind(t, store, &kernel.Write{Key: "k", Delete: true})
	if e, ok := c.Peek("k"); ok && !e.Absent() {
		t.Fatalf("not known to be deleted: %+v", e)
	}
	putBehind(t, store, &kernel.Write{Key: "k", Delta: lattice.SetAdd(lattice.Timestamp{}, []byte("b"), []byte("a"))})
	if got := value(get(t, c, "k")); got != `["a" "b"]` {
		t.Fatal(got)
	}
	wantPeek(t, c, "k", `["a" "b"]`)
}

func TestOtherLattices(t *testing.T) {
	t.Parallel()
	c, store := start(t, cache.Config{})
	delta, err := lattice.CounterAdd(new(lattice.State), 77, 5)
	if err != nil {
		t.Fatal(err)
	}
	counter := cache.Write{Key: "n", Type: pb.LatticeType_LATTICE_TYPE_COUNTER, Values: [][]byte{wire.AppendState([]byte{codec.KindLattice}, delta)}}
	put(t, c, pb.Ack_ACK_MEMORY, counter)
	putBehind(t, store, &kernel.Write{Key: "n", Add: 2})
	e := get(t, c, "n")
	if e.Type != pb.LatticeType_LATTICE_TYPE_COUNTER || e.Values[0][0] != codec.KindLattice {
		t.Fatalf("%+v", e)
	}
	state, err := wire.DecodeState(e.Values[0][1:])
	if err != nil || state.Of(lattice.TypeCounter).(*lattice.Counter).Value() != 7 {
		t.Fatal(state, err)
	}
	if err := c.Put(t.Context(), []cache.Write{lww("n", "x")}, pb.Ack_ACK_MEMORY); !errors.Is(err, wire.ErrLatticeMismatch) {
		t.Fatalf("a value over a counter: %v", err)
	}
	if got := get(t, c, "n"); got.Type != pb.LatticeType_LATTICE_TYPE_COUNTER {
		t.Fatalf("the refused write has changed it: %+v", got)
	}
}

// TestFunctionsThatWaitForEachOther: each of many waits for a key of the next, and only the last writes unasked.
func TestFunctionsThatWaitForEachOther(t *testing.T) {
	t.Parallel()
	c, _ := start(t, cache.Config{})
	const n = 200
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		wg.Go(func() {
			entries, err := c.Get(t.Context(), []string{fmt.Sprint("f", i+1), "all"}, patience)
			if err != nil || value(entries[0]) != fmt.Sprint(i+1) || value(entries[1]) != "yes" {
				errs <- fmt.Errorf("f%d: %v, %w", i, entries, err)
				return
			}
			errs <- c.Put(t.Context(), []cache.Write{lww(fmt.Sprint("f", i), fmt.Sprint(i))}, pb.Ack_ACK_MEMORY)
		})
	}
	put(t, c, pb.Ack_ACK_MEMORY, lww("all", "yes"))
	put(t, c, pb.Ack_ACK_DURABLE, lww(fmt.Sprint("f", n), fmt.Sprint(n)))
	wg.Wait()
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	wantPeek(t, c, "f0", "0")
	if w := c.Stats().Waiting; w != 0 {
		t.Errorf("%d still wait", w)
	}
}

func TestWaitsEnd(t *testing.T) {
	t.Parallel()
	c, _ := start(t, cache.Config{WaitersMax: 2})
	entries, err := c.Get(t.Context(), []string{"absent"}, time.Millisecond)
	if err != nil || !entries[0].Absent() {
		t.Fatal(entries, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for range 2 {
		go func() { _, err := c.Get(ctx, []string{"absent"}, time.Hour); ended <- err }()
	}
	for c.Stats().Waiting < 2 {
		time.Sleep(time.Millisecond)
	}
	if _, err := c.Get(t.Context(), []string{"other"}, time.Hour); !errors.Is(err, wire.ErrNoResources) {
		t.Fatalf("a third waiter: %v", err)
	}
	cancel()
	for range 2 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("a cancelled wait: %v", err)
		}
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	c, store := start(t, cache.Config{})
	w := lww("k", "v")
	w.TTL, w.Volatile = 50*time.Millisecond, true
	put(t, c, pb.Ack_ACK_MEMORY, w)
	wantPeek(t, c, "k", "v")
	time.Sleep(w.TTL)
	if e, ok := c.Peek("k"); ok && !e.Absent() {
		t.Fatalf("after its time: %+v, %v", e, ok)
	}
	if e := get(t, c, "k"); !e.Absent() {
		t.Fatalf("after its time: %+v", e)
	}
	for store.Stats().Keys != 0 {
		time.Sleep(time.Millisecond)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	c, _ := start(t, cache.Config{})
	var all []string
	for i := range 20 {
		key := fmt.Sprintf("c%02d", i)
		put(t, c, pb.Ack_ACK_MEMORY, lww(key, "x"), lww(fmt.Sprintf("cloudburst/definition/%d", i), "x"))
		all = append(all, key)
	}
	put(t, c, pb.Ack_ACK_MEMORY, lww("d", "x"), lww("cloud", "x"), lww("cloudburst0", "x"))
	all = append(all, "cloud", "cloudburst0", "d")
	slices.Sort(all)
	for _, limit := range []int{0, 1, 2, 7, 21, 22, 100} {
		var got []string
		for after, more := "", true; more; {
			keys, rest, err := c.Keys(t.Context(), "", after, limit)
			if err != nil || rest && len(keys) != limit {
				t.Fatal(keys, rest, err)
			}
			if more = rest; more {
				after = keys[len(keys)-1]
			}
			got = append(got, keys...)
		}
		if !slices.Equal(got, all) {
			t.Fatalf("limit %d: %q", limit, got)
		}
	}
	if keys, more, err := c.Keys(t.Context(), "cloudburst/", "", 5); err != nil || len(keys) != 5 || !more || keys[0] != "cloudburst/definition/0" {
		t.Fatal(keys, more, err)
	}
	if keys, more, err := c.Keys(t.Context(), "cloudburst/definition/1", "cloudburst/definition/18", 0); err != nil || len(keys) != 1 || more {
		t.Fatal(keys, more, err)
	}
	if _, _, err := c.Keys(t.Context(), "", "", cache.KeysMax+1); !errors.Is(err, wire.ErrInvalidArgument) {
		t.Fatal(err)
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	c, _ := start(t, cache.Config{})
	long := make([]byte, cache.KeyBytesMax+1)
	for _, w := range []cache.Write{
		lww("", "x"), lww(string(long), "x"), lww("k", ""),
		{Key: "k", Values: [][]byte{{4}}},
		{Key: "k", Type: pb.LatticeType_LATTICE_TYPE_LWW},
		{Key: "k", Type: pb.LatticeType_LATTICE_TYPE_MAX, Values: [][]byte{{4, 1}}},
		{Key: "k", Type: pb.LatticeType_LATTICE_TYPE_MAX, Values: [][]byte{{8, 1}}},
		{Key: "k", Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: [][]byte{{4}}, TTL: -1},
	} {
		err := c.Put(t.Context(), []cache.Write{w}, pb.Ack_ACK_MEMORY)
		if !errors.Is(err, wire.ErrInvalidArgument) && !errors.Is(err, wire.ErrTooLarge) {
			t.Errorf("%.40v: %v", w, err)
		}
	}
	for _, key := range []string{"", string(long)} {
		if _, err := c.Get(t.Context(), []string{key}, 0); err == nil {
			t.Errorf("get %.20q", key)
		}
		if err := c.Delete(t.Context(), []string{key}, pb.Ack_ACK_MEMORY); err == nil {
			t.Errorf("delete %.20q", key)
		}
	}
	if err := c.Delete(t.Context(), []string{"absent"}, pb.Ack_ACK_DURABLE); err != nil {
		t.Errorf("delete of what is not there: %v", err)
	}
}

// TestHammer lets many goroutines read, write, delete and wait while the cache evicts. Afterwards it must agree with the store.
func TestHammer(t *testing.T) {
	t.Parallel()
	c, store := start(t, cache.Config{BytesMax: 1 << 20})
	const keys, goroutines, rounds = 500, 8, 1500
	big := make([]byte, 8<<10)
	key := func(i int) string { return fmt.Sprint("k", i) }
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range rounds {
				k := key(r.IntN(keys))
				switch r.IntN(8) {
				case 0:
					w := lww(k, fmt.Sprint(r.Uint64(), string(big)))
					c.PutAsync([]cache.Write{w}, pb.Ack_ACK_MEMORY, func(err error) {
						if err != nil {
							t.Error(err)
						}
					})
				case 1:
					delta := lattice.Put(lattice.Timestamp{}, fmt.Append(nil, r.Uint64(), string(big)))
					store.Write(&kernel.Write{Key: k, Delta: delta, Ack: kernel.Memory, Volatile: true}, nil)
				case 2:
					if err := c.Delete(t.Context(), []string{k}, pb.Ack_ACK_MEMORY); err != nil {
						t.Error(err)
					}
				case 3, 4:
					c.Peek(k)
				case 5:
					if _, err := c.Get(t.Context(), []string{k, key(r.IntN(keys))}, time.Microsecond); err != nil {
						t.Error(err)
					}
				default:
					if _, err := c.Get(t.Context(), []string{k}, 0); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Evictions == 0 || s.Bytes > 5<<18 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	for i := range keys {
		var want string
		store.View(key(i), func(s *lattice.State) {
			if s != nil {
				want = string(s.Lattice.(*lattice.LWW).Value)
			}
		})
		e, known := c.Peek(key(i))
		if known && !agree(e, want) {
			t.Fatalf("%s: the cache holds %.20s, the store %.20s", key(i), value(e), want)
		}
		if e := get(t, c, key(i)); !agree(e, want) {
			t.Fatalf("%s: the cache reads %.20s, the store %.20s", key(i), value(e), want)
		}
	}
}

// agree reports whether an entry is the value, "" being none.
func agree(e cache.Entry, want string) bool {
	if e.Absent() {
		return want == ""
	}
	return value(e) == want
}

func BenchmarkCachedGet(b *testing.B) {
	c, _ := start(b, cache.Config{})
	keys := make([]string, 1024)
	for i := range keys {
		keys[i] = fmt.Sprintf("key:%012d", i)
		put(b, c, pb.Ack_ACK_MEMORY, lww(keys[i], string(make([]byte, 100))))
	}
	b.Run("peek", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, ok := c.Peek(keys[i%len(keys)]); !ok {
				b.Fatal("not there")
			}
		}
	})
	b.Run("peek-parallel", func(b *testing.B) {
		b.RunParallel(func(p *testing.PB) {
			for i := rand.IntN(len(keys)); p.Next(); i++ {
				if _, ok := c.Peek(keys[i%len(keys)]); !ok {
					b.Error("not there")
					return
				}
			}
		})
	})
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := c.Get(b.Context(), keys[i%len(keys):i%len(keys)+1], 0); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPutMemory(b *testing.B) {
	c, _ := start(b, cache.Config{})
	value := make([]byte, 100)
	done := func(err error) {
		if err != nil {
			b.Error(err)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w := cache.Write{Key: fmt.Sprint("k", i%1000), Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: [][]byte{value}}
		c.PutAsync([]cache.Write{w}, pb.Ack_ACK_MEMORY, done)
	}
}

// TestSmallValuesOfLargeFrames do not keep the whole frame in memory.
func TestSmallValuesOfLargeFrames(t *testing.T) {
	t.Parallel()
	frame := bytes.Repeat([]byte{1}, 1<<20)
	values := [][]byte{frame[: 1<<20-8 : 1<<20-8], frame[1<<20-8:]}
	cells := make([]*pb.Cell, len(values))
	for i := range cells {
		cells[i] = &pb.Cell{Key: fmt.Sprint("k", i), Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: 1}
	}
	writes, err := cache.Writes(cells, values)
	if err != nil {
		t.Fatal(err)
	}
	if large := writes[0].Values[0]; &large[0] != &frame[0] {
		t.Error("what is most of the frame was copied")
	}
	small := writes[1].Values[0]
	if !bytes.Equal(small, values[1]) || &small[0] == &values[1][0] {
		t.Error("what is little of the frame still lies in it")
	}
}
