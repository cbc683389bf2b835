package anna

import (
	"errors"

	"cloudburst/lattice"
)

// The changeset is what the log does not hold yet. A key is published as soon as it has changed, unless its last publish is
// still out: then what changes meanwhile goes out together, once, when the answer is there. So an idle log is written to at
// once, a busy one in epochs as long as its answers take, and a key that is written often costs no more than one that is not.
//
//	clean ── write ──► changed ── publish ──► in flight ── acknowledged ──► clean
//	                      ▲                    │      └── written meanwhile: changed and in flight
//	                      └───── failed ───────┘

var errNoAnswer = errors.New("the log did not answer in time")

type flightSlot struct {
	it         *item
	generation uint32
}

// departure is when a publish must have been answered.
type departure struct {
	id       uint64
	deadline int64
}

// enqueue makes a changed key wait for its publish.
func (k *Kernel) enqueue(p *partition, it *item, urgent bool) {
	b := it.busy
	if b == nil || b.flight != nil || b.pending == 0 && !it.flags.has(changed|rewrite) {
		return
	}
	switch {
	case urgent && !it.flags.has(hurried):
		it.flags |= queued | hurried // what is in the lazy queue is skipped when its turn comes
		p.urgent.push(it)
	case !it.flags.has(queued):
		it.flags |= queued
		p.lazy.push(it)
	}
}

// pump publishes what waits, as far as the bound of outstanding publishes and the state of the log allow.
func (k *Kernel) pump(now int64, p *partition, out *Effects) {
	for p.outstanding < k.cfg.PublishesMax {
		if p.failures > 0 && (k.elapsed < p.retryAt || p.outstanding > 0) {
			return // one at a time, until one succeeds
		}
		it, urgent := p.urgent.pop()
		if !urgent {
			if p.lazy.count == 0 {
				p.rate, p.bursting = 0, false
				return
			}
			if !k.mayBeLazy(p) {
				p.bursting = false
				return
			}
			it, _ = p.lazy.pop()
		}
		if it.flags.has(queued) {
			it.flags &^= queued | hurried
			k.publish(now, p, it, out)
			if !urgent {
				p.allowance--
			}
		}
	}
}

const (
	// lazyGrain is the time for which lazy publishes are allowed at once: several together are cheaper.
	lazyGrain = 5000
	// lazyBurst is the time for which they can be saved up.
	lazyBurst = 100_000
	// lonelyGrain is how long what nobody waits for is gathered where nobody else hears of it by the log either: a record that goes
	// alone wakes up half a dozen goroutines one after another, and costs up to ten times as much as one among others.
	lonelyGrain = 50_000
)

// mayBeLazy reports whether something may be published now for which nobody waits. Publishing costs many times what merging
// does, so under many writes what they change is gathered for some time; not when so much has been gathered that writers will
// have to wait.
func (k *Kernel) mayBeLazy(p *partition) bool {
	if k.cfg.LazyRate == 0 || k.hurry || k.changeset > k.cfg.ChangesetBytesMax/4 {
		return true
	}
	if k.lonely && !p.bursting {
		if k.elapsed != k.burstAt && k.elapsed < k.burstAt+lonelyGrain {
			return false
		}
		p.bursting, k.burstAt = true, k.elapsed
	}
	if since := k.elapsed - p.allowedAt; since >= lazyGrain {
		// What waits last is reached within the interval if the rate does not fall before.
		p.rate = max(p.rate, float64(k.cfg.LazyRate), float64(p.lazy.count)*1e6/float64(k.cfg.LazyInterval))
		p.allowance = min(p.allowance+p.rate*float64(since)/1e6, max(1, p.rate*lazyBurst/1e6))
		p.allowedAt = k.elapsed
	}
	return p.allowance >= 1
}

func (k *Kernel) publish(now int64, p *partition, it *item, out *Effects) {
	b := k.more(it)
	// What is cold, or about to be brought here, is not all here.
	whole := !it.flags.has(cold) && k.Tenure(it.slot) < Joining && (it.flags.has(changed|rewrite) || k.wantsWhole(it))
	if !whole && !it.flags.has(changed) && b.delta == nil {
		it.flags &^= rewrite // another time
		if tombstone(&it.state) {
			k.fade(now, it)
		}
		k.settleDown(it)
		return
	}
	if b.pending == 0 {
		k.stats.Rewrites++
	}
	f := k.newFlight()
	f.id = k.slot(it)
	f.bytes, b.pending = b.pending, 0
	f.waiters, b.waiters = b.waiters, f.waiters[:0]
	f.whole, f.since = whole, p.applied
	if whole && !simple(&it.state) {
		// It replaces what was removed so long ago that nobody adds it any more without knowing.
		it.state.Collect(lattice.Timestamp{Time: uint64(max(0, now-k.cfg.TombstoneGrace)) << 12})
	}
	publish := Publish{ID: f.id, Key: it.key, Slot: it.slot, Partition: p.number, Whole: f.whole, Since: f.since}
	if whole || it.flags.has(changed) {
		publish.State = it.state.Clone()
		f.delta = nil
	} else {
		publish.State, f.delta = b.delta, b.delta
	}
	b.delta = nil
	it.flags &^= changed | rewrite
	b.flight = f
	p.outstanding++
	k.stats.Publishes++
	k.departures.push(departure{f.id, k.elapsed + k.cfg.PublishTimeout})
	out.Publishes = append(out.Publishes, publish)
}

// tombstone reports whether a state holds nothing but its deletion, or not even that: what was removed member by member.
func tombstone(s *lattice.State) bool { return s.Lattice == nil }

// wantsWhole reports whether a key has so many records in the log that are needed that its next is to hold the whole state instead,
// so that it is read soon: never more is written in whole states than has been written in deltas.
func (k *Kernel) wantsWhole(it *item) bool {
	return int(it.records) > k.cfg.CompactRecords && int(it.logged) >= int(it.bytes)*accountUnit
}

func (k *Kernel) acknowledged(now int64, m *Acknowledged, out *Effects) {
	p := k.partitions[m.Partition]
	p.own(m.Sequence)
	if p.ahead.len() > 0 && !p.behind {
		p.behind = true
		out.Behind = append(out.Behind, p.number)
	}
	if it := k.inFlight(m.Publish); it != nil {
		k.landed(now, p, it, m, out)
	}
	p.failures, p.err = 0, nil
	k.pump(now, p, out)
}

// landed takes note that a key's publish is in the log.
func (k *Kernel) landed(now int64, p *partition, it *item, m *Acknowledged, out *Effects) {
	f := k.land(p, it)
	k.changeset -= f.bytes
	for _, w := range f.waiters {
		k.answer(w, nil, out)
	}
	bytes := f.bytes
	if f.whole {
		bytes = it.state.Bytes()
	}
	if k.recorded(it, m.Sequence, f.since, f.whole, m.Upload != "", bytes) {
		k.supersede(it, m.Upload, out)
	}
	if m.Upload != "" {
		k.more(it)
		it.named(m.Upload)
	}
	k.spare(f)
	if !it.dirty() && tombstone(&it.state) {
		k.fade(now, it)
	}
	if it.flags.has(cold) && !it.dirty() && !it.flags.has(volatile) {
		k.unload(it)
	}
	if !it.dirty() && k.Tenure(it.slot) == Stranger {
		k.abandon(it, out)
		k.departed()
		return
	}
	k.enqueue(p, it, it.busy != nil && len(it.busy.waiters) > 0 || k.Tenure(it.slot) >= Parting)
	k.settleDown(it)
	k.departed()
}

// supersede gives free the pieces of what a record has made superfluous. Its own, if it has any, are kept: the log may have told of
// it before.
func (k *Kernel) supersede(it *item, own string, out *Effects) {
	if !it.pieces() {
		return
	}
	for _, name := range it.busy.uploads {
		if name == own {
			continue
		}
		out.Superseded = append(out.Superseded, Upload{Slot: it.slot, Partition: k.cfg.PartitionOf(it.slot), Name: name})
	}
	it.busy.uploads = nil
}

func (k *Kernel) advanced(m *Advanced) {
	if m.Sequence != 0 {
		k.partitions[m.Partition].own(m.Sequence)
	}
	if it := k.inFlight(m.Publish); it != nil {
		it.busy.flight.alive = k.elapsed
	}
}

func (k *Kernel) failed(now int64, m *Failed, out *Effects) {
	if it := k.inFlight(m.Publish); it != nil {
		k.fail(now, it, m.Err, out)
		k.departed()
	}
}

// fail puts what was published back into the changeset, and lets the log rest for a while.
func (k *Kernel) fail(now int64, it *item, err error, out *Effects) {
	p := k.partition(it.slot)
	k.stats.Failed++
	k.refund(p, it)
	for _, w := range it.busy.waiters {
		if w.memory {
			k.answer(w, nil, out) // there is no point in waiting
		}
	}
	k.enqueue(p, it, true)
	p.err = err
	// What was under way when the log failed fails with it, and says nothing new.
	if p.failures == 0 || k.elapsed >= p.retryAt {
		p.retryAt = k.elapsed + min(k.cfg.RetryMin<<min(p.failures, 30), k.cfg.RetryMax)
		p.failures++
	}
	k.pump(now, p, out)
}

// refund ends a publish as if it had not been begun.
func (k *Kernel) refund(p *partition, it *item) {
	f := k.land(p, it)
	b := it.busy
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
	k.spare(f)
}

// slot finds a place in the table of publishes for an item and returns its id.
func (k *Kernel) slot(it *item) uint64 {
	var at uint32
	if n := len(k.freeSlots); n > 0 {
		at, k.freeSlots = k.freeSlots[n-1], k.freeSlots[:n-1]
	} else {
		at = uint32(len(k.flights))
		k.flights = append(k.flights, flightSlot{})
	}
	s := &k.flights[at]
	s.it = it
	s.generation++
	return uint64(s.generation)<<32 | uint64(at)
}

// inFlight returns the item whose publish has an id; nil when it has been answered before, or given up.
func (k *Kernel) inFlight(id uint64) *item {
	at := uint32(id)
	if id == 0 || int(at) >= len(k.flights) || k.flights[at].generation != uint32(id>>32) {
		return nil
	}
	return k.flights[at].it
}

// land takes an item's publish out of the table.
func (k *Kernel) land(p *partition, it *item) *flight {
	f := it.busy.flight
	it.busy.flight = nil
	at := uint32(f.id)
	k.flights[at].it = nil
	k.freeSlots = append(k.freeSlots, at)
	p.outstanding--
	return f
}

func (k *Kernel) newFlight() *flight {
	if n := len(k.spareFlight); n > 0 {
		f := k.spareFlight[n-1]
		k.spareFlight = k.spareFlight[:n-1]
		return f
	}
	return new(flight)
}

func (k *Kernel) spare(f *flight) {
	clear(f.waiters)
	*f = flight{waiters: f.waiters[:0]}
	if len(k.spareFlight) < spareMax {
		k.spareFlight = append(k.spareFlight, f)
	}
}
