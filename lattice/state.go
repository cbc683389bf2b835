package lattice

import (
	"cmp"
	"slices"
	"unsafe"
)

// State is all that a key holds, and itself a lattice: content, a tombstone and an expiry, each merged on its own, and content
// that the tombstone covers is gone. A write is a small State, its delta; every write is of this kind. The zero value holds
// nothing. Not safe for concurrent use.
//
// Most keys hold one last-writer-wins value and nothing else, so everything else is out of line.
type State struct {
	// Lattice is the content; nil without any. While masters have disagreed about the type of a key, it is that of the lowest
	// Type.
	Lattice Lattice
	rest    *rest
}

// rest is what few states have.
type rest struct {
	others  []Lattice // content of further types, in their order; none without Lattice
	deleted Timestamp
	expiry  Expiry
}

// Expiry is when content expires: the one with the latest Timestamp holds, and among these the latest At. It applies to what is
// there and to what is added later, but not to a last-writer-wins value with a later stamp, which replaces what was to expire.
type Expiry struct {
	Timestamp Timestamp
	At        int64 // Unix time in milliseconds; 0 = never
}

func (e Expiry) compare(other Expiry) int {
	return cmp.Or(e.Timestamp.Compare(other.Timestamp), cmp.Compare(e.At, other.At))
}

// NewState returns a state of its parts, which it takes over: content of one or of several types, a tombstone and an expiry.
func NewState(deleted Timestamp, expiry Expiry, content ...Lattice) *State {
	s := new(State)
	if !deleted.IsZero() || expiry != (Expiry{}) || len(content) > 1 {
		s.rest = &rest{deleted: deleted, expiry: expiry}
	}
	switch len(content) {
	case 0:
	case 1:
		s.Lattice = content[0]
	default:
		content = slices.Clone(content)
		slices.SortFunc(content, func(a, b Lattice) int { return cmp.Compare(a.Type(), b.Type()) })
		s.Lattice, s.rest.others = content[0], content[1:]
	}
	s.drop(deleted)
	s.normalize()
	return s
}

// Delete returns the delta of deleting what has been written up to a stamp.
func Delete(stamp Timestamp) *State {
	return &State{rest: &rest{deleted: stamp}}
}

// ExpireAt returns the delta of setting when the content expires, in Unix milliseconds; 0 = never.
func ExpireAt(stamp Timestamp, at int64) *State {
	return &State{rest: &rest{expiry: Expiry{Timestamp: stamp, At: at}}}
}

// Deleted returns the tombstone: everything written up to this stamp is gone. Zero without one.
func (s *State) Deleted() Timestamp {
	if s.rest == nil {
		return Timestamp{}
	}
	return s.rest.deleted
}

// Expiry returns when the content expires.
func (s *State) Expiry() Expiry {
	if s.rest == nil {
		return Expiry{}
	}
	return s.rest.expiry
}

// Others returns the content of further types than that of Lattice, which is there only while masters have disagreed.
func (s *State) Others() []Lattice {
	if s.rest == nil {
		return nil
	}
	return s.rest.others
}

// Of returns the content of a type, or nil.
func (s *State) Of(t Type) Lattice {
	if s.Lattice != nil && s.Lattice.Type() == t {
		return s.Lattice
	}
	for _, l := range s.Others() {
		if l.Type() == t {
			return l
		}
	}
	return nil
}

// generational is content without stamps of its own.
type generational interface{ generation() Timestamp }

// Generation returns the generation that new content of a type belongs to: that of what is held, or the tombstone if it is
// later.
func (s *State) Generation(t Type) Timestamp {
	if l, ok := s.Of(t).(generational); ok {
		return later(s.Deleted(), l.generation())
	}
	return s.Deleted()
}

// Rewrite does what merging a Put does to a state that holds a last-writer-wins value and no expiry, if stamp is later than all that
// the state holds. It reports whether it was such a state.
func (s *State) Rewrite(stamp Timestamp, value []byte) bool {
	l, ok := s.Lattice.(*LWW)
	if !ok || l.bottom() || s.rest != nil && (len(s.rest.others) > 0 || s.rest.expiry != Expiry{}) {
		return false
	}
	l.Timestamp, l.Value = stamp, value
	return true
}

// Count does what merging a CounterAdd does to a state that holds a counter in which the writer has counted before, and no expiry. It
// returns the sum, and false when it was not such a state or the sum would leave the range.
func (s *State) Count(writer uint64, n int64) (sum int64, ok bool) {
	c, ok := s.Lattice.(*Counter)
	if !ok || c.bottom() || s.rest != nil && (len(s.rest.others) > 0 || s.rest.expiry != Expiry{} || superseded(c.Generation, s.rest.deleted)) {
		return 0, false
	}
	return c.count(writer, n)
}

// Live returns the lattice that the key shows at a time: of those that have something to show and have not expired the one of
// the lowest Type, or nil.
func (s *State) Live(nowMillis int64) Lattice {
	if s.Lattice == nil {
		return nil
	}
	if !s.Lattice.Empty() && !s.expired(s.Lattice, nowMillis) {
		return s.Lattice
	}
	for _, l := range s.Others() {
		if !l.Empty() && !s.expired(l, nowMillis) {
			return l
		}
	}
	return nil
}

// Expired reports whether the key shows nothing at a time because its content has expired. The next write to it must come with
// a tombstone, or what has expired would come back.
func (s *State) Expired(nowMillis int64) bool {
	if s.Lattice == nil || s.Live(nowMillis) != nil {
		return false
	}
	expired := func(l Lattice) bool { return s.expired(l, nowMillis) }
	return expired(s.Lattice) || slices.ContainsFunc(s.Others(), expired)
}

// ExpiresAt returns when the content of the state expires, in Unix milliseconds; 0 = never.
func (s *State) ExpiresAt() int64 {
	if s.Lattice == nil || !s.expires(s.Lattice) {
		return 0
	}
	return s.rest.expiry.At
}

func (s *State) expires(l Lattice) bool {
	if s.rest == nil || s.rest.expiry.At == 0 {
		return false
	}
	lww, ok := l.(*LWW)
	return !ok || !s.rest.expiry.Timestamp.Less(lww.Timestamp)
}

func (s *State) expired(l Lattice, nowMillis int64) bool {
	return s.expires(l) && s.rest.expiry.At <= nowMillis
}

// shows reports whether there is content to show, expired or not.
func (s *State) shows() bool {
	return s.Lattice != nil && (!s.Lattice.Empty() || slices.ContainsFunc(s.Others(), func(l Lattice) bool { return !l.Empty() }))
}

// IsZero reports whether the state holds nothing at all, not even a tombstone, so that the key can be forgotten.
func (s *State) IsZero() bool {
	return s.Lattice == nil && s.Deleted().IsZero() && s.Expiry() == Expiry{}
}

// Merge folds a delta, or another whole state, into s, which shares nothing with it afterwards but immutable bytes. It reports
// whether s changed, and takes time in the size of delta, not of s.
func (s *State) Merge(delta *State) (changed bool) { return s.mergeAfter(delta, Timestamp{}) }

// mergeAfter merges what a tombstone around the state, which s has already been cut by, leaves of delta.
func (s *State) mergeAfter(delta *State, deleted Timestamp) (changed bool) {
	if s.rest != nil {
		deleted = later(deleted, s.rest.deleted)
	}
	if r := delta.rest; r != nil {
		if deleted.Less(r.deleted) {
			deleted = r.deleted
			s.more().deleted = deleted
			s.drop(deleted)
			changed = true
		}
		if r.expiry.compare(s.Expiry()) > 0 && !dropped(r.expiry.Timestamp, deleted) {
			s.more().expiry = r.expiry
			changed = true
		}
	}
	if delta.Lattice == nil {
		return changed
	}
	changed = s.mergeLattice(delta.Lattice, deleted) || changed
	for _, l := range delta.Others() {
		changed = s.mergeLattice(l, deleted) || changed
	}
	return changed
}

func (s *State) mergeLattice(l Lattice, deleted Timestamp) bool {
	if s.Lattice == nil {
		return s.adopt(0, l, deleted)
	}
	t := l.Type()
	at := 0
	switch held := s.Lattice.Type(); {
	case held == t:
		return s.Lattice.mergeAfter(l, deleted)
	case held < t:
		for _, other := range s.Others() {
			if other.Type() == t {
				return other.mergeAfter(l, deleted)
			}
			if other.Type() < t {
				at++
			}
		}
		at++
	}
	return s.adopt(at, l, deleted)
}

// adopt takes a copy of content of a type that s has none of, as the nth in the order of the types.
func (s *State) adopt(n int, l Lattice, deleted Timestamp) bool {
	l = l.Clone()
	l.Drop(deleted)
	switch {
	case l.bottom():
		return false
	case n > 0:
		s.more().others = slices.Insert(s.rest.others, n-1, l)
	case s.Lattice == nil:
		s.Lattice = l
	default:
		s.more().others = slices.Insert(s.rest.others, 0, s.Lattice)
		s.Lattice = l
	}
	return true
}

func (s *State) more() *rest {
	if s.rest == nil {
		s.rest = new(rest)
	}
	return s.rest
}

// drop forgets what a tombstone covers, the expiry included.
func (s *State) drop(deleted Timestamp) (changed bool) {
	if r := s.rest; r != nil {
		for _, l := range r.others {
			changed = l.Drop(deleted) || changed
		}
		if r.expiry != (Expiry{}) && dropped(r.expiry.Timestamp, deleted) {
			r.expiry = Expiry{}
			changed = true
		}
	}
	if s.Lattice != nil {
		changed = s.Lattice.Drop(deleted) || changed
	}
	if changed {
		s.normalize()
	}
	return changed
}

// cut is drop for a tombstone around the state, which makes its own unnecessary up to that.
func (s *State) cut(deleted Timestamp) (changed bool) {
	changed = s.drop(deleted)
	if r := s.rest; r != nil && !r.deleted.IsZero() && dropped(r.deleted, deleted) {
		r.deleted = Timestamp{}
		s.normalize()
		changed = true
	}
	return changed
}

// normalize forgets lattices that hold nothing, so that states that mean the same are the same.
func (s *State) normalize() {
	if s.rest != nil {
		s.rest.others = slices.DeleteFunc(s.rest.others, Lattice.bottom)
	}
	if s.Lattice != nil && s.Lattice.bottom() {
		s.Lattice = nil
		if others := s.Others(); len(others) > 0 {
			s.Lattice = others[0]
			s.rest.others = slices.Delete(others, 0, 1)
		}
	}
	if r := s.rest; r != nil && len(r.others) == 0 {
		r.others = nil
		if r.deleted.IsZero() && r.expiry == (Expiry{}) {
			s.rest = nil
		}
	}
}

// Collect forgets tombstones, the stamps of removed members and expiries that were taken back, of before a stamp. Every
// replica must have merged all writes of before that stamp, and none of them may be on its way again: it would be taken for a
// new one. It reports whether the state changed. Generations stay, since replicas do not collect in the same instant.
func (s *State) Collect(before Timestamp) (changed bool) {
	if s.Lattice != nil {
		changed = s.Lattice.collect(before)
	}
	if r := s.rest; r != nil {
		for _, l := range r.others {
			changed = l.collect(before) || changed
		}
		if !r.deleted.IsZero() && r.deleted.Less(before) {
			r.deleted = Timestamp{}
			changed = true
		}
		if r.expiry != (Expiry{}) && r.expiry.At == 0 && r.expiry.Timestamp.Less(before) {
			r.expiry = Expiry{}
			changed = true
		}
	}
	if changed {
		s.normalize()
	}
	return changed
}

// Complete fills in what a client that knows neither the time nor what is held has left zero in its delta s: stamps become
// stamp, and the generation of content becomes that of what is held, so that it is not mistaken for content from before a
// deletion.
func (s *State) Complete(stamp Timestamp, held *State) {
	s.complete(stamp, held, Timestamp{})
}

func (s *State) complete(stamp Timestamp, held *State, generation Timestamp) {
	if held == nil {
		held = new(State)
	}
	complete := func(l Lattice) {
		l.complete(stamp, later(generation, held.Generation(l.Type())), held.Of(l.Type()))
	}
	if s.Lattice != nil {
		complete(s.Lattice)
	}
	if r := s.rest; r != nil {
		for _, l := range r.others {
			complete(l)
		}
		if r.expiry != (Expiry{}) && r.expiry.Timestamp.IsZero() {
			r.expiry.Timestamp = stamp
		}
	}
}

// Clone returns a copy that shares nothing but immutable bytes.
func (s *State) Clone() *State {
	if lww, ok := s.Lattice.(*LWW); ok && s.rest == nil {
		return newLWWState(*lww)
	}
	c := new(State)
	if s.Lattice != nil {
		c.Lattice = s.Lattice.Clone()
	}
	if s.rest != nil {
		r := *s.rest
		r.others = slices.Clone(r.others)
		for i, l := range r.others {
			r.others[i] = l.Clone()
		}
		c.rest = &r
	}
	return c
}

// Equal reports whether both states hold the same, tombstones and removed members included.
func (s *State) Equal(other *State) bool {
	if s.Deleted() != other.Deleted() || s.Expiry() != other.Expiry() || !equal(s.Lattice, other.Lattice) {
		return false
	}
	return slices.EqualFunc(s.Others(), other.Others(), equal)
}

func equal(a, b Lattice) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Type() == b.Type() && a.Equal(b)
}

// Bytes estimates the memory held.
func (s *State) Bytes() int {
	n := allocated(int(unsafe.Sizeof(*s)))
	if s.Lattice != nil {
		n += s.Lattice.Bytes()
	}
	if r := s.rest; r != nil {
		n += allocated(int(unsafe.Sizeof(*r))) + allocated(cap(r.others)*int(unsafe.Sizeof(s.Lattice)))
		for _, l := range r.others {
			n += l.Bytes()
		}
	}
	return n
}
