package lattice

import (
	"iter"
	"unsafe"
)

// Map holds a State per field, so that a field has a type, a tombstone and an expiry of its own.
type Map struct {
	fields table[*State]
	live   int // fields with something to show
	held   int // bytes of the states
}

// MapPut returns the delta of merging a delta, which it takes over, into a field.
func MapPut(field string, delta *State) *State {
	m := new(Map)
	m.Put(field, delta)
	return &State{Lattice: m}
}

// Field returns what is held under a field of a map, as the functions that make deltas want it: with the tombstone of whatever
// is around it. It shares memory with s and must not be changed; it is never nil.
func (s *State) Field(name string) *State {
	field := new(State)
	deleted := s.Deleted()
	if m, ok := s.Of(TypeMap).(*Map); ok {
		if held := m.Get(name); held != nil {
			*field = *held
			deleted = later(deleted, held.Deleted())
		}
	}
	if deleted != field.Deleted() {
		r := rest{others: field.Others(), deleted: deleted, expiry: field.Expiry()}
		field.rest = &r
	}
	return field
}

// Type implements Lattice.
func (m *Map) Type() Type { return TypeMap }

// Get returns what is held under a field, or nil. It must not be changed.
func (m *Map) Get(field string) *State {
	if at := m.fields.find(field); at >= 0 {
		return m.fields.entries[at].value
	}
	return nil
}

// Len returns the number of fields that have something to show, expired or not.
func (m *Map) Len() int { return m.live }

// Fields walks over all fields, also those with nothing to show but a tombstone, in no particular but always the same order.
// The states must not be changed.
func (m *Map) Fields() iter.Seq2[string, *State] {
	return func(yield func(string, *State) bool) {
		for i := range m.fields.entries {
			if e := &m.fields.entries[i]; !yield(e.key, e.value) {
				return
			}
		}
	}
}

// Put merges a delta, which it takes over, into a field and reports whether the map changed.
func (m *Map) Put(field string, delta *State) (changed bool) {
	at := m.fields.find(field)
	if at < 0 {
		if delta.IsZero() {
			return false
		}
		m.add(field, delta)
		return true
	}
	s := m.fields.entries[at].value
	m.account(s, -1)
	changed = s.mergeAfter(delta, Timestamp{})
	m.account(s, 1)
	return changed
}

func (m *Map) add(field string, s *State) {
	m.fields.add(field, s)
	m.account(s, 1)
}

// account adds a field's state to the sums, or takes it away.
func (m *Map) account(s *State, sign int) {
	m.held += sign * s.Bytes()
	if s.shows() {
		m.live += sign
	}
}

// Merge implements Lattice.
func (m *Map) Merge(other Lattice) bool { return m.mergeAfter(other, Timestamp{}) }

func (m *Map) mergeAfter(other Lattice, deleted Timestamp) (changed bool) {
	o := other.(*Map)
	for i := range o.fields.entries {
		e := &o.fields.entries[i]
		at := m.fields.find(e.key)
		if at < 0 {
			s := e.value.Clone()
			s.cut(deleted)
			if !s.IsZero() {
				m.add(e.key, s)
				changed = true
			}
			continue
		}
		s := m.fields.entries[at].value
		m.account(s, -1)
		changed = s.mergeAfter(e.value, deleted) || changed
		m.account(s, 1)
	}
	return changed
}

// Clone implements Lattice.
func (m *Map) Clone() Lattice {
	c := &Map{fields: m.fields.clone()}
	for i := range c.fields.entries {
		e := &c.fields.entries[i]
		e.value = e.value.Clone()
		c.account(e.value, 1)
	}
	return c
}

// Equal implements Lattice.
func (m *Map) Equal(other Lattice) bool {
	o := other.(*Map)
	if m.fields.len() != o.fields.len() {
		return false
	}
	for i := range m.fields.entries {
		e := &m.fields.entries[i]
		if s := o.Get(e.key); s == nil || !s.Equal(e.value) {
			return false
		}
	}
	return true
}

// Empty implements Lattice.
func (m *Map) Empty() bool { return m.live == 0 }

func (m *Map) bottom() bool { return m.fields.len() == 0 }

// Drop implements Lattice.
func (m *Map) Drop(deleted Timestamp) bool {
	if deleted.IsZero() {
		return false
	}
	return m.each(func(s *State) bool { return s.cut(deleted) })
}

func (m *Map) collect(before Timestamp) bool {
	return m.each(func(s *State) bool { return s.Collect(before) })
}

// each changes every field's state and forgets those that hold nothing any more.
func (m *Map) each(change func(*State) bool) (changed bool) {
	m.live, m.held = 0, 0
	gone := false
	for i := range m.fields.entries {
		s := m.fields.entries[i].value
		changed = change(s) || changed
		gone = gone || s.IsZero()
		m.account(s, 1)
	}
	if gone {
		m.fields.retain(func(e *entry[*State]) bool {
			if e.value.IsZero() {
				m.held -= e.value.Bytes()
				return false
			}
			return true
		})
	}
	return changed
}

// Bytes implements Lattice.
func (m *Map) Bytes() int { return int(unsafe.Sizeof(*m)) + m.fields.bytes() + m.held }

func (m *Map) complete(stamp, generation Timestamp, held Lattice) {
	h, _ := held.(*Map)
	for i := range m.fields.entries {
		e := &m.fields.entries[i]
		var field *State
		if h != nil {
			field = h.Get(e.key)
		}
		e.value.complete(stamp, field, generation)
	}
}
