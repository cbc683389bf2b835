package kernel

import (
	"fmt"

	"cloudburst/lattice"
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
	it := k.keys.items[key]
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
	it := k.keys.items[key]
	switch {
	case it == nil:
		return nil, Absent
	case it.flags.has(cold):
		return nil, InLog
	}
	it.touch()
	return &it.state, Here
}

func (k *Kernel) read(m *Read, out *Effects) {
	it := k.keys.items[m.Key]
	if it == nil || !it.flags.has(cold) {
		reply(out, m.Ticket, nil, 0)
		return
	}
	k.loads.readThrough++
	k.loads.park(it, &parked{ticket: m.Ticket}, out)
}

// refuse answers what waits for a key with an error.
func refuse(it *item, what *parked, err error, out *Effects) {
	switch {
	case what.cache != 0:
		out.Pushes = append(out.Pushes, Push{Cache: what.cache, Key: it.key, Whole: true, Err: err})
	case what.write.Key != "":
		reply(out, what.write.Ticket, err, 0)
	default:
		reply(out, what.ticket, err, 0)
	}
}

// loads brings keys into memory that are only in the log.
type loads struct {
	cfg        *Config
	keys       *keys
	partitions *partitions
	places     *places

	asked, readThrough uint64
}

// park lets something wait for a key to be loaded.
func (l *loads) park(it *item, what *parked, out *Effects) {
	b := l.keys.busy(it)
	if len(b.parked) >= l.cfg.ParkedMax {
		err := errorf(Full, "access to %.64q: %d others wait for it to be read from the log already, the limit; try again", it.key, l.cfg.ParkedMax)
		refuse(it, what, err, out)
		return
	}
	b.parked = append(b.parked, *what)
	l.ask(it, out)
}

// ask asks for what the log holds of a key, unless that has been asked for.
func (l *loads) ask(it *item, out *Effects) {
	if it.flags.has(loading) {
		return
	}
	it.flags |= loading
	l.asked++
	needed := l.places.of(it)
	sequences := make([]uint64, len(needed))
	for i, p := range needed {
		sequences[i] = p.sequence
	}
	out.Loads = append(out.Loads, Load{Key: it.key, Slot: it.slot, Partition: l.partitions.bySlot(it.slot), Sequences: sequences})
}

// loaded merges what the log holds of a key, and goes on with what waits for it.
func (k *Kernel) loaded(at Moment, m *Loaded, out *Effects) {
	it := k.keys.items[m.Key]
	if it == nil || !it.flags.has(loading) {
		return
	}
	it.flags &^= loading
	if m.Err == nil && m.State != nil {
		k.observe(at, m.State)
		it.state.Merge(m.State)
	}
	if it.flags.has(cold) && !k.places.within(it, m.Sequences) {
		k.loads.ask(it, out) // something has been added meanwhile, which may be why it failed
		return
	}
	if m.Err == nil {
		k.keys.setCold(it, false)
		k.keys.list(at.Wall/1000, it)
		k.expiries.schedule(it)
		it.touch()
		if it.flags.has(rewrite) {
			k.changes.rewrite(it)
			k.changes.pumpKey(at, it, out)
		}
	}
	k.keys.resize(it)
	var waiting []parked
	if it.busy != nil {
		waiting, it.busy.parked = it.busy.parked, nil
	}
	switch {
	case !it.watched():
	case m.Err == nil:
		// Changes may have reached the log in chunks, of which caches have not been told.
		k.watches.push(it, it.state.Clone(), out)
	default:
		// They may have missed one. A cache that waits for the key is told why; the others ask again when they need the key.
		for i := range waiting {
			if cache := waiting[i].cache; cache != 0 {
				k.unsubscribe(it, cache)
			}
		}
		k.watches.lose(it, out)
	}
	for i := range waiting {
		what := &waiting[i]
		switch {
		case m.Err != nil:
			refuse(it, what, fmt.Errorf("read %.64q from the log: %w", it.key, m.Err), out)
		case what.cache != 0:
			k.watches.pushWhole(it, what.cache, out)
		case what.write.Key != "":
			k.write(at, &what.write, out)
		default:
			reply(out, what.ticket, nil, 0)
		}
	}
	k.keys.release(it)
	if m.Err == nil && it.state.Expired(at.Wall/1000) {
		k.expire(at, it, out)
		return
	}
	switch {
	case m.Err != nil || it.dirty() || it.flags.has(cold|loading) || it.state.Lattice != nil:
	case !it.state.Deleted().IsZero():
		k.tombstones.add(at, it)
	case !it.watched() && it.busy == nil && k.keys.items[it.key] == it:
		k.forget(it) // the log does not hold it any more
	}
}

// Uploads returns the names of all chunks that records of the kernel's keys refer to. Several goroutines may call it at once.
func (k *Kernel) Uploads() map[string]bool {
	named := map[string]bool{}
	for _, it := range k.keys.ring {
		if it.busy != nil {
			for _, name := range it.busy.uploads {
				named[name] = true
			}
		}
	}
	return named
}
