package kernel

import "cloudburst/lattice"

// touchMax is how many keys are looked at while a kernel is locked.
const touchMax = lattice.TouchMax

// Touch looks at what is held under those keys that are of the given kernel. It goes one step from pointer to pointer for all keys
// before it goes the next, so that no look waits for the one before. What it returns depends on all that it has looked at, and
// is of no other use. Several goroutines may call it at once.
//
//go:noinline
func (k *Kernel) Touch(keys, members []string, kernels []uint8, number uint8) (seen int) {
	var items [touchMax]*item
	var sought [touchMax]string
	n := 0
	for i, key := range keys {
		if kernels[i] != number {
			continue
		}
		if it := k.keys.items[key]; it != nil {
			items[n], sought[n] = it, members[i]
			n++
		}
	}
	var values [touchMax]*lattice.LWW
	var sets [touchMax]lattice.Lattice
	m, o := 0, 0
	for i, it := range items[:n] {
		seen += int(it.flags & 1)
		if b := it.busy; b != nil {
			seen += b.place & 1
		}
		switch l := it.state.Lattice.(type) {
		case *lattice.LWW:
			values[m] = l
			m++
		case *lattice.Counter:
			seen += int(l.Value() & 1)
		case *lattice.Set, *lattice.OrderedSet:
			if sought[i] != "" {
				sets[o], sought[o] = l, sought[i]
				o++
			}
		}
	}
	for _, l := range values[:m] {
		if v := l.Value; len(v) > 0 {
			seen += int(v[0]&1) + int(v[len(v)-1]&1)
		}
	}
	return seen + lattice.Touch(sets[:o], sought[:o])
}
