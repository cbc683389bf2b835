package kernel

import (
	"cmp"
	"slices"

	"cloudburst/anna/slots"
)

// The log of a partition only grows at its end, and only shrinks at its beginning. A record that holds a key's whole state makes
// those superfluous that are merged in it (item.base). So before the log's first part is cut off, what is still needed of it is
// written again, at the end: as in a log-structured file system, what that costs depends on how much of the part is still needed,
// and the parts that are cut off are chosen such that it is little.
//
// Guarded by what a record says it is made of: of several masters, each publishes what it has merged, and another's record that it has
// not may lie before its own.
//
//	cut off │ superfluous, or written again │ kept
//	        first                       target                 end
const (
	// sweepPause is between two looks at some keys, in microseconds; sweepKeys bounds how many one is at, and sweepRewrites how many
	// of them are written again.
	sweepPause    = 5000
	sweepKeys     = 4096
	sweepRewrites = 128
	// sweepLoads bounds those that are not in memory, and sweepBacklog what may wait to be published before it goes on.
	sweepLoads   = 8
	sweepBacklog = 4096
	// entryBytes is about what a key takes in a record beside itself and its state.
	entryBytes = 32
)

// compaction is a pass over all keys, in which the kernel finds out from where on the log is needed, and has written again what is
// to be.
type compaction struct {
	active bool
	hand   int   // keys from here on have been looked at
	next   int64 // when to go on, in elapsed time
}

// Floor returns a sequence before which no record of a partition is needed by any key that the kernel holds; 0 when that is not
// known. Once true of a slot it remains so, whoever its masters are. Several goroutines may call it at once.
func (k *Kernel) Floor(partition int) uint64 { return k.partitions[partition].floor }

// Items returns how many keys the kernel knows of in a partition, those that are deleted among them. Several goroutines may call it
// at once.
func (k *Kernel) Items(partition int) int { return k.partitions[partition].items }

// Needed returns about how many bytes of a partition's log are needed by the keys that the kernel holds. Several goroutines may call
// it at once.
func (k *Kernel) Needed(partition int) int { return k.partitions[partition].needed }

func (k *Kernel) compact(m *Compact) {
	p := k.partitions[m.Partition]
	p.target = max(p.target, min(m.Target, p.applied+1))
	if k.compaction.active || p.floor >= p.target {
		return
	}
	k.compaction = compaction{active: true, hand: len(k.ring), next: k.elapsed}
	for _, p := range k.partitions {
		if p != nil {
			// Whatever is published from now on lies after this.
			p.lowest = p.applied + 1
		}
	}
}

// sweep goes on with the pass over all keys.
func (k *Kernel) sweep(now int64, out *Effects) {
	c := &k.compaction
	if !c.active || c.next > k.elapsed {
		return
	}
	c.next = k.elapsed + sweepPause
	c.hand = min(c.hand, len(k.ring))
	rewrites, loads := 0, 0
	for range sweepKeys {
		if c.hand == 0 {
			k.swept()
			break
		}
		if rewrites >= sweepRewrites || loads >= sweepLoads {
			break
		}
		// From the end, since a key that is forgotten leaves its place to the last.
		c.hand--
		it := k.ring[c.hand]
		p := k.partition(it.slot)
		if b := it.busy; b != nil && b.flight != nil {
			p.lowest = min(p.lowest, b.flight.publication.since+1)
		}
		if it.base == 0 {
			continue
		}
		p.lowest = min(p.lowest, it.base)
		if it.base < p.target && k.Tenure(it.slot) == slots.Leading { // others wait for whoever leads
			if p.lazy.count >= sweepBacklog {
				c.hand++
				break
			}
			if it.flags.has(cold) {
				loads++
			}
			k.rewrite(it, out)
			rewrites++
		}
	}
	for _, p := range k.partitions {
		if p != nil {
			k.pump(now, p, out)
		}
	}
}

// swept ends a pass.
func (k *Kernel) swept() {
	k.compaction.active = false
	for _, p := range k.partitions {
		if p != nil {
			p.floor = max(p.floor, p.lowest)
		}
	}
}

// rewrite has the whole state of a key published again, so that no earlier record of it is needed.
func (k *Kernel) rewrite(it *item, out *Effects) {
	it.flags |= rewrite
	if it.flags.has(cold) {
		k.load(it, out)
		return
	}
	k.more(it)
	k.enqueue(k.partition(it.slot), it, false)
}

// need takes note of from where on the log is needed for a key, and of about how many bytes of it.
func (k *Kernel) need(it *item, base uint64, bytes int) {
	p := k.partition(it.slot)
	logged := uint32(min(bytes, 1<<31))
	p.needed += int(logged) - int(it.logged)
	it.base, it.logged = base, logged
	if base != 0 {
		p.floor, p.lowest = min(p.floor, base), min(p.lowest, base)
	}
}

// place is where a record lies, or its pieces, if what it says of a key is in pieces: those lie before it, and after start.
type place struct{ sequence, start uint64 }

// recorded takes note of a record of a key: it is that of a sequence, says so many bytes of the key, and lies after since together with
// the pieces of its state, if it is in pieces. A whole one has all records of the key up to since merged in it. It reports whether those
// are all that there are before it.
func (k *Kernel) recorded(it *item, sequence, since uint64, whole, pieces bool, bytes int) (alone bool) {
	added := place{sequence, sequence}
	if pieces {
		added.start = since + 1
	}
	bytes += len(it.key) + entryBytes
	if alone = whole && it.sequence <= since && it.sequence < sequence; alone {
		it.sequence = sequence
		k.scatter(it, nil)
		k.need(it, added.start, bytes)
		return true
	}
	places := k.placesOf(it)
	base := added.start
	if whole || sequence <= it.sequence {
		places, base = added.among(places, since, whole)
	} else {
		places = append(places, added) // as most are; there may be many
		if it.base != 0 {
			base = min(base, it.base)
		}
	}
	it.sequence = max(it.sequence, sequence)
	k.scatter(it, places)
	if len(places) > 1 {
		bytes += int(it.logged)
	}
	k.need(it, base, bytes)
	return false
}

// among puts a place among others in their order, in the stead of what it makes superfluous, and returns before which sequence nothing is
// needed then.
func (p place) among(places []place, since uint64, whole bool) ([]place, uint64) {
	places = slices.DeleteFunc(places, func(q place) bool { return q.sequence == p.sequence || whole && q.sequence <= since })
	at, _ := slices.BinarySearchFunc(places, p, place.compare)
	places = slices.Insert(places, at, p)
	base := p.start
	for _, q := range places {
		base = min(base, q.start)
	}
	return places, base
}

func (p place) compare(q place) int { return cmp.Compare(p.sequence, q.sequence) }

// placesOf returns where the records of a key lie that make its state, in their order.
func (k *Kernel) placesOf(it *item) []place {
	switch {
	case it.flags.has(scattered):
		return k.places[it]
	case it.sequence == 0:
		return nil
	}
	return []place{{it.sequence, it.base}}
}

// knows reports whether a record of a key need not be looked at: it is known, or was made superfluous.
func (k *Kernel) knows(it *item, sequence uint64) bool {
	if sequence < it.base {
		return true
	}
	if !it.flags.has(scattered) {
		return sequence == it.sequence
	}
	_, known := slices.BinarySearchFunc(k.places[it], place{sequence: sequence}, place.compare)
	return known
}

// scatter takes note of where the records of a key lie, if it needs more than its last one.
func (k *Kernel) scatter(it *item, places []place) {
	switch {
	case len(places) > 1:
		k.places[it] = places
		it.flags |= scattered
	case it.flags.has(scattered):
		delete(k.places, it)
		it.flags &^= scattered
	}
}
