// Package slots decides which members of the store serve which slots of it: pure functions and types, without clock, I/O, goroutine
// or lock.
package slots

import (
	"cmp"
	"slices"
)

// Table says which members are to be the masters of every slot: for each the first so many of all members in an order of its own
// (rendezvous hashing). Everybody who knows the same members makes the same table, and one that joins or leaves moves no slot
// but those that it gets or had.
type Table [][]string

// NewTable returns the table for some members. The first of a slot's masters leads.
func NewTable(slots, masters int, members []string) Table {
	type ranked struct {
		member string
		weight uint64
	}
	hashes := make([]uint64, len(members))
	for i, m := range members {
		hashes[i] = Hash(m)
	}
	table := make(Table, slots)
	order := make([]ranked, len(members))
	for slot := range table {
		for i, m := range members {
			order[i] = ranked{m, Mix(hashes[i] ^ Mix(uint64(slot)+1))}
		}
		slices.SortFunc(order, func(a, b ranked) int {
			return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.member, b.member))
		})
		chosen := make([]string, min(masters, len(order)))
		for i := range chosen {
			chosen[i] = order[i].member
		}
		table[slot] = chosen
	}
	return table
}

// Hash returns a number for a name (FNV-1a, mixed).
func Hash(member string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(member) {
		h = (h ^ uint64(member[i])) * 1099511628211
	}
	return Mix(h)
}

// Mix spreads the bits of a number over all of it (the finalizer of SplitMix64).
func Mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
