package cache

import "sync/atomic"

// Stats is what a cache has done since it began, and what it holds.
type Stats struct {
	// Keys that are held, and the Bytes of memory that they take, as accounted. Values may be shared with Anna.
	Keys, Bytes int
	// Hits and Misses of Get.
	Hits, Misses uint64
	// Writes made; Pushes received; Evictions.
	Writes, Pushes, Evictions uint64
	// Waiting calls.
	Waiting int
}

type counters struct {
	hits, misses, writes, pushes, evictions atomic.Uint64
}

// Stats returns what the cache has done and holds.
func (c *Cache) Stats() Stats {
	s := Stats{
		Bytes: int(c.bytes.Load()), Waiting: int(c.waiting.Load()),
		Hits: c.stats.hits.Load(), Misses: c.stats.misses.Load(), Writes: c.stats.writes.Load(),
		Pushes: c.stats.pushes.Load(), Evictions: c.stats.evictions.Load(),
	}
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.RLock()
		s.Keys += len(shard.items)
		shard.mu.RUnlock()
	}
	return s
}
