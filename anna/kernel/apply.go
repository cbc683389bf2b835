package kernel

import (
	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// apply merges a record of the log.
func (k *Kernel) apply(now int64, m *Applied, out *Effects) {
	p := k.partitions[m.Partition]
	if m.Loading || m.Sequence > p.applied {
		for i := range m.Entries {
			if e := &m.Entries[i]; m.Loading || k.Tenure(e.Slot) != slots.Stranger {
				k.applyEntry(now, m, e, out)
			}
		}
	}
	if m.Loading {
		return
	}
	p.advance(m.Sequence)
	k.pump(now, p, out)
}

func (k *Kernel) applyEntry(now int64, m *Applied, e *Applying, out *Effects) {
	it := k.items[e.Key]
	k.confirm(now, it, e.State)
	own := m.Publisher == k.cfg.Writer
	if own && it != nil && !m.Loading && k.knows(it, m.Sequence) {
		return // it was merged here before it was published
	}
	if it == nil {
		it = k.add(e.Key, e.Slot)
	}
	k.stats.Applied++
	// A record of another master may come after a later one of this kernel has been acknowledged.
	alone := k.recorded(it, m.Sequence, m.Since, e.Whole, e.State == nil, e.Bytes)
	if alone {
		k.supersede(it, e.Upload, out) // in case whoever wrote it ended before
	}
	if alone && e.State != nil && it.flags.has(cold) {
		k.setCold(it, false) // this is all that is needed
	}
	switch {
	case e.State == nil && own && it.busy != nil && it.busy.flight != nil:
		// The log brings it before its answer comes. What it holds is here.
		it.named(e.Upload)
	case e.State == nil:
		k.applyChunked(now, it, e, out)
	case it.flags.has(cold):
		k.applyCold(now, it, e, out)
	default:
		// A stamp that is far in the future has been let in by another master; all must agree, so it is merged all the same.
		_ = k.observe(e.State, now)
		if it.state.Merge(e.State) {
			if it.watched() {
				k.push(it, e.State, out)
			}
			k.resize(it)
			k.list(now, it)
			k.schedule(it)
		}
		if alone && !simple(&it.state) && !it.dirty() && !it.flags.has(volatile) && it.state.Bytes() > e.State.Bytes() {
			// What has been removed from it for good must not come back by earlier records, some of which may not be there any more.
			it.state = *e.State.Clone()
			k.resize(it)
		}
		if tombstone(&it.state) && !it.dirty() {
			k.fade(now, it)
		}
	}
}

// applyChunked takes note of a record that is too large to be brought here unasked.
func (k *Kernel) applyChunked(now int64, it *item, e *Applying, out *Effects) {
	_ = k.clock.Observe(e.Latest, now)
	plainLWW := e.Type == lattice.TypeLWW && len(it.state.Others()) == 0 &&
		(it.state.Lattice == nil || it.state.Lattice.Type() == e.Type) &&
		(!it.flags.has(cold) || it.flags.has(coldLWW))
	k.setCold(it, true)
	if it.flags &^= coldLWW; plainLWW {
		it.flags |= coldLWW
	}
	k.listCold(it)
	if !it.dirty() && !it.flags.has(volatile) {
		k.unload(it)
	}
	k.more(it)
	it.named(e.Upload)
	if it.watched() {
		k.load(it, out)
	}
}

// applyCold lets caches know of a record of a key that is not in memory, and brings the key back when the record may end it.
func (k *Kernel) applyCold(now int64, it *item, e *Applying, out *Effects) {
	_ = k.observe(e.State, now)
	if it.watched() {
		k.push(it, e.State, out)
	}
	if e.State.Lattice != nil && e.State.Lattice.Type() != lattice.TypeLWW || len(e.State.Others()) > 0 {
		it.flags &^= coldLWW
	}
	if !e.State.Deleted().IsZero() || e.State.Expiry() != (lattice.Expiry{}) {
		k.load(it, out)
	}
}
