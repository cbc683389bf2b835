package kernel

import (
	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// write merges a write, has what it changed published once the key's previous publish is answered, and answers the write.
func (k *Kernel) write(at Moment, w *Write, out *Effects) {
	tenure := k.tenures.of(w.Slot)
	// Of several masters one decides by what a key holds: the one that leads.
	if tenure >= slots.Joining || tenure != slots.Leading && (w.Make != nil || w.Expect != 0) {
		reply(out, w.Ticket, errMoved, 0)
		return
	}
	k.clock.Follow(max(w.Floor, w.Stamp.Time))
	it := k.keys.items[w.Key]
	if it == nil {
		if w.Delete || w.Persist {
			reply(out, w.Ticket, nil, 0)
			return
		}
		it = k.add(w.Key, w.Slot)
	}
	if value, ok := k.inPlace(at, it, w); ok {
		k.finish(at, it, w, tenure, value, false, out)
		return
	}
	if w.Put != nil {
		w.Delta, w.Put = lattice.Put(lattice.Timestamp{}, w.Put), nil
	}
	if it.flags.has(cold) && overwrites(it, w) && !w.Stamp.IsZero() {
		reply(out, w.Ticket, errBehind, 0) // it may be
		return
	}
	if it.flags.has(cold) && !overwrites(it, w) {
		w.Key = it.key
		k.loads.park(it, &parked{write: *w}, out)
		return
	}
	it = k.unexpired(at, it, out)
	if w.Expect != 0 && k.cfg.Fingerprint(&it.state) != w.Expect {
		k.forgetUnused(it)
		reply(out, w.Ticket, errChanged, 0)
		return
	}
	if !w.Stamp.IsZero() && overtaken(w, &it.state) {
		k.forgetUnused(it)
		reply(out, w.Ticket, errBehind, 0)
		return
	}
	delta, made, err := k.prepare(at, it, w)
	if err == nil && delta != nil && !w.Volatile {
		err = k.changes.admit(it, w, delta)
	}
	if err != nil || delta == nil {
		k.writeNothing(at, it, w, made, err, out)
		return
	}
	before := measure(it, at)
	k.keys.setCold(it, false)
	k.keys.countMerge(it)
	volatileOnly := w.Volatile && tenure != slots.Parting || !it.inLog() && (w.Delete || it.flags.has(volatile) && delta.Lattice == nil)
	joins := w.Cache != 0 && !it.watchedBy(w.Cache)
	if it.state.Merge(delta) {
		k.merged(at, it, delta, volatileOnly, out)
	}
	if joins && (simple(&it.state) || int(it.bytes)*accountUnit <= joinBytesMax) {
		k.watches.add(it, w.Cache)
		k.watches.pushWhole(it, w.Cache, out)
	}
	value := made
	if w.Make == nil {
		value = measure(it, at).since(before, w.Delete)
	}
	k.finish(at, it, w, tenure, value, volatileOnly, out)
}

// writeNothing answers a write that fails, or changes nothing.
func (k *Kernel) writeNothing(at Moment, it *item, w *Write, value int64, err error, out *Effects) {
	if err == nil && w.Ack == Durable && w.Ticket != nil && it.dirty() {
		k.changes.wait(at, it, w, value) // what has made it superfluous is not durable yet
		k.changes.enqueue(k.partitions.of(it.slot), it, true)
		k.changes.pumpKey(at, it, out)
		return
	}
	k.forgetUnused(it)
	reply(out, w.Ticket, err, value)
}

// finish answers a write that has been merged, and has what it changed published.
func (k *Kernel) finish(at Moment, it *item, w *Write, tenure slots.Tenure, value int64, volatileOnly bool, out *Effects) {
	p := k.partitions.of(it.slot)
	switch {
	case w.Ticket == nil:
	case volatileOnly || w.Ack == Memory && !k.changes.congested(p) || !it.dirty():
		reply(out, w.Ticket, nil, value)
	default:
		k.changes.wait(at, it, w, value)
	}
	if volatileOnly && w.Delete {
		k.dropVolatile(it)
		return
	}
	k.changes.enqueue(p, it, w.Ack == Durable && !w.Volatile || tenure == slots.Parting)
	k.changes.pump(at, p, out)
}

// inPlace makes a write that gives a key another value or another count of the type that it has, and that no cache has to be told of:
// most are like this, and need no delta. It reports whether it was such a write.
func (k *Kernel) inPlace(at Moment, it *item, w *Write) (value int64, ok bool) {
	if w.Put == nil && w.Add == 0 || w.Volatile || w.Cache != 0 || w.Expect != 0 || it.watched() ||
		it.flags.has(cold|loading|volatile) || !it.flags.has(listed) || k.changes.bytes+len(w.Put)+ItemBytes > k.cfg.ChangesetBytesMax {
		return 0, false
	}
	if w.Put != nil {
		ok = it.state.Rewrite(k.clock.Now(at.Wall), w.Put)
	} else if whole(&it.state) {
		value, ok = it.state.Count(k.cfg.Writer, w.Add)
	}
	if ok {
		k.keys.countMerge(it)
		k.keys.resize(it)
		k.changes.change(it, nil, false)
	}
	return value, ok
}

// joinBytesMax bounds what a cache is given unasked when it writes to a key; last-writer-wins values are shared and cost
// nothing.
const joinBytesMax = 4 << 10

// overwrites reports whether a write replaces all that a key holds that is not in memory: its stamp will be later, since the kernel's
// clock is ahead of all that the log holds.
func overwrites(it *item, w *Write) bool {
	if w.Delete {
		return it.flags.has(listed)
	}
	if w.Delta == nil || w.Delta.Lattice == nil || !it.flags.has(coldLWW) {
		return false
	}
	lww, ok := w.Delta.Lattice.(*lattice.LWW)
	return ok && lww.Timestamp.IsZero()
}

// prepare completes the delta of a write. It returns nil when there is nothing to do. Value is what a Maker answers.
func (k *Kernel) prepare(at Moment, it *item, w *Write) (delta *lattice.State, value int64, err error) {
	nowMillis := at.Wall / 1000
	switch {
	case w.Delete:
		if !it.flags.has(listed) {
			return nil, 0, nil
		}
		return lattice.Delete(w.stamp(k.clock, at)), 0, nil
	case w.Persist:
		if it.state.ExpiresAt() == 0 {
			return nil, 0, nil
		}
		return lattice.ExpireAt(w.stamp(k.clock, at), 0), 0, nil
	case w.Make != nil:
		if delta, value, err = w.Make.Make(&it.state, k.clock.Now(at.Wall), nowMillis); err != nil || delta == nil {
			return nil, value, err
		}
	case w.Add != 0:
		if err := mismatch(&it.state, w.Key, lattice.TypeCounter, nowMillis); err != nil {
			return nil, 0, err
		}
		delta, err := lattice.CounterAdd(&it.state, k.cfg.Writer, w.Add)
		if err != nil {
			return nil, 0, errorf(Invalid, "add to %.64q: %v", w.Key, err)
		}
		return delta, 0, nil
	default:
		delta = w.Delta
	}
	if err := k.clock.Observe(delta.Latest(), at.Wall); err != nil {
		return nil, 0, errorf(Invalid, "write to %.64q: %v", w.Key, err)
	}
	delta, err = w.Complete(delta, &it.state, nowMillis, w.stamp(k.clock, at))
	return delta, value, err
}

// stamp returns the stamp of a write: its own if it has one.
func (w *Write) stamp(clock *lattice.Clock, at Moment) lattice.Timestamp {
	if w.Stamp.IsZero() {
		return clock.Now(at.Wall)
	}
	return w.Stamp
}

// merged takes note that delta, which is k's own, has changed the state of it.
func (k *Kernel) merged(at Moment, it *item, delta *lattice.State, volatileOnly bool, out *Effects) {
	watched := it.watched()
	if watched {
		k.watches.push(it, delta, out)
	}
	k.keys.resize(it)
	k.keys.list(at.Wall/1000, it)
	k.expiries.schedule(it)
	if volatileOnly {
		it.flags |= volatile
		return
	}
	k.changes.change(it, delta, watched)
}

// unexpired returns an item that has not expired, for a key that may have.
func (k *Kernel) unexpired(at Moment, it *item, out *Effects) *item {
	if !it.state.Expired(at.Wall / 1000) {
		return it
	}
	k.expire(at, it, out)
	if k.keys.items[it.key] != it {
		return k.add(it.key, it.slot)
	}
	return it
}

// dropVolatile forgets a key that was deleted and that the log does not hold. While caches watch it its tombstone stays, or what
// is written next could seem to them to be from before.
func (k *Kernel) dropVolatile(it *item) {
	it.flags &^= volatile
	k.expiries.remove(it)
	k.forgetUnused(it)
}

func reply(out *Effects, ticket any, err error, value int64) {
	if ticket != nil {
		out.Replies = append(out.Replies, Reply{Ticket: ticket, Err: err, Value: value})
	}
}

// magnitude is what the Value of a Reply is made of.
type magnitude struct {
	lattice lattice.Lattice
	members int
}

func measure(it *item, at Moment) magnitude {
	live := it.state.Live(at.Wall / 1000)
	switch l := live.(type) {
	case *lattice.Set:
		return magnitude{live, l.Len()}
	case *lattice.OrderedSet:
		return magnitude{live, l.Len()}
	}
	return magnitude{lattice: live}
}

func (m magnitude) since(before magnitude, deleted bool) int64 {
	if deleted {
		if before.lattice != nil {
			return 1
		}
		return 0
	}
	switch l := m.lattice.(type) {
	case *lattice.Set, *lattice.OrderedSet:
		if m.members < before.members {
			return int64(before.members - m.members)
		}
		return int64(m.members - before.members)
	case *lattice.Counter:
		return l.Value()
	}
	return int64(before.members) // the last members were removed
}
