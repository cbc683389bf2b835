package kernel

import (
	"slices"

	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// watch makes a cache get the changes of a key. The key stays known while it is watched, so that its creation is a change too.
func (k *Kernel) watch(now int64, m *Watch, out *Effects) {
	if k.Tenure(m.Slot) >= slots.Joining {
		out.Pushes = append(out.Pushes, Push{Cache: m.Cache, Key: m.Key, Lost: true})
		return
	}
	it := k.items[m.Key]
	if it == nil {
		it = k.add(m.Key, m.Slot)
	}
	it = k.fresh(now, it, out)
	k.subscribe(it, m.Cache)
	if it.flags.has(cold) {
		k.stats.ReadThrough++
		k.park(it, parked{cache: m.Cache}, out)
		return
	}
	k.pushWhole(it, m.Cache, out)
}

func (k *Kernel) subscribe(it *item, cache uint16) {
	switch {
	case it.cache == 0:
		it.cache = cache
	case !it.watchedBy(cache):
		b := k.more(it)
		b.caches = append(b.caches, cache)
	}
}

func (k *Kernel) unwatch(m *Unwatch) {
	if it := k.items[m.Key]; it != nil {
		k.unsubscribe(it, m.Cache)
	}
}

// forsake ends what all keys know of some caches.
func (k *Kernel) forsake(m *Forsake) {
	for i := len(k.ring) - 1; i >= 0; i-- {
		it := k.ring[i]
		for _, cache := range m.Caches {
			if it.watchedBy(cache) && k.items[it.key] == it {
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
	k.settleDown(it)
	k.leave(it)
}

// push brings a delta to all caches that watch a key.
func (k *Kernel) push(it *item, delta *lattice.State, out *Effects) {
	out.Pushes = append(out.Pushes, Push{Cache: it.cache, Key: it.key, Delta: delta})
	k.stats.Pushes++
	if it.busy == nil {
		return
	}
	for _, cache := range it.busy.caches {
		out.Pushes = append(out.Pushes, Push{Cache: cache, Key: it.key, Delta: delta})
		k.stats.Pushes++
	}
}

// pushWhole brings a cache all that a key holds.
func (k *Kernel) pushWhole(it *item, cache uint16, out *Effects) {
	out.Pushes = append(out.Pushes, Push{Cache: cache, Key: it.key, Delta: it.state.Clone(), Whole: true})
	k.stats.Pushes++
}
