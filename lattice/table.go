package lattice

import (
	"cmp"
	"hash/maphash"
	"slices"
	"unsafe"
)

const (
	// tableScanMax is up to how many entries a table is searched one by one: an index would cost more than it saves.
	tableScanMax = 16
	// tableLoad is how full an index gets, in eighths.
	tableLoad = 6
)

// table maps strings to small values, in the order of their arrival: so it is walked and encoded the same way every time,
// copied as two blocks of memory, and takes a third less than a Go map.
type table[V any] struct {
	entries []entry[V]
	// index is an open-addressed table of entries: the upper half of a slot is the hash, the lower the position plus one. Nil
	// while there are few.
	index []uint64
	// seed keeps others from choosing keys that collide. It is never observable.
	seed     maphash.Seed
	keyBytes int
}

type entry[V any] struct {
	key   string
	value V
}

func (t *table[V]) len() int { return len(t.entries) }

// find returns the position of a key, or -1.
func (t *table[V]) find(key string) int {
	if t.index == nil {
		for i := range t.entries {
			if t.entries[i].key == key {
				return i
			}
		}
		return -1
	}
	hash := uint32(maphash.String(t.seed, key))
	mask := uint32(len(t.index) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		slot := t.index[at]
		if slot == 0 {
			return -1
		}
		if position := uint32(slot) - 1; uint32(slot>>32) == hash && t.entries[position].key == key {
			return int(position)
		}
	}
}

// guess returns the position of the one entry that a key may be at, or -1 when it is not there or not worth a guess. Unlike find it
// does not look at the entry.
func (t *table[V]) guess(key string) int {
	if t.index == nil {
		return -1
	}
	hash := uint32(maphash.String(t.seed, key))
	mask := uint32(len(t.index) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		if slot := t.index[at]; slot == 0 || uint32(slot>>32) == hash {
			return int(uint32(slot)) - 1
		}
	}
}

// add appends an entry whose key is not there yet and returns its position.
func (t *table[V]) add(key string, value V) int {
	t.entries = append(t.entries, entry[V]{key, value})
	t.keyBytes += allocated(len(key))
	n := len(t.entries)
	switch {
	case n <= tableScanMax:
	case n*8 > len(t.index)*tableLoad:
		t.grow()
	default:
		t.insert(uint32(maphash.String(t.seed, key)), n)
	}
	return n - 1
}

func (t *table[V]) insert(hash uint32, position int) {
	mask := uint32(len(t.index) - 1)
	at := hash & mask
	for t.index[at] != 0 {
		at = (at + 1) & mask
	}
	t.index[at] = uint64(hash)<<32 | uint64(uint32(position))
}

// grow makes an index with room for as many entries again.
func (t *table[V]) grow() {
	if t.index == nil {
		t.rebuild()
		return
	}
	old := t.index
	t.index = make([]uint64, 2*len(old))
	for _, slot := range old {
		if slot != 0 {
			t.insert(uint32(slot>>32), int(uint32(slot)))
		}
	}
	// The newest entry is not in the old index.
	t.insert(uint32(maphash.String(t.seed, t.entries[len(t.entries)-1].key)), len(t.entries))
}

// rebuild makes the index from the entries.
func (t *table[V]) rebuild() {
	t.index = nil
	if len(t.entries) <= tableScanMax {
		return
	}
	if t.seed == (maphash.Seed{}) {
		t.seed = maphash.MakeSeed()
	}
	slots := 4 * tableScanMax
	for len(t.entries)*8 > slots*tableLoad {
		slots *= 2
	}
	t.index = make([]uint64, slots)
	for i := range t.entries {
		t.insert(uint32(maphash.String(t.seed, t.entries[i].key)), i+1)
	}
}

// retain keeps the entries for which keep is true, in their order, and reports whether one went.
func (t *table[V]) retain(keep func(*entry[V]) bool) bool {
	kept := t.entries[:0]
	for i := range t.entries {
		if e := &t.entries[i]; keep(e) {
			kept = append(kept, *e)
		} else {
			t.keyBytes -= allocated(len(e.key))
		}
	}
	if len(kept) == len(t.entries) {
		return false
	}
	clear(t.entries[len(kept):])
	t.entries = kept
	if cap(kept) > 4*len(kept) {
		t.entries = slices.Clone(kept)
	}
	t.rebuild()
	return true
}

func (t *table[V]) clone() table[V] {
	c := *t
	c.entries = slices.Clone(t.entries)
	c.index = slices.Clone(t.index)
	return c
}

// bytes estimates the memory of keys, entries and index.
func (t *table[V]) bytes() int {
	var e entry[V]
	return t.keyBytes + allocated(cap(t.entries)*int(unsafe.Sizeof(e))) + 8*len(t.index)
}

// sorted returns the positions of the entries in the order of their keys.
func (t *table[V]) sorted() []int {
	order := make([]int, len(t.entries))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(t.entries[a].key, t.entries[b].key) })
	return order
}
