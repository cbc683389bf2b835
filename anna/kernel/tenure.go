package kernel

import (
	"hash/fnv"
	"slices"

	"cloudburst/anna/slots"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// ErrMoved says that a kernel is not a master of a key. Another is.
var ErrMoved = wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the key is with other masters now; try again")

// ErrChanged says that a key does not hold what a write expected.
var ErrChanged = wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the key has been changed meanwhile; try again")

// ErrBehind says that a write was not made, since its key may hold something that is later than the stamp that it came with.
var ErrBehind = wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the key holds something later; try again")

// Tenure returns what the kernel is to a slot. Several goroutines may call it at once.
func (k *Kernel) Tenure(slot uint16) slots.Tenure {
	if int(slot) < len(k.tenures) {
		return k.tenures[slot]
	}
	return slots.Leading
}

// Position returns the sequence up to which everything in a partition's log is merged that is of slots of which the kernel is a
// master, or about to be one. Several goroutines may call it at once.
func (k *Kernel) Position(partition int) uint64 { return k.partitions[partition].applied }

// assign changes what the kernel is to some slots.
func (k *Kernel) assign(now int64, m *Assign, out *Effects) {
	affected := make(map[uint16]bool, len(m.Slots))
	for _, slot := range m.Slots {
		for len(k.tenures) <= int(slot) {
			k.tenures = append(k.tenures, slots.Leading)
		}
		// What has been brought of a slot that is not taken over after all is abandoned as well.
		affected[slot] = k.tenures[slot] != m.Tenure || m.Tenure == slots.Stranger
		k.tenures[slot] = m.Tenure
		if m.First {
			k.partition(slot).advance(m.Sequence)
		}
	}
	switch m.Tenure {
	case slots.Joining:
	case slots.Leading, slots.Serving:
		for _, it := range slices.Clone(k.expiries) {
			if affected[it.slot] {
				k.schedule(it)
			}
		}
	default:
		for i := len(k.ring) - 1; i >= 0; i-- {
			switch it := k.ring[i]; {
			case !affected[it.slot]:
			case m.Tenure == slots.Parting:
				k.handOver(it)
			default:
				k.abandon(it, out)
			}
		}
	}
	for _, p := range k.partitions {
		if p != nil {
			k.pump(now, p, out)
		}
	}
}

// handOver makes sure that all a key holds is in the log soon.
func (k *Kernel) handOver(it *item) {
	if it.flags.has(volatile) && it.state.Lattice != nil {
		it.flags &^= volatile
		it.flags |= changed
		b := k.more(it)
		k.changeset += it.state.Bytes() - b.pending
		b.pending = it.state.Bytes()
	}
	k.vouch(it)
	if it.dirty() {
		k.enqueue(k.partition(it.slot), it, true)
	}
}

// abandon ends what concerns a key whose slot the kernel is not a master of any more, but for what is still to be published.
func (k *Kernel) abandon(it *item, out *Effects) {
	k.pushLost(it, out)
	k.unexpire(it)
	if it.busy != nil {
		for i := range it.busy.parked {
			k.turnAway(it, it.busy.parked[i], ErrMoved, out)
		}
		it.busy.parked = nil
	}
	k.unwatched(it)
	it.flags &^= loading
	k.vouch(it)
	if it.dirty() {
		k.enqueue(k.partition(it.slot), it, true)
		return
	}
	if it.busy != nil {
		it.busy.uploads = nil
	}
	k.settleDown(it)
	k.forget(it)
}

// pushLost tells the caches that watch a key that they will not hear of its changes any more.
func (k *Kernel) pushLost(it *item, out *Effects) {
	if it.cache == 0 {
		return
	}
	out.Pushes = append(out.Pushes, Push{Cache: it.cache, Key: it.key, Lost: true})
	if it.busy == nil {
		return
	}
	for _, cache := range it.busy.caches {
		out.Pushes = append(out.Pushes, Push{Cache: cache, Key: it.key, Lost: true})
	}
}

// unwatched forgets the caches that watch a key.
func (k *Kernel) unwatched(it *item) {
	if it.cache = 0; it.busy != nil {
		it.busy.caches = nil
	}
}

// Fingerprint stands for what a key holds, so that a write can be made to depend on it.
func Fingerprint(s *lattice.State) uint64 {
	if s == nil {
		s = new(lattice.State)
	}
	h := fnv.New64a()
	_, _ = h.Write(wire.AppendState(nil, s)) // never fails
	return h.Sum64() | 1
}
