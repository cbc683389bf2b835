package kernel

import (
	"math"
	"slices"
	"strings"

	"cloudburst/anna/slots"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// write merges a write, publishes what it changed as soon as the key's previous publish is answered, and answers it.
func (k *Kernel) write(now int64, w *Write, out *Effects) {
	tenure := k.Tenure(w.Slot)
	// Of several masters one decides on what is held: the one who leads.
	if tenure >= slots.Joining || tenure != slots.Leading && (w.Make != nil || w.Expect != 0) {
		reply(out, w.Ticket, ErrMoved, 0)
		return
	}
	k.clock.Follow(max(w.Floor, w.Stamp.Time))
	it := k.items[w.Key]
	if it == nil {
		if w.Delete || w.Persist {
			reply(out, w.Ticket, nil, 0)
			return
		}
		it = k.add(strings.Clone(w.Key), w.Slot)
	}
	if value, ok := k.inPlace(now, it, w); ok {
		k.settle(now, it, w, tenure, value, false, out)
		return
	}
	if w.Put != nil {
		w.Delta, w.Put = lattice.Put(lattice.Timestamp{}, w.Put), nil
	}
	if it.flags.has(cold) && overwrites(it, w) && !w.Stamp.IsZero() {
		reply(out, w.Ticket, ErrBehind, 0) // it may be
		return
	}
	if it.flags.has(cold) && !overwrites(it, w) {
		w.Key = it.key
		k.park(it, parked{write: *w}, out)
		return
	}
	it = k.fresh(now, it, out)
	if w.Expect != 0 && Fingerprint(&it.state) != w.Expect {
		k.leave(it)
		reply(out, w.Ticket, ErrChanged, 0)
		return
	}
	if !w.Stamp.IsZero() && overtaken(w, &it.state) {
		k.leave(it)
		reply(out, w.Ticket, ErrBehind, 0)
		return
	}
	delta, made, err := k.prepare(now, it, w)
	if err == nil && delta != nil && !w.Volatile {
		err = k.admit(it, w, delta)
	}
	if err != nil || delta == nil {
		if err == nil && w.Ack == Durable && w.Ticket != nil && it.dirty() {
			k.wait(it, w, made) // what made it superfluous is not durable yet
			k.enqueue(k.partition(it.slot), it, true)
			k.pump(now, k.partition(it.slot), out)
			return
		}
		k.leave(it)
		reply(out, w.Ticket, err, made)
		return
	}
	before := measure(it, now)
	k.setCold(it, false)
	k.countMerge(it)
	volatileOnly := w.Volatile && tenure != slots.Parting || !it.inLog() && (w.Delete || it.flags.has(volatile) && delta.Lattice == nil)
	joins := w.Cache != 0 && !it.watchedBy(w.Cache)
	if it.state.Merge(delta) {
		k.merged(now, it, delta, volatileOnly, out)
	}
	if joins && (simple(&it.state) || int(it.bytes)*accountUnit <= joinBytesMax) {
		k.subscribe(it, w.Cache)
		k.pushWhole(it, w.Cache, out)
	}
	value := made
	if w.Make == nil {
		value = measure(it, now).since(before, w.Delete)
	}
	k.settle(now, it, w, tenure, value, volatileOnly, out)
}

// settle answers a write that has been merged, and has what it changed published.
func (k *Kernel) settle(now int64, it *item, w *Write, tenure slots.Tenure, value int64, volatileOnly bool, out *Effects) {
	p := k.partition(it.slot)
	switch {
	case w.Ticket == nil:
	case volatileOnly || w.Ack == Memory && !k.congested(p) || !it.dirty():
		reply(out, w.Ticket, nil, value)
	default:
		k.wait(it, w, value)
	}
	if volatileOnly && w.Delete {
		k.vanish(it)
		return
	}
	k.enqueue(p, it, w.Ack == Durable && !w.Volatile || tenure == slots.Parting)
	k.pump(now, p, out)
}

// inPlace makes a write that gives a key another value, or another count, of the kind that it has, and that nobody has to be told
// of: most are like this, and need no delta. It reports whether it was such a write.
func (k *Kernel) inPlace(now int64, it *item, w *Write) (value int64, ok bool) {
	if w.Put == nil && w.Add == 0 || w.Volatile || w.Cache != 0 || w.Expect != 0 || it.watched() ||
		it.flags.has(cold|loading|volatile) || !it.flags.has(listed) || k.changeset+len(w.Put)+ItemBytes > k.cfg.ChangesetBytesMax {
		return 0, false
	}
	if w.Put != nil {
		ok = it.state.Rewrite(k.clock.Now(now), w.Put)
	} else if whole(&it.state) {
		value, ok = it.state.Count(k.cfg.Writer, w.Add)
	}
	if ok {
		k.countMerge(it)
		k.resize(it)
		k.change(it, nil, false)
	}
	return value, ok
}

func (k *Kernel) countMerge(it *item) {
	k.stats.Merges++
	k.slots[it.slot].Writes++
}

// joinBytesMax bounds what a cache is given unasked when it writes to a key; last-writer-wins values are shared and cost
// nothing.
const joinBytesMax = 4 << 10

// overwrites reports whether a write replaces whatever a key that is not in memory holds: its stamp will be later, since the
// kernel's clock is ahead of all that the log holds.
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
func (k *Kernel) prepare(now int64, it *item, w *Write) (delta *lattice.State, value int64, err error) {
	switch {
	case w.Delete:
		if !it.flags.has(listed) {
			return nil, 0, nil
		}
		return lattice.Delete(k.stamp(now, w)), 0, nil
	case w.Persist:
		if it.state.ExpiresAt() == 0 {
			return nil, 0, nil
		}
		return lattice.ExpireAt(k.stamp(now, w), 0), 0, nil
	case w.Make != nil:
		if delta, value, err = w.Make.Make(&it.state, k.clock.Now(now), now/1000); err != nil || delta == nil {
			return nil, value, err
		}
	case w.Add != 0:
		if err := mismatch(&it.state, w.Key, lattice.TypeCounter, now/1000); err != nil {
			return nil, 0, err
		}
		delta, err := lattice.CounterAdd(&it.state, k.cfg.Writer, w.Add)
		if err != nil {
			return nil, 0, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "add to %.64q: %v", w.Key, err)
		}
		return delta, 0, nil
	default:
		delta = w.Delta
	}
	if err := k.observe(delta, now); err != nil {
		return nil, 0, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "write to %.64q: %v", w.Key, err)
	}
	delta, err = w.Complete(delta, &it.state, now/1000, k.stamp(now, w))
	return delta, value, err
}

// stamp returns the stamp of a write: its own if it has one.
func (k *Kernel) stamp(now int64, w *Write) lattice.Timestamp {
	if w.Stamp.IsZero() {
		return k.clock.Now(now)
	}
	return w.Stamp
}

// Complete completes the delta of a write to a key by what that holds, which is from before the stamp. It returns nil when there is
// nothing to do.
func (w *Write) Complete(delta, held *lattice.State, nowMillis int64, stamp lattice.Timestamp) (*lattice.State, error) {
	var replaced *lattice.State
	switch {
	case delta.Lattice == nil && delta.Deleted().IsZero() && held.Live(nowMillis) == nil:
		return nil, nil // an expiry for nothing
	case delta.Lattice == nil || w.Expect != 0 && !w.Replace: // by what it expects it is complete
	default:
		if err := mismatch(held, w.Key, delta.Lattice.Type(), nowMillis); err != nil {
			if !w.Replace {
				return nil, err
			}
			replaced = lattice.Delete(lattice.Timestamp{Time: stamp.Time - 1, Writer: math.MaxUint64})
			held = replaced
		}
	}
	delta.Complete(stamp, held)
	if replaced != nil {
		replaced.Merge(delta)
		return replaced, nil
	}
	return delta, nil
}

// overtaken reports whether a key holds something that is later than the stamp of a write, so that what is written would lose to it.
func overtaken(w *Write, held *lattice.State) bool {
	switch {
	case w.Delete:
		return w.Stamp.Less(held.Latest())
	case w.Persist:
		return w.Stamp.Less(held.Deleted()) || w.Stamp.Less(held.Expiry().Timestamp)
	case w.Delta == nil:
		return false
	case w.Replace && w.Delta.Lattice != nil && held.Lattice != nil && held.Lattice.Type() != w.Delta.Lattice.Type():
		return w.Stamp.Time <= held.Latest().Time
	}
	return overtakes(held, w.Delta, w.Stamp)
}

// overtakes reports whether a state is later than a stamp in something that a delta is still to be stamped in.
func overtakes(held, delta *lattice.State, stamp lattice.Timestamp) bool {
	if held == nil {
		return false
	}
	if e := delta.Expiry(); e.At != 0 && e.Timestamp.IsZero() && stamp.Less(held.Expiry().Timestamp) || stamp.Less(held.Deleted()) {
		return true
	}
	if delta.Lattice == nil {
		return false
	}
	content := func(l lattice.Lattice) bool { return overtakesIn(held.Of(l.Type()), l, stamp) }
	return content(delta.Lattice) || slices.ContainsFunc(delta.Others(), content)
}

func overtakesIn(held, delta lattice.Lattice, stamp lattice.Timestamp) bool {
	switch h := held.(type) {
	case *lattice.LWW:
		return delta.(*lattice.LWW).Timestamp.IsZero() && stamp.Less(h.Timestamp)
	case *lattice.Set:
		for member, mark := range delta.(*lattice.Set).Marks() {
			if mark.Stamp.IsZero() && stamp.Less(h.Mark(member).Stamp) {
				return true
			}
		}
	case *lattice.OrderedSet:
		for member, mark := range delta.(*lattice.OrderedSet).Marks() {
			if mark.Stamp.IsZero() && stamp.Less(h.Mark(member).Stamp) {
				return true
			}
		}
	case *lattice.Map:
		for field, state := range delta.(*lattice.Map).Fields() {
			if overtakes(h.Get(field), state, stamp) {
				return true
			}
		}
	}
	return false
}

// mismatch returns an error when a key shows a lattice of another type.
func mismatch(held *lattice.State, key string, t lattice.Type, nowMillis int64) error {
	live := held.Live(nowMillis)
	if live == nil || live.Type() == t {
		return nil
	}
	return wire.Errorf(pb.Code_CODE_LATTICE_MISMATCH, "write to %.64q: it holds a %v, and this is a %v; delete the key first, or use another one",
		key, live.Type(), t)
}

// admit refuses what would make the changeset grow beyond its bound.
func (k *Kernel) admit(it *item, w *Write, delta *lattice.State) error {
	size := ItemBytes
	if w.Delta != nil || w.Make != nil {
		size = delta.Bytes()
	}
	if k.changeset+size <= k.cfg.ChangesetBytesMax || k.changeset == 0 { // one write may be larger than that by itself
		return nil
	}
	p := k.partition(it.slot)
	if p.failures > 0 {
		return wire.Errorf(pb.Code_CODE_NO_RESOURCES, "write to %.64q: %d bytes of changes wait for the log already, the limit (anna.changeset_bytes_max), and the log does not take them: %v",
			w.Key, k.changeset, p.err)
	}
	return wire.Errorf(pb.Code_CODE_NO_RESOURCES, "write to %.64q: %d bytes of changes wait for the log already, the limit (anna.changeset_bytes_max); write slower, or wait for durable acknowledgements",
		w.Key, k.changeset)
}

// congested reports whether writers are so far ahead of a working log that they have to wait for it.
func (k *Kernel) congested(p *partition) bool {
	return p.failures == 0 && k.changeset > k.cfg.ChangesetBytesMax/2
}

// merged takes note that delta, which is k's own, has changed the state of it.
func (k *Kernel) merged(now int64, it *item, delta *lattice.State, volatileOnly bool, out *Effects) {
	watched := it.watched()
	if watched {
		k.push(it, delta, out)
	}
	k.resize(it)
	k.list(now, it)
	k.schedule(it)
	if volatileOnly {
		it.flags |= volatile
		return
	}
	k.change(it, delta, watched)
}

// change puts a delta into the changeset.
func (k *Kernel) change(it *item, delta *lattice.State, shared bool) {
	b := k.more(it)
	before := b.pending
	switch {
	case it.flags.has(changed) || whole(&it.state):
		// The state is as small as the delta, and has the advantage that earlier records are not needed any more.
		it.flags |= changed
		b.delta = nil
		b.pending = it.state.Bytes()
	case b.delta != nil:
		b.delta.Merge(delta)
		b.pending = b.delta.Bytes()
	default:
		if shared {
			delta = delta.Clone()
		}
		b.delta = delta
		b.pending = delta.Bytes()
	}
	k.changeset += b.pending - before
}

// whole reports whether a state is one that is published whole, since its deltas are no smaller.
func whole(s *lattice.State) bool {
	if simple(s) {
		return true
	}
	c, ok := s.Lattice.(*lattice.Counter)
	return ok && len(s.Others()) == 0 && c.Len() <= wholeCountsMax
}

// wholeCountsMax is up to how many writers a counter is published whole.
const wholeCountsMax = 4

// simple reports whether a state is no more than a value, which the next one replaces.
func simple(s *lattice.State) bool {
	if len(s.Others()) > 0 {
		return false
	}
	return s.Lattice == nil || s.Lattice.Type() == lattice.TypeLWW
}

// fresh returns an item that has not expired, for a key that may have.
func (k *Kernel) fresh(now int64, it *item, out *Effects) *item {
	if !it.state.Expired(now / 1000) {
		return it
	}
	k.expire(now, it, out)
	if k.items[it.key] != it {
		return k.add(it.key, it.slot)
	}
	return it
}

// leave forgets an item that shows nothing, if neither the log nor a cache knows of it.
func (k *Kernel) leave(it *item) {
	if it.state.Lattice == nil && !it.inLog() && !it.watched() && !it.flags.has(cold|loading) &&
		(it.busy == nil || it.busy.idle()) {
		k.settleDown(it)
		k.forget(it)
	}
}

// vanish forgets a key that was deleted and of which the log knows nothing. While caches watch it its tombstone stays, or what
// is written next could seem to them to be from before.
func (k *Kernel) vanish(it *item) {
	it.flags &^= volatile
	k.unexpire(it)
	k.leave(it)
}

// observe makes the clock run ahead of a delta's stamps.
func (k *Kernel) observe(delta *lattice.State, now int64) error {
	return k.clock.Observe(delta.Latest(), now)
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

func measure(it *item, now int64) magnitude {
	live := it.state.Live(now / 1000)
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
