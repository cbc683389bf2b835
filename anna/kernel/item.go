package kernel

import (
	"slices"
	"sync/atomic"
	"unsafe"

	"cloudburst/lattice"
)

// item is a key in a kernel. There are millions of them, so what few have at a time is in busy.
type item struct {
	key   string
	state lattice.State
	busy  *busy
	// sequence is that of the last record in the log that holds something of the key, and base one before which the log holds nothing
	// of it that is needed: 0 = it holds nothing. Where more than that one record is needed they are in Kernel.places.
	sequence, base uint64
	logged         uint32        // about how many bytes of the log are needed
	bytes          uint32        // of the state, as accounted; in units of accountUnit
	place          uint32        // in Kernel.ring
	used           atomic.Uint32 // not zero = read since the last sweep
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
	// loading: a Load is under way.
	loading
	// listed: there is something to show, or was when the key became cold.
	listed
	// indexed: in the index, or on its way into it.
	indexed
	// rewrite: the whole state is to be published again, so that what the log holds of the key is not needed any more.
	rewrite
	// hurried: in the urgent queue.
	hurried
	// fading: waits for its tombstone to be collected.
	fading
	// scattered: more than one record in the log is needed.
	scattered
)

const accountUnit = 16

// ItemBytes is about what a key takes in memory beside its name and its state: the item, and its places in map, ring and index.
const ItemBytes = int(unsafe.Sizeof(item{})) + 64

func (f flags) has(g flags) bool { return f&g != 0 }

// busy is what an item has while something is going on with it.
type busy struct {
	// delta is what changed since the last publish, unless the whole state is to be published.
	delta *lattice.State
	// pending is the size of what changed since the last publish.
	pending int
	flight  *flight
	// waiters wait for what changed since the last publish to be durable.
	waiters []*waiter
	caches  []uint16
	parked  []parked
	uploads []string
	// heard is of other masters, and has not come by the log.
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

// flight is what a publish that has not been answered says of an item.
type flight struct {
	publication *publication
	delta       *lattice.State // nil when it was the whole state
	bytes       int
	whole       bool // it was the whole state, in which every record of the key up to publication.since is merged
	waiters     []*waiter
}

// publication is a publish that has not been answered.
type publication struct {
	id    uint64
	items []*item // each has a flight with it
	since uint64  // nothing of it lies before
	large bool    // one that takes long, and does not count
	alive int64   // when it was last heard of, if it takes long; 0 = it does not
}

// waiter is a durable write that has not been answered, or one to memory that waits because writers are far ahead of the log.
type waiter struct {
	it       *item
	ticket   any
	value    int64
	deadline int64
	memory   bool
	answered bool
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

// named takes note that a record names pieces. The item must have a busy.
func (it *item) named(upload string) {
	if !slices.Contains(it.busy.uploads, upload) {
		it.busy.uploads = append(it.busy.uploads, upload)
	}
}

// pieces reports whether a record that is needed may name pieces.
func (it *item) pieces() bool { return it.busy != nil && len(it.busy.uploads) > 0 }

func (it *item) watched() bool { return it.cache != 0 }

func (it *item) watchedBy(cache uint16) bool {
	return it.cache == cache || it.busy != nil && slices.Contains(it.busy.caches, cache)
}

func (it *item) touch() {
	if it.used.Load() == 0 {
		it.used.Store(1)
	}
}
