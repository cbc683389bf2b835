package kernel

import (
	"math"

	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// changeset is what the log does not hold yet. A key is published as soon as it has changed, unless as many publishes as may be are
// outstanding, or the key's own last one: then its changes go out when an answer comes, once for the key, and together with other keys
// in one record. So an idle log is written to at once, and a busy one in epochs as long as its answers take. A key that is written often
// does not cost a record for each write, nor do many keys cost a record each.
//
//	clean ── write ──► changed ── publish ──► in flight ── acknowledged ──► clean
//	                      ▲                    │      └── written meanwhile: changed and in flight
//	                      └───── failed ───────┘
type changeset struct {
	cfg        *Config
	keys       *keys
	partitions *partitions
	tenures    *tenures
	places     *places
	tombstones *tombstones
	waiters    *waiters

	publications publications
	bytes        int   // that are not in the log
	hurry        bool  // everything is published as soon as it can be
	alone        bool  // there is no other master
	burstAt      int64 // when keys of any partition were last begun to be published from lazy

	publishes, rewrites, failures uint64
}

// change puts a delta into the changeset. Shared says that the delta is needed elsewhere too.
func (c *changeset) change(it *item, delta *lattice.State, shared bool) {
	b := c.keys.busy(it)
	before := b.pending
	switch {
	case it.flags.has(changed) || whole(&it.state):
		// The state is as small as the delta, and with it earlier records are not needed any more.
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
	c.bytes += b.pending - before
}

// admit refuses what would make the changeset grow beyond its bound.
func (c *changeset) admit(it *item, w *Write, delta *lattice.State) error {
	size := ItemBytes
	if w.Delta != nil || w.Make != nil {
		size = delta.Bytes()
	}
	if c.bytes+size <= c.cfg.ChangesetBytesMax || c.bytes == 0 { // one write may be larger than that by itself
		return nil
	}
	if p := c.partitions.of(it.slot); p.failures > 0 {
		return errorf(Full, "write to %.64q: %d bytes of changes wait for the log already, the limit (anna.changeset_bytes_max), and the log does not take them: %v",
			w.Key, c.bytes, p.err)
	}
	return errorf(Full, "write to %.64q: %d bytes of changes wait for the log already, the limit (anna.changeset_bytes_max); write slower, or wait for durable acknowledgements",
		w.Key, c.bytes)
}

// congested reports whether writers are so far ahead of a working log that they have to wait for it.
func (c *changeset) congested(p *partition) bool {
	return p.failures == 0 && c.bytes > c.cfg.ChangesetBytesMax/2
}

// enqueue makes a changed key wait for its publish.
func (c *changeset) enqueue(p *partition, it *item, urgent bool) {
	b := it.busy
	if b == nil || b.flight != nil || b.pending == 0 && !it.flags.has(changed|rewrite) {
		return
	}
	switch {
	case urgent && !it.flags.has(hurried):
		it.flags |= queued | hurried // if it is in lazy too, it is skipped when its turn comes there
		p.urgent.push(it)
	case !it.flags.has(queued):
		it.flags |= queued
		p.lazy.push(it)
	}
}

// rewrite has the whole state of a key published again. The key must be in memory.
func (c *changeset) rewrite(it *item) {
	it.flags |= rewrite
	c.keys.busy(it)
	c.enqueue(c.partitions.of(it.slot), it, false)
}

const (
	// largeMax bounds the publishes of large states of a partition that have not been answered.
	largeMax = 64
	// lazyInterval is the time for which keys may be published from lazy at once, in microseconds: several together are cheaper.
	lazyInterval = 5000
	// lazySaved is the time for which that can be saved up.
	lazySaved = 100_000
	// aloneInterval is how long changes that no durable write waits for are gathered where there is no other master, which would read
	// them from the log: a record that goes alone wakes up half a dozen goroutines one after another, and costs up to ten times as
	// much as one among others.
	aloneInterval = 50_000
)

// pump publishes what waits, as far as the bound of outstanding publishes and the state of the log allow.
func (c *changeset) pump(at Moment, p *partition, out *Effects) {
	for c.hasRoom(p) {
		if p.failures > 0 && (at.Elapsed < p.retryAt || p.outstanding > 0) {
			return // one at a time, until one succeeds
		}
		if !c.publish(at, p, out) {
			return
		}
	}
}

// pumpKey publishes what waits in the partition of a key.
func (c *changeset) pumpKey(at Moment, it *item, out *Effects) {
	c.pump(at, c.partitions.of(it.slot), out)
}

func (c *changeset) pumpAll(at Moment, out *Effects) {
	for _, p := range c.partitions.own {
		c.pump(at, p, out)
	}
}

// hasRoom reports whether a partition may have another publish outstanding.
func (c *changeset) hasRoom(p *partition) bool {
	return p.outstanding-p.large < c.cfg.PublishesMax && p.large < largeMax
}

// wake returns the elapsed time at which something that waits may be published; math.MaxInt64 = nothing waits for the time.
func (c *changeset) wake() int64 {
	wake := int64(math.MaxInt64)
	for _, p := range c.partitions.own {
		switch {
		case p.urgent.count+p.lazy.count == 0 || !c.hasRoom(p):
		case p.failures > 0 && p.outstanding == 0:
			wake = min(wake, p.retryAt)
		case p.failures == 0 && p.lazy.count > 0 && c.alone && !p.bursting:
			wake = min(wake, c.burstAt+aloneInterval)
		case p.failures == 0 && p.lazy.count > 0 && p.allowance < 1 && c.cfg.LazyRate > 0:
			wake = min(wake, p.allowedAt+lazyInterval)
		}
	}
	return wake
}

// publish puts what waits into a record, as much as goes in, and reports whether there was anything.
func (c *changeset) publish(at Moment, p *partition, out *Effects) bool {
	var r *publication
	first, bytes, published := len(out.entries), 0, false
	for bytes < c.cfg.RecordBytesMax && len(out.entries)-first < c.cfg.RecordKeysMax {
		it := c.next(at, p)
		if it == nil {
			break
		}
		entry, ok := c.begin(at, it)
		if !ok {
			continue
		}
		size := entry.State.Bytes()
		if size >= c.cfg.RecordBytesMax { // it gets its own record, so that nothing else waits for it
			alone := c.open(at, p, true)
			alone.add(it)
			out.Publishes = append(out.Publishes, Publish{ID: alone.id, Partition: p.number, Since: alone.since, Entries: []Entry{entry}})
			if published = true; p.failures > 0 || p.large >= largeMax {
				break
			}
			continue
		}
		if r == nil {
			r = c.open(at, p, false)
		}
		r.add(it)
		out.entries = append(out.entries, entry)
		bytes += size + len(it.key)
	}
	if r == nil {
		return published
	}
	entries := out.entries[first:len(out.entries):len(out.entries)]
	out.Publishes = append(out.Publishes, Publish{ID: r.id, Partition: p.number, Since: r.since, Entries: entries})
	return true
}

func (c *changeset) open(at Moment, p *partition, large bool) *publication {
	c.publishes++
	return c.publications.open(p, large, at.Elapsed+c.cfg.PublishTimeout)
}

// next returns a key that waits and may be published now; nil = there is none.
func (c *changeset) next(at Moment, p *partition) *item {
	for {
		it, urgent := p.urgent.pop()
		if !urgent {
			if p.lazy.count == 0 {
				p.rate, p.bursting = 0, false
				return nil
			}
			if !c.lazyAllowed(at, p) {
				p.bursting = false
				return nil
			}
			it, _ = p.lazy.pop()
		}
		if !it.flags.has(queued) {
			continue
		}
		it.flags &^= queued | hurried
		if !urgent {
			p.allowance--
		}
		return it
	}
}

// lazyAllowed reports whether a key that no durable write waits for may be published now. A publish costs many times what a merge does,
// so under many writes their changes are gathered for some time; not when so much has been gathered that writers will have to wait.
func (c *changeset) lazyAllowed(at Moment, p *partition) bool {
	if c.cfg.LazyRate == 0 || c.hurry || c.bytes > c.cfg.ChangesetBytesMax/4 {
		return true
	}
	if c.alone && !p.bursting {
		if at.Elapsed != c.burstAt && at.Elapsed < c.burstAt+aloneInterval {
			return false
		}
		p.bursting, c.burstAt = true, at.Elapsed
	}
	if since := at.Elapsed - p.allowedAt; since >= lazyInterval {
		// The last key in the queue is published within the interval if the rate does not fall before.
		p.rate = max(p.rate, float64(c.cfg.LazyRate), float64(p.lazy.count)*1e6/float64(c.cfg.LazyInterval))
		p.allowance = min(p.allowance+p.rate*float64(since)/1e6, max(1, p.rate*lazySaved/1e6))
		p.allowedAt = at.Elapsed
	}
	return p.allowance >= 1
}

// begin gives a key a flight, and returns what its record is to say; false when there is nothing to say.
func (c *changeset) begin(at Moment, it *item) (Entry, bool) {
	b := c.keys.busy(it)
	// What is cold, or of a slot that is being taken over, is not all in memory.
	whole := !it.flags.has(cold) && c.tenures.of(it.slot) < slots.Joining && (it.flags.has(changed|rewrite) || c.wantsWhole(it))
	if !whole && !it.flags.has(changed) && b.delta == nil {
		it.flags &^= rewrite // another time
		if tombstone(&it.state) {
			c.tombstones.add(at, it)
		}
		c.keys.release(it)
		return Entry{}, false
	}
	if b.pending == 0 {
		c.rewrites++
	}
	f := c.publications.newFlight()
	f.bytes, b.pending = b.pending, 0
	f.waiters, b.waiters = b.waiters, f.waiters[:0]
	f.whole = whole
	if whole && !simple(&it.state) {
		// It replaces what was removed so long ago that no write which has not seen that is on its way.
		it.state.Collect(lattice.Timestamp{Time: uint64(max(0, at.Wall-c.cfg.TombstoneGrace)) << 12})
	}
	entry := Entry{Key: it.key, Slot: it.slot, Whole: whole}
	if whole || it.flags.has(changed) {
		entry.State = it.state.Clone()
		f.delta = nil
	} else {
		entry.State, f.delta = b.delta, b.delta
	}
	b.delta = nil
	it.flags &^= changed | rewrite
	b.flight = f
	return entry, true
}

// wantsWhole reports whether a key has so many records in the log that are needed that its next is to hold the whole state instead,
// so that it is read soon: never more is written in whole states than has been written in deltas.
func (c *changeset) wantsWhole(it *item) bool {
	return it.flags.has(scattered) && len(c.places.scattered[it]) > c.cfg.CompactRecords && int(it.logged) >= int(it.bytes)*accountUnit
}

// takeBack ends a flight as if it had not been begun.
func (c *changeset) takeBack(it *item) {
	b := it.busy
	f := b.flight
	b.flight = nil
	b.pending += f.bytes
	switch {
	case f.delta == nil:
		it.flags |= changed
		b.delta = nil
	case it.flags.has(changed):
	default:
		delta := f.delta.Clone()
		if b.delta != nil {
			delta.Merge(b.delta)
		}
		b.delta = delta
	}
	b.waiters = append(f.waiters, b.waiters...)
	f.waiters = nil
	c.publications.recycleFlight(f)
}

// advances reports whether a publish that takes long has got on lately.
func (c *changeset) advances(at Moment, r *publication) bool {
	return r.alive != 0 && r.alive+c.cfg.PublishTimeout > at.Elapsed
}

// advanced takes note that a publish that takes long is getting on.
func (c *changeset) advanced(at Moment, m *Advanced) {
	if m.Sequence != 0 {
		c.partitions.number[m.Partition].acknowledge(m.Sequence)
	}
	if r := c.publications.find(m.Publish); r != nil {
		r.alive = at.Elapsed
	}
}

// takeHeard makes what was heard of a key a change of this kernel, which it publishes.
func (c *changeset) takeHeard(it *item) {
	if !it.hasHeard() {
		return
	}
	b := it.busy
	delta := new(lattice.State)
	for _, h := range b.heard {
		delta.Merge(h.delta)
		c.bytes -= h.bytes
	}
	clear(b.heard)
	b.heard = b.heard[:0]
	if !it.flags.has(cold) {
		c.change(it, delta, false)
		return
	}
	if b.delta != nil {
		delta.Merge(b.delta)
	}
	b.delta = delta
	c.bytes += delta.Bytes() - b.pending
	b.pending = delta.Bytes()
}

// wait lets a write wait for what its key has changed, and for what was heard of the key.
func (c *changeset) wait(at Moment, it *item, w *Write, value int64) {
	c.takeHeard(it)
	c.waiters.add(at, it, w, value)
}
