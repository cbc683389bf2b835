// Package kernel is a part of the store's keys as a state machine: messages go in, and what is to be done comes out. It has no clock,
// goroutine or lock and does no input or output; the caller passes in the time and carries out the effects.
package kernel

import (
	"math"
	"strings"

	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// Config is what a kernel must know. All of it is needed. Times are in microseconds.
type Config struct {
	// Writer names the kernel. No two that are ever alive at the same time may have the same.
	Writer uint64
	// Partitions are the kernel's; a Message never names another.
	Partitions []int
	// PartitionOf returns the partition of a slot.
	PartitionOf func(slot uint16) int
	// PublishesMax bounds the publishes of a partition that have not been answered. What changes meanwhile goes out together.
	PublishesMax int
	// RecordKeysMax is how many keys one publish may have, and RecordBytesMax how many bytes it has at most before no further key is
	// added.
	RecordKeysMax, RecordBytesMax int
	// LazyRate is how many publishes a second a partition makes at least of what nobody waits for, and LazyInterval the time in
	// which all that waits is published when that is more: so that writes of which many fall on one key cost one publish in
	// that time. A rate of 0 is no bound.
	LazyRate     int
	LazyInterval int64
	// PublishTimeout is how long the answer of a publish is waited for before it is published again.
	PublishTimeout int64
	// DurableTimeout is how long a durable write is tried before it fails.
	DurableTimeout int64
	// RetryMin and RetryMax bound the pause before a log that failed is tried again; it doubles from time to time.
	RetryMin, RetryMax int64
	// ChangesetBytesMax bounds what is not in the log yet.
	ChangesetBytesMax int
	// MemoryBytesMax is how much memory keys may take before those not used lately are left to the log.
	MemoryBytesMax int
	// CompactRecords is how many records of one key the log may hold before the next holds the whole state, unless that is larger
	// than all of them.
	CompactRecords int
	// TombstoneGrace is how long a tombstone is kept. No write may be on its way for longer.
	TombstoneGrace int64
	// ParkedMax bounds the messages that wait for one key to be loaded.
	ParkedMax int
}

// Kernel holds the keys of some partitions. It is a state machine: it does nothing but in Step, and what it does there follows
// from the messages alone, their order and the times that they come with. Owned by one goroutine at a time; methods other than
// Step that say so may be called by several at once, but not during a Step.
type Kernel struct {
	cfg        Config
	clock      *lattice.Clock
	items      map[string]*item
	ring       []*item
	hand       int
	index      index
	partitions []*partition   // by number; nil for those of other kernels
	tenures    []slots.Tenure // by slot; Leading of those beyond its end
	expiries   expiries
	fading     queue[fade]
	rumors     queue[rumor]

	// places are where the records of those keys lie that need more than their last.
	places map[*item][]place

	publications     []publicationSlot
	freeSlots        []uint32
	departures       queue[departure]
	deadlines        queue[*waiter]
	spareBusy        []*busy
	spareFlight      []*flight
	sparePublication []*publication

	compaction compaction

	hurry   bool  // everything is published as soon as it can be
	lonely  bool  // nobody else is a master
	burstAt int64 // when lazy publishes of any partition began last
	elapsed int64 // as of the last Step

	memory    int // bytes of items and their states
	slots     []SlotStats
	changeset int // bytes that are not in the log
	stats     Stats
}

// Moment is a point of time by two clocks, in microseconds.
type Moment struct {
	// Wall is Unix time. Stamps and expiries go by it. It may be set, forth and back.
	Wall int64
	// Elapsed is the time since some instant, and never goes back. All waits are measured by it, or a clock that is set would end
	// them, or make them last for as long as it is set back by.
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
	// ChangesetBytes are not in the log yet; Outstanding publishes have not been answered; Waiting durable writes neither.
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

// SlotStats is what a kernel holds of a slot, and how often it has been written to.
type SlotStats struct {
	// Keys that have something to show.
	Keys int
	// Bytes of memory, as accounted.
	Bytes int
	// Writes that changed something.
	Writes uint64
}

// New returns a kernel without keys. The log of its partitions is to be applied before the first Write.
func New(cfg Config) *Kernel {
	k := &Kernel{cfg: cfg, clock: lattice.NewClock(cfg.Writer), items: make(map[string]*item), places: map[*item][]place{}, hand: -1, index: newIndex()}
	for _, number := range cfg.Partitions {
		for len(k.partitions) <= number {
			k.partitions = append(k.partitions, nil)
		}
		k.partitions[number] = &partition{number: number}
	}
	return k
}

// Step takes a message in and appends to out what is to be done. Nothing of m is kept but what its comments say.
func (k *Kernel) Step(at Moment, m Message, out *Effects) {
	now := at.Wall
	k.elapsed = at.Elapsed
	keys := 1
	switch m := m.(type) {
	case *Write:
		k.write(now, m, out)
	case *Acknowledged:
		keys = k.acknowledged(now, m, out)
	case *Advanced:
		k.advanced(m)
	case *Failed:
		k.failed(now, m, out)
	case *Heard:
		k.hear(now, m, out)
	case *Applied:
		k.apply(now, m, out)
		keys = len(m.Entries)
	case *Read:
		k.read(m, out)
	case *Loaded:
		k.loaded(now, m, out)
	case *Watch:
		k.watch(now, m, out)
	case *Unwatch:
		k.unwatch(m)
	case *Forsake:
		k.forsake(m)
	case *Assign:
		k.assign(now, m, out)
	case *Compact:
		k.compact(m)
	case *Company:
		k.lonely = !m.Others
	case *Tick:
		k.hurry = k.hurry || m.Hurry
		k.tick(now, out)
	}
	k.evict(max(1, keys))
}

// Stats returns the kernel's counters. Several goroutines may call it at once.
func (k *Kernel) Stats() Stats {
	s := k.stats
	s.Bytes, s.ChangesetBytes = k.memory, k.changeset
	for _, p := range k.partitions {
		if p != nil {
			s.Outstanding += p.outstanding
		}
	}
	return s
}

// Reached returns the Time that none of the kernel's stamps so far is later than. Several goroutines may call it at once.
func (k *Kernel) Reached() uint64 { return k.clock.Reached(0) }

// Slots returns what the kernel holds of every slot, by number, as far as there has been a key in one. Several goroutines may
// call it at once; what it returns is valid until the next Step.
func (k *Kernel) Slots() []SlotStats { return k.slots }

// Wake returns at which elapsed time the next Tick is due, unless the clock is set meanwhile; math.MaxInt64 = not at all. Several
// goroutines may call it at once.
func (k *Kernel) Wake(at Moment) int64 {
	wake := int64(math.MaxInt64)
	if w, ok := k.deadlines.peek(); ok {
		wake = min(wake, w.deadline)
	}
	if d, ok := k.departures.peek(); ok {
		wake = min(wake, d.deadline)
	}
	if f, ok := k.fading.peek(); ok {
		wake = min(wake, f.at)
	}
	if k.compaction.active {
		wake = min(wake, k.compaction.next)
	}
	if r, ok := k.rumors.peek(); ok {
		wake = min(wake, r.due)
	}
	for _, p := range k.partitions {
		switch {
		case p == nil || p.urgent.count+p.lazy.count == 0 || !k.room(p):
		case p.failures > 0 && p.outstanding == 0:
			wake = min(wake, p.retryAt)
		case p.failures == 0 && p.lazy.count > 0 && k.lonely && !p.bursting:
			wake = min(wake, k.burstAt+lonelyGrain)
		case p.failures == 0 && p.lazy.count > 0 && p.allowance < 1 && k.cfg.LazyRate > 0:
			wake = min(wake, p.allowedAt+lazyGrain)
		}
	}
	if len(k.expiries) > 0 {
		wake = min(wake, k.expiries[0].busy.at*1000-at.Wall+at.Elapsed)
	}
	if k.index.unsettled() {
		wake = min(wake, at.Elapsed)
	}
	return wake
}

func (k *Kernel) tick(now int64, out *Effects) {
	k.expireDue(now, out)
	k.overdue(now, out)
	k.vouchDue(now, out)
	k.collectDue(now, out)
	k.sweep(now, out)
	if k.index.unsettled() {
		k.index.settle(settlePerTick)
	}
	for _, p := range k.partitions {
		if p != nil {
			k.pump(now, p, out)
		}
	}
}

// partition returns the partition of a slot.
func (k *Kernel) partition(slot uint16) *partition { return k.partitions[k.cfg.PartitionOf(slot)] }

// add makes an item for a key that has none.
func (k *Kernel) add(key string, slot uint16) *item {
	key = strings.Clone(key) // it may be a part of something larger
	it := &item{key: key, slot: slot, place: uint32(len(k.ring))}
	k.items[key] = it
	k.ring = append(k.ring, it)
	for len(k.slots) <= int(slot) {
		k.slots = append(k.slots, SlotStats{})
	}
	k.account(it, ItemBytes+len(key))
	k.partition(slot).items++
	return it
}

// forget removes an item, which nobody waits for or watches.
func (k *Kernel) forget(it *item) {
	k.unlist(it)
	k.unexpire(it)
	k.setCold(it, false)
	k.scatter(it, nil)
	k.need(it, 0, 0)
	k.partition(it.slot).items--
	delete(k.items, it.key)
	it.flags &^= queued | hurried // what waited to be written again does not any more
	last := k.ring[len(k.ring)-1]
	k.ring[it.place] = last
	last.place = it.place
	k.ring[len(k.ring)-1] = nil
	k.ring = k.ring[:len(k.ring)-1]
	k.account(it, -ItemBytes-len(it.key)-int(it.bytes)*accountUnit)
	it.bytes = 0
}

// account takes note that an item takes so many bytes more.
func (k *Kernel) account(it *item, bytes int) {
	k.memory += bytes
	k.slots[it.slot].Bytes += bytes
}

// resize accounts for the size that an item's state has now.
func (k *Kernel) resize(it *item) {
	units := uint32(min(it.state.Bytes()/accountUnit, math.MaxUint32))
	if units != it.bytes {
		k.account(it, (int(units)-int(it.bytes))*accountUnit)
		it.bytes = units
	}
}

func (k *Kernel) more(it *item) *busy {
	if it.busy == nil {
		if n := len(k.spareBusy); n > 0 {
			it.busy, k.spareBusy = k.spareBusy[n-1], k.spareBusy[:n-1]
		} else {
			it.busy = new(busy)
		}
	}
	return it.busy
}

// spareMax bounds the unused busy and flight structs that are kept.
const spareMax = 1024

// settleDown gives back what an item no longer needs.
func (k *Kernel) settleDown(it *item) {
	if it.busy == nil || !it.busy.idle() {
		return
	}
	if len(k.spareBusy) < spareMax {
		*it.busy = busy{waiters: it.busy.waiters[:0]}
		k.spareBusy = append(k.spareBusy, it.busy)
	}
	it.busy = nil
}
