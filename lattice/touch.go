package lattice

// TouchMax is how many lattices Touch looks at.
const TouchMax = 64

// Touch looks at what sets and ordered sets hold about members that are about to be accessed, of the nth lattice about the nth
// member. It goes one step for all of them before it goes the next, so that no look waits for the one before. What it returns is of
// no use but to have looked.
func Touch(lattices []Lattice, members []string) (seen int) {
	var positions [TouchMax]int
	for i, l := range lattices {
		positions[i] = -1
		switch l := l.(type) {
		case *Set:
			positions[i] = l.members.guess(members[i])
		case *OrderedSet:
			positions[i] = l.members.guess(members[i])
		}
	}
	var keys [TouchMax]string
	for i, l := range lattices {
		if positions[i] < 0 {
			continue
		}
		switch l := l.(type) {
		case *Set:
			keys[i] = l.members.entries[positions[i]].key
		case *OrderedSet:
			keys[i] = l.members.entries[positions[i]].key
		}
	}
	for _, key := range keys[:len(lattices)] {
		if key != "" {
			seen += int(key[0])
		}
	}
	return seen
}
