package anna_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/lattice"
)

// records returns how many messages the log holds.
func (r *running) records(t testing.TB) (n uint64) {
	t.Helper()
	for i := range r.server.Stats().Streams {
		stream, err := r.conn.JetStream.Stream(t.Context(), fmt.Sprintf("cloudburst-anna-%d", i))
		for began := time.Now(); errors.Is(err, context.DeadlineExceeded) && time.Since(began) < patience; { // a busy machine
			stream, err = r.conn.JetStream.Stream(t.Context(), fmt.Sprintf("cloudburst-anna-%d", i))
		}
		if err != nil {
			t.Fatal(err)
		}
		n += stream.CachedInfo().State.Msgs
	}
	return n
}

// untilRecords waits until the log holds no more than so many messages.
func (r *running) untilRecords(t testing.TB, most uint64) {
	t.Helper()
	got := r.records(t)
	for deadline := time.Now().Add(patience); got > most; got = r.records(t) {
		if time.Now().After(deadline) {
			t.Fatalf("the log holds %d records, at most %d are wanted; %+v", got, most, r.server.Stats())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestLargeValues: values that are too large for one record are cut into chunks, read through after a restart, and leave
// nothing behind when they are replaced.
func TestLargeValues(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, anna.Config{TombstoneGrace: time.Second, DurableTimeout: patience, PublishTimeout: patience}, dir)
	value := make([]byte, 12<<20)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(value)
	s.put(t, "large", string(value), kernel.Durable)
	s.put(t, "small", "1", kernel.Durable)
	s.stop()

	s = startServer(t, anna.Config{TombstoneGrace: time.Second, DurableTimeout: patience, PublishTimeout: patience}, dir)
	if keys, _, err := s.server.Scan(t.Context(), "", "", 10); err != nil || !slices.Equal(keys, []string{"large", "small"}) {
		t.Fatal(keys, err)
	}
	if s.server.Stats().Bytes > 1<<20 {
		t.Fatalf("%d bytes in memory, though the large value has not been read", s.server.Stats().Bytes)
	}
	if got := s.get(t, "large"); got != string(value) {
		t.Fatalf("after a restart the value has %d bytes", len(got))
	}
	// Another large one replaces it, then a small one.
	value[0]++
	s.put(t, "large", string(value), kernel.Durable)
	if got := s.get(t, "large"); got != string(value) {
		t.Fatal("not the new value")
	}
	s.until(t, "chunks are removed", func(st anna.Stats) bool { return st.UploadsRemoved == 1 })
	s.put(t, "large", "2", kernel.Durable)
	s.untilRecords(t, 4)
	if got := s.get(t, "large"); got != "2" {
		t.Fatalf("%.20q", got)
	}
	s.stop()
}

// TestLargeValueReadBehind: a server of the log that does not have the chunks of a value yet does not make the value be taken for gone.
func TestLargeValueReadBehind(t *testing.T) {
	t.Parallel()
	s := startServer(t, anna.Config{}, t.TempDir())
	value := strings.Repeat("v", 2<<20)
	s.put(t, "large", value, kernel.Durable)
	state, err := anna.ReadBehind(t.Context(), anna.Config{}, s.conn, "large", 5)
	if err != nil {
		t.Fatal(err)
	}
	if got := state.Live(time.Now().UnixMilli()).(*lattice.LWW).Value; string(got) != value {
		t.Fatalf("the value has %d bytes", len(got))
	}
}

// TestVeryLargeValues: 256 MiB are durable, are the same after a restart, and fit beside a changeset bound of as much.
func TestVeryLargeValues(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const long = 3 * time.Minute // on a slow disk, with the race detector
	cfg := anna.Config{DurableTimeout: long, PublishTimeout: long}
	s := startServer(t, cfg, dir)
	value := make([]byte, 256<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(value)
	done := make(chan error, 1)
	s.server.Write(&kernel.Write{Key: "very large", Delta: lattice.Put(lattice.Timestamp{}, value), Ack: kernel.Durable},
		anna.CompletionFunc(func(_ int64, err error) { done <- err }))
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(long):
		t.Fatal("the write was not answered")
	}
	s.stop()

	s = startServer(t, cfg, dir)
	if s.get(t, "very large") != string(value) {
		t.Fatal("not the value that was written")
	}
	s.stop()
}

// TestMemoryBound writes more than fits into memory and reads everything.
func TestMemoryBound(t *testing.T) {
	t.Parallel()
	const count = 6000
	s := startServer(t, anna.Config{MemoryBytesMax: 1 << 20, Kernels: 1, DurableTimeout: patience, PublishTimeout: patience}, "")
	done := make(chan error, count)
	for i := range count {
		s.server.Write(&kernel.Write{Key: fmt.Sprintf("k%05d", i), Delta: lattice.Put(lattice.Timestamp{}, fmt.Appendf(nil, "%0500d", i)), Ack: kernel.Durable},
			anna.CompletionFunc(func(_ int64, err error) { done <- err }))
	}
	for range count {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	st := s.server.Stats()
	if st.Keys != count || st.Cold < count/2 || st.Bytes > 5<<18 {
		t.Fatalf("%+v", st)
	}
	keys, more, err := s.server.Scan(t.Context(), "k", "k02999", 3)
	if err != nil || !more || !slices.Equal(keys, []string{"k03000", "k03001", "k03002"}) {
		t.Fatal(keys, more, err)
	}
	for i := 0; i < count; i += 97 {
		if got := s.get(t, fmt.Sprintf("k%05d", i)); got != fmt.Sprintf("%0500d", i) {
			t.Fatalf("k%05d is %.20q", i, got)
		}
	}
	if st := s.server.Stats(); st.Bytes > 5<<18 || st.Loads == 0 {
		t.Fatalf("%+v", st)
	}
}

// TestTemporaryKeys: keys that were deleted or have expired leave nothing, in memory or in the log.
func TestTemporaryKeys(t *testing.T) {
	t.Parallel()
	const count = 500
	s := startServer(t, short(anna.Config{TombstoneGrace: time.Second}), "")
	empty := s.server.Stats().Bytes
	for i := range count {
		delta := lattice.Put(lattice.Timestamp{}, []byte("x"))
		delta.Merge(lattice.ExpireAt(lattice.Timestamp{}, time.Now().Add(200*time.Millisecond).UnixMilli()))
		if _, err := s.write(t, &kernel.Write{Key: fmt.Sprint("expires", i), Delta: delta, Volatile: i%2 == 0, Ack: kernel.Memory}); err != nil {
			t.Fatal(err)
		}
		s.put(t, fmt.Sprint("deleted", i), "x", kernel.Memory)
		if n, err := s.write(t, &kernel.Write{Key: fmt.Sprint("deleted", i), Delete: true, Ack: kernel.Memory}); err != nil || n != 1 {
			t.Fatal(n, err)
		}
	}
	s.until(t, "all tombstones are collected", func(st anna.Stats) bool {
		return st.Keys == 0 && st.Tombstones == 0 && st.ChangesetBytes == 0 && st.Collected == count+count/2
	})
	if st := s.server.Stats(); st.Bytes != empty {
		t.Fatalf("%d bytes, %d in the beginning", st.Bytes, empty)
	}
	s.untilRecords(t, 40) // a kilobyte for each stream
}

// short returns settings with which the log is cut off early.
func short(cfg anna.Config) anna.Config {
	cfg.CompactRatio, cfg.CompactBytesMin, cfg.CompactInterval = 2, 1<<10, 10*time.Millisecond
	return cfg
}

// TestCompaction: a key that is written often does not fill the log.
func TestCompaction(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, short(anna.Config{CompactRecords: 4}), dir)
	for i := range 200 {
		s.put(t, "k", fmt.Sprint(i), kernel.Durable)
		if _, err := s.write(t, &kernel.Write{Key: "s", Delta: lattice.SetAdd(lattice.Timestamp{}, fmt.Append(nil, i%10)), Ack: kernel.Memory}); err != nil {
			t.Fatal(err)
		}
	}
	s.untilRecords(t, 80) // of 400; up to a kilobyte of small ones stays in each stream
	s.stop()
	s = startServer(t, anna.Config{}, dir)
	if got := s.get(t, "k"); got != "199" {
		t.Fatalf("k is %q", got)
	}
	s.server.View("s", func(state *lattice.State) {
		if n := state.Of(lattice.TypeSet).(*lattice.Set).Len(); n != 10 {
			t.Errorf("%d members", n)
		}
	})
}

// TestKeysOfAnyBytes: a key is any bytes at all.
func TestKeysOfAnyBytes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := []string{
		"plain", "with space", "a.b.c", "*", ">", "=", "=h", "=4", "%41", "\x00", "\xff\xfe", "ключ", "line\nbreak", "\"quoted\\\"",
		strings.Repeat("k", 200), strings.Repeat("k", 201), strings.Repeat("é", 2048), string(bytes.Repeat([]byte{0}, anna.KeyBytesMax)),
	}
	s := startServer(t, anna.Config{}, dir)
	for i, key := range keys {
		s.put(t, key, fmt.Sprint(i), kernel.Durable)
	}
	if _, err := s.write(t, &kernel.Write{Key: strings.Repeat("k", anna.KeyBytesMax+1), Delta: lattice.Put(lattice.Timestamp{}, []byte("x"))}); err == nil {
		t.Error("a key that is too long was taken")
	}
	if _, err := s.write(t, &kernel.Write{Delta: lattice.Put(lattice.Timestamp{}, []byte("x"))}); err == nil {
		t.Error("an empty key was taken")
	}
	s.stop()
	s = startServer(t, anna.Config{}, dir)
	for i, key := range keys {
		if got := s.get(t, key); got != fmt.Sprint(i) {
			t.Errorf("%q is %q", key, got)
		}
	}
	got, _, err := s.server.Scan(context.Background(), "", "", 100)
	slices.Sort(keys)
	if err != nil || !slices.Equal(got, keys) {
		t.Errorf("scan: %q, %v", got, err)
	}
}
