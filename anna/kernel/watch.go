package kernel

import (
	"slices"

	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// watches brings the changes of keys to the caches that watch them. The items know which caches these are.
type watches struct {
	keys   *keys
	pushes uint64
}

func (it *item) watched() bool { return it.cache != 0 }

func (it *item) watchedBy(cache uint16) bool {
	return it.cache == cache || it.busy != nil && slices.Contains(it.busy.caches, cache)
}

// add makes a cache watch a key.
func (w *watches) add(it *item, cache uint16) {
	switch {
	case it.cache == 0:
		it.cache = cache
	case !it.watchedBy(cache):
		b := w.keys.busy(it)
		b.caches = append(b.caches, cache)
	}
}

// push brings a delta to all caches that watch a key. There is at least one.
func (w *watches) push(it *item, delta *lattice.State, out *Effects) {
	out.Pushes = append(out.Pushes, Push{Cache: it.cache, Key: it.key, Delta: delta})
	w.pushes++
	if it.busy == nil {
		return
	}
	for _, cache := range it.busy.caches {
		out.Pushes = append(out.Pushes, Push{Cache: cache, Key: it.key, Delta: delta})
		w.pushes++
	}
}

// pushWhole brings a cache all that a key holds.
func (w *watches) pushWhole(it *item, cache uint16, out *Effects) {
	out.Pushes = append(out.Pushes, Push{Cache: cache, Key: it.key, Delta: it.state.Clone(), Whole: true})
	w.pushes++
}

// lose tells the caches that watch a key that no more of its changes come, and ends the watches.
func (*watches) lose(it *item, out *Effects) {
	if it.cache == 0 {
		return
	}
	out.Pushes = append(out.Pushes, Push{Cache: it.cache, Key: it.key, Lost: true})
	if it.cache = 0; it.busy == nil {
		return
	}
	for _, cache := range it.busy.caches {
		out.Pushes = append(out.Pushes, Push{Cache: cache, Key: it.key, Lost: true})
	}
	it.busy.caches = nil
}

// watch makes a cache get the changes of a key. The key stays known while it is watched, so that its creation is a change too.
func (k *Kernel) watch(at Moment, m *Watch, out *Effects) {
	if k.tenures.of(m.Slot) >= slots.Joining {
		out.Pushes = append(out.Pushes, Push{Cache: m.Cache, Key: m.Key, Lost: true})
		return
	}
	it := k.keys.items[m.Key]
	if it == nil {
		it = k.add(m.Key, m.Slot)
	}
	it = k.unexpired(at, it, out)
	k.watches.add(it, m.Cache)
	if it.flags.has(cold) {
		k.loads.readThrough++
		k.loads.park(it, &parked{cache: m.Cache}, out)
		return
	}
	k.watches.pushWhole(it, m.Cache, out)
}

func (k *Kernel) unwatch(m *Unwatch) {
	if it := k.keys.items[m.Key]; it != nil {
		k.unsubscribe(it, m.Cache)
	}
}

// cachesGone ends all watches of some caches.
func (k *Kernel) cachesGone(m *CachesGone) {
	for i := len(k.keys.ring) - 1; i >= 0; i-- {
		it := k.keys.ring[i]
		for _, cache := range m.Caches {
			if it.watchedBy(cache) && k.keys.items[it.key] == it {
				k.unsubscribe(it, cache)
			}
		}
	}
}

func (k *Kernel) unsubscribe(it *item, gone uint16) {
	if b := it.busy; b != nil {
		b.caches = slices.DeleteFunc(b.caches, func(cache uint16) bool { return cache == gone })
	}
	if it.cache == gone {
		it.cache = 0
		if b := it.busy; b != nil && len(b.caches) > 0 {
			it.cache = b.caches[0]
			b.caches = b.caches[1:]
		}
	}
	k.keys.release(it)
	k.forgetUnused(it)
}
