package anna

import (
	"strconv"
	"sync/atomic"

	"cloudburst/anna/kernel"
)

// Stats is what a server has done since it began, and what it holds.
type Stats struct {
	kernel.Stats
	// Reads that were answered: those through Server.View, caches' misses, and those of other nodes.
	Reads uint64
	// Lag is how many records of the log are known to be there and not merged.
	Lag uint64 `metric:"gauge"`
	// Replayed is the number of records that were replayed at the start, and ReplayMilliseconds how long it took.
	Replayed, ReplayMilliseconds uint64
	// UploadsRemoved counts states in chunks that were removed from the log because others have replaced them.
	UploadsRemoved uint64
	// Truncations counts how often the beginning of a stream was cut off, since nothing of it was needed.
	Truncations uint64
	// Kernels is how many there are, and Streams how many the log is made of.
	Kernels, Streams int
}

// Metrics is Stats, and what takes longer to find out. A slice with a label is a set of metrics for each of its elements, told
// apart by the first field.
type Metrics struct {
	Stats
	// Members is how many nodes the store has, as far as this one knows.
	Members int
	// Slots is how many there are: SlotsServed by this node, SlotsLed among them, SlotsJoining that it is taking over, and
	// SlotsMoving that are not served by just those nodes whom they belong to.
	Slots, SlotsServed, SlotsLed, SlotsJoining, SlotsMoving int
	// HotKeys are those of slots that this node leads that further nodes are to hold; Replicas are keys of others that it holds
	// therefore and answers for, and ReplicaBytes what they take.
	HotKeys, Replicas, ReplicaBytes int
	// SlotKeysMax is how many keys the fullest slot has here, and SlotBytesMax what the largest takes.
	SlotKeysMax, SlotBytesMax int
	// Stream has a share of the slots, and its part of the log.
	Stream []StreamStats `label:"stream"`
	// Tier is a place where keys are kept.
	Tier []TierStats `label:"tier"`
}

// StreamStats is what a server has of the slots of one stream of the log.
type StreamStats struct {
	Number string
	// Lag is how many records are known to be there and not merged.
	Lag uint64 `metric:"gauge"`
	// Keys that have something to show, and Bytes that they take in memory.
	Keys, Bytes int
	// Reads of this node's clients, estimated from a sample, and Writes.
	Reads, Writes uint64
	// LogBytes is what the stream takes, and NeededBytes about how much of that is needed, if it is this node that looks after it.
	LogBytes, NeededBytes int
}

// TierStats is what is kept in one place.
type TierStats struct {
	Name string
	// Keys that have something to show; in the log those that are nowhere else.
	Keys int
	// Reads that were answered from there.
	Reads uint64
}

// counters is what a server counts itself.
type counters struct {
	replayed, replayMilliseconds, uploadsRemoved, truncations atomic.Uint64
}

// Stats returns what the server has done and holds.
func (s *Server) Stats() Stats {
	total := Stats{
		Replayed: s.stats.replayed.Load(), ReplayMilliseconds: s.stats.replayMilliseconds.Load(),
		UploadsRemoved: s.stats.uploadsRemoved.Load(), Truncations: s.stats.truncations.Load(), Kernels: len(s.kernels.shards), Streams: s.cfg.Streams,
	}
	for _, shard := range s.kernels.shards {
		shard.mu.RLock()
		k := shard.kernel.Stats()
		shard.mu.RUnlock()
		total.Add(&k)
		total.Reads += shard.reads.Load()
	}
	for i := range s.followers {
		total.Lag += s.followers[i].lag()
	}
	return total
}

// Metrics returns what the server has done and holds, in detail.
func (s *Server) Metrics() Metrics {
	total := Metrics{Stats: s.Stats(), Slots: s.cfg.Slots, SlotsJoining: int(s.moving.Load())}
	for i, f := range s.followers {
		total.Stream = append(total.Stream, StreamStats{
			Number: strconv.Itoa(i), Lag: f.lag(),
			LogBytes: int(s.compactor.lengths[i].bytes.Load()), NeededBytes: int(s.compactor.lengths[i].needed.Load()),
		})
	}
	for _, slot := range s.slotShares() {
		stream := &total.Stream[s.cfg.partitionOf(uint16(slot.GetSlot()))]
		stream.Keys += int(slot.GetKeys())
		stream.Bytes += int(slot.GetSizeBytes())
		stream.Reads += slot.GetReads()
		stream.Writes += slot.GetWrites()
		total.SlotKeysMax = max(total.SlotKeysMax, int(slot.GetKeys()))
		total.SlotBytesMax = max(total.SlotBytesMax, int(slot.GetSizeBytes()))
	}
	for _, hot := range *s.hot.Load() {
		if s.routes.leaderOf(hot.Slot) == s.id {
			total.HotKeys++
		}
	}
	total.Replicas, total.ReplicaBytes = len(s.replicas.held()), int(s.replicas.bytes.Load())
	total.Tier = total.tiers()
	st := s.Status()
	total.Members, total.SlotsMoving = len(st.Members), st.Moving
	for _, m := range st.Members {
		if m.Member == s.id {
			total.SlotsServed, total.SlotsLed = m.Serves, m.Leads
		}
	}
	return total
}

// Names of the tiers.
const (
	tierMemory = "memory"
	tierLog    = "log"
)

func (s *Stats) tiers() []TierStats {
	return []TierStats{
		{Name: tierMemory, Keys: max(0, s.Keys-s.Cold), Reads: max(s.Reads, s.ReadThrough) - s.ReadThrough},
		{Name: tierLog, Keys: s.Cold, Reads: s.ReadThrough},
	}
}
