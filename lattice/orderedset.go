package lattice

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"unsafe"
)

// ErrScore says that a number cannot order anything.
var ErrScore = errors.New("not a number")

// OrderedSet holds members by score and, where that is equal, by their bytes. Like in a Set each has the stamp of the last
// thing that happened to it; of two additions with one stamp the higher score wins, of an addition and a removal the removal.
type OrderedSet struct {
	members table[ScoredMark]
	ranking ranking // of the members that are there
	latest  Timestamp
}

// Scored is a member and its score.
type Scored struct {
	Member []byte // must not be changed
	Score  float64
}

// ScoredMark is the last thing that happened to a member: with Removed it was removed, otherwise added with a score.
type ScoredMark struct {
	Score float64 // 0 with Removed
	Mark
}

func (m ScoredMark) compare(other ScoredMark) int {
	return cmp.Or(m.Mark.compare(other.Mark), cmp.Compare(m.Score, other.Score))
}

// OrderedSetAdd returns the delta of adding a member, or of giving it another score. The score must be a number, or it returns
// an error wrapping ErrScore.
func OrderedSetAdd(stamp Timestamp, member []byte, score float64) (*State, error) {
	s := new(OrderedSet)
	if _, err := s.Add(stamp, member, score); err != nil {
		return nil, err
	}
	return &State{Lattice: s}, nil
}

// OrderedSetRemove returns the delta of removing members, which need not be there.
func OrderedSetRemove(stamp Timestamp, members ...[]byte) *State {
	s := new(OrderedSet)
	for _, m := range members {
		s.Remove(stamp, m)
	}
	return &State{Lattice: s}
}

// Type implements Lattice.
func (s *OrderedSet) Type() Type { return TypeOrderedSet }

// Add marks a member as added at a stamp, unless something happened to it later, and reports whether the set changed. The
// score must be a number, or it returns an error wrapping ErrScore.
func (s *OrderedSet) Add(stamp Timestamp, member []byte, score float64) (changed bool, err error) {
	if math.IsNaN(score) {
		return false, fmt.Errorf("score of member %.64q: %w", member, ErrScore)
	}
	// Adding zero makes the negative zero positive: the two are equal, so replicas must not hold both.
	return s.put(viewOf(member), ScoredMark{Score: score + 0, Mark: Mark{Stamp: stamp}}, true), nil
}

// Remove marks a member as removed at a stamp, unless something happened to it later, and reports whether the set changed.
func (s *OrderedSet) Remove(stamp Timestamp, member []byte) (changed bool) {
	return s.put(viewOf(member), ScoredMark{Mark: Mark{Stamp: stamp, Removed: true}}, true)
}

// put merges one member; the key is copied if it is to be kept and view says that it is only lent.
func (s *OrderedSet) put(key string, m ScoredMark, view bool) bool {
	at := s.members.find(key)
	if at < 0 {
		if view {
			key = string(bytesOf(key))
		}
		at = s.members.add(key, m)
	} else {
		held := s.members.entries[at].value
		if m.compare(held) <= 0 {
			return false
		}
		s.members.entries[at].value = m
		s.latest = later(s.latest, m.Stamp)
		switch {
		case held.Removed == m.Removed && held.Score == m.Score:
			return true
		case !held.Removed:
			s.ranking.remove(s.place(held.Score, key))
		}
	}
	if !m.Removed {
		s.ranking.insert(ranked{m.Score, uint32(at)}, s.place(m.Score, key))
	}
	s.latest = later(s.latest, m.Stamp)
	return true
}

func (s *OrderedSet) place(score float64, member string) *place {
	return &place{score, func(position uint32) int { return cmp.Compare(member, s.members.entries[position].key) }}
}

// Len returns the number of members.
func (s *OrderedSet) Len() int { return s.ranking.len() }

// Score returns a member's score and whether it is there.
func (s *OrderedSet) Score(member []byte) (float64, bool) {
	at := s.members.find(viewOf(member))
	if at < 0 || s.members.entries[at].value.Removed {
		return 0, false
	}
	return s.members.entries[at].value.Score, true
}

// Mark returns the last thing that happened to a member; zero if nothing has.
func (s *OrderedSet) Mark(member string) ScoredMark {
	at := s.members.find(member)
	if at < 0 {
		return ScoredMark{}
	}
	return s.members.entries[at].value
}

// Rank returns how many members are before one, and whether it is there.
func (s *OrderedSet) Rank(member []byte) (int, bool) {
	score, ok := s.Score(member)
	if !ok {
		return 0, false
	}
	return s.ranking.rank(s.place(score, viewOf(member))), true
}

// CountBelow returns how many members have a score less than a limit, or equal to it if inclusive: the rank of the first that
// does not.
func (s *OrderedSet) CountBelow(limit float64, inclusive bool) int {
	side := -1
	if inclusive {
		side = 1
	}
	return s.ranking.rank(&place{limit, func(uint32) int { return side }})
}

// Range returns the members of the ranks from (inclusive) to (exclusive), in their order. Ranks that there are not are left
// out.
func (s *OrderedSet) Range(from, to int) []Scored {
	from, to = max(from, 0), min(to, s.Len())
	if from >= to {
		return nil
	}
	members := make([]Scored, 0, to-from)
	s.ranking.walk(from, func(item ranked) bool {
		members = append(members, Scored{Member: bytesOf(s.members.entries[item.position].key), Score: item.score})
		return len(members) < to-from
	})
	return members
}

// Marks walks over all that is known about members, the removed ones too, in no particular but always the same order.
func (s *OrderedSet) Marks() iter.Seq2[string, ScoredMark] {
	return func(yield func(string, ScoredMark) bool) {
		for i := range s.members.entries {
			e := &s.members.entries[i]
			if !yield(e.key, e.value) {
				return
			}
		}
	}
}

// Merge implements Lattice.
func (s *OrderedSet) Merge(other Lattice) bool { return s.mergeAfter(other, Timestamp{}) }

func (s *OrderedSet) mergeAfter(other Lattice, deleted Timestamp) bool {
	o := other.(*OrderedSet)
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
func (s *OrderedSet) Clone() Lattice {
	c := &OrderedSet{members: s.members.clone(), latest: s.latest}
	items := make([]ranked, 0, s.Len())
	s.ranking.walk(0, func(item ranked) bool {
		items = append(items, item)
		return true
	})
	c.ranking.load(items)
	return c
}

// Equal implements Lattice.
func (s *OrderedSet) Equal(other Lattice) bool {
	o := other.(*OrderedSet)
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
func (s *OrderedSet) Empty() bool { return s.Len() == 0 }

func (s *OrderedSet) bottom() bool { return s.members.len() == 0 }

// Drop implements Lattice.
func (s *OrderedSet) Drop(deleted Timestamp) bool {
	if s.bottom() || deleted.IsZero() {
		return false
	}
	if dropped(s.latest, deleted) {
		*s = OrderedSet{}
		return true
	}
	return s.retain(func(e *entry[ScoredMark]) bool { return !dropped(e.value.Stamp, deleted) })
}

func (s *OrderedSet) collect(before Timestamp) bool {
	if s.Len() == s.members.len() {
		return false
	}
	return s.retain(func(e *entry[ScoredMark]) bool { return !e.value.Removed || !e.value.Stamp.Less(before) })
}

// retain keeps some members. Their positions change, so they are ranked again.
func (s *OrderedSet) retain(keep func(*entry[ScoredMark]) bool) bool {
	if !s.members.retain(keep) {
		return false
	}
	items := make([]ranked, 0, s.members.len())
	for i := range s.members.entries {
		if e := &s.members.entries[i]; !e.value.Removed {
			items = append(items, ranked{e.value.Score, uint32(i)})
		}
	}
	slices.SortFunc(items, func(a, b ranked) int {
		return s.place(a.score, s.members.entries[a.position].key).compare(&b)
	})
	s.ranking.load(items)
	return true
}

// Bytes implements Lattice.
func (s *OrderedSet) Bytes() int {
	return int(unsafe.Sizeof(*s)) + s.members.bytes() + s.ranking.bytes()
}

func (s *OrderedSet) complete(stamp, _ Timestamp, _ Lattice) {
	for i := range s.members.entries {
		if e := &s.members.entries[i]; e.value.Stamp.IsZero() {
			e.value.Stamp = stamp
			s.latest = later(s.latest, stamp)
		}
	}
}
