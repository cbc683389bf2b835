package simulation

import (
	"fmt"
	"slices"

	"cloudburst/anna/compaction"
	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

const (
	slotCount = 8
	nodesMax  = 5
	// beat is about how often a node says that it is there, and looks at who is (Server.pulse, members.follow, mover.look).
	beat      = 200 * millisecond
	memberTTL = 4 * beat
	// retryPause is before what failed is done again.
	retryPause = 50 * millisecond
	// drainTimeout bounds how long a node that goes waits for others, and then for the log.
	drainTimeout = 3 * second
)

// mask is a bit for every slot.
type mask uint8

func (m mask) has(slot uint16) bool { return m&(1<<slot) != 0 }

func (m *mask) set(slot uint16, is bool) {
	if *m &^= 1 << slot; is {
		*m |= 1 << slot
	}
}

func (m mask) bitmap() slots.Bitmap { return slots.Bitmap{byte(m)} }

// presence is what a process says of itself to the others, as pb.Presence.
type presence struct {
	id            string
	serves, leads mask
	leaving       bool
	// floors are from where on the log's partitions are needed by the process, and targets from where on they are to be.
	floors, targets [partitions]uint64
	seen            int64 // when it was heard of last
	hot             *hotSaid
}

// members is what a process knows of the others, or the bucket of all: never a map, whose order would be another each time.
type members []presence

func (m members) find(id string) *presence {
	if at := slices.IndexFunc(m, func(p presence) bool { return p.id == id }); at >= 0 {
		return &m[at]
	}
	return nil
}

// take takes in what a process says, and reports whether it is news.
func (m *members) take(p presence) bool {
	old := m.find(p.id)
	if old == nil {
		*m = append(*m, p)
		return true
	}
	before := *old
	*old = p
	before.seen = p.seen
	return before != p
}

func (m *members) remove(id string) bool {
	before := len(*m)
	*m = slices.DeleteFunc(*m, func(p presence) bool { return p.id == id })
	return len(*m) != before
}

// stage is how far a process is.
type stage uint8

const (
	starting stage = iota
	serving
	leaving  // still serves what others have not taken over
	stopping // only writes to the log what that lacks
)

// membership is what a process is to the slots, and what it knows of the others that are: what members and mover are to the server.
type membership struct {
	replicas

	id     string
	stage  stage
	own    presence
	others members // as they are known now
	heard  int64   // when the bucket was last reached

	mover     *slots.Mover
	compactor *compaction.Compactor
	due       int64 // when the mover gets its next tick; 0 = not planned
	serves    mask  // the slots that requests are taken for
	transfers map[uint64]*transfer
	awaited   []await
	gaps      [partitions]uint64 // how often a record that was followed was not there any more
	// promised is what the log held of a key when the process began to take it over.
	promised map[string]*lattice.State
}

// join makes a process a member (Server.takePart). What it is told about is how the bucket is a moment later.
func (n *node) join() {
	n.membership = membership{
		replicas: n.w.newReplicas(), id: fmt.Sprintf("m%d", n.writer), heard: n.w.now, transfers: map[uint64]*transfer{}, promised: map[string]*lattice.State{},
	}
	n.own.id = n.id
	n.announce()
	n.w.after(n.w.between(100, 5*millisecond), n.alive(n.enter))
	n.w.after(n.w.between(beat/2, beat*3/2), n.alive(n.tick))
}

func (n *node) enter() {
	if n.cutOff {
		n.w.after(retryPause, n.alive(n.enter))
		return
	}
	n.announce()
	n.hear()
	n.mover, n.compactor = n.newMover(), newCompactor()
	n.look()
}

// announce says to all that this process is there, and what it does (members.announce). It reports whether that can be.
func (n *node) announce() bool {
	if n.cutOff {
		return false
	}
	w := n.w
	if w.now-n.heard > memberTTL/2 { // members.alive: the others were not heard of because of that
		for i := range n.others {
			n.others[i].seen = w.now
		}
	}
	n.heard, n.own.seen = w.now, w.now
	if !w.bucket.take(n.own) {
		return true
	}
	for _, other := range w.nodes {
		if other != n && other.kernel != nil {
			w.after(w.between(50, 3*millisecond), other.alive(func() {
				if !other.cutOff && other.hear() {
					other.look()
				}
			}))
		}
	}
	return true
}

// hear takes in what the bucket holds (members.take), and reports whether there is news.
func (n *node) hear() bool {
	news := false
	for _, p := range n.w.bucket {
		if p.id != n.id && n.w.now-p.seen <= memberTTL {
			news = n.others.take(p) || news
		}
	}
	for _, p := range slices.Clone(n.others) {
		if n.w.bucket.find(p.id) == nil {
			news = n.others.remove(p.id) || news
		}
	}
	return news
}

// tick is what happens from time to time: the process says that it is there, hears of the others, forgets who is gone (members.bury)
// and looks at the slots.
func (n *node) tick() {
	w := n.w
	if w.aging {
		return // world.age lets them tick again
	}
	w.after(w.between(beat/2, beat*3/2), n.alive(n.tick))
	if n.announce() {
		// What a process of long ago has said is forgotten (the bucket's TTL).
		w.bucket = slices.DeleteFunc(w.bucket, func(p presence) bool { return w.now-p.seen > memberTTL })
		n.hear()
	}
	if w.now-n.heard <= memberTTL/2 {
		for _, p := range slices.Clone(n.others) {
			if w.now-p.seen > memberTTL {
				w.tracef("%v takes %s for gone", n, p.id)
				n.others.remove(p.id)
			}
		}
	}
	n.compact()
	n.look()
	n.tend()
}

// leave makes a process go in good order (Server.goAway).
func (n *node) leave() {
	n.w.tracef("%v is told to stop", n)
	n.stage = leaving
	n.decide(slots.Leave{})
}

// stop has what the log lacks written to it, and ends the process (Server.drain).
func (n *node) stop() {
	n.stage = stopping
	deadline := n.w.now + drainTimeout
	var drain func()
	drain = func() {
		n.step(&kernel.Tick{Hurry: true})
		if n.kernel.Stats().ChangesetBytes > 0 && n.w.now < deadline {
			n.w.after(2*millisecond, n.alive(drain))
			return
		}
		if !n.cutOff {
			n.w.bucket.remove(n.id)
		}
		n.end("left")
		n.left = true
	}
	drain()
}
