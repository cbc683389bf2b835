package anna

import (
	"cmp"
	"math/bits"
	"slices"
)

// Slots says which members are to be the masters of every slot: for each the first so many of all members in an order of its own
// (rendezvous hashing). Everybody who knows the same members makes the same table, and one that joins or leaves moves no slot
// but those that it gets or had.
type Slots [][]string

// NewSlots returns the table for some members. The first of a slot's masters leads.
func NewSlots(slots, masters int, members []string) Slots {
	type ranked struct {
		member string
		weight uint64
	}
	hashes := make([]uint64, len(members))
	for i, m := range members {
		hashes[i] = hashName(m)
	}
	table := make(Slots, slots)
	order := make([]ranked, len(members))
	for slot := range table {
		for i, m := range members {
			order[i] = ranked{m, mix(hashes[i] ^ mix(uint64(slot)+1))}
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

func hashName(member string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(member) {
		h = (h ^ uint64(member[i])) * 1099511628211
	}
	return mix(h)
}

// mix spreads the bits of a number over all of it (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// bitmap is a bit for every slot.
type bitmap []byte

func newBitmap(slots int) bitmap { return make(bitmap, (slots+7)/8) }

func (b bitmap) has(slot uint16) bool {
	return int(slot/8) < len(b) && b[slot/8]&(1<<(slot%8)) != 0
}

func (b bitmap) add(other []byte) {
	for i := range min(len(b), len(other)) {
		b[i] |= other[i]
	}
}

func (b bitmap) count() (n int) {
	for _, eight := range b {
		n += bits.OnesCount8(eight)
	}
	return n
}

func (b bitmap) set(slot uint16) { b[slot/8] |= 1 << (slot % 8) }
