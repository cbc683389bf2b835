package simulation

import (
	"math"

	"cloudburst/anna/compaction"
	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
)

// recordBytes is what the log takes for a record beside what is in it.
const recordBytes = 50

// newCompactor returns the machine that decides when the log is cut off: the one that a node has.
func newCompactor() *compaction.Compactor {
	return compaction.New(compaction.Config{Slots: slotCount, Streams: partitions, Ratio: 2, BytesMin: 100, Wait: truncateWait})
}

// truncateWait is for how long what is not needed any more stays in the log.
const truncateWait = beat

// compact has the compactor look at all partitions (anna.compactor.run).
func (n *node) compact() {
	if n.stage == starting {
		return
	}
	for partition := range partitions {
		look := compaction.Look{Stream: partition, Leads: n.kernel.Tenure(uint16(partition)) == slots.Leading}
		for _, slot := range streamSlots(partition) {
			if n.kernel.Tenure(slot) < slots.Joining {
				look.Held++
			}
		}
		for _, p := range append(members{n.own}, n.others...) {
			look.Members = append(look.Members, compaction.Member{
				Leads: p.leads.bitmap(), Floors: p.floors[:], Targets: p.targets[:],
			})
		}
		n.shorten(look)
	}
}

// shorten lets the compactor take in an event, and does what it wants done (anna.compactor.perform).
func (n *node) shorten(e compaction.Event) {
	for _, a := range n.judge(e) {
		switch a := a.(type) {
		case compaction.AskExtent:
			s := n.w.log.streams[a.Stream]
			known := compaction.ExtentKnown{Stream: a.Stream, First: s.first, End: s.end(), Bytes: s.bytes(), Needed: n.kernel.Needed(a.Stream)}
			n.w.after(n.w.between(50, 3*millisecond), n.alive(func() {
				if !n.cutOff {
					n.shorten(known)
				}
			}))
		case compaction.Compact:
			n.step(&kernel.Compact{Partition: a.Stream, Target: a.Target})
		case compaction.Announce:
			n.own.targets[a.Stream], n.own.floors = a.Target, n.floors()
		case compaction.Truncate:
			n.w.after(n.w.between(50, 3*millisecond), n.alive(func() { n.truncate(a) }))
		}
	}
}

// judge is a step of the compactor, or of one with a defect.
func (n *node) judge(e compaction.Event) []compaction.Action {
	if look, ok := e.(compaction.Look); ok {
		for i := range look.Members {
			switch m := &look.Members[i]; {
			case n.w.variant == cutAlone && i > 0: // it does not wait for the floors of other members
				m.Floors = endless[:]
			case n.w.variant == cutUnread: // nor for its own
				m.Floors = endless[:]
			}
		}
	}
	actions := n.compactor.Step(n.w.now, e)
	if n.w.variant == cutUnread {
		for i, a := range actions {
			if cut, ok := a.(compaction.Truncate); ok {
				cut.Before = n.own.targets[cut.Stream]
				actions[i] = cut
			}
		}
	}
	return actions
}

var endless = [partitions]uint64{math.MaxUint64, math.MaxUint64}

func (n *node) truncate(a compaction.Truncate) {
	done := compaction.Truncated{Stream: a.Stream}
	if n.cutOff {
		done.Err = errCutOff
	} else {
		n.w.tracef("%v cuts off partition %d before %d", n, a.Stream, a.Before)
		n.w.log.truncate(a.Stream, a.Before)
	}
	n.shorten(done)
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
