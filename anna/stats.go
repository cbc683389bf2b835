package anna

import "sync/atomic"

// Stats is what a server has done since it began, and what it holds.
type Stats struct {
	KernelStats
	// Reads through Server.View and caches' misses.
	Reads uint64
	// Lag is how many records of the log are known to be there and not merged.
	Lag uint64 `metric:"gauge"`
	// Replayed is the number of records that were replayed at the start, and ReplayMilliseconds how long it took.
	Replayed, ReplayMilliseconds uint64
	// UploadsRemoved counts states in pieces that were removed from the log because others have replaced them.
	UploadsRemoved uint64
	// Kernels is how many there are, and Streams how many the log is made of.
	Kernels, Streams int
}

// counters is what a server counts itself.
type counters struct {
	reads, replayed, replayMilliseconds, uploadsRemoved atomic.Uint64
}

// Stats returns what the server has done and holds.
func (s *Server) Stats() Stats {
	total := Stats{
		Reads: s.stats.reads.Load(), Replayed: s.stats.replayed.Load(), ReplayMilliseconds: s.stats.replayMilliseconds.Load(),
		UploadsRemoved: s.stats.uploadsRemoved.Load(), Kernels: len(s.shards), Streams: s.cfg.Streams,
	}
	for _, shard := range s.shards {
		shard.mu.RLock()
		k := shard.kernel.Stats()
		shard.mu.RUnlock()
		total.add(&k)
	}
	for i := range s.followers {
		total.Lag += s.followers[i].lag()
	}
	return total
}

func (s *KernelStats) add(k *KernelStats) {
	s.Keys += k.Keys
	s.Tombstones += k.Tombstones
	s.Cold += k.Cold
	s.Bytes += k.Bytes
	s.ChangesetBytes += k.ChangesetBytes
	s.Outstanding += k.Outstanding
	s.Waiting += k.Waiting
	s.Merges += k.Merges
	s.Applied += k.Applied
	s.Publishes += k.Publishes
	s.RollUps += k.RollUps
	s.Refused += k.Refused
	s.Failed += k.Failed
	s.Pushes += k.Pushes
	s.Loads += k.Loads
	s.Evictions += k.Evictions
	s.Expired += k.Expired
	s.Collected += k.Collected
}
