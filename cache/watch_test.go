package cache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"cloudburst/anna/kernel"
	"cloudburst/cache"
	"cloudburst/codec"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

type report struct {
	keys    []string
	entries []cache.Entry
	whole   bool
}

func (r report) String() string {
	text := ""
	for i, key := range r.keys {
		text += fmt.Sprintf("%s=%s ", key, value(r.entries[i]))
	}
	if r.whole {
		text += "whole"
	}
	return text
}

// watch returns the reports of a watch until the test ends.
func watch(t *testing.T, c *cache.Cache, states bool, keys ...string) <-chan report {
	t.Helper()
	reports := make(chan report)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Watch(ctx, keys, states, func(keys []string, entries []cache.Entry, whole bool) error {
			select {
			case reports <- report{slices.Clone(keys), entries, whole}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return reports
}

func next(t *testing.T, reports <-chan report) report {
	t.Helper()
	select {
	case r := <-reports:
		return r
	case <-time.After(patience):
		t.Fatal("no report")
		return report{}
	}
}

func TestAWatchReportsWhatIsThereAndEveryChange(t *testing.T) {
	t.Parallel()
	c, store := start(t, cache.Config{})
	put(t, c, pb.Ack_ACK_MEMORY, lww("a", "\x041"))
	reports := watch(t, c, false, "a", "b")
	if got := next(t, reports).String(); got != "a=\x041 b=[] whole" {
		t.Fatalf("first %q", got)
	}
	for i, step := range []struct {
		do   func()
		want string
	}{
		{func() { put(t, c, pb.Ack_ACK_MEMORY, lww("b", "\x042")) }, "b=\x042 "},
		{func() { put(t, c, pb.Ack_ACK_DURABLE, lww("a", "\x043")) }, "a=\x043 "},
		{func() { put(t, c, pb.Ack_ACK_MEMORY, lww("other", "\x043")) }, ""},
		{func() {
			putBehind(t, store, &kernel.Write{Key: "a", Delta: lattice.Put(lattice.Timestamp{}, []byte("\x044"))})
		}, "a=\x044 "},
		{func() { putBehind(t, store, &kernel.Write{Key: "a", Delete: true}) }, "a=[] "},
		{func() { put(t, c, pb.Ack_ACK_MEMORY, lww("a", "\x045")) }, "a=\x045 "},
	} {
		step.do()
		if step.want == "" {
			continue
		}
		if got := next(t, reports).String(); got != step.want {
			t.Fatalf("step %d: %q, want %q", i, got, step.want)
		}
	}
}

func TestAWatchOfAKeyThatExpires(t *testing.T) {
	t.Parallel()
	c, _ := start(t, cache.Config{})
	reports := watch(t, c, false, "a")
	next(t, reports)
	w := lww("a", "\x041")
	w.TTL = 20 * time.Millisecond
	put(t, c, pb.Ack_ACK_MEMORY, w)
	for r := next(t, reports); !r.entries[0].Absent(); r = next(t, reports) {
	}
	put(t, c, pb.Ack_ACK_MEMORY, lww("a", "\x042"))
	if got := next(t, reports).String(); got != "a=\x042 " {
		t.Fatalf("%q", got)
	}
}

func TestAWatchThatIsSlowGetsTheWholeAgain(t *testing.T) {
	t.Parallel()
	c, _ := start(t, cache.Config{})
	reports := watch(t, c, false, "a", "b")
	next(t, reports)
	for i := range 5000 {
		put(t, c, pb.Ack_ACK_MEMORY, lww("a", fmt.Sprintf("\x04%06d", i)))
	}
	put(t, c, pb.Ack_ACK_MEMORY, lww("b", "\x04last"))
	last, lagged := "", false
	for {
		r := next(t, reports)
		lagged = lagged || r.whole
		for i, key := range r.keys {
			v := value(r.entries[i])
			if key == "a" {
				if v < last {
					t.Fatalf("back from %q to %q", last, v)
				}
				last = v
			}
			if key == "b" && v == "\x04last" {
				if last != "\x04004999" || !lagged {
					t.Fatalf("the last change after %q, lagged %v", last, lagged)
				}
				return
			}
		}
	}
}

func TestStatesHaveStampsAndTombstones(t *testing.T) {
	t.Parallel()
	c, _ := start(t, cache.Config{})
	state := func() (cache.Entry, *lattice.State) {
		t.Helper()
		entries, err := c.States(t.Context(), []string{"k"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries[0].Values) == 0 {
			return entries[0], nil
		}
		s, err := codec.DecodeLattice(entries[0].Values[0])
		if err != nil {
			t.Fatal(err)
		}
		return entries[0], s
	}
	if e, s := state(); !e.Absent() || s != nil {
		t.Fatalf("of nothing: %v %v", e, s)
	}
	put(t, c, pb.Ack_ACK_MEMORY, lww("k", "\x041"))
	e, s := state()
	if e.Type != pb.LatticeType_LATTICE_TYPE_LWW || s.Lattice.(*lattice.LWW).Timestamp.IsZero() {
		t.Fatalf("of a value: %v %v", e, s)
	}
	stamp := s.Lattice.(*lattice.LWW).Timestamp
	stamp.Time++
	put(t, c, pb.Ack_ACK_DURABLE, cache.Write{Key: "k", Values: [][]byte{codec.EncodeLattice(lattice.Delete(stamp))}})
	if e, s := state(); !e.Absent() || s == nil || s.Deleted() != stamp {
		t.Fatalf("of a deletion: %v %v", e, s)
	}
}

func TestPutsOfStates(t *testing.T) {
	t.Parallel()
	c, _ := start(t, cache.Config{})
	set := func(delta *lattice.State) cache.Write {
		return cache.Write{Key: "set", Type: pb.LatticeType_LATTICE_TYPE_SET, Values: [][]byte{codec.EncodeLattice(delta)}}
	}
	put(t, c, pb.Ack_ACK_MEMORY, set(lattice.SetAdd(lattice.Timestamp{}, []byte("\x04a"), []byte("\x04b"))))
	put(t, c, pb.Ack_ACK_MEMORY, set(lattice.SetRemove(lattice.Timestamp{}, []byte("\x04a"))))
	if got := value(get(t, c, "set")); got != "\x04b" {
		t.Errorf("the set is %q", got)
	}
	add := func(up, down uint64, ttl time.Duration) cache.Write {
		counter := lattice.NewCounter(lattice.Timestamp{}, []lattice.Count{{Up: up, Down: down}})
		delta := lattice.NewState(lattice.Timestamp{}, lattice.Expiry{}, counter)
		return cache.Write{Key: "counter", Type: pb.LatticeType_LATTICE_TYPE_COUNTER, Values: [][]byte{codec.EncodeLattice(delta)}, TTL: ttl}
	}
	for range 10 {
		put(t, c, pb.Ack_ACK_MEMORY, add(3, 0, 0))
	}
	put(t, c, pb.Ack_ACK_DURABLE, add(0, 5, 0))
	s, err := codec.DecodeLattice(get(t, c, "counter").Values[0])
	if err != nil {
		t.Fatal(err)
	}
	counter := s.Lattice.(*lattice.Counter)
	if n := len(slices.Collect(counter.Counts())); counter.Value() != 25 || n != 1 {
		t.Errorf("the counter is %d, of %d writers", counter.Value(), n)
	}
	if err := c.Put(t.Context(), []cache.Write{add(1, 0, time.Hour)}, pb.Ack_ACK_MEMORY); !errors.Is(err, wire.ErrUnsupported) {
		t.Errorf("an addition with a time to live: %v", err)
	}
	empty := cache.Write{Key: "k", Values: [][]byte{codec.EncodeLattice(lattice.ExpireAt(lattice.Timestamp{}, 1))}}
	if err := c.Put(t.Context(), []cache.Write{empty}, pb.Ack_ACK_MEMORY); !errors.Is(err, wire.ErrInvalidArgument) {
		t.Errorf("a state without content: %v", err)
	}
}
