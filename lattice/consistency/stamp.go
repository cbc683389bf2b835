package consistency

import "cloudburst/lattice"

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
