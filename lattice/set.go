package lattice

import (
	"cmp"
	"iter"
	"unsafe"
)

// Set holds members, each with the stamp of the last thing that happened to it: it was added, or it was removed. A member that
// was removed leaves its stamp until that is collected. Of an addition and a removal with one stamp the removal wins.
type Set struct {
	members table[Mark]
	live    int
	latest  Timestamp // no member has a later stamp
}

// Mark is the last thing that happened to a member: with Removed it was removed, otherwise added.
type Mark struct {
	Stamp   Timestamp
	Removed bool
}

func (m Mark) compare(other Mark) int {
	return cmp.Or(m.Stamp.Compare(other.Stamp), compareBool(m.Removed, other.Removed))
}

// SetAdd returns the delta of adding members.
func SetAdd(stamp Timestamp, members ...[]byte) *State {
	s := new(Set)
	for _, m := range members {
		s.Add(stamp, m)
	}
	return &State{Lattice: s}
}

// SetRemove returns the delta of removing members, which need not be there.
func SetRemove(stamp Timestamp, members ...[]byte) *State {
	s := new(Set)
	for _, m := range members {
		s.Remove(stamp, m)
	}
	return &State{Lattice: s}
}

// Type implements Lattice.
func (s *Set) Type() Type { return TypeSet }

// Add marks a member as added at a stamp, unless something happened to it later, and reports whether the set changed.
func (s *Set) Add(stamp Timestamp, member []byte) bool {
	return s.put(viewOf(member), Mark{Stamp: stamp}, true)
}

// Remove marks a member as removed at a stamp, unless something happened to it later, and reports whether the set changed.
func (s *Set) Remove(stamp Timestamp, member []byte) bool {
	return s.put(viewOf(member), Mark{Stamp: stamp, Removed: true}, true)
}

// put merges one member; the key is copied if it is to be kept and view says that it is only lent.
func (s *Set) put(key string, m Mark, view bool) bool {
	at := s.members.find(key)
	if at < 0 {
		if view {
			key = string(bytesOf(key))
		}
		s.members.add(key, m)
	} else {
		held := &s.members.entries[at].value
		if m.compare(*held) <= 0 {
			return false
		}
		if !held.Removed {
			s.live--
		}
		*held = m
	}
	if !m.Removed {
		s.live++
	}
	s.latest = later(s.latest, m.Stamp)
	return true
}

// Contains reports whether a member is there.
func (s *Set) Contains(member []byte) bool {
	at := s.members.find(viewOf(member))
	return at >= 0 && !s.members.entries[at].value.Removed
}

// Mark returns the last thing that happened to a member; zero if nothing has.
func (s *Set) Mark(member string) Mark {
	at := s.members.find(member)
	if at < 0 {
		return Mark{}
	}
	return s.members.entries[at].value
}

// Len returns the number of members.
func (s *Set) Len() int { return s.live }

// Members returns the members in the order of their bytes. They must not be changed.
func (s *Set) Members() [][]byte {
	members := make([][]byte, 0, s.live)
	for _, at := range s.members.sorted() {
		if e := &s.members.entries[at]; !e.value.Removed {
			members = append(members, bytesOf(e.key))
		}
	}
	return members
}

// Marks walks over all that is known about members, the removed ones too, in no particular but always the same order.
func (s *Set) Marks() iter.Seq2[string, Mark] {
	return func(yield func(string, Mark) bool) {
		for i := range s.members.entries {
			e := &s.members.entries[i]
			if !yield(e.key, e.value) {
				return
			}
		}
	}
}

// Merge implements Lattice.
func (s *Set) Merge(other Lattice) bool { return s.mergeAfter(other, Timestamp{}) }

func (s *Set) mergeAfter(other Lattice, deleted Timestamp) bool {
	o := other.(*Set)
	changed := false
	for i := range o.members.entries {
		e := &o.members.entries[i]
		if dropped(e.value.Stamp, deleted) {
			continue
		}
		changed = s.put(e.key, e.value, false) || changed
	}
	return changed
}

// Clone implements Lattice.
func (s *Set) Clone() Lattice {
	return &Set{members: s.members.clone(), live: s.live, latest: s.latest}
}

// Equal implements Lattice.
func (s *Set) Equal(other Lattice) bool {
	o := other.(*Set)
	if s.members.len() != o.members.len() {
		return false
	}
	for i := range s.members.entries {
		e := &s.members.entries[i]
		if at := o.members.find(e.key); at < 0 || o.members.entries[at].value != e.value {
			return false
		}
	}
	return true
}

// Empty implements Lattice.
func (s *Set) Empty() bool { return s.live == 0 }

func (s *Set) bottom() bool { return s.members.len() == 0 }

// Drop implements Lattice.
func (s *Set) Drop(deleted Timestamp) bool {
	if s.bottom() || deleted.IsZero() {
		return false
	}
	if dropped(s.latest, deleted) {
		*s = Set{}
		return true
	}
	return s.members.retain(func(e *entry[Mark]) bool {
		if !dropped(e.value.Stamp, deleted) {
			return true
		}
		if !e.value.Removed {
			s.live--
		}
		return false
	})
}

// Bytes implements Lattice.
func (s *Set) Bytes() int { return int(unsafe.Sizeof(*s)) + s.members.bytes() }

func (s *Set) collect(before Timestamp) bool {
	if s.live == s.members.len() {
		return false
	}
	return s.members.retain(func(e *entry[Mark]) bool { return !e.value.Removed || !e.value.Stamp.Less(before) })
}

func (s *Set) complete(stamp, _ Timestamp, _ Lattice) {
	for i := range s.members.entries {
		if e := &s.members.entries[i]; e.value.Stamp.IsZero() {
			e.value.Stamp = stamp
			s.latest = later(s.latest, stamp)
		}
	}
}
