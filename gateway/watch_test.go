package gateway

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"cloudburst/cache"
	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func watching(keys ...string) *pb.Header {
	return &pb.Header{Body: &pb.Header_Watch{Watch: &pb.Watch{Keys: keys}}}
}

func putOf(key string) *pb.Header {
	return &pb.Header{Body: &pb.Header_Put{Put: &pb.Put{Cells: []*pb.Cell{{Key: key, Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: 1}}}}}
}

// A watch is answered by one Changed after another, and by Done when it is unwatched.
func TestWatch(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c, writer := h.dial(t), h.dial(t)
	reply := c.do(t, watching("a", "b", "a"))
	if changed := reply.Header.GetChanged(); !changed.GetWhole() || len(changed.GetCells()) != 2 || len(reply.Values) != 0 {
		t.Fatalf("first: %v", reply.Header)
	}
	id := reply.Header.GetId()
	writer.do(t, putOf("b"), number(7))
	reply = c.receive(t)
	changed := reply.Header.GetChanged()
	if reply.Header.GetId() != id || changed.GetWhole() || len(reply.Values) != 1 || numberOf(reply.Values[0]) != 7 {
		t.Fatalf("after a put: %v", reply.Header)
	}
	unwatched := c.send(t, &pb.Header{Body: &pb.Header_Unwatch{Unwatch: &pb.Unwatch{Id: id}}})
	answers := map[uint64]bool{}
	for range 2 {
		reply := c.receive(t)
		answers[reply.Header.GetId()] = reply.Header.GetDone() != nil
	}
	if !answers[id] || !answers[unwatched] {
		t.Fatalf("after unwatching: %v", answers)
	}
	await(t, "nothing outstanding", func() bool { return h.outstanding.Load() == 0 })
	if reply := c.do(t, &pb.Header{Body: &pb.Header_Unwatch{Unwatch: &pb.Unwatch{Id: 99}}}); reply.Header.GetDone() == nil {
		t.Errorf("unwatching what is not watched: %v", failure(reply))
	}
	get := &pb.Header{Body: &pb.Header_Get{Get: &pb.Get{Keys: []string{"b"}, States: true}}}
	if reply := c.do(t, get); len(reply.Values) != 1 || reply.Values[0][0] != codec.KindLattice {
		t.Errorf("states: %v", reply.Header)
	}
}

func TestWatchesAreBounded(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c := h.dial(t)
	for range watchesMax {
		if reply := c.do(t, watching("k")); reply.Header.GetChanged() == nil {
			t.Fatal(failure(reply))
		}
	}
	if err := failure(c.do(t, watching("k"))); !errors.Is(err, wire.ErrNoResources) {
		t.Errorf("one watch more: %v", err)
	}
	keys := make([]string, watchKeysMax+1)
	for i := range keys {
		keys[i] = fmt.Sprint("key", i)
	}
	if err := failure(h.dial(t).do(t, watching(keys...))); !errors.Is(err, wire.ErrInvalidArgument) {
		t.Errorf("too many keys: %v", err)
	}
	if err := failure(h.dial(t).do(t, watching(wire.ReservedPrefix+"x"))); !errors.Is(err, wire.ErrInvalidArgument) {
		t.Errorf("a reserved key: %v", err)
	}
}

// A node that drains ends watches, and so does a client that leaves. Its watches go on with the next connection.
func TestWatchesEnd(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	leaves, stays := h.dial(t), h.dial(t)
	leaves.do(t, watching("k"))
	stays.do(t, watching("k"))
	_ = leaves.Close()
	await(t, "the end of a watch whose client left", func() bool { return h.outstanding.Load() == 1 })
	drained := make(chan error, 1)
	go func() { drained <- h.Drain(context.Background()) }()
	stays.closed(t) // without a reply before it
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// Large changes travel in frames of their own.
func TestChangesAreCutIntoFrames(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	large := make([]byte, watchFrameBytesMax)
	large[0] = codec.KindBytes
	var keys []string
	for i := range 5 {
		key := fmt.Sprint("k", i)
		keys = append(keys, key)
		h.store.entries[key] = cache.Entry{Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: [][]byte{large}}
	}
	c := h.dial(t)
	c.send(t, watching(keys...))
	for _, key := range keys {
		changed := c.receive(t).Header.GetChanged()
		if len(changed.GetCells()) != 1 || changed.GetCells()[0].GetKey() != key || !changed.GetWhole() {
			t.Fatalf("%s: %v", key, changed)
		}
	}
}
