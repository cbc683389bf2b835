package anna

import "cloudburst/lattice"

// touchMax is how many keys are looked at while a kernel is locked.
const touchMax = lattice.TouchMax

// Touch looks at what is held under keys that are about to be accessed one after another. The keys of a large store are not in
// the processor's cache, and memory answers several looks at a time when nothing else is done in between: so this makes the
// accesses faster by more than it takes. The nth member is looked for where the nth key holds a set, if it is not empty.
func (s *Server) Touch(keys, members []string) {
	var kernels [touchMax]uint8
	for len(keys) > 0 {
		part := keys[:min(len(keys), touchMax)]
		partMembers := members[:len(part)]
		keys, members = keys[len(part):], members[len(part):]
		for i, key := range part {
			kernels[i] = uint8(s.cfg.partitionOf(slotOf(key, s.cfg.Slots)) % len(s.shards))
		}
		for number, shard := range s.shards {
			shard.mu.RLock()
			shard.kernel.touch(part, partMembers, kernels[:len(part)], uint8(number))
			shard.mu.RUnlock()
		}
	}
}

// touch looks at what is held under those keys that are of the given kernel. It goes one step from pointer to pointer for all keys
// before it goes the next, so that no look waits for the one before. What it returns depends on all that it has looked at, and
// is of no other use. Several goroutines may call it at once.
//
//go:noinline
func (k *Kernel) touch(keys, members []string, kernels []uint8, number uint8) (seen int) {
	var items [touchMax]*item
	var sought [touchMax]string
	n := 0
	for i, key := range keys {
		if kernels[i] != number {
			continue
		}
		if it := k.items[key]; it != nil {
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
