// Package lattice holds the values that Anna stores: states that merge, so that masters never need to agree before they write.
//
// Merging is associative, commutative and idempotent and never loses what was merged, whatever the order, and nothing here
// reads a clock, draws at random or starts a goroutine. docs/internals/lattices.md is the guide.
package lattice

import (
	"fmt"
	"unsafe"
)

// Type names a kind of lattice; the numbers are those of LatticeType in the schema and of the fields of its State.
type Type uint8

// The types. When masters disagreed about the type of a key, the lowest that has something to show is shown.
const (
	TypeNone Type = iota
	TypeLWW
	TypeSet
	TypeOrderedSet
	TypeCounter
	TypeMax
	TypeMin
	TypePriority
	TypeMap
	TypeCausal
)

var typeNames = [...]string{"none", "lww", "set", "ordered set", "counter", "max", "min", "priority", "map", "causal"}

// String returns the type's name in lower case.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Lattice is one lattice value; the types of this package are all there are. Not safe for concurrent use.
type Lattice interface {
	Type() Type
	// Merge folds other, of the same Type, into the receiver, which shares nothing with it afterwards but immutable bytes. It
	// reports whether the receiver changed, and takes time in the size of other, not of the receiver.
	Merge(other Lattice) (changed bool)
	// Clone returns a copy that shares nothing but immutable bytes.
	Clone() Lattice
	// Equal reports whether both, of the same Type, hold the same.
	Equal(other Lattice) bool
	// Empty reports whether there is nothing to show: no value, no member. The stamps of removed members may still be held.
	Empty() bool
	// Drop forgets the content up to a tombstone's stamp and reports whether the receiver changed.
	Drop(deleted Timestamp) (changed bool)
	// Bytes estimates the memory held. For sets and maps, which can be large, it only reads sums that are kept.
	Bytes() int

	// mergeAfter is Merge of what a tombstone, which the receiver has already been cut by, leaves of other.
	mergeAfter(other Lattice, deleted Timestamp) (changed bool)
	// bottom reports whether nothing at all is held, so that the lattice can be forgotten.
	bottom() bool
	// collect forgets what is only kept to be merged against stamps older than one.
	collect(before Timestamp) (changed bool)
	// complete fills in what the writer of a put left out; held is the same lattice as the store has it, or nil.
	complete(stamp, generation Timestamp, held Lattice)
}

// dropped reports whether a tombstone covers content with a stamp of its own.
func dropped(stamp, deleted Timestamp) bool {
	return !deleted.IsZero() && !deleted.Less(stamp)
}

// superseded reports whether a tombstone covers content whose writers knew the tombstone generation.
func superseded(generation, deleted Timestamp) bool {
	return generation.Less(deleted)
}

// bytesOf returns the bytes of a string without a copy. The caller must not change them.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// viewOf returns bytes as a string without a copy, for a look-up that does not keep it.
func viewOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// allocated estimates what the allocator takes for an object of n bytes: its size classes are 8 bytes apart up to 32, 16 up to
// 256 and about an eighth above.
func allocated(n int) int {
	switch {
	case n <= 32:
		return (n + 7) &^ 7
	case n <= 256:
		return (n + 15) &^ 15
	}
	return n + min(n/16, 4<<10)
}

// later returns the later of two stamps.
func later(a, b Timestamp) Timestamp {
	if a.Less(b) {
		return b
	}
	return a
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
