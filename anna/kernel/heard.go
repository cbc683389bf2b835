package kernel

import (
	"slices"

	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// A write that another master has made for this node is merged here before it is acknowledged to the client, and so before the log
// brings it: the kernel has heard of it. The other master publishes it. Until the log brings it, the key counts as one that this kernel
// has to publish too. It does so when the log does not bring the write in time, since the other master may have ended before it
// could publish.

// heardMax bounds the deltas of a key that are looked for in its records one by one; further ones are merged into the last.
const heardMax = 8

// heard is a delta that a key has merged and that the log has not brought.
type heard struct {
	delta *lattice.State // immutable
	bytes int
	due   int64 // when it is published here
}

// heardDue is when what was heard of a key is to be published here.
type heardDue struct {
	it *item
	at int64
}

func (k *Kernel) hear(at Moment, m *Heard, out *Effects) {
	tenure := k.tenures.of(m.Slot)
	if tenure == slots.Stranger {
		return
	}
	it := k.keys.items[m.Key]
	if it == nil {
		it = k.add(m.Key, m.Slot)
	}
	k.observe(at, m.Delta)
	if !it.state.Merge(m.Delta) {
		k.forgetUnused(it)
		return // the log was faster
	}
	if it.watched() {
		k.watches.push(it, m.Delta, out)
	}
	k.keys.resize(it)
	if it.flags.has(cold) {
		k.loads.ask(it, out) // what else it holds decides what it shows
	} else {
		k.keys.list(at.Wall/1000, it)
		k.expiries.schedule(it)
	}
	b := k.keys.busy(it)
	if n := len(b.heard); n == heardMax {
		last := &b.heard[n-1]
		merged := last.delta.Clone()
		merged.Merge(m.Delta)
		k.changes.bytes += merged.Bytes() - last.bytes
		last.delta, last.bytes = merged, merged.Bytes()
		return
	}
	h := heard{delta: m.Delta, bytes: m.Delta.Bytes(), due: at.Elapsed + k.cfg.LazyInterval + k.cfg.PublishTimeout}
	b.heard = append(b.heard, h)
	k.changes.bytes += h.bytes
	k.heard.push(heardDue{it, h.due})
	if k.changes.hurry || tenure == slots.Parting {
		k.changes.takeHeard(it)
		k.changes.enqueue(k.partitions.of(it.slot), it, true)
		k.changes.pumpKey(at, it, out)
	}
}

// logged takes note of a record that the log has brought: what it holds need not be published here.
func (k *Kernel) logged(at Moment, it *item, record *lattice.State) {
	if it == nil || record == nil || !it.hasHeard() {
		return
	}
	b := it.busy
	b.heard = slices.DeleteFunc(b.heard, func(h heard) bool {
		if record.Clone().Merge(h.delta) {
			return false
		}
		k.changes.bytes -= h.bytes
		return true
	})
	for h, ok := k.heard.peek(); ok && !h.it.hasHeard(); h, ok = k.heard.peek() {
		k.heard.pop()
	}
	if it.dirty() {
		return
	}
	if tombstone(&it.state) && !it.flags.has(cold) {
		k.tombstones.add(at, it)
	}
	k.keys.release(it)
}

// publishHeardDue publishes what was heard of and the log has not brought in time.
func (k *Kernel) publishHeardDue(at Moment, out *Effects) {
	hurry := k.changes.hurry
	for h, ok := k.heard.peek(); ok && (hurry || h.at <= at.Elapsed); h, ok = k.heard.peek() {
		k.heard.pop()
		if !h.it.hasHeard() || !hurry && h.it.busy.heard[0].due > at.Elapsed {
			continue
		}
		k.changes.takeHeard(h.it)
		k.changes.enqueue(k.partitions.of(h.it.slot), h.it, hurry)
		k.changes.pumpKey(at, h.it, out)
	}
}

// hasHeard reports whether something was heard of the key that the log has not brought.
func (it *item) hasHeard() bool { return it.busy != nil && len(it.busy.heard) > 0 }
