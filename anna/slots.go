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

// Plan is what a member goes by when it decides what it is to be to the slots.
type Plan struct {
	Table Slots
	Self  string
	// Served reports whether a member says that it serves a slot, and Led whether another than this one says that it leads it.
	Served func(member string, slot uint16) bool
	Led    func(slot uint16) bool
	// CutOff says that the others may take this member for gone.
	CutOff bool
}

// Moves are the slots of which a member has to become something else.
type Moves struct {
	// Gained are to be loaded and then served, and Left can be given up, since others serve them.
	Gained, Left []uint16
	// Leading, Serving and Parting are what it is to be to those that it serves.
	Leading, Serving, Parting []uint16
}

// Tenure returns what the member is to be to a slot: Leading, Serving or Stranger. It leads none that another says it leads, nor any
// while the others may take it for gone.
func (p *Plan) Tenure(slot uint16) Tenure {
	switch at := slices.Index(p.Table[slot], p.Self); {
	case at < 0:
		return Stranger
	case at == 0 && !p.CutOff && !p.Led(slot):
		return Leading
	}
	return Serving
}

// Moves returns what is to be done, given what the member is to every slot.
func (p *Plan) Moves(tenures []Tenure) (m Moves) {
	for i, masters := range p.Table {
		slot := uint16(i)
		want, now := p.Tenure(slot), tenures[slot]
		switch {
		case now == Stranger && want != Stranger:
			m.Gained = append(m.Gained, slot)
		case want == Stranger && (now == Leading || now == Serving):
			m.Parting = append(m.Parting, slot)
		case want == Stranger && now == Parting:
			if len(masters) > 0 && !slices.ContainsFunc(masters, func(m string) bool { return !p.Served(m, slot) }) {
				m.Left = append(m.Left, slot)
			}
		case want == Leading && now != Leading:
			m.Leading = append(m.Leading, slot)
		case want == Serving && now != Serving:
			m.Serving = append(m.Serving, slot)
		}
	}
	return m
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
