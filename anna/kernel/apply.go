package kernel

import (
	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// apply merges a record of the log.
func (k *Kernel) apply(at Moment, m *Applied, out *Effects) {
	p := k.partitions.number[m.Partition]
	if m.Loading || m.Sequence > p.applied {
		for i := range m.Entries {
			if e := &m.Entries[i]; m.Loading || k.tenures.of(e.Slot) != slots.Stranger {
				k.applyEntry(at, m, e, out)
			}
		}
	}
	if m.Loading {
		return
	}
	p.advance(m.Sequence)
	k.changes.pump(at, p, out)
}

func (k *Kernel) applyEntry(at Moment, m *Applied, e *Applying, out *Effects) {
	it := k.keys.items[e.Key]
	k.logged(at, it, e.State)
	own := m.Publisher == k.cfg.Writer
	if own && it != nil && !m.Loading && k.places.knows(it, m.Sequence) {
		return // it was merged here before it was published
	}
	if it == nil {
		it = k.add(e.Key, e.Slot)
	}
	k.applied++
	// A record of another master may come after a later one of this kernel has been acknowledged.
	alone := k.places.add(it, m.Sequence, m.Since, e.Whole, e.State == nil, e.Bytes)
	if alone {
		it.supersede(k.partitions.bySlot(it.slot), e.Upload, out) // the kernel that wrote it may have ended before it could
	}
	if alone && e.State != nil && it.flags.has(cold) {
		k.keys.setCold(it, false) // this is all that is needed
	}
	switch {
	case e.State == nil && own && it.busy != nil && it.busy.flight != nil:
		// The log brings it before the answer to its publish. What it holds is in memory.
		it.addUpload(e.Upload)
	case e.State == nil:
		k.applyChunked(at, it, e, out)
	case it.flags.has(cold):
		k.applyCold(at, it, e, out)
	default:
		k.applyState(at, it, e, alone, out)
	}
}

// applyState merges what a record says of a key that is in memory.
func (k *Kernel) applyState(at Moment, it *item, e *Applying, alone bool, out *Effects) {
	k.observe(at, e.State)
	if it.state.Merge(e.State) {
		if it.watched() {
			k.watches.push(it, e.State, out)
		}
		k.keys.resize(it)
		k.keys.list(at.Wall/1000, it)
		k.expiries.schedule(it)
	}
	if alone && !simple(&it.state) && !it.dirty() && !it.flags.has(volatile) && it.state.Bytes() > e.State.Bytes() {
		// What has been removed from it for good must not come back by earlier records, some of which may not be there any more.
		it.state = *e.State.Clone()
		k.keys.resize(it)
	}
	if tombstone(&it.state) && !it.dirty() {
		k.tombstones.add(at, it)
	}
}

// applyChunked takes note of a record whose state is in chunks, which are not brought unasked.
func (k *Kernel) applyChunked(at Moment, it *item, e *Applying, out *Effects) {
	_ = k.clock.Observe(e.Latest, at.Wall) // as in observe
	plainLWW := e.Type == lattice.TypeLWW && len(it.state.Others()) == 0 &&
		(it.state.Lattice == nil || it.state.Lattice.Type() == e.Type) &&
		(!it.flags.has(cold) || it.flags.has(coldLWW))
	k.keys.setCold(it, true)
	if it.flags &^= coldLWW; plainLWW {
		it.flags |= coldLWW
	}
	k.keys.listCold(it)
	if !it.dirty() && !it.flags.has(volatile) {
		k.keys.unload(it)
	}
	k.keys.busy(it)
	it.addUpload(e.Upload)
	if it.watched() {
		k.loads.ask(it, out)
	}
}

// applyCold lets caches know of a record of a key that is not in memory, and loads the key when the record may end it.
func (k *Kernel) applyCold(at Moment, it *item, e *Applying, out *Effects) {
	k.observe(at, e.State)
	if it.watched() {
		k.watches.push(it, e.State, out)
	}
	if e.State.Lattice != nil && e.State.Lattice.Type() != lattice.TypeLWW || len(e.State.Others()) > 0 {
		it.flags &^= coldLWW
	}
	if !e.State.Deleted().IsZero() || e.State.Expiry() != (lattice.Expiry{}) {
		k.loads.ask(it, out)
	}
}

// observe makes the clock run ahead of the stamps of a state that another master has let in. It does not follow a stamp that is too far
// in the future; the state is merged all the same, since all masters must agree.
func (k *Kernel) observe(at Moment, s *lattice.State) { _ = k.clock.Observe(s.Latest(), at.Wall) }
