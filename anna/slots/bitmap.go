package slots

import "math/bits"

// Bitmap is a bit for every slot.
type Bitmap []byte

// NewBitmap returns one for so many slots, with none set.
func NewBitmap(slots int) Bitmap { return make(Bitmap, (slots+7)/8) }

// Has reports whether the slot is set. A slot beyond the bitmap's end is not.
func (b Bitmap) Has(slot uint16) bool {
	return int(slot/8) < len(b) && b[slot/8]&(1<<(slot%8)) != 0
}

// Add sets all slots that another bitmap has set.
func (b Bitmap) Add(other []byte) {
	for i := range min(len(b), len(other)) {
		b[i] |= other[i]
	}
}

// Count returns how many slots are set.
func (b Bitmap) Count() (n int) {
	for _, eight := range b {
		n += bits.OnesCount8(eight)
	}
	return n
}

// Set sets a slot.
func (b Bitmap) Set(slot uint16) { b[slot/8] |= 1 << (slot % 8) }

// Unset sets a slot no longer.
func (b Bitmap) Unset(slot uint16) { b[slot/8] &^= 1 << (slot % 8) }
