package kernel

import "cloudburst/anna/slots"

// acknowledged takes note that a publish is in the log, and returns how many keys it was of.
func (k *Kernel) acknowledged(at Moment, m *Acknowledged, out *Effects) (keys int) {
	p := k.partitions.number[m.Partition]
	// A publish that was given up before its answer came is not known any more: the log brings it, like another kernel's.
	r := k.changes.publications.find(m.Publish)
	if r != nil {
		p.acknowledge(m.Sequence)
	}
	if (len(p.ahead) > 0 || r == nil && m.Sequence > p.applied) && !p.behind {
		p.behind = true
		out.Behind = append(out.Behind, p.number)
	}
	if r != nil {
		k.changes.publications.close(r, p)
		keys = len(r.items)
		for _, it := range r.items {
			k.stored(at, p, it, m, out)
		}
		k.changes.publications.recycle(r)
		k.changes.publications.dropAnswered()
		k.waiters.dropAnswered()
	}
	p.failures, p.err = 0, nil
	k.changes.pump(at, p, out)
	return keys
}

// stored takes note that what a publish says of a key is in the log.
func (k *Kernel) stored(at Moment, p *partition, it *item, m *Acknowledged, out *Effects) {
	f := it.busy.flight
	it.busy.flight = nil
	k.changes.bytes -= f.bytes
	for _, w := range f.waiters {
		k.waiters.answer(w, nil, out)
	}
	bytes := f.bytes
	if f.whole {
		bytes = it.state.Bytes()
	}
	if k.places.add(it, m.Sequence, f.publication.since, f.whole, m.Upload != "", bytes) {
		it.supersede(p.number, m.Upload, out)
	}
	if m.Upload != "" {
		k.keys.busy(it)
		it.addUpload(m.Upload)
	}
	k.changes.publications.recycleFlight(f)
	if !it.dirty() && tombstone(&it.state) {
		k.tombstones.add(at, it)
	}
	if it.flags.has(cold) && !it.dirty() && !it.flags.has(volatile) {
		k.keys.unload(it)
	}
	tenure := k.tenures.of(it.slot)
	if !it.dirty() && tenure == slots.Stranger {
		k.abandon(it, out)
		return
	}
	k.changes.enqueue(p, it, it.busy != nil && len(it.busy.waiters) > 0 || tenure >= slots.Parting)
	k.keys.release(it)
}
