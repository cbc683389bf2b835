package anna

import (
	"cloudburst/lattice"
)

// apply merges a record of the log.
func (k *Kernel) apply(now int64, m *Applied, out *Effects) {
	p := k.partitions[m.Partition]
	if m.Loading {
		k.applyRecord(now, m, out)
		return
	}
	if m.Key != "" && k.Tenure(m.Slot) != Stranger && m.Sequence > p.applied {
		k.applyRecord(now, m, out)
	}
	p.advance(m.Sequence)
	k.pump(now, p, out)
}

func (k *Kernel) applyRecord(now int64, m *Applied, out *Effects) {
	it := k.items[m.Key]
	k.confirm(now, it, m.State)
	if m.Publisher == k.cfg.Writer && it != nil && !m.Loading && m.Sequence <= it.sequence {
		return // it was merged here before it was published
	}
	if it == nil {
		it = k.add(m.Key, m.Slot)
	}
	k.stats.Applied++
	// A record of another master may come after a later one of this kernel has been acknowledged.
	alone := k.recorded(it, m.Sequence, m.Since, m.Whole, m.State == nil, m.Bytes)
	if alone {
		k.supersede(it, m.Upload, out) // in case whoever wrote it ended before
	}
	if alone && m.State != nil && it.flags.has(cold) {
		k.setCold(it, false) // this is all that is needed
	}
	switch {
	case m.State == nil && m.Publisher == k.cfg.Writer && it.busy != nil && it.busy.flight != nil:
		// The log brings it before its answer comes. What it holds is here.
		it.named(m.Upload)
	case m.State == nil:
		k.applyChunked(now, it, m, out)
	case it.flags.has(cold):
		k.applyCold(now, it, m, out)
	default:
		// A stamp that is far in the future has been let in by another master; all must agree, so it is merged all the same.
		_ = k.observe(m.State, now)
		if it.state.Merge(m.State) {
			if it.watched() {
				k.push(it, m.State, out)
			}
			k.resize(it)
			k.list(now, it)
			k.schedule(it)
		}
		if alone && !simple(&it.state) && !it.dirty() && !it.flags.has(volatile) && it.state.Bytes() > m.State.Bytes() {
			// What has been removed from it for good must not come back by earlier records, some of which may not be there any more.
			it.state = *m.State.Clone()
			k.resize(it)
		}
		if tombstone(&it.state) && !it.dirty() {
			k.fade(now, it)
		}
	}
}

// applyChunked takes note of a record that is too large to be brought here unasked.
func (k *Kernel) applyChunked(now int64, it *item, m *Applied, out *Effects) {
	_ = k.clock.Observe(m.Latest, now)
	plainLWW := m.Type == lattice.TypeLWW && len(it.state.Others()) == 0 &&
		(it.state.Lattice == nil || it.state.Lattice.Type() == m.Type) &&
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
	it.named(m.Upload)
	if it.watched() {
		k.load(it, out)
	}
}

// applyCold lets caches know of a record of a key that is not in memory, and brings the key back when the record may end it.
func (k *Kernel) applyCold(now int64, it *item, m *Applied, out *Effects) {
	_ = k.observe(m.State, now)
	if it.watched() {
		k.push(it, m.State, out)
	}
	if m.State.Lattice != nil && m.State.Lattice.Type() != lattice.TypeLWW || len(m.State.Others()) > 0 {
		it.flags &^= coldLWW
	}
	if !m.State.Deleted().IsZero() || m.State.Expiry() != (lattice.Expiry{}) {
		k.load(it, out)
	}
}
