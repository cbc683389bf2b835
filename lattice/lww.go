package lattice

import "bytes"

// LWW holds the value written last. Equal stamps are ordered by the bytes of the value, so that replicas agree whatever order
// they hear of two writes in.
type LWW struct {
	Timestamp Timestamp
	Value     []byte // immutable
}

const lwwBytes = 40

// Put returns the delta of writing a value, which must not change afterwards.
func Put(stamp Timestamp, value []byte) *State {
	return newLWWState(LWW{Timestamp: stamp, Value: value})
}

// lwwState is the commonest state, in one piece.
type lwwState struct {
	State
	lww LWW
}

func newLWWState(l LWW) *State {
	s := &lwwState{lww: l}
	s.Lattice = &s.lww
	return &s.State
}

// Type implements Lattice.
func (l *LWW) Type() Type { return TypeLWW }

func (l *LWW) compare(other *LWW) int {
	if c := l.Timestamp.Compare(other.Timestamp); c != 0 {
		return c // without a look at the values, which are seldom in the processor's cache
	}
	return bytes.Compare(l.Value, other.Value)
}

// Merge implements Lattice.
func (l *LWW) Merge(other Lattice) bool { return l.mergeAfter(other, Timestamp{}) }

func (l *LWW) mergeAfter(other Lattice, deleted Timestamp) bool {
	o := other.(*LWW)
	if o.bottom() || dropped(o.Timestamp, deleted) {
		return false
	}
	if !l.bottom() && o.compare(l) <= 0 {
		return false
	}
	*l = *o
	return true
}

// Clone implements Lattice.
func (l *LWW) Clone() Lattice {
	c := *l
	return &c
}

// Equal implements Lattice.
func (l *LWW) Equal(other Lattice) bool {
	o := other.(*LWW)
	return l.bottom() == o.bottom() && l.compare(o) == 0
}

// Empty implements Lattice.
func (l *LWW) Empty() bool { return l.bottom() }

func (l *LWW) bottom() bool { return l.Value == nil && l.Timestamp.IsZero() }

// Drop implements Lattice.
func (l *LWW) Drop(deleted Timestamp) bool {
	if l.bottom() || !dropped(l.Timestamp, deleted) {
		return false
	}
	*l = LWW{}
	return true
}

// Bytes implements Lattice.
func (l *LWW) Bytes() int { return lwwBytes + allocated(cap(l.Value)) }

func (l *LWW) collect(Timestamp) bool { return false }

func (l *LWW) complete(stamp, _ Timestamp, _ Lattice) {
	if l.Timestamp.IsZero() {
		l.Timestamp = stamp
	}
}
