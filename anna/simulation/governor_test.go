package simulation

import (
	"maps"
	"slices"

	"cloudburst/anna"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// settleTimeout bounds the time until a slot that was loaded has been followed to the log's end.
const settleTimeout = second

// settlePasses is the server's own.
const settlePasses = 16

// begin takes over the slots that the first table gives to a process, by replaying their part of the log (governor.begin).
func (n *node) begin() {
	n.route()
	n.busy = true
	var own, others []uint16
	plan := n.plan()
	for slot := range uint16(slotCount) {
		if plan.Tenure(slot) == slots.Stranger {
			others = append(others, slot)
		} else {
			own = append(own, slot)
		}
	}
	n.assign(others, slots.Stranger, 0, false)
	held := n.w.log.holds(own)
	n.settle(own, 0, func() {
		n.busy, n.stage = false, serving
		n.serve(own, held)
		n.govern()
	}, nil)
}

// follows reports whether the kernel is a master of some slot of a partition (follower.idle is the opposite).
func (n *node) follows(partition int) bool {
	for slot := range uint16(slotCount) {
		if int(slot)%partitions == partition && n.kernel.Tenure(slot) < slots.Joining {
			return true
		}
	}
	return false
}

// settle waits until the partitions of some slots have been followed to where the log ends now, and again as long as something was not
// there any more on the way (follower.replay, governor.settle); without a timeout for as long as it takes.
func (n *node) settle(which []uint16, timeout int64, then, failed func()) {
	passes := 0
	var again func()
	again = func() {
		gaps := n.gaps
		passes++
		n.reach(which, timeout, func() {
			if n.gaps == gaps || passes == settlePasses {
				then()
				return
			}
			again()
		}, failed)
	}
	again()
}

// reach waits until the partitions of some slots have been followed to where the log ends now (governor.reach).
func (n *node) reach(which []uint16, timeout int64, then, failed func()) {
	n.goals, n.reached = nil, then
	for partition, s := range n.w.log.streams {
		if len(within(which, partition)) > 0 {
			n.goals = append(n.goals, goal{partition, uint64(len(s.records))})
		}
	}
	n.waits++
	wait := n.waits
	if timeout > 0 {
		n.w.after(timeout, n.alive(func() {
			if n.waits == wait && n.reached != nil {
				n.reached = nil
				failed()
			}
		}))
	}
	n.follow()
	n.w.after(0, n.alive(n.arrived))
}

// within returns those of some slots that are in a partition.
func within(which []uint16, partition int) (part []uint16) {
	for _, slot := range which {
		if int(slot)%partitions == partition {
			part = append(part, slot)
		}
	}
	return part
}

// arrived goes on with what has waited for the log to be followed.
func (n *node) arrived() {
	if n.reached == nil {
		return
	}
	for _, g := range n.goals {
		if n.kernel.Position(g.partition) < g.sequence {
			return
		}
	}
	then := n.reached
	n.reached = nil
	then()
}

// govern looks at the slots, as something has changed or may have (governor.govern).
func (n *node) govern() {
	if n.busy || n.stage != serving && n.stage != leaving {
		return
	}
	n.route()
	n.move()
	n.parted()
}

// move takes over and gives up slots until it is as the table says (governor.move).
func (n *node) move() {
	moves := n.plan().Moves(n.tenures)
	n.assign(moves.Leading, slots.Leading, 0, false)
	n.assign(moves.Serving, slots.Serving, 0, false)
	n.assign(moves.Parting, slots.Parting, 0, false)
	if !n.claim() {
		return
	}
	n.giveUp(moves.Left)
	n.takeOver(moves.Gained)
}

// claim says which slots the process leads, if that has changed (governor.claim). It reports whether it could.
func (n *node) claim() bool {
	var leads mask
	for slot, t := range n.tenures {
		leads.set(uint16(slot), t == slots.Leading)
	}
	if leads == n.own.leads {
		return true
	}
	n.own.leads, n.own.floors = leads, n.floors()
	return n.announce()
}

// giveUp gives up slots that others serve (governor.leave).
func (n *node) giveUp(left []uint16) {
	if len(left) == 0 {
		return
	}
	for _, slot := range left {
		n.own.serves.set(slot, false)
		n.handedOver(slot)
	}
	n.w.tracef("%v gives up slots %v", n, left)
	n.assign(left, slots.Stranger, 0, false)
	n.announce()
}

// takeOver loads slots and serves them (governor.take).
func (n *node) takeOver(gained []uint16) {
	if len(gained) == 0 {
		return
	}
	w := n.w
	w.tracef("%v takes over slots %v", n, gained)
	n.busy = true
	n.assign(gained, slots.Joining, 0, false)
	ends, held := make([]uint64, partitions), w.log.holds(gained)
	abandon := func() {
		w.tracef("%v does not get slots %v", n, gained)
		n.assign(gained, slots.Stranger, 0, false)
		n.busy = false
	}
	loaded := func() {
		for partition := range partitions {
			// First is what governor.holds says.
			n.appoint(within(gained, partition), ends[partition], !n.follows(partition))
		}
		if n.cutOff { // the log does not say how far it is
			abandon()
			return
		}
		serve := func() {
			n.busy = false
			n.serve(gained, held)
			n.govern()
		}
		if w.variant == servedUnread {
			serve()
			n.follow()
			return
		}
		n.settle(gained, settleTimeout, serve, abandon)
	}
	if w.variant == servedUnread {
		for partition, s := range w.log.streams {
			ends[partition] = uint64(len(s.records))
		}
		loaded()
		return
	}
	n.load(gained, ends, loaded, abandon)
}

// load brings the records of some slots, some at a time, up to where the log ended when it was begun (follower.load). What is replaced
// meanwhile by what comes later is not there any more.
func (n *node) load(gained []uint16, ends []uint64, then, failed func()) {
	w := n.w
	var loading mask
	var parts []int
	for _, slot := range gained {
		loading.set(slot, true)
	}
	for partition, s := range w.log.streams {
		if len(within(gained, partition)) > 0 {
			parts, ends[partition] = append(parts, partition), uint64(len(s.records))
		}
	}
	at := make([]uint64, partitions)
	begun := w.now
	var read func()
	read = func() {
		switch {
		case n.cutOff && w.now-begun > settleTimeout:
			failed()
			return
		case n.cutOff:
			w.after(insistPause, n.alive(read))
			return
		}
		more := false
		for _, partition := range parts {
			for range 1 + w.random.IntN(8) {
				if at[partition] >= ends[partition] {
					break
				}
				at[partition]++
				m := w.log.applied(partition, at[partition], loading.has)
				if m.Loading = true; len(m.Entries) > 0 {
					n.step(m)
				}
			}
			more = more || at[partition] < ends[partition]
		}
		if more {
			w.after(w.between(100, w.pace), n.alive(read))
			return
		}
		then()
	}
	w.after(w.between(100, w.pace), n.alive(read))
}

// appoint makes the kernel a master of slots, of those that the table has the process first for a leading one (governor.appoint).
func (n *node) appoint(gained []uint16, sequence uint64, first bool) {
	var lead, serve []uint16
	plan := n.plan()
	for _, slot := range gained {
		switch leads := plan.Tenure(slot) == slots.Leading; {
		case leads && n.tenures[slot] != slots.Leading:
			lead = append(lead, slot)
		case !leads && n.tenures[slot] != slots.Serving:
			serve = append(serve, slot)
		}
	}
	n.assign(lead, slots.Leading, sequence, first)
	n.assign(serve, slots.Serving, sequence, first)
}

// serve takes requests for slots and lets the others know (governor.serve). Held is what the log held of them when it was asked how far
// it goes: whoever reads here from now on finds at least that.
func (n *node) serve(gained []uint16, held map[string]*lattice.State) {
	n.appoint(gained, 0, false)
	for _, slot := range gained {
		n.own.serves.set(slot, true)
	}
	maps.Copy(n.promised, held)
	for _, key := range keys {
		if slices.Contains(gained, slotOf(key)) {
			n.verify(key)
		}
	}
	n.w.tracef("%v serves slots %v", n, gained)
	n.claim()
	n.announce()
	for _, key := range keys {
		if slot := slotOf(key); n.own.serves.has(slot) && n.cache[key] == nil && n.w.chance(50) {
			n.step(&anna.Watch{Key: key, Slot: slot, Cache: 1})
		}
	}
}

// assign tells the kernel what it is to slots (governor.assign).
func (n *node) assign(which []uint16, tenure slots.Tenure, sequence uint64, first bool) {
	if len(which) == 0 {
		return
	}
	for _, slot := range which {
		n.tenures[slot] = tenure
	}
	n.step(&anna.Assign{Slots: which, Tenure: tenure, Sequence: sequence, First: first})
}

// takes reports whether the process takes requests for a slot (Server.writeHere, Server.askedRead).
func (n *node) takes(slot uint16) bool {
	return n.kernel != nil && (n.stage == serving || n.stage == leaving) && n.own.serves.has(slot)
}
