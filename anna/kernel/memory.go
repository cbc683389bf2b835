package kernel

import (
	"fmt"
	"slices"

	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// sweepMax bounds the keys that a step looks at in search of something to evict, for each key that it has dealt with.
	sweepMax = 64
	// evictMax bounds the keys that it evicts, likewise.
	evictMax = 8
)

// Found says where a key is.
type Found uint8

const (
	// Absent says that nothing is stored under the key.
	Absent Found = iota
	// Here says that the state is in memory.
	Here
	// InLog says that the state is in the log; a Read brings it into memory.
	InLog
)

// Get returns what a key holds. The state may only be read, and only until the next Step. Several goroutines may call it at
// once.
func (k *Kernel) Get(now int64, key string) (*lattice.State, Found) {
	it := k.items[key]
	if it == nil {
		return nil, Absent
	}
	it.touch()
	if it.flags.has(cold) {
		return nil, InLog
	}
	if it.state.Live(now/1000) == nil {
		return nil, Absent
	}
	return &it.state, Here
}

// Held returns all that is known of a key, its tombstone too, under the same conditions as Get.
func (k *Kernel) Held(key string) (*lattice.State, Found) {
	it := k.items[key]
	switch {
	case it == nil:
		return nil, Absent
	case it.flags.has(cold):
		return nil, InLog
	}
	it.touch()
	return &it.state, Here
}

// evict leaves states to the log while keys take more memory than they may. A hand goes round over all keys; those that were
// read since it came by the last time are spared once. Keys is how many the step has dealt with.
func (k *Kernel) evict(keys int) {
	looked, evicted := 0, 0
	for ; k.memory > k.cfg.MemoryBytesMax && looked < sweepMax*keys && evicted < evictMax*keys && len(k.ring) > 0; looked++ {
		if k.hand++; k.hand >= len(k.ring) {
			k.hand = 0
		}
		it := k.ring[k.hand]
		if it.used.Load() != 0 {
			it.used.Store(0)
			continue
		}
		if it.flags.has(cold|volatile|fading|queued|loading) || it.dirty() || it.state.Lattice == nil || it.sequence == 0 {
			continue
		}
		k.stats.Evictions++
		evicted++
		k.setCold(it, true)
		if simple(&it.state) {
			it.flags |= coldLWW
		}
		k.unload(it)
	}
}

// unload leaves all that a key holds to the log, which has it. What stayed would outlast the tombstones there, and come back.
func (k *Kernel) unload(it *item) {
	it.state = lattice.State{}
	k.resize(it)
}

func (k *Kernel) setCold(it *item, is bool) {
	if it.flags.has(cold) == is {
		return
	}
	if is {
		it.flags |= cold
		k.stats.Cold++
	} else {
		it.flags &^= cold | coldLWW
		k.stats.Cold--
	}
}

// listCold lists a key that has something to show as far as is known.
func (k *Kernel) listCold(it *item) {
	if it.flags.has(listed) {
		return
	}
	it.flags |= listed
	k.count(it, 1)
	if !it.flags.has(indexed) {
		it.flags |= indexed
		k.index.add(it)
	}
}

func (k *Kernel) read(m *Read, out *Effects) {
	it := k.items[m.Key]
	if it == nil || !it.flags.has(cold) {
		reply(out, m.Ticket, nil, 0)
		return
	}
	k.stats.ReadThrough++
	k.park(it, parked{ticket: m.Ticket}, out)
}

// park lets something wait for a key to be loaded.
func (k *Kernel) park(it *item, what parked, out *Effects) {
	b := k.more(it)
	if len(b.parked) >= k.cfg.ParkedMax {
		err := wire.Errorf(pb.Code_CODE_NO_RESOURCES, "access to %.64q: %d others wait for it to be read from the log already, the limit; try again", it.key, k.cfg.ParkedMax)
		k.turnAway(it, what, err, out)
		return
	}
	b.parked = append(b.parked, what)
	k.load(it, out)
}

func (k *Kernel) turnAway(it *item, what parked, err error, out *Effects) {
	switch {
	case what.cache != 0:
		out.Pushes = append(out.Pushes, Push{Cache: what.cache, Key: it.key, Whole: true, Err: err})
	case what.write.Key != "":
		reply(out, what.write.Ticket, err, 0)
	default:
		reply(out, what.ticket, err, 0)
	}
}

func (k *Kernel) load(it *item, out *Effects) {
	if it.flags.has(loading) {
		return
	}
	it.flags |= loading
	k.stats.Loads++
	places := k.placesOf(it)
	sequences := make([]uint64, len(places))
	for i, p := range places {
		sequences[i] = p.sequence
	}
	out.Loads = append(out.Loads, Load{Key: it.key, Slot: it.slot, Partition: k.cfg.PartitionOf(it.slot), Sequences: sequences})
}

// covers reports whether all that is needed of a key has been read.
func (k *Kernel) covers(it *item, sequences []uint64) bool {
	return !slices.ContainsFunc(k.placesOf(it), func(p place) bool {
		_, read := slices.BinarySearch(sequences, p.sequence)
		return !read
	})
}

// loaded merges what the log holds of a key, and lets those go on who waited for it.
func (k *Kernel) loaded(now int64, m *Loaded, out *Effects) {
	it := k.items[m.Key]
	if it == nil || !it.flags.has(loading) {
		return
	}
	it.flags &^= loading
	if m.Err == nil && m.State != nil {
		_ = k.observe(m.State, now)
		it.state.Merge(m.State)
	}
	if it.flags.has(cold) && !k.covers(it, m.Sequences) {
		k.load(it, out) // something has been added meanwhile, which may be why it failed
		return
	}
	if m.Err == nil {
		k.setCold(it, false)
		k.list(now, it)
		k.schedule(it)
		it.touch()
		if it.flags.has(rewrite) {
			k.rewrite(it, out)
			k.pump(now, k.partition(it.slot), out)
		}
	}
	k.resize(it)
	var waiting []parked
	if it.busy != nil {
		waiting, it.busy.parked = it.busy.parked, nil
	}
	switch {
	case !it.watched():
	case m.Err == nil:
		// Changes may have reached the log in chunks, of which caches have not been told.
		k.push(it, it.state.Clone(), out)
	default:
		// They may have missed one. Whoever has asked just now is told why, and the others ask anew when they need the key.
		for i := range waiting {
			if cache := waiting[i].cache; cache != 0 {
				k.unsubscribe(it, cache)
			}
		}
		k.pushLost(it, out)
		k.unwatched(it)
	}
	for i := range waiting {
		what := &waiting[i]
		switch {
		case m.Err != nil:
			k.turnAway(it, *what, fmt.Errorf("read %.64q from the log: %w", it.key, m.Err), out)
		case what.cache != 0:
			k.pushWhole(it, what.cache, out)
		case what.write.Key != "":
			k.write(now, &what.write, out)
		default:
			reply(out, what.ticket, nil, 0)
		}
	}
	k.settleDown(it)
	if m.Err == nil && it.state.Expired(now/1000) {
		k.expire(now, it, out)
		return
	}
	switch {
	case m.Err != nil || it.dirty() || it.flags.has(cold|loading) || it.state.Lattice != nil:
	case !it.state.Deleted().IsZero():
		k.fade(now, it)
	case !it.watched() && it.busy == nil && k.items[it.key] == it:
		k.forget(it) // the log has forgotten it
	}
}

// Uploads returns the names of all pieces that records of the kernel's keys refer to. Several goroutines may call it at once.
func (k *Kernel) Uploads() map[string]bool {
	named := map[string]bool{}
	for _, it := range k.ring {
		if it.busy != nil {
			for _, name := range it.busy.uploads {
				named[name] = true
			}
		}
	}
	return named
}
