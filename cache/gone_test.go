package cache_test

import (
	"fmt"
	"testing"
	"time"

	"cloudburst/cache"
	"cloudburst/wire/pb"
)

// Keys that were deleted or have expired leave the cache, however many there were; one that has a waiter stays.
func TestKeysThatAreGoneTakeNoMemory(t *testing.T) {
	t.Parallel()
	c, _ := start(t, cache.Config{})
	ctx := t.Context()
	before := c.Stats()
	keys := make([]string, 100)
	writes := make([]cache.Write, len(keys))
	var deleted []string // the others expire
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
		writes[i] = lww(keys[i], "v")
		writes[i].Volatile = true
		if i%2 == 0 {
			writes[i].TTL = time.Second
			continue
		}
		deleted = append(deleted, keys[i])
	}
	if err := c.Put(ctx, writes, pb.Ack_ACK_MEMORY); err != nil {
		t.Fatal(err)
	}
	if held := c.Stats(); held.Keys < before.Keys+len(keys)/2 { // the others may have expired already
		t.Fatalf("%d keys are held", held.Keys)
	}
	waited := make(chan cache.Entry, 1)
	go func() {
		entries, err := c.Get(ctx, []string{"later"}, time.Minute)
		if err != nil {
			t.Errorf("wait: %v", err)
		}
		waited <- entries[0]
	}()
	if err := c.Delete(ctx, deleted, pb.Ack_ACK_MEMORY); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); c.Stats().Keys > before.Keys+1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d keys are held still", c.Stats().Keys)
		}
	}
	if err := c.Put(ctx, []cache.Write{lww("later", "v")}, pb.Ack_ACK_MEMORY); err != nil {
		t.Fatal(err)
	}
	if entry := <-waited; entry.Absent() {
		t.Error("what was waited for did not come")
	}
	entries, err := c.Get(ctx, keys[:2], 0)
	if err != nil || !entries[0].Absent() || !entries[1].Absent() {
		t.Errorf("read again: %v, %v", entries, err)
	}
}
