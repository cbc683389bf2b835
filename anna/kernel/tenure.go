package kernel

import (
	"slices"

	"cloudburst/anna/slots"
)

// tenures is what a kernel is to the slots, by number. It is Leading of those beyond its end.
type tenures []slots.Tenure

func (t tenures) of(slot uint16) slots.Tenure {
	if int(slot) < len(t) {
		return t[slot]
	}
	return slots.Leading
}

// set changes what the kernel is to a slot, and reports whether it was something else.
func (t *tenures) set(slot uint16, tenure slots.Tenure) bool {
	for len(*t) <= int(slot) {
		*t = append(*t, slots.Leading)
	}
	was := (*t)[slot]
	(*t)[slot] = tenure
	return was != tenure
}

// Tenure returns what the kernel is to a slot. Several goroutines may call it at once.
func (k *Kernel) Tenure(slot uint16) slots.Tenure { return k.tenures.of(slot) }

// Position returns the sequence up to which everything in a partition's log is merged that is of slots of which the kernel is a
// master, or is about to be one. Several goroutines may call it at once.
func (k *Kernel) Position(partition int) uint64 { return k.partitions.number[partition].applied }

// assign changes what the kernel is to some slots.
func (k *Kernel) assign(at Moment, m *Assign, out *Effects) {
	affected := make(map[uint16]bool, len(m.Slots))
	for _, slot := range m.Slots {
		// What has been brought of a slot that is not taken over after all is abandoned as well.
		affected[slot] = k.tenures.set(slot, m.Tenure) || m.Tenure == slots.Stranger
		if m.First {
			k.partitions.of(slot).advance(m.Sequence)
		}
	}
	switch m.Tenure {
	case slots.Joining:
	case slots.Leading, slots.Serving:
		for _, it := range slices.Clone(k.expiries.soonest) {
			if affected[it.slot] {
				k.expiries.schedule(it)
			}
		}
	default:
		for i := len(k.keys.ring) - 1; i >= 0; i-- {
			switch it := k.keys.ring[i]; {
			case !affected[it.slot]:
			case m.Tenure == slots.Parting:
				k.handOver(it)
			default:
				k.abandon(it, out)
			}
		}
	}
	k.changes.pumpAll(at, out)
}

// handOver makes sure that all a key holds is in the log soon.
func (k *Kernel) handOver(it *item) {
	if it.flags.has(volatile) && it.state.Lattice != nil {
		it.flags &^= volatile
		it.flags |= changed
		b := k.keys.busy(it)
		k.changes.bytes += it.state.Bytes() - b.pending
		b.pending = it.state.Bytes()
	}
	k.changes.takeHeard(it)
	if it.dirty() {
		k.changes.enqueue(k.partitions.of(it.slot), it, true)
	}
}

// abandon ends what concerns a key whose slot the kernel is not a master of any more, but for what is still to be published.
func (k *Kernel) abandon(it *item, out *Effects) {
	k.watches.lose(it, out)
	k.expiries.remove(it)
	if it.busy != nil {
		for i := range it.busy.parked {
			refuse(it, &it.busy.parked[i], errMoved, out)
		}
		it.busy.parked = nil
	}
	it.flags &^= loading
	k.changes.takeHeard(it)
	if it.dirty() {
		k.changes.enqueue(k.partitions.of(it.slot), it, true)
		return
	}
	if it.busy != nil {
		it.busy.uploads = nil
	}
	k.keys.release(it)
	k.forget(it)
}
