// Package cache is the copy of the store that a node's executors share, in their own process.
//
// Executors talk to nothing else. Every key that it holds, also one that is known to be absent, is watched: a change by any client or node
// reaches it within one epoch, so what it answers from memory is never older than that.
package cache

import (
	"context"
	"fmt"
	"hash/maphash"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Store is what a cache is a copy of: Anna.
type Store interface {
	Ready() <-chan struct{}
	Join(receive func([]kernel.Push)) uint16
	Watch(cache uint16, key string) error
	Unwatch(cache uint16, key string)
	Write(w *kernel.Write, done anna.Completion)
	Scan(ctx context.Context, prefix, after string, limit int) (keys []string, more bool, err error)
}

// Cache holds keys. Its methods are safe for concurrent use.
type Cache struct {
	cfg     Config
	store   Store
	number  uint16 // the cache's with the store
	seed    maphash.Seed
	shards  []shard
	bytes   atomic.Int64
	waiting atomic.Int64
	stats   counters
}

// shard is a part of the keys.
type shard struct {
	mu    sync.RWMutex
	items map[string]*item
	ring  []*item
	hand  int
	_     [64]byte // keeps the locks of two shards out of one cache line
}

// New returns a cache of store.
func New(cfg Config, store Store) (*Cache, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("cache settings: %w", err)
	}
	c := &Cache{cfg: cfg, store: store, seed: maphash.MakeSeed(), shards: make([]shard, shardsPerCore*runtime.GOMAXPROCS(0))}
	for i := range c.shards {
		c.shards[i].items = make(map[string]*item)
	}
	c.number = store.Join(c.receive)
	return c, nil
}

const shardsPerCore = 16

// Ready is closed when keys can be read and written.
func (c *Cache) Ready() <-chan struct{} { return c.store.Ready() }

// Run keeps the cache until ctx ends.
func (c *Cache) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (c *Cache) shardOf(key string) *shard {
	return &c.shards[maphash.String(c.seed, key)%uint64(len(c.shards))]
}

// Peek returns what a key holds if that is known here. It waits for nothing and allocates nothing.
func (c *Cache) Peek(key string) (Entry, bool) {
	s := c.shardOf(key)
	s.mu.RLock()
	it := s.items[key]
	if it == nil || it.flags&(known|stale) != known {
		s.mu.RUnlock()
		return Entry{}, false
	}
	it.touch()
	entry, expires := it.entry, it.expires
	s.mu.RUnlock()
	if expires != 0 && time.Now().UnixMilli() >= expires {
		return Entry{}, true
	}
	return entry, true
}

// Get returns what keys hold, in their order. For keys that are absent it waits until they appear, for as long as wait says;
// then they are absent in what it returns. A ctx that ends is an error.
func (c *Cache) Get(ctx context.Context, keys []string, wait time.Duration) ([]Entry, error) {
	entries := make([]Entry, len(keys))
	var missing []int
	for i, key := range keys {
		entry, ok := c.Peek(key)
		if ok && (!entry.Absent() || wait <= 0) {
			entries[i] = entry
			continue
		}
		if err := anna.CheckKey(key); err != nil {
			return nil, fmt.Errorf("get: %w", err)
		}
		missing = append(missing, i)
	}
	c.stats.hits.Add(uint64(len(keys) - len(missing)))
	if len(missing) == 0 {
		return entries, nil
	}
	c.stats.misses.Add(uint64(len(missing)))
	return entries, c.await(ctx, keys, entries, missing, wait, (*item).read)
}

// States is Get of all that is known of keys, stamps and tombstones included: every entry has one value with
// codec.KindLattice, or without values where there is no trace of the key. An entry without a type shows nothing.
func (c *Cache) States(ctx context.Context, keys []string, wait time.Duration) ([]Entry, error) {
	entries, all := make([]Entry, len(keys)), make([]int, len(keys))
	for i, key := range keys {
		if err := anna.CheckKey(key); err != nil {
			return nil, fmt.Errorf("get: %w", err)
		}
		all[i] = i
	}
	if len(keys) == 0 {
		return entries, nil
	}
	return entries, c.await(ctx, keys, entries, all, wait, (*item).whole)
}

// Put makes writes and returns when all of them are acknowledged.
func (c *Cache) Put(ctx context.Context, writes []Write, ack pb.Ack) error {
	return wait(ctx, "put", func(done func(error)) { c.PutAsync(writes, ack, done) })
}

// Delete deletes keys and returns when that is acknowledged. It is not an error when a key is not there.
func (c *Cache) Delete(ctx context.Context, keys []string, ack pb.Ack) error {
	for _, key := range keys {
		if err := anna.CheckKey(key); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	return wait(ctx, "delete", func(done func(error)) {
		b := newBatch(len(keys), done)
		for _, key := range keys {
			c.store.Write(&kernel.Write{Key: key, Delete: true, Ack: ackOf(ack)}, b)
		}
		b.Complete(0, nil)
	})
}

// PutAsync makes writes and calls done exactly once, which must not block, when all of them are acknowledged or one has failed;
// the others are made all the same. Those that are acknowledged in memory can be read when PutAsync returns.
func (c *Cache) PutAsync(writes []Write, ack pb.Ack, done func(error)) {
	deltas := make([]*lattice.State, len(writes))
	for i := range writes {
		w := &writes[i]
		delta, err := w.delta()
		if err != nil {
			done(err)
			return
		}
		deltas[i] = delta
	}
	b := newBatch(len(writes), done)
	for i := range writes {
		w := &writes[i]
		it := c.pin(w.Key)
		write := &kernel.Write{Key: w.Key, Delta: deltas[i], Volatile: w.Volatile, Cache: c.number, Ack: ackOf(ack)}
		if n, ok := addition(deltas[i]); ok {
			write.Delta, write.Add = nil, n
		}
		c.store.Write(write, b)
		c.unpin(it)
	}
	c.stats.writes.Add(uint64(len(writes)))
	b.Complete(0, nil)
}

// Bounds of Keys.
const (
	KeysDefault = 1000
	KeysMax     = 10_000
)

// Keys returns up to limit keys in order that have a prefix and come after a key, and whether there are more. A limit of 0 is
// KeysDefault. Cloudburst's own keys are left out, unless the prefix says that it is they that are asked for.
func (c *Cache) Keys(ctx context.Context, prefix, after string, limit int) (keys []string, more bool, err error) {
	switch {
	case limit == 0:
		limit = KeysDefault
	case limit < 0 || limit > KeysMax:
		return nil, false, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "list keys: a limit of %d; it is 1 to %d", limit, KeysMax)
	}
	hides := !wire.Reserved(prefix)
	for {
		page, more, err := c.store.Scan(ctx, prefix, after, limit-len(keys)+1)
		if err != nil {
			return nil, false, fmt.Errorf("list keys with prefix %q: %w", prefix, err)
		}
		hidden := false
		for _, key := range page {
			if hides && wire.Reserved(key) {
				hidden = true
				continue
			}
			if len(keys) == limit {
				return keys, true, nil
			}
			keys = append(keys, key)
		}
		if !hidden || !more {
			return keys, more, nil
		}
		if last := page[len(page)-1]; wire.Reserved(last) {
			after = wire.ReservedEnd
		} else {
			after = last
		}
	}
}

// wait turns a call that reports when it is done into one that returns then.
func wait(ctx context.Context, what string, call func(done func(error))) error {
	done := make(chan error, 1)
	call(func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s: it was not acknowledged in time and may happen all the same: %w", what, ctx.Err())
	}
}

func ackOf(ack pb.Ack) kernel.Ack {
	if ack == pb.Ack_ACK_MEMORY {
		return kernel.Memory
	}
	return kernel.Durable
}

// batch completes when all its writes have, and once more for who made it.
type batch struct {
	left atomic.Int64
	err  atomic.Pointer[error]
	done func(error)
}

func newBatch(writes int, done func(error)) *batch {
	b := &batch{done: done}
	b.left.Store(int64(writes) + 1)
	return b
}

// Complete implements anna.Completion.
func (b *batch) Complete(_ int64, err error) {
	if err != nil {
		b.err.CompareAndSwap(nil, &err)
	}
	if b.left.Add(-1) > 0 {
		return
	}
	if failed := b.err.Load(); failed != nil {
		b.done(*failed)
		return
	}
	b.done(nil)
}
