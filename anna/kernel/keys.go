package kernel

import (
	"math"
	"strings"

	"cloudburst/lattice"
)

// keys holds the items of a kernel, and accounts for the memory that they take.
type keys struct {
	items map[string]*item
	ring  []*item // in any order; evict goes round over it
	hand  int
	index index
	slots []SlotStats // by number
	spare []*busy

	memory       int // bytes of items and their states
	listed, cold int // how many items have these flags

	isReserved func(key string) bool
	reserved   int // of those that are listed

	merges, evictions uint64
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

// spareMax bounds the unused structs of a kind that are kept.
const spareMax = 1024

func newKeys(reserved func(key string) bool) keys {
	return keys{items: map[string]*item{}, hand: -1, index: newIndex(), isReserved: reserved}
}

// add makes an item for a key that has none.
func (k *keys) add(key string, slot uint16) *item {
	key = strings.Clone(key) // it may be a part of something larger
	it := &item{key: key, slot: slot, place: uint32(len(k.ring))}
	k.items[key] = it
	k.ring = append(k.ring, it)
	for len(k.slots) <= int(slot) {
		k.slots = append(k.slots, SlotStats{})
	}
	k.account(it, ItemBytes+len(key))
	return it
}

// remove removes an item.
func (k *keys) remove(it *item) {
	k.unlist(it)
	k.setCold(it, false)
	delete(k.items, it.key)
	it.flags &^= queued | hurried // a queue may still hold it, and skips it when its turn comes
	last := k.ring[len(k.ring)-1]
	k.ring[it.place] = last
	last.place = it.place
	k.ring[len(k.ring)-1] = nil
	k.ring = k.ring[:len(k.ring)-1]
	k.account(it, -ItemBytes-len(it.key)-int(it.bytes)*accountUnit)
	it.bytes = 0
}

// account adds to the bytes that an item takes.
func (k *keys) account(it *item, bytes int) {
	k.memory += bytes
	k.slots[it.slot].Bytes += bytes
}

// resize accounts for the size that an item's state has now.
func (k *keys) resize(it *item) {
	units := uint32(min(it.state.Bytes()/accountUnit, math.MaxUint32))
	if units != it.bytes {
		k.account(it, (int(units)-int(it.bytes))*accountUnit)
		it.bytes = units
	}
}

// countMerge counts a write that has changed something.
func (k *keys) countMerge(it *item) {
	k.merges++
	k.slots[it.slot].Writes++
}

// busy returns the busy struct of an item, and gives it one if it has none.
func (k *keys) busy(it *item) *busy {
	if it.busy == nil {
		if n := len(k.spare); n > 0 {
			it.busy, k.spare = k.spare[n-1], k.spare[:n-1]
		} else {
			it.busy = new(busy)
		}
	}
	return it.busy
}

// release takes the busy struct from an item that does not need it.
func (k *keys) release(it *item) {
	if it.busy == nil || !it.busy.idle() {
		return
	}
	if len(k.spare) < spareMax {
		*it.busy = busy{waiters: it.busy.waiters[:0]}
		k.spare = append(k.spare, it.busy)
	}
	it.busy = nil
}

// list lists a key if it has something to show, and else does not list it.
func (k *keys) list(nowMillis int64, it *item) {
	if it.state.Live(nowMillis) == nil {
		k.unlist(it)
	} else {
		k.listCold(it)
	}
}

// listCold lists a key that has something to show as far as is known.
func (k *keys) listCold(it *item) {
	if it.flags.has(listed) {
		return
	}
	it.flags |= listed
	k.countListed(it, 1)
	if !it.flags.has(indexed) {
		it.flags |= indexed
		k.index.add(it)
	}
}

func (k *keys) countListed(it *item, by int) {
	k.listed += by
	k.slots[it.slot].Keys += by
	if k.isReserved(it.key) {
		k.reserved += by
	}
}

func (k *keys) unlist(it *item) {
	if !it.flags.has(listed) {
		return
	}
	it.flags &^= listed
	k.countListed(it, -1)
	if it.flags.has(indexed) && k.index.remove(it) {
		it.flags &^= indexed
	}
}

func (k *keys) setCold(it *item, is bool) {
	if it.flags.has(cold) == is {
		return
	}
	if is {
		it.flags |= cold
		k.cold++
	} else {
		it.flags &^= cold | coldLWW
		k.cold--
	}
}

const (
	// sweepMax bounds the keys that a step looks at in search of something to evict, for each key that it has dealt with.
	sweepMax = 64
	// evictMax bounds the keys that it evicts, for each of these.
	evictMax = 8
)

// evict leaves states to the log while keys take more memory than they may. It goes round over all keys (the CLOCK algorithm); a key
// that was read since the last round is spared once. Dealt is how many keys the step has dealt with.
func (k *keys) evict(dealt, memoryMax int) {
	looked, evicted := 0, 0
	for ; k.memory > memoryMax && looked < sweepMax*dealt && evicted < evictMax*dealt && len(k.ring) > 0; looked++ {
		if k.hand++; k.hand >= len(k.ring) {
			k.hand = 0
		}
		it := k.ring[k.hand]
		if it.used.Load() != 0 {
			it.used.Store(0)
			continue
		}
		if it.flags.has(cold|volatile|collecting|queued|loading) || it.dirty() || it.state.Lattice == nil || it.sequence == 0 {
			continue
		}
		k.evictions++
		evicted++
		k.setCold(it, true)
		if simple(&it.state) {
			it.flags |= coldLWW
		}
		k.unload(it)
	}
}

// unload leaves all that a key holds to the log, which has it. What stayed in memory would outlast the tombstones there, and come back.
func (k *keys) unload(it *item) {
	it.state = lattice.State{}
	k.resize(it)
}
