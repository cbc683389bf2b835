package kernel

import (
	"slices"
	"sync/atomic"
	"unsafe"

	"cloudburst/lattice"
)

// item is a key in a kernel. There are millions of them, so what few of them need at a time is in busy.
type item struct {
	key   string
	state lattice.State
	busy  *busy
	// sequence is that of the last record in the log that holds something of the key; 0 = there is none. No record before base is
	// needed for the key. Where more than that one record is needed they are in places.scattered.
	sequence, base uint64
	logged         uint32        // about how many bytes of the log are needed
	bytes          uint32        // of the state, as accounted; in units of accountUnit
	place          uint32        // in keys.ring
	used           atomic.Uint32 // not zero = read since evict came by; readers set it, several at once
	cache          uint16        // the one cache that watches the key; further ones are in busy
	slot           uint16
	flags          flags
}

type flags uint16

const (
	// changed: the whole state is to be published.
	changed flags = 1 << iota
	// queued: in a queue of its partition.
	queued
	// volatile: holds content that is not in the log and is not to be.
	volatile
	// cold: the log holds something of the key that is not merged into the state here, since it was evicted or is in chunks.
	cold
	// coldLWW: what is cold is a last-writer-wins value, and the clock is ahead of its stamp.
	coldLWW
	// loading: a Load has not been answered.
	loading
	// listed: there is something to show, or was when the key became cold.
	listed
	// indexed: in the index, or on its way into it.
	indexed
	// rewrite: the whole state is to be published again, so that no earlier record of the key is needed.
	rewrite
	// hurried: in the urgent queue.
	hurried
	// collecting: waits for its tombstone to be collected.
	collecting
	// scattered: more than one record in the log is needed.
	scattered
)

const accountUnit = 16

// ItemBytes is about what a key takes in memory beside its name and its state: the item, and its places in map, ring and index.
const ItemBytes = int(unsafe.Sizeof(item{})) + 64

func (f flags) has(g flags) bool { return f&g != 0 }

// busy is what an item needs while something waits for it or it waits for something.
type busy struct {
	// delta is what has changed since the last publish, unless the whole state is to be published.
	delta *lattice.State
	// pending is the size of what has changed since the last publish.
	pending int
	flight  *flight
	// waiters wait for what has changed since the last publish to be durable.
	waiters []*waiter
	caches  []uint16
	parked  []parked
	uploads []string
	// heard has been merged from other masters, and the log has not brought it.
	heard []heard
	// at is when the content expires, in Unix milliseconds, and place is where in the heap, plus one.
	at    int64
	place int
}

func (b *busy) idle() bool {
	return b.delta == nil && b.pending == 0 && b.flight == nil &&
		len(b.waiters) == 0 && len(b.caches) == 0 && len(b.parked) == 0 &&
		len(b.uploads) == 0 && len(b.heard) == 0 && b.place == 0
}

// parked is what waits for a key to be loaded.
type parked struct {
	write  Write // without a Key for the others
	ticket any   // of a Read
	cache  uint16
}

// dirty reports whether something is not in the log that is to be.
func (it *item) dirty() bool {
	return it.flags.has(changed) || it.busy != nil && (it.busy.delta != nil || it.busy.flight != nil || len(it.busy.heard) > 0)
}

// inLog reports whether the log holds something of the key, or will.
func (it *item) inLog() bool { return it.sequence != 0 || it.dirty() }

// addUpload takes note that a record of the key names chunks. The item must have a busy.
func (it *item) addUpload(upload string) {
	if !slices.Contains(it.busy.uploads, upload) {
		it.busy.uploads = append(it.busy.uploads, upload)
	}
}

// supersede asks for the removal of the chunks of records that are not needed any more. Those of the record that has replaced them, if
// it has any, are kept: the log may have brought that record already.
func (it *item) supersede(partition int, own string, out *Effects) {
	if it.busy == nil || len(it.busy.uploads) == 0 {
		return
	}
	for _, name := range it.busy.uploads {
		if name != own {
			out.Superseded = append(out.Superseded, Upload{Slot: it.slot, Partition: partition, Name: name})
		}
	}
	it.busy.uploads = nil
}

// touch makes evict spare the item once.
func (it *item) touch() {
	if it.used.Load() == 0 {
		it.used.Store(1)
	}
}

// tombstone reports whether a state holds nothing but its deletion, or not even that: what was removed member by member.
func tombstone(s *lattice.State) bool { return s.Lattice == nil }

// simple reports whether a state is no more than a value, which the next one replaces.
func simple(s *lattice.State) bool {
	return len(s.Others()) == 0 && (s.Lattice == nil || s.Lattice.Type() == lattice.TypeLWW)
}

// whole reports whether a state is one that is published whole, since its deltas are no smaller.
func whole(s *lattice.State) bool {
	if simple(s) {
		return true
	}
	c, ok := s.Lattice.(*lattice.Counter)
	return ok && len(s.Others()) == 0 && c.Len() <= wholeCountsMax
}

// wholeCountsMax is up to how many writers a counter is published whole.
const wholeCountsMax = 4
