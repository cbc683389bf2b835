package consistency

import "cloudburst/lattice"

// Latest returns the latest stamp in a state. A writer that has seen it must use a later one.
func Latest(s *lattice.State) lattice.Timestamp {
	latest := s.Deleted()
	see := func(stamp lattice.Timestamp) {
		if latest.Less(stamp) {
			latest = stamp
		}
	}
	see(s.Expiry().Timestamp)
	for _, t := range []lattice.Type{lattice.TypeLWW, lattice.TypeSet, lattice.TypeOrderedSet, lattice.TypeMap} {
		switch l := s.Of(t).(type) {
		case *lattice.LWW:
			see(l.Timestamp)
		case *lattice.Set:
			for _, mark := range l.Marks() {
				see(mark.Stamp)
			}
		case *lattice.OrderedSet:
			for _, mark := range l.Marks() {
				see(mark.Stamp)
			}
		case *lattice.Map:
			for _, field := range l.Fields() {
				see(Latest(field))
			}
		}
	}
	return latest
}

// Restamp returns a delta with the given stamps in the place of its own, tombstones with the first and the rest with the
// second, which must be the later one. Content that began with the delta's own tombstone begins with the new one.
func Restamp(s *lattice.State, deleted, stamp lattice.Timestamp) *lattice.State {
	own := s.Deleted()
	tombstone := own
	if !own.IsZero() {
		tombstone = deleted
	}
	var content []lattice.Lattice
	if s.Lattice != nil {
		content = append(content, s.Lattice)
	}
	content = append(content, s.Others()...)
	generation := func(g *lattice.Timestamp) {
		if !own.IsZero() && *g == own {
			*g = deleted
		}
	}
	restamped := make([]lattice.Lattice, len(content))
	for i, l := range content {
		l = l.Clone()
		switch old := l.(type) {
		case *lattice.LWW:
			old.Timestamp = stamp
		case *lattice.Set:
			set := new(lattice.Set)
			for member, mark := range old.Marks() {
				if mark.Removed {
					set.Remove(stamp, []byte(member))
				} else {
					set.Add(stamp, []byte(member))
				}
			}
			l = set
		case *lattice.OrderedSet:
			set := new(lattice.OrderedSet)
			for member, mark := range old.Marks() {
				if mark.Removed {
					set.Remove(stamp, []byte(member))
				} else {
					_, _ = set.Add(stamp, []byte(member), mark.Score) // a score that was taken once is a number
				}
			}
			l = set
		case *lattice.Map:
			fields := new(lattice.Map)
			for name, field := range old.Fields() {
				fields.Put(name, Restamp(field, deleted, stamp))
			}
			l = fields
		case *lattice.Counter:
			generation(&old.Generation)
		case *lattice.Max:
			generation(&old.Generation)
		case *lattice.Min:
			generation(&old.Generation)
		case *lattice.Priority:
			generation(&old.Generation)
		case *lattice.Causal:
			generation(&old.Generation)
		}
		restamped[i] = l
	}
	return lattice.NewState(tombstone, s.Expiry(), restamped...)
}
