package kernel

import (
	"slices"

	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// What another master has made of a write through this node is merged here before the write is acknowledged, and so before the log
// brings it. The other one publishes it. Until the log brings it the key counts as one that is to be published here too, which it is
// when that takes so long that the other may have ended before it could.

// heardMax bounds the deltas of a key that are looked for in its records one by one; further ones are merged into the last.
const heardMax = 8

// heard is what has been heard of a key and has not come by the log.
type heard struct {
	delta *lattice.State // immutable
	bytes int
	due   int64 // when it is published here
}

// rumor is when something that was heard of a key is due.
type rumor struct {
	it  *item
	due int64
}

func (k *Kernel) hear(now int64, m *Heard, out *Effects) {
	if k.Tenure(m.Slot) == slots.Stranger {
		return
	}
	it := k.items[m.Key]
	if it == nil {
		it = k.add(m.Key, m.Slot)
	}
	_ = k.observe(m.Delta, now) // whoever made it has let it in
	if !it.state.Merge(m.Delta) {
		k.leave(it)
		return // the log was faster
	}
	if it.watched() {
		k.push(it, m.Delta, out)
	}
	k.resize(it)
	if it.flags.has(cold) {
		k.load(it, out) // what else it holds decides what it shows
	} else {
		k.list(now, it)
		k.schedule(it)
	}
	b := k.more(it)
	if n := len(b.heard); n == heardMax {
		last := &b.heard[n-1]
		merged := last.delta.Clone()
		merged.Merge(m.Delta)
		k.changeset += merged.Bytes() - last.bytes
		last.delta, last.bytes = merged, merged.Bytes()
		return
	}
	h := heard{delta: m.Delta, bytes: m.Delta.Bytes(), due: k.elapsed + k.cfg.LazyInterval + k.cfg.PublishTimeout}
	b.heard = append(b.heard, h)
	k.changeset += h.bytes
	k.rumors.push(rumor{it, h.due})
	if k.hurry || k.Tenure(it.slot) == slots.Parting {
		k.vouch(it)
		p := k.partition(it.slot)
		k.enqueue(p, it, true)
		k.pump(now, p, out)
	}
}

// confirm takes note of a record that the log has brought: what it holds is not only heard any more.
func (k *Kernel) confirm(now int64, it *item, record *lattice.State) {
	if it == nil || record == nil || it.busy == nil || len(it.busy.heard) == 0 {
		return
	}
	b := it.busy
	b.heard = slices.DeleteFunc(b.heard, func(h heard) bool {
		if record.Clone().Merge(h.delta) {
			return false
		}
		k.changeset -= h.bytes
		return true
	})
	for r, ok := k.rumors.peek(); ok && !r.it.rumored(); r, ok = k.rumors.peek() {
		k.rumors.pop()
	}
	if it.dirty() {
		return
	}
	if tombstone(&it.state) && !it.flags.has(cold) {
		k.fade(now, it)
	}
	k.settleDown(it)
}

// vouch makes a change of this kernel of what was heard of a key.
func (k *Kernel) vouch(it *item) {
	if !it.rumored() {
		return
	}
	b := it.busy
	delta := new(lattice.State)
	for _, h := range b.heard {
		delta.Merge(h.delta)
		k.changeset -= h.bytes
	}
	clear(b.heard)
	b.heard = b.heard[:0]
	if !it.flags.has(cold) {
		k.change(it, delta, false)
		return
	}
	if b.delta != nil {
		delta.Merge(b.delta)
	}
	b.delta = delta
	k.changeset += delta.Bytes() - b.pending
	b.pending = delta.Bytes()
}

// vouchDue publishes what was heard and does not come.
func (k *Kernel) vouchDue(now int64, out *Effects) {
	for r, ok := k.rumors.peek(); ok && (k.hurry || r.due <= k.elapsed); r, ok = k.rumors.peek() {
		k.rumors.pop()
		if !r.it.rumored() || !k.hurry && r.it.busy.heard[0].due > k.elapsed {
			continue
		}
		k.vouch(r.it)
		p := k.partition(r.it.slot)
		k.enqueue(p, r.it, k.hurry)
		k.pump(now, p, out)
	}
}

// rumored reports whether something was heard of the key that has not come by the log.
func (it *item) rumored() bool { return it.busy != nil && len(it.busy.heard) > 0 }
