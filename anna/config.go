package anna

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"time"
)

// Bounds that no setting moves.
const (
	// chunkBytes is the size of the chunks of a state that is too large for one record, and recordBytesMax the size from which it
	// is.
	chunkBytes     = 512 << 10
	recordBytesMax = 512 << 10
	// recordBytesAim and recordKeysMax are what goes into one record at most before the next is begun. A key that is read from the log
	// costs a whole record.
	recordBytesAim = 16 << 10
	recordKeysMax  = 256
	// parkedMax bounds the accesses that wait for one key to be read from the log.
	parkedMax = 4096
	// loadsMax bounds the keys that wait to be read from the log, and loaders those that are being read.
	loadsMax = 65536
	loaders  = 16
	// uploads bounds the states that are being cut into chunks.
	uploads = 4
	// slotsMax keeps a slot's number within the subjects that one stream can be asked for.
	slotsMax = 16384
)

// Config says how a server of Anna works. The zero value runs.
type Config struct {
	// Streams is the number of JetStream streams that the log is spread over, so that it grows with its servers. It is chosen when
	// a store is made and never changes. Default 4.
	Streams int
	// Slots is the number of parts that the keys are cut into, to be spread over the masters. It is chosen when a store is made
	// and never changes. Default 1,024.
	Slots int
	// Prefix begins the names of the log's streams and of its subjects. Default "cloudburst-anna".
	Prefix string
	// Replicas is how many servers hold the log: 1, 3 or 5. Default 1. An existing log is never given fewer.
	Replicas int
	// Masters is how many nodes hold each key in memory, as far as there are as many; all of them take reads and writes. Default 2.
	Masters int
	// MemberTTL is how long a node that is not heard of counts as there. Default 5s.
	MemberTTL time.Duration
	// MemberFile is where this node keeps its name among the others. A node that was killed and is started again is then known
	// not to be there under its old name, and the others do not wait MemberTTL for it. Default: none.
	MemberFile string
	// Guest makes this node a master of nothing: it only asks others. Not a setting of its own; a node's roles decide.
	Guest bool
	// Name is what the operator calls this node. Not a setting of its own. Default: the name that it makes up.
	Name string
	// Kernels is how many kernels share the keys. Default: one per core, at most one per stream.
	Kernels int
	// PublishesMax bounds the publishes of one stream that have not been acknowledged, but for those of large values; what changes
	// meanwhile goes out together. Default 8.
	PublishesMax int
	// LazyRate is how many keys a second reach the log at least of those that were only written with memory acknowledgements: up
	// to that rate they reach it at once. When more are written they are gathered, so that one which is written often is published
	// once, and all reach the log within LazyInterval; sooner when they come near ChangesetBytesMax. Default 10,000.
	LazyRate int
	// LazyInterval is the longest that writes are gathered for. Default 10s.
	LazyInterval time.Duration
	// PublishTimeout is how long an acknowledgement of the log is waited for before the same is published again. Default 2s.
	PublishTimeout time.Duration
	// DurableTimeout is how long a durable write waits for a log that is away. Default 5s.
	DurableTimeout time.Duration
	// ChangesetBytesMax bounds what is acknowledged in memory and not in the log yet. Writes beyond it are refused. Default 256
	// MiB.
	ChangesetBytesMax int
	// MemoryBytesMax is how much memory keys may take before those not used lately are left to the log and read through. Default
	// 0: as much as there is.
	MemoryBytesMax int
	// HotRate is how many reads of one key a second a node is to answer. A key that is read so often that its masters would have to
	// answer more is hot: further nodes hold it too. Default 10,000.
	HotRate int
	// ColdRate is how few these reads must have become before fewer nodes hold the key. Default: half of HotRate.
	ColdRate int
	// ColdAfter is for how long they must. Default 30s.
	ColdAfter time.Duration
	// HotInterval is how often this is decided. Default 1s.
	HotInterval time.Duration
	// HotReplicasMax bounds the nodes that hold a hot key beside its masters. Default 4.
	HotReplicasMax int
	// HotKeysMax bounds the keys that are hot at a time, for each node of those whose slots it leads. Default 64.
	HotKeysMax int
	// HotBytesMax bounds what the hot keys of which a node is no master take there; one that has no room is not held. Default
	// 256 MiB.
	HotBytesMax int
	// CompactRecords is how many records of one key the log holds before its next holds the whole state. Default 16.
	CompactRecords int
	// CompactRatio is how many times what is needed of it the log may take, and CompactBytesMin how much more each stream of it,
	// before its first part is cut off. Default 3 and 16 MiB.
	CompactRatio, CompactBytesMin int
	// CompactInterval is how often the length of the log is looked at. What has been replaced is cut off three times as long after
	// that, so it should not be shorter than the time until writes reach the disk. Default 1s.
	CompactInterval time.Duration
	// TombstoneGrace is how long deleted keys are remembered; a master that was cut off for longer may bring them back. Default
	// 15m.
	TombstoneGrace time.Duration
	// ReplayTimeout bounds the time without progress while the log is replayed at the start. Default 30s.
	ReplayTimeout time.Duration
	// DrainTimeout bounds the time that is given to what is not in the log yet when the server stops. Default 5s.
	DrainTimeout time.Duration
	// Logger gets what goes wrong in the background. Default: discarded.
	Logger *slog.Logger
}

// WithDefaults returns c with the settings that are zero filled in.
func (c Config) WithDefaults() Config {
	c.Streams = cmp.Or(c.Streams, 4)
	c.Slots = cmp.Or(c.Slots, 1024)
	c.Prefix = cmp.Or(c.Prefix, "cloudburst-anna")
	c.Replicas = cmp.Or(c.Replicas, 1)
	c.Masters = cmp.Or(c.Masters, 2)
	c.MemberTTL = cmp.Or(c.MemberTTL, 5*time.Second)
	c.Kernels = cmp.Or(c.Kernels, min(runtime.GOMAXPROCS(0), c.Streams))
	c.PublishesMax = cmp.Or(c.PublishesMax, 2)
	c.LazyRate = cmp.Or(c.LazyRate, 10_000)
	c.LazyInterval = cmp.Or(c.LazyInterval, 10*time.Second)
	c.PublishTimeout = cmp.Or(c.PublishTimeout, 2*time.Second)
	c.DurableTimeout = cmp.Or(c.DurableTimeout, 5*time.Second)
	c.ChangesetBytesMax = cmp.Or(c.ChangesetBytesMax, 256<<20)
	c.HotRate = cmp.Or(c.HotRate, 10_000)
	c.ColdRate = cmp.Or(c.ColdRate, max(1, c.HotRate/2))
	c.ColdAfter = cmp.Or(c.ColdAfter, 30*time.Second)
	c.HotInterval = cmp.Or(c.HotInterval, time.Second)
	c.HotReplicasMax = cmp.Or(c.HotReplicasMax, 4)
	c.HotKeysMax = cmp.Or(c.HotKeysMax, 64)
	c.HotBytesMax = cmp.Or(c.HotBytesMax, 256<<20)
	c.CompactRecords = cmp.Or(c.CompactRecords, 16)
	c.CompactRatio = cmp.Or(c.CompactRatio, 3)
	c.CompactBytesMin = cmp.Or(c.CompactBytesMin, 16<<20)
	c.CompactInterval = cmp.Or(c.CompactInterval, time.Second)
	c.TombstoneGrace = cmp.Or(c.TombstoneGrace, 15*time.Minute)
	c.ReplayTimeout = cmp.Or(c.ReplayTimeout, 30*time.Second)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 5*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	bound := func(name string, v, least, most int) {
		if v < least || v > most {
			faults = append(faults, fmt.Errorf("%s %d: must be %d to %d", name, v, least, most))
		}
	}
	least := func(name string, v, least time.Duration) {
		if v < least {
			faults = append(faults, fmt.Errorf("%s %v: must be at least %v", name, v, least))
		}
	}
	bound("streams", c.Streams, 1, 64)
	bound("slots", c.Slots, c.Streams, slotsMax)
	bound("masters", c.Masters, 1, 16)
	least("member_ttl", c.MemberTTL, time.Second)
	bound("kernels", c.Kernels, 1, c.Streams)
	bound("publishes_max", c.PublishesMax, 1, 8192)
	bound("changeset_bytes_max", c.ChangesetBytesMax, 1<<20, 1<<50)
	bound("hot_rate", c.HotRate, 1, 1<<30)
	bound("cold_rate", c.ColdRate, 1, c.HotRate)
	least("cold_after", c.ColdAfter, 0)
	least("hot_interval", c.HotInterval, 10*time.Millisecond)
	bound("hot_replicas_max", c.HotReplicasMax, 1, 64)
	bound("hot_keys_max", c.HotKeysMax, 1, 1024)
	bound("hot_bytes_max", c.HotBytesMax, 1<<20, 1<<50)
	bound("compact_records", c.CompactRecords, 1, math.MaxUint16-1)
	bound("compact_ratio", c.CompactRatio, 2, 1000)
	bound("compact_bytes_min", c.CompactBytesMin, 1<<10, 1<<50)
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		faults = append(faults, fmt.Errorf("replicas %d: must be 1, 3 or 5", c.Replicas))
	}
	if c.MemoryBytesMax != 0 {
		bound("memory_bytes_max", c.MemoryBytesMax, 1<<20, 1<<50)
	}
	bound("lazy_rate", c.LazyRate, c.Streams, 1<<30)
	least("lazy_interval", c.LazyInterval, 10*time.Millisecond)
	least("compact_interval", c.CompactInterval, 10*time.Millisecond)
	least("publish_timeout", c.PublishTimeout, 10*time.Millisecond)
	least("durable_timeout", c.DurableTimeout, 10*time.Millisecond)
	least("tombstone_grace", c.TombstoneGrace, time.Second)
	least("replay_timeout", c.ReplayTimeout, time.Second)
	return errors.Join(faults...)
}
