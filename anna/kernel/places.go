package kernel

import (
	"cmp"
	"slices"
)

// places knows which records of the log are needed, by key. Where it is one record, the item says which.
type places struct {
	partitions *partitions
	scattered  map[*item][]place // of the keys that need more than their last record, in order
}

// place is where a record lies. If what it says of a key is in chunks, these lie before it, from start on.
type place struct{ sequence, start uint64 }

func (p place) compare(q place) int { return cmp.Compare(p.sequence, q.sequence) }

// entryBytes is about what a key takes in a record beside itself and its state.
const entryBytes = 32

// add takes note of a record of a key: its sequence, the sequence that it and its chunks come after, whether it is whole, whether its
// state is in chunks, and how many bytes it says of the key. A whole record has all records of the key up to since merged in it.
// It reports whether these are all that there are before it.
func (p *places) add(it *item, sequence, since uint64, whole, chunked bool, bytes int) (alone bool) {
	added := place{sequence, sequence}
	if chunked {
		added.start = since + 1
	}
	bytes += len(it.key) + entryBytes
	if alone = whole && it.sequence <= since && it.sequence < sequence; alone {
		it.sequence = sequence
		p.set(it, nil)
		p.partitions.of(it.slot).need(it, added.start, bytes)
		return true
	}
	needed := p.of(it)
	base := added.start
	if whole || sequence <= it.sequence {
		needed, base = added.among(needed, since, whole)
	} else {
		needed = append(needed, added) // as most are; there may be many
		if it.base != 0 {
			base = min(base, it.base)
		}
	}
	it.sequence = max(it.sequence, sequence)
	p.set(it, needed)
	if len(needed) > 1 {
		bytes += int(it.logged)
	}
	p.partitions.of(it.slot).need(it, base, bytes)
	return false
}

// among puts a place among others in their order, without those that it makes superfluous. It also returns the sequence before which
// nothing is needed then.
func (p place) among(others []place, since uint64, whole bool) ([]place, uint64) {
	others = slices.DeleteFunc(others, func(q place) bool { return q.sequence == p.sequence || whole && q.sequence <= since })
	at, _ := slices.BinarySearchFunc(others, p, place.compare)
	others = slices.Insert(others, at, p)
	base := p.start
	for _, q := range others {
		base = min(base, q.start)
	}
	return others, base
}

// of returns where the records of a key lie that make its state, in their order.
func (p *places) of(it *item) []place {
	switch {
	case it.flags.has(scattered):
		return p.scattered[it]
	case it.sequence == 0:
		return nil
	}
	return []place{{it.sequence, it.base}}
}

// knows reports whether a record of a key need not be looked at: it is known, or not needed any more.
func (p *places) knows(it *item, sequence uint64) bool {
	if sequence < it.base {
		return true
	}
	if !it.flags.has(scattered) {
		return sequence == it.sequence
	}
	_, known := slices.BinarySearchFunc(p.scattered[it], place{sequence: sequence}, place.compare)
	return known
}

// within reports whether all records that are needed of a key are among some sequences, which are in order.
func (p *places) within(it *item, sequences []uint64) bool {
	return !slices.ContainsFunc(p.of(it), func(q place) bool {
		_, among := slices.BinarySearch(sequences, q.sequence)
		return !among
	})
}

// set takes note of where the records of a key lie, if it needs more than its last one.
func (p *places) set(it *item, needed []place) {
	switch {
	case len(needed) > 1:
		p.scattered[it] = needed
		it.flags |= scattered
	case it.flags.has(scattered):
		delete(p.scattered, it)
		it.flags &^= scattered
	}
}

// forget takes note that no record of a key is needed.
func (p *places) forget(it *item) {
	p.set(it, nil)
	p.partitions.of(it.slot).need(it, 0, 0)
}
