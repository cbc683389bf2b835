package lattice

// Latest returns the latest stamp in s. A write that is to win over all that s holds needs a later one.
func (s *State) Latest() Timestamp {
	stamp := later(s.Deleted(), s.Expiry().Timestamp)
	if s.Lattice != nil {
		stamp = later(stamp, latestOf(s.Lattice))
	}
	for _, l := range s.Others() {
		stamp = later(stamp, latestOf(l))
	}
	return stamp
}

func latestOf(l Lattice) (stamp Timestamp) {
	switch l := l.(type) {
	case *LWW:
		return l.Timestamp
	case *Set:
		for _, mark := range l.Marks() {
			stamp = later(stamp, mark.Stamp)
		}
	case *OrderedSet:
		for _, mark := range l.Marks() {
			stamp = later(stamp, mark.Stamp)
		}
	case *Map:
		for _, field := range l.Fields() {
			stamp = later(stamp, field.Latest())
		}
	}
	return stamp
}
