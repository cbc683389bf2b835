package simulation

import (
	"fmt"
	"math"
	"slices"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// settleTimeout bounds the time without progress until slots that were loaded have been followed to the log's end.
const settleTimeout = second

// newMover returns the machine that decides which slots a process serves: the one that a node has.
func (n *node) newMover() *slots.Mover {
	return slots.NewMover(slots.Config{
		Self: n.id, Slots: slotCount, Streams: partitions, Masters: n.w.masters, MemberTTL: memberTTL, BeginTimeout: hour,
		SettleTimeout: settleTimeout, RetryPause: beat, AnnouncePause: retryPause, LeaveTimeout: beat, DrainTimeout: drainTimeout,
	})
}

// transfer is what the world knows of slots that a process takes over.
type transfer struct {
	slots []uint16
	// held is what the log held of their keys when the mover asked last how far it goes: whoever reads here once they are served finds
	// at least that.
	held map[string]*lattice.State
}

// look tells the mover who else is there.
func (n *node) look() {
	if n.mover == nil {
		return
	}
	members := slots.Members{}
	for _, p := range n.others {
		members.Others = append(members.Others, slots.Member{ID: p.id, Leaving: p.leaving, Serves: p.serves.bitmap(), Leads: p.leads.bitmap()})
	}
	n.decide(members)
}

// decide lets the mover take in an event, and does what it wants done (anna.mover.step).
func (n *node) decide(e slots.Event) {
	if n.stage == stopping {
		return
	}
	for _, a := range append(n.advance(slots.Alive{At: n.heard}), n.advance(e)...) {
		n.perform(a)
	}
	wake := n.mover.Wake()
	if wake == math.MaxInt64 || n.due != 0 && n.due <= wake {
		return
	}
	n.due = max(wake, n.w.now+1)
	n.w.after(n.due-n.w.now, n.alive(func() {
		n.due = 0
		n.decide(slots.Tick{})
	}))
}

// advance is a step of the mover, or of one with a defect.
func (n *node) advance(e slots.Event) []slots.Action {
	now := n.w.now
	actions := n.mover.Step(now, e)
	if n.w.variant != servedUnread && n.w.variant != servedUnsettled {
		return actions
	}
	var all []slots.Action
	for _, a := range actions {
		switch a := a.(type) {
		case slots.AskEnd: // it takes the stream for followed to its end
			if n.w.variant == servedUnsettled {
				n.begins(a.Transfer, n.transfers[a.Transfer].slots)
			}
			n.mover.Step(now, slots.EndKnown{Transfer: a.Transfer})
			all = append(all, n.mover.Step(now, slots.Position{Transfer: a.Transfer})...)
			n.follow()
			continue
		case slots.Load:
			if n.w.variant == servedUnread {
				n.begins(a.Transfer, a.Slots)
				all = append(all, n.advance(slots.Loaded{Transfer: a.Transfer, End: uint64(len(n.w.log.streams[a.Stream].records))})...)
				continue
			}
		}
		all = append(all, a)
	}
	return all
}

// perform does what the mover wants done (anna.mover.perform).
func (n *node) perform(a slots.Action) {
	w := n.w
	switch a := a.(type) {
	case slots.Assign:
		n.step(&kernel.Assign{Slots: a.Slots, Tenure: a.Tenure, Sequence: a.Sequence, First: a.First})
	case slots.Route:
		n.placed = a.Table
	case slots.Company:
		n.step(&kernel.Company{Others: a.Others})
	case slots.Replay:
		n.begins(a.Transfer, streamSlots(a.Stream))
		n.awaited = append(n.awaited, await{slots.Await{Transfer: a.Transfer, Stream: a.Stream, Sequence: w.log.streams[a.Stream].end()}, n.gaps[a.Stream], true})
		n.follow()
		w.after(0, n.alive(n.arrived))
	case slots.Load:
		w.tracef("%v takes over slots %v", n, a.Slots)
		n.begins(a.Transfer, a.Slots)
		n.load(a)
	case slots.AskEnd:
		n.askEnd(a)
	case slots.Await:
		n.awaited = append(n.awaited, await{Await: a})
		w.after(0, n.alive(n.arrived))
	case slots.Abandon:
		w.tracef("%v does not get slots %v: %v", n, a.Slots, a.Err)
		n.forget(a.Transfer)
		delete(n.transfers, a.Transfer)
	case slots.Listen:
		n.forget(a.Transfer)
		w.after(w.between(50, millisecond), n.alive(func() { n.decide(slots.Listening{Transfer: a.Transfer}) }))
	case slots.Serve:
		n.serve(a)
	case slots.Unserve:
		w.tracef("%v gives up slots %v", n, a.Slots)
		for _, slot := range a.Slots {
			n.serves.set(slot, false)
			n.handedOver(slot)
		}
	case slots.Announce:
		n.own.serves, n.own.leads, n.own.leaving, n.own.floors = mask(a.Serves[0]), mask(a.Leads[0]), a.Leaving, n.floors()
		w.after(w.between(50, 3*millisecond), n.alive(func() {
			var err error
			if !n.announce() {
				err = errCutOff
			}
			n.decide(slots.Announced{Err: err})
		}))
	case slots.Ready:
		w.tracef("%v is ready", n)
		n.stage = serving
	case slots.Stop:
		w.tracef("%v goes: %v", n, a.Err)
		n.stop()
	case slots.Fail:
		panic(fmt.Sprintf("%v does not begin: %v", n, a.Err))
	}
}

// begins takes note of what the log holds as slots begin to be taken over.
func (n *node) begins(number uint64, which []uint16) {
	n.transfers[number] = &transfer{which, n.w.log.holds(which)}
}

// load brings the records of some slots, some at a time, up to where the log ended when it was begun (follower.load). What is replaced
// meanwhile by what comes later is not there any more.
func (n *node) load(a slots.Load) {
	w := n.w
	var loading mask
	for _, slot := range a.Slots {
		loading.set(slot, true)
	}
	end, at, begun := w.log.streams[a.Stream].end(), uint64(0), w.now
	var read func()
	read = func() {
		switch {
		case n.transfers[a.Transfer] == nil:
			return
		case n.cutOff && w.now-begun > settleTimeout:
			n.decide(slots.Loaded{Transfer: a.Transfer, Err: errCutOff})
			return
		case n.cutOff:
			w.after(retryPause, n.alive(read))
			return
		}
		for range 1 + w.random.IntN(8) {
			if at >= end {
				break
			}
			at++
			m := w.log.applied(a.Stream, at, loading.has)
			if m.Loading = true; len(m.Entries) > 0 {
				n.step(m)
			}
		}
		if at < end {
			w.after(w.between(100, w.pace), n.alive(read))
			return
		}
		n.decide(slots.Loaded{Transfer: a.Transfer, End: end})
	}
	w.after(w.between(100, w.pace), n.alive(read))
}

// askEnd asks how far a stream goes, and follows it.
func (n *node) askEnd(a slots.AskEnd) {
	w := n.w
	n.forget(a.Transfer)
	n.follow()
	gaps := n.gaps[a.Stream]
	w.after(w.between(50, 3*millisecond), n.alive(func() {
		known := slots.EndKnown{Transfer: a.Transfer, Record: w.log.streams[a.Stream].lastRecord(), Gaps: gaps}
		if n.cutOff {
			known.Err = errCutOff
		} else if t := n.transfers[a.Transfer]; t != nil {
			t.held = w.log.holds(t.slots)
		}
		w.after(w.between(50, 3*millisecond), n.alive(func() { n.decide(known) }))
	}))
}

// await is a stream that is followed for a transfer.
type await struct {
	slots.Await
	gaps   uint64 // as it began
	replay bool   // it is the start that waits
}

// arrived tells the mover how far the streams have been followed that it waits for.
func (n *node) arrived() {
	for _, a := range slices.Clone(n.awaited) {
		position, gaps := n.kernel.Position(a.Stream), n.gaps[a.Stream]
		switch {
		case !slices.Contains(n.awaited, a):
		case !a.replay:
			n.decide(slots.Position{Transfer: a.Transfer, Sequence: position, Gaps: gaps})
		case position >= a.Sequence:
			n.forget(a.Transfer)
			n.decide(slots.Replayed{Transfer: a.Transfer, Gap: gaps != a.gaps})
		}
	}
}

func (n *node) forget(number uint64) {
	n.awaited = slices.DeleteFunc(n.awaited, func(a await) bool { return a.Transfer == number })
}

// serve takes requests for slots.
func (n *node) serve(a slots.Serve) {
	for _, slot := range a.Slots {
		n.serves.set(slot, true)
	}
	begun := n.transfers[a.Transfer]
	delete(n.transfers, a.Transfer)
	for _, key := range keys {
		if slices.Contains(a.Slots, slotOf(key)) {
			n.promised[key] = begun.held[key]
			n.verify(key)
		}
	}
	n.w.tracef("%v serves slots %v", n, a.Slots)
	for _, key := range keys {
		if slot := slotOf(key); slices.Contains(a.Slots, slot) && n.cache[key] == nil && n.w.chance(50) {
			n.step(&kernel.Watch{Key: key, Slot: slot, Cache: 1})
		}
	}
}

// streamSlots returns the slots of a partition.
func streamSlots(partition int) (which []uint16) {
	for slot := partition; slot < slotCount; slot += partitions {
		which = append(which, uint16(slot))
	}
	return which
}

// follows reports whether the kernel is a master of some slot of a partition (follower.idle is the opposite).
func (n *node) follows(partition int) bool {
	return slices.ContainsFunc(streamSlots(partition), func(slot uint16) bool { return n.kernel.Tenure(slot) < slots.Joining })
}

// takes reports whether the process takes requests for a slot (Server.writeHere, Server.askedRead).
func (n *node) takes(slot uint16) bool {
	return n.kernel != nil && (n.stage == serving || n.stage == leaving) && n.serves.has(slot)
}
