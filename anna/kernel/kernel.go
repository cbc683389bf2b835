// Package kernel is a part of the store's keys as a state machine: messages go in, and what is to be done comes out. It has no clock,
// goroutine or lock and does no input or output; the caller passes in the time and carries out the effects.
package kernel

import (
	"math"

	"cloudburst/lattice"
)

// Config is what a kernel must know. All of it is needed. Times are in microseconds.
type Config struct {
	// Writer names the kernel. No two kernels that are alive at the same time may have the same.
	Writer uint64
	// Partitions are the kernel's; a Message never names another.
	Partitions []int
	// PartitionOf returns the partition of a slot.
	PartitionOf func(slot uint16) int
	// Fingerprint returns a number that stands for what a key holds, never 0, so that a write can be made to depend on it. The state may
	// be nil.
	Fingerprint func(*lattice.State) uint64
	// Reserved reports whether a key is Cloudburst's own. Such keys are counted apart.
	Reserved func(key string) bool
	// PublishesMax bounds the publishes of a partition that have not been answered. What changes meanwhile goes out together.
	PublishesMax int
	// RecordKeysMax is how many keys one publish may have. A publish gets no further key once it has RecordBytesMax bytes.
	RecordKeysMax, RecordBytesMax int
	// LazyRate is how many changes a second a partition may at least publish that no durable write waits for. When more of them wait, the
	// rate grows so that all are published within LazyInterval: a key that is written often costs one publish in that time. A rate
	// of 0 is no bound.
	LazyRate     int
	LazyInterval int64
	// PublishTimeout is how long the kernel waits for the answer to a publish before it publishes the same again.
	PublishTimeout int64
	// DurableTimeout is how long a durable write is tried before it fails.
	DurableTimeout int64
	// RetryMin and RetryMax bound the pause before a log that failed is tried again; the pause doubles with every failure.
	RetryMin, RetryMax int64
	// ChangesetBytesMax bounds what the log does not hold yet.
	ChangesetBytesMax int
	// MemoryBytesMax is how much memory keys may take before those that were not used lately are left to the log.
	MemoryBytesMax int
	// CompactRecords is how many records of one key the log may hold before the next holds the whole state, unless that is larger
	// than all of them.
	CompactRecords int
	// TombstoneGrace is how long a tombstone is kept. No write may be on its way for longer.
	TombstoneGrace int64
	// ParkedMax bounds the messages that wait for one key to be loaded.
	ParkedMax int
}

// Kernel holds the keys of some partitions. It is a state machine: it acts only in Step, and what it does there follows from the
// messages alone, their order and the times that they come with. One goroutine at a time may use it. Methods other than Step that
// say so may be called by several at once, but not during a Step.
type Kernel struct {
	cfg        Config
	clock      *lattice.Clock
	keys       keys
	partitions partitions
	tenures    tenures
	places     places
	changes    changeset
	waiters    waiters
	watches    watches
	expiries   expiries
	tombstones tombstones
	heard      queue[heardDue]
	compaction compaction
	loads      loads

	applied, expired, collected uint64
}

// Moment is a point of time by two clocks, in microseconds.
type Moment struct {
	// Wall is Unix time. Stamps and expiries go by it. It may be set forward and back.
	Wall int64
	// Elapsed is the time since some instant, and never goes back. All waits are measured by it: if the clock is set, they do not end
	// early or last longer.
	Elapsed int64
}

// Stats counts what a kernel has done since it began, and what it holds.
type Stats struct {
	// Keys that have something to show; Reserved ones of them are Cloudburst's own; Expiring ones of the others expire.
	Keys, Reserved, Expiring int
	// Tombstones that wait to be collected.
	Tombstones int
	// Cold keys, whose state is only in the log.
	Cold int
	// Bytes of memory, as accounted.
	Bytes int
	// ChangesetBytes are not in the log yet. Outstanding publishes have not been answered, nor have Waiting durable writes.
	ChangesetBytes, Outstanding, Waiting int
	// Merges of writes, and Applied entries of records of the log.
	Merges, Applied uint64
	// Publishes in all; Rewrites of keys of which they say nothing new; Failed publishes.
	Publishes, Rewrites, Failed uint64
	// Pushes to caches; Loads from the log; Evictions; Expired and Collected keys.
	Pushes, Loads, Evictions, Expired, Collected uint64
	// ReadThrough counts reads that had to wait for a Load.
	ReadThrough uint64
}

// Add adds what another kernel has done and holds.
func (s *Stats) Add(k *Stats) {
	s.Keys += k.Keys
	s.Reserved += k.Reserved
	s.Expiring += k.Expiring
	s.Tombstones += k.Tombstones
	s.Cold += k.Cold
	s.Bytes += k.Bytes
	s.ChangesetBytes += k.ChangesetBytes
	s.Outstanding += k.Outstanding
	s.Waiting += k.Waiting
	s.Merges += k.Merges
	s.Applied += k.Applied
	s.Publishes += k.Publishes
	s.Rewrites += k.Rewrites
	s.Failed += k.Failed
	s.Pushes += k.Pushes
	s.Loads += k.Loads
	s.Evictions += k.Evictions
	s.Expired += k.Expired
	s.Collected += k.Collected
	s.ReadThrough += k.ReadThrough
}

// New returns a kernel without keys. The log of its partitions is to be applied before the first Write.
func New(cfg Config) *Kernel {
	k := &Kernel{cfg: cfg, clock: lattice.NewClock(cfg.Writer), keys: newKeys(cfg.Reserved), partitions: newPartitions(&cfg)}
	k.places = places{partitions: &k.partitions, scattered: map[*item][]place{}}
	k.tombstones.grace = cfg.TombstoneGrace
	k.changes = changeset{
		cfg: &k.cfg, keys: &k.keys, partitions: &k.partitions, tenures: &k.tenures, places: &k.places, tombstones: &k.tombstones,
		waiters: &k.waiters,
	}
	k.waiters = waiters{cfg: &k.cfg, keys: &k.keys, partitions: &k.partitions}
	k.expiries = expiries{keys: &k.keys, tenures: &k.tenures, reserved: cfg.Reserved}
	k.watches.keys = &k.keys
	k.loads = loads{cfg: &k.cfg, keys: &k.keys, partitions: &k.partitions, places: &k.places}
	return k
}

// Step takes a message in and appends to out what is to be done. Nothing of m is kept but what its comments say.
func (k *Kernel) Step(at Moment, m Message, out *Effects) {
	dealt := 1 // keys
	switch m := m.(type) {
	case *Write:
		k.write(at, m, out)
	case *Acknowledged:
		dealt = k.acknowledged(at, m, out)
	case *Advanced:
		k.changes.advanced(at, m)
	case *Failed:
		k.changes.failed(at, m, out)
	case *Heard:
		k.hear(at, m, out)
	case *Applied:
		k.apply(at, m, out)
		dealt = len(m.Entries)
	case *Read:
		k.read(m, out)
	case *Loaded:
		k.loaded(at, m, out)
	case *Watch:
		k.watch(at, m, out)
	case *Unwatch:
		k.unwatch(m)
	case *CachesGone:
		k.cachesGone(m)
	case *Assign:
		k.assign(at, m, out)
	case *Compact:
		k.compact(at, m)
	case *Company:
		k.changes.alone = !m.Others
	case *Tick:
		k.changes.hurry = k.changes.hurry || m.Hurry
		k.tick(at, out)
	}
	k.keys.evict(max(1, dealt), k.cfg.MemoryBytesMax)
}

// Stats returns the kernel's counters. Several goroutines may call it at once.
func (k *Kernel) Stats() Stats {
	s := Stats{
		Keys: k.keys.listed, Reserved: k.keys.reserved, Expiring: k.expiries.expiring,
		Tombstones: k.tombstones.waiting.count, Cold: k.keys.cold, Bytes: k.keys.memory,
		ChangesetBytes: k.changes.bytes, Waiting: k.waiters.waiting,
		Merges: k.keys.merges, Applied: k.applied,
		Publishes: k.changes.publishes, Rewrites: k.changes.rewrites, Failed: k.changes.failures,
		Pushes: k.watches.pushes, Loads: k.loads.asked, Evictions: k.keys.evictions, Expired: k.expired, Collected: k.collected,
		ReadThrough: k.loads.readThrough,
	}
	for _, p := range k.partitions.own {
		s.Outstanding += p.outstanding
	}
	return s
}

// Reached returns a Time that none of the kernel's stamps so far is later than. Several goroutines may call it at once.
func (k *Kernel) Reached() uint64 { return k.clock.Reached(0) }

// Slots returns what the kernel holds of every slot, by number, up to the last slot that has had a key. Several goroutines may
// call it at once. The result is valid until the next Step.
func (k *Kernel) Slots() []SlotStats { return k.keys.slots }

// Wake returns the elapsed time at which the next Tick is due, unless the clock is set meanwhile; math.MaxInt64 = none is. Several
// goroutines may call it at once.
func (k *Kernel) Wake(at Moment) int64 {
	wake := int64(math.MaxInt64)
	if w, ok := k.waiters.deadlines.peek(); ok {
		wake = min(wake, w.deadline)
	}
	if d, ok := k.changes.publications.deadlines.peek(); ok {
		wake = min(wake, d.at)
	}
	if t, ok := k.tombstones.waiting.peek(); ok {
		wake = min(wake, t.at)
	}
	if k.compaction.active {
		wake = min(wake, k.compaction.next)
	}
	if h, ok := k.heard.peek(); ok {
		wake = min(wake, h.at)
	}
	wake = min(wake, k.changes.wake())
	if it, due := k.expiries.next(); it != nil {
		wake = min(wake, due*1000-at.Wall+at.Elapsed)
	}
	if k.keys.index.unsettled() {
		wake = min(wake, at.Elapsed)
	}
	return wake
}

func (k *Kernel) tick(at Moment, out *Effects) {
	k.expireDue(at, out)
	k.changes.overdue(at, out)
	k.publishHeardDue(at, out)
	k.collectDue(at, out)
	k.sweep(at, out)
	if k.keys.index.unsettled() {
		k.keys.index.settle(settlePerTick)
	}
	k.changes.pumpAll(at, out)
}

// add makes an item for a key that has none.
func (k *Kernel) add(key string, slot uint16) *item {
	k.partitions.of(slot).items++
	return k.keys.add(key, slot)
}

// forget removes an item that no write waits for and no cache watches.
func (k *Kernel) forget(it *item) {
	k.expiries.remove(it)
	k.places.forget(it)
	k.partitions.of(it.slot).items--
	k.keys.remove(it)
}

// forgetUnused removes an item that shows nothing, if neither the log nor a cache knows of it.
func (k *Kernel) forgetUnused(it *item) {
	if it.state.Lattice == nil && !it.inLog() && !it.watched() && !it.flags.has(cold|loading) &&
		(it.busy == nil || it.busy.idle()) {
		k.keys.release(it)
		k.forget(it)
	}
}
