package lattice

import (
	"cmp"
	"unsafe"
)

// Max holds the largest of all integers written. Integers, as in the interface that was published for Python, are exact and
// totally ordered, and a float64 that is neither can be kept by a Priority. Generation: see Counter.
type Max extreme

// Min holds the smallest of all integers written.
type Min extreme

type extreme struct {
	Generation Timestamp
	Value      int64
	none       bool // dropped; the rest is zero
}

// MaxPut returns the delta of writing an integer to the maximum that is held.
func MaxPut(held *State, value int64) *State {
	return &State{Lattice: &Max{Generation: held.Generation(TypeMax), Value: value}}
}

// MinPut returns the delta of writing an integer to the minimum that is held.
func MinPut(held *State, value int64) *State {
	return &State{Lattice: &Min{Generation: held.Generation(TypeMin), Value: value}}
}

// merge takes the later generation, and of one generation the value for which order is 1.
func (e *extreme) merge(o *extreme, deleted Timestamp, order int) bool {
	if o.none || superseded(o.Generation, deleted) {
		return false
	}
	if !e.none && cmp.Or(o.Generation.Compare(e.Generation), order*cmp.Compare(o.Value, e.Value)) <= 0 {
		return false
	}
	*e = *o
	return true
}

func (e *extreme) drop(deleted Timestamp) bool {
	if e.none || !superseded(e.Generation, deleted) {
		return false
	}
	*e = extreme{none: true}
	return true
}

func (e *extreme) complete(generation Timestamp) {
	if e.Generation.IsZero() {
		e.Generation = generation
	}
}

const extremeBytes = int(unsafe.Sizeof(extreme{}))

// Type implements Lattice.
func (m *Max) Type() Type { return TypeMax }

// Merge implements Lattice.
func (m *Max) Merge(other Lattice) bool { return m.mergeAfter(other, Timestamp{}) }

// Clone implements Lattice.
func (m *Max) Clone() Lattice {
	c := *m
	return &c
}

// Equal implements Lattice.
func (m *Max) Equal(other Lattice) bool { return *m == *other.(*Max) }

// Empty implements Lattice.
func (m *Max) Empty() bool { return m.none }

// Drop implements Lattice.
func (m *Max) Drop(deleted Timestamp) bool { return (*extreme)(m).drop(deleted) }

// Bytes implements Lattice.
func (m *Max) Bytes() int { return allocated(extremeBytes) }

func (m *Max) mergeAfter(other Lattice, deleted Timestamp) bool {
	return (*extreme)(m).merge((*extreme)(other.(*Max)), deleted, 1)
}
func (m *Max) bottom() bool                                { return m.none }
func (m *Max) collect(Timestamp) bool                      { return false }
func (m *Max) generation() Timestamp                       { return m.Generation }
func (m *Max) complete(_, generation Timestamp, _ Lattice) { (*extreme)(m).complete(generation) }

// Type implements Lattice.
func (m *Min) Type() Type { return TypeMin }

// Merge implements Lattice.
func (m *Min) Merge(other Lattice) bool { return m.mergeAfter(other, Timestamp{}) }

// Clone implements Lattice.
func (m *Min) Clone() Lattice {
	c := *m
	return &c
}

// Equal implements Lattice.
func (m *Min) Equal(other Lattice) bool { return *m == *other.(*Min) }

// Empty implements Lattice.
func (m *Min) Empty() bool { return m.none }

// Drop implements Lattice.
func (m *Min) Drop(deleted Timestamp) bool { return (*extreme)(m).drop(deleted) }

// Bytes implements Lattice.
func (m *Min) Bytes() int { return allocated(extremeBytes) }

func (m *Min) mergeAfter(other Lattice, deleted Timestamp) bool {
	return (*extreme)(m).merge((*extreme)(other.(*Min)), deleted, -1)
}
func (m *Min) bottom() bool                                { return m.none }
func (m *Min) collect(Timestamp) bool                      { return false }
func (m *Min) generation() Timestamp                       { return m.Generation }
func (m *Min) complete(_, generation Timestamp, _ Lattice) { (*extreme)(m).complete(generation) }
