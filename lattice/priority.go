package lattice

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"unsafe"
)

// Priority holds the value of the lowest priority, and of those with one priority that with the lowest bytes. Generation: see
// Counter.
type Priority struct {
	Generation Timestamp
	Priority   float64 // a number, and not the negative zero
	Value      []byte  // immutable
	none       bool    // dropped; the rest is zero
}

// PriorityPut returns the delta of writing a value, which must not change afterwards, to what is held. The priority must be a
// number, or it returns an error wrapping ErrScore.
func PriorityPut(held *State, priority float64, value []byte) (*State, error) {
	if math.IsNaN(priority) {
		return nil, fmt.Errorf("priority of a value: %w", ErrScore)
	}
	return &State{Lattice: &Priority{Generation: held.Generation(TypePriority), Priority: priority + 0, Value: value}}, nil
}

// Type implements Lattice.
func (p *Priority) Type() Type { return TypePriority }

func (p *Priority) compare(other *Priority) int {
	return cmp.Or(cmp.Compare(p.Priority, other.Priority), bytes.Compare(p.Value, other.Value))
}

// Merge implements Lattice.
func (p *Priority) Merge(other Lattice) bool { return p.mergeAfter(other, Timestamp{}) }

func (p *Priority) mergeAfter(other Lattice, deleted Timestamp) bool {
	o := other.(*Priority)
	if o.none || superseded(o.Generation, deleted) {
		return false
	}
	if !p.none && cmp.Or(o.Generation.Compare(p.Generation), p.compare(o)) <= 0 {
		return false
	}
	*p = *o
	return true
}

// Clone implements Lattice.
func (p *Priority) Clone() Lattice {
	c := *p
	return &c
}

// Equal implements Lattice.
func (p *Priority) Equal(other Lattice) bool {
	o := other.(*Priority)
	return p.none == o.none && p.Generation == o.Generation && p.compare(o) == 0
}

// Empty implements Lattice.
func (p *Priority) Empty() bool { return p.none }

func (p *Priority) bottom() bool { return p.none }

// Drop implements Lattice.
func (p *Priority) Drop(deleted Timestamp) bool {
	if p.none || !superseded(p.Generation, deleted) {
		return false
	}
	*p = Priority{none: true}
	return true
}

// Bytes implements Lattice.
func (p *Priority) Bytes() int { return allocated(int(unsafe.Sizeof(*p))) + allocated(cap(p.Value)) }

func (p *Priority) collect(Timestamp) bool { return false }

func (p *Priority) generation() Timestamp { return p.Generation }

func (p *Priority) complete(_, generation Timestamp, _ Lattice) {
	if p.Generation.IsZero() {
		p.Generation = generation
	}
}
