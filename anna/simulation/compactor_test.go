package simulation

import (
	"math"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
)

const (
	// lengthMax is how many records a partition of the log has when it is to be shortened.
	lengthMax = 10
	// truncateDelay is how long what nobody needs stays there.
	truncateDelay = beat
)

// compact goes on with shortening the log (compactor.look).
func (n *node) compact() {
	if n.cutOff || n.stage == starting {
		return
	}
	for partition, s := range n.w.log.streams {
		if n.own.targets[partition] <= s.first || n.kernel.Tenure(uint16(partition)) != slots.Leading {
			n.own.targets[partition] = 0
		}
		if n.kernel.Tenure(uint16(partition)) == slots.Leading {
			n.shorten(partition, s)
		}
		target := n.own.targets[partition]
		for _, p := range n.others {
			target = max(target, p.targets[partition])
		}
		if target != 0 {
			n.step(&kernel.Compact{Partition: partition, Target: target})
		}
	}
	n.own.floors = n.floors()
}

// shorten decides whether a partition is too long, and cuts off what nobody needs (compactor.judge, compactor.cut).
func (n *node) shorten(partition int, s *stream) {
	w, target := n.w, &n.own.targets[partition]
	if end := uint64(len(s.records)); *target == 0 && end > s.first+lengthMax {
		*target = s.first + (end-s.first)/2 + 1
	}
	if *target == 0 {
		return
	}
	if floor := n.floor(partition); floor >= *target {
		w.after(truncateDelay, n.alive(func() {
			if !n.cutOff {
				w.tracef("%v cuts off partition %d before %d", n, partition, floor)
				w.log.truncate(partition, floor)
			}
		}))
	}
}

// floor returns from where on a partition is needed by anybody; 0 when that is not known (compactor.floor).
func (n *node) floor(partition int) uint64 {
	floor, led := n.own.floors[partition], n.own.leads
	for _, p := range n.others {
		if n.w.variant != cutAlone {
			floor = min(floor, p.floors[partition])
		}
		led |= p.leads
	}
	for slot := range uint16(slotCount) {
		if int(slot)%partitions == partition && !led.has(slot) {
			return 0
		}
	}
	return floor
}

// floors returns from where on the partitions are needed by this process (Server.floors).
func (n *node) floors() (floors [partitions]uint64) {
	for partition := range floors {
		if floors[partition] = n.kernel.Floor(partition); !n.follows(partition) && n.kernel.Items(partition) == 0 {
			floors[partition] = math.MaxUint64
		}
	}
	return floors
}
