package anna

import "cloudburst/lattice"

// touchMax is how many keys are looked at while a kernel is locked.
const touchMax = 64

// Touch looks at what is held under keys that are about to be accessed one after another. The keys of a large store are not in
// the processor's cache, and memory answers several looks at a time when nothing else is done in between: so this makes the
// accesses faster by more than it takes.
func (s *Server) Touch(keys []string) {
	var kernels [touchMax]uint8
	for len(keys) > 0 {
		part := keys[:min(len(keys), touchMax)]
		keys = keys[len(part):]
		for i, key := range part {
			kernels[i] = uint8(s.cfg.partitionOf(slotOf(key, s.cfg.Slots)) % len(s.shards))
		}
		for number, shard := range s.shards {
			shard.mu.RLock()
			for i, key := range part {
				if int(kernels[i]) == number {
					shard.kernel.Touch(key)
				}
			}
			shard.mu.RUnlock()
		}
	}
}

// Touch looks at what is held under a key. What it returns depends on all that it has looked at, and is of no other use. Several
// goroutines may call it at once.
//
//go:noinline
func (k *Kernel) Touch(key string) int {
	it := k.items[key]
	if it == nil {
		return 0
	}
	seen := int(it.flags & 1)
	if b := it.busy; b != nil {
		seen += b.place & 1
	}
	switch l := it.state.Lattice.(type) {
	case *lattice.LWW:
		seen += int(l.Timestamp.Writer & 1)
	case *lattice.Counter:
		seen += int(l.Value() & 1)
	}
	return seen
}
