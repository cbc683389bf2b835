package kernel

import (
	"errors"

	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// The changeset is what the log does not hold yet. A key is published as soon as it has changed, unless as many publishes are out as
// may be, or its own last one: then what changes meanwhile goes out when an answer is there, a key once, and many keys in one record.
// So an idle log is written to at once, a busy one in epochs as long as its answers take, and neither a key that is written often nor
// one of many that are costs a record of its own.
//
//	clean ── write ──► changed ── publish ──► in flight ── acknowledged ──► clean
//	                      ▲                    │      └── written meanwhile: changed and in flight
//	                      └───── failed ───────┘

var errNoAnswer = errors.New("the log did not answer in time")

type publicationSlot struct {
	publication *publication
	generation  uint32
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

// largeMax bounds the publishes of large states of a partition that have not been answered.
const largeMax = 64

// pump publishes what waits, as far as the bound of outstanding publishes and the state of the log allow.
func (k *Kernel) pump(now int64, p *partition, out *Effects) {
	for k.room(p) {
		if p.failures > 0 && (k.elapsed < p.retryAt || p.outstanding > 0) {
			return // one at a time, until one succeeds
		}
		if !k.publish(now, p, out) {
			return
		}
	}
}

// room reports whether another publish may be out before one is answered.
func (k *Kernel) room(p *partition) bool {
	return p.outstanding-p.large < k.cfg.PublishesMax && p.large < largeMax
}

// publish puts what waits into a record, as much as goes in, and reports whether there was anything.
func (k *Kernel) publish(now int64, p *partition, out *Effects) bool {
	var r *publication
	first, bytes, published := len(out.entries), 0, false
	for bytes < k.cfg.RecordBytesMax && len(out.entries)-first < k.cfg.RecordKeysMax {
		it := k.next(p)
		if it == nil {
			break
		}
		entry, ok := k.depart(now, p, it)
		if !ok {
			continue
		}
		size := entry.State.Bytes()
		if size >= k.cfg.RecordBytesMax { // for itself, so that nobody waits for it
			alone := k.newPublication(p, true)
			alone.add(it)
			out.Publishes = append(out.Publishes, Publish{ID: alone.id, Partition: p.number, Since: alone.since, Entries: []Entry{entry}})
			if published = true; p.failures > 0 || p.large >= largeMax {
				break
			}
			continue
		}
		if r == nil {
			r = k.newPublication(p, false)
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

// next returns a key that waits and may be published now; nil = there is none.
func (k *Kernel) next(p *partition) *item {
	for {
		it, urgent := p.urgent.pop()
		if !urgent {
			if p.lazy.count == 0 {
				p.rate, p.bursting = 0, false
				return nil
			}
			if !k.mayBeLazy(p) {
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

// depart gives a key a flight, and returns what its record is to say; false when there is nothing to say.
func (k *Kernel) depart(now int64, p *partition, it *item) (Entry, bool) {
	b := k.more(it)
	// What is cold, or about to be brought here, is not all here.
	whole := !it.flags.has(cold) && k.Tenure(it.slot) < slots.Joining && (it.flags.has(changed|rewrite) || k.wantsWhole(it))
	if !whole && !it.flags.has(changed) && b.delta == nil {
		it.flags &^= rewrite // another time
		if tombstone(&it.state) {
			k.fade(now, it)
		}
		k.settleDown(it)
		return Entry{}, false
	}
	if b.pending == 0 {
		k.stats.Rewrites++
	}
	f := k.newFlight()
	f.bytes, b.pending = b.pending, 0
	f.waiters, b.waiters = b.waiters, f.waiters[:0]
	f.whole = whole
	if whole && !simple(&it.state) {
		// It replaces what was removed so long ago that nobody adds it any more without knowing.
		it.state.Collect(lattice.Timestamp{Time: uint64(max(0, now-k.cfg.TombstoneGrace)) << 12})
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

// tombstone reports whether a state holds nothing but its deletion, or not even that: what was removed member by member.
func tombstone(s *lattice.State) bool { return s.Lattice == nil }

// wantsWhole reports whether a key has so many records in the log that are needed that its next is to hold the whole state instead,
// so that it is read soon: never more is written in whole states than has been written in deltas.
func (k *Kernel) wantsWhole(it *item) bool {
	return it.flags.has(scattered) && len(k.places[it]) > k.cfg.CompactRecords && int(it.logged) >= int(it.bytes)*accountUnit
}

// acknowledged takes note that a publish is in the log, and returns how many keys it was of.
func (k *Kernel) acknowledged(now int64, m *Acknowledged, out *Effects) (keys int) {
	p := k.partitions[m.Partition]
	// What had been given up before its answer came is not known any more: the log brings it, like another's.
	r := k.inFlight(m.Publish)
	if r != nil {
		p.own(m.Sequence)
	}
	if (p.ahead.len() > 0 || r == nil && m.Sequence > p.applied) && !p.behind {
		p.behind = true
		out.Behind = append(out.Behind, p.number)
	}
	if r != nil {
		k.arrived(r)
		keys = len(r.items)
		for _, it := range r.items {
			k.landed(now, p, it, m, out)
		}
		k.sparePublished(r)
		k.departed()
	}
	p.failures, p.err = 0, nil
	k.pump(now, p, out)
	return keys
}

// landed takes note that what a publish says of a key is in the log.
func (k *Kernel) landed(now int64, p *partition, it *item, m *Acknowledged, out *Effects) {
	f := it.busy.flight
	it.busy.flight = nil
	k.changeset -= f.bytes
	for _, w := range f.waiters {
		k.answer(w, nil, out)
	}
	bytes := f.bytes
	if f.whole {
		bytes = it.state.Bytes()
	}
	if k.recorded(it, m.Sequence, f.publication.since, f.whole, m.Upload != "", bytes) {
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
	if !it.dirty() && k.Tenure(it.slot) == slots.Stranger {
		k.abandon(it, out)
		return
	}
	k.enqueue(p, it, it.busy != nil && len(it.busy.waiters) > 0 || k.Tenure(it.slot) >= slots.Parting)
	k.settleDown(it)
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
	if r := k.inFlight(m.Publish); r != nil {
		r.alive = k.elapsed
	}
}

func (k *Kernel) failed(now int64, m *Failed, out *Effects) {
	if r := k.inFlight(m.Publish); r != nil {
		k.fail(now, r, m.Err, out)
		k.departed()
	}
}

// fail puts what was published back into the changeset, and lets the log rest for a while.
func (k *Kernel) fail(now int64, r *publication, err error, out *Effects) {
	p := k.partition(r.items[0].slot)
	k.stats.Failed++
	k.arrived(r)
	for _, it := range r.items {
		k.refund(it)
		for _, w := range it.busy.waiters {
			if w.memory {
				k.answer(w, nil, out) // there is no point in waiting
			}
		}
		k.enqueue(p, it, true)
	}
	k.sparePublished(r)
	p.err = err
	// What was under way when the log failed fails with it, and says nothing new.
	if p.failures == 0 || k.elapsed >= p.retryAt {
		p.retryAt = k.elapsed + min(k.cfg.RetryMin<<min(p.failures, 30), k.cfg.RetryMax)
		p.failures++
	}
	k.pump(now, p, out)
}

// refund ends a flight as if it had not been begun.
func (k *Kernel) refund(it *item) {
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
	k.spare(f)
}

// newPublication begins a publish.
func (k *Kernel) newPublication(p *partition, large bool) *publication {
	var r *publication
	if n := len(k.sparePublication); n > 0 {
		r, k.sparePublication = k.sparePublication[n-1], k.sparePublication[:n-1]
	} else {
		r = new(publication)
	}
	var at uint32
	if n := len(k.freeSlots); n > 0 {
		at, k.freeSlots = k.freeSlots[n-1], k.freeSlots[:n-1]
	} else {
		at = uint32(len(k.publications))
		k.publications = append(k.publications, publicationSlot{})
	}
	s := &k.publications[at]
	s.publication = r
	s.generation++
	r.id, r.since, r.large = uint64(s.generation)<<32|uint64(at), p.applied, large
	p.outstanding++
	if large {
		p.large++
	}
	k.stats.Publishes++
	k.departures.push(departure{r.id, k.elapsed + k.cfg.PublishTimeout})
	return r
}

func (r *publication) add(it *item) {
	it.busy.flight.publication = r
	r.items = append(r.items, it)
}

// inFlight returns the publish that has an id; nil when it has been answered before, or given up.
func (k *Kernel) inFlight(id uint64) *publication {
	at := uint32(id)
	if id == 0 || int(at) >= len(k.publications) || k.publications[at].generation != uint32(id>>32) {
		return nil
	}
	return k.publications[at].publication
}

// arrived takes a publish out of the table.
func (k *Kernel) arrived(r *publication) {
	p := k.partition(r.items[0].slot)
	at := uint32(r.id)
	k.publications[at].publication = nil
	k.freeSlots = append(k.freeSlots, at)
	p.outstanding--
	if r.large {
		p.large--
	}
}

func (k *Kernel) sparePublished(r *publication) {
	clear(r.items)
	*r = publication{items: r.items[:0]}
	if len(k.sparePublication) < spareMax {
		k.sparePublication = append(k.sparePublication, r)
	}
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
