package simulation

import (
	"fmt"
	"maps"
	"slices"

	"cloudburst/anna/hot"
	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// hotSaid is what a process says about hot keys. It is not changed once it is said.
type hotSaid struct {
	warm  []hot.Warmth
	hot   []hot.Key
	holds []uint64
}

// replicas are what a process has to do with hot keys (anna.replicas, Server.tend).
type replicas struct {
	policy *hot.Policy
	placed slots.Table // as the mover has said last
	table  hot.Table
	reads  map[string]int // by clients of this node, since tended
	tended int64
	held   map[string]*replica
	// sources are the masters that changes come from, links the nodes that changes go to, and lent the keys that they watch here.
	sources map[*node]*source
	links   map[*node]*link
	asked   map[*node]int64 // when the last question to a node arrives
	lent    map[string]bool
}

// replica is a hot key that a process holds, and the master that it watches the key at.
type replica struct {
	hot.Replica
	at *node
	// owed are the writes through this node that it shows as soon as it answers.
	owed []*operation
}

// source is a master that changes come from. It numbers its messages, so that one that is lost is missed (remotes.take).
type source struct {
	life   int
	number int
	heard  int64
}

// Heard implements hot.Source.
func (s *source) Heard() int64 { return s.heard }

// link brings messages to a node in their order.
type link struct {
	number  int
	arrives int64
}

// remoteCaches is the number of the first cache of another node, which are numbered as the nodes.
const remoteCaches = 2

func (w *world) newReplicas() replicas {
	return replicas{
		policy: &hot.Policy{Rate: 1, ColdRate: 0.5, ColdAfter: w.coldAfter, KeysMax: 4, ReplicasMax: 2}, tended: w.now,
		reads: map[string]int{}, held: map[string]*replica{},
		sources: map[*node]*source{}, links: map[*node]*link{}, asked: map[*node]int64{}, lent: map[string]bool{},
	}
}

// tend decides which keys are hot, and holds those that this process is to hold (Server.tend).
func (n *node) tend() {
	if n.stage != serving || n.w.coldAfter == 0 {
		return
	}
	now := n.w.now
	said := &hotSaid{}
	for _, key := range slices.Sorted(maps.Keys(n.reads)) {
		rate := float64(n.reads[key]) * second / float64(max(1, now-n.tended))
		said.warm = append(said.warm, hot.Warmth{Key: key, Rate: rate, Asked: !n.takes(slotOf(key))})
	}
	n.tended = now
	clear(n.reads)
	members := []hot.Member{{ID: n.id, Master: true, Leads: n.own.leads.bitmap(), Warm: said.warm}}
	for _, p := range n.others {
		m := hot.Member{ID: p.id, Master: !p.leaving, Leads: p.leads.bitmap()}
		if h := p.hot; h != nil {
			m.Warm, m.Hot, m.Holds = h.warm, h.hot, h.holds
		}
		members = append(members, m)
	}
	placing := hot.Placing{SlotOf: slotOf, Masters: func(slot uint16) []string { return n.placed[slot] }}
	said.hot = n.policy.Decide(now, hot.Demands(n.id, members, slices.Sorted(slices.Values(n.policy.Keys())), placing))
	members[0].Hot = said.hot
	n.table = hot.NewTable(members, placing)
	n.hold()
	for key, r := range n.held {
		if r.Answers(now) {
			said.holds = append(said.holds, slots.Hash(key))
		}
	}
	slices.Sort(said.holds)
	n.own.hot = said
	n.pulse()
}

// hold holds what this process is to hold, and nothing else (replicas.follow).
func (n *node) hold() {
	keys := n.table.Held(n.id, func(slot uint16) bool { return n.serves.has(slot) }, len(keys))
	for _, key := range slices.Sorted(maps.Keys(n.held)) {
		if r := n.held[key]; !slices.Contains(keys, key) {
			n.w.tracef("%v holds %s no more", n, key)
			n.unwatch(r.at, key)
			r.End()
			delete(n.held, key)
		}
	}
	for _, key := range keys {
		if n.held[key] == nil {
			n.w.tracef("%v is to hold %s", n, key)
			n.held[key] = new(replica)
		}
		if n.held[key].Wants(n.w.now) {
			n.watch(key)
		}
	}
	for at := range n.sources {
		if at.kernel == nil || n.others.find(at.id) == nil {
			n.lose(at) // remotes.silent
		}
	}
}

// watch asks a master for a key and its changes (remotes.watch).
func (n *node) watch(key string) {
	at := n.masterOf(slotOf(key))
	if at == nil {
		return
	}
	n.ask(at, func() {
		if at.takes(slotOf(key)) {
			if at.links[n] == nil {
				at.links[n] = new(link)
			}
			at.lent[key] = true
			at.step(&kernel.Watch{Key: key, Slot: slotOf(key), Cache: uint16(remoteCaches + n.number)})
		}
	})
}

// ask brings a question to a node, in the order in which they are put.
func (n *node) ask(to *node, do func()) {
	n.asked[to] = max(n.asked[to]+1, n.w.now+n.w.between(50, 3*millisecond))
	n.w.after(n.asked[to]-n.w.now, to.alive(func() {
		if !to.cutOff && !n.cutOff {
			do()
		}
	}))
}

func (n *node) unwatch(at *node, key string) {
	if at != nil {
		n.ask(at, func() { at.step(&kernel.Unwatch{Key: key, Cache: uint16(remoteCaches + n.number)}) })
	}
}

// masterOf returns the node that is asked for what must be asked of the same one always (Server.masterOf).
func (n *node) masterOf(slot uint16) *node {
	if n.cutOff {
		return nil
	}
	for _, id := range n.placed[slot] {
		p := n.others.find(id)
		if p == nil || !p.serves.has(slot) {
			continue
		}
		for _, other := range n.w.nodes {
			if other.kernel != nil && other.id == id {
				return other
			}
		}
	}
	return nil
}

// lend sends a change to another node's caches (outbox).
func (n *node) lend(p kernel.Push) {
	to := n.w.nodes[int(p.Cache)-remoteCaches]
	l := n.links[to]
	l.number++
	if p.Delta != nil {
		p.Delta = p.Delta.Clone()
	}
	n.send(to, l, &p)
}

// pulse says to those who watch keys here that nothing else has happened.
func (n *node) pulse() {
	for _, to := range n.w.nodes {
		if l := n.links[to]; l != nil && to.kernel != nil {
			n.send(to, l, nil)
		}
	}
}

// send sends a message, a pulse without a push.
func (n *node) send(to *node, l *link, p *kernel.Push) {
	if to.kernel == nil {
		return
	}
	w, number, life := n.w, l.number, n.life
	if w.faulty(3) {
		return // it is lost
	}
	l.arrives = max(l.arrives+1, w.now+w.between(50, 3*millisecond))
	w.after(l.arrives-w.now, to.alive(func() {
		if !n.cutOff && !to.cutOff && n.life == life {
			to.receive(n, number, p)
		}
	}))
}

// receive takes in a message of a master (remotes.pushed, replicas.receive).
func (n *node) receive(from *node, number int, p *kernel.Push) {
	s := n.sources[from]
	missed := s != nil && (p == nil && number != s.number || p != nil && number != s.number+1)
	if s != nil && s.life != from.life || missed && n.w.variant != missedUnnoticed {
		n.lose(from)
		s = nil
	}
	if s == nil {
		s = &source{life: from.life}
		n.sources[from] = s
	}
	s.number, s.heard = number, n.w.now
	if p == nil {
		return
	}
	r := n.held[p.Key]
	switch {
	case r == nil:
		if !p.Lost {
			n.unwatch(from, p.Key)
		}
	case p.Lost || p.Err != nil:
		r.gone()
	case p.Whole:
		r.at = from
		r.owed = slices.DeleteFunc(r.owed, func(op *operation) bool { return op.node != from }) // it may not have heard of them yet
		r.Whole(p.Delta, s)
	case r.at == from:
		r.Changed(p.Delta)
	}
}

// lose takes note that a master's changes do not come any more, or that some are missing.
func (n *node) lose(from *node) {
	delete(n.sources, from)
	for _, key := range slices.Sorted(maps.Keys(n.held)) {
		if r := n.held[key]; r.at == from {
			r.gone()
		}
	}
}

// gone takes note that no changes come any more.
func (r *replica) gone() {
	r.at, r.owed = nil, nil
	r.Lost()
}

// written has a replica take note of a write through its node that a master has answered.
func (n *node) written(op *operation) {
	r := n.held[op.key]
	if r == nil {
		return
	}
	r.owed = append(r.owed, op)
	if n.w.variant != ownWriteUnseen && r.Written() {
		n.check(op.key, r)
	}
}

// verifyReplica checks that a replica shows what has been written through its node, and that its master has shown to it.
func (n *node) verifyReplica(key string, r *replica) {
	lww, ok := r.State().Live(n.w.now / 1000).(*lattice.LWW)
	for _, op := range r.owed {
		if ok && lww.Timestamp.Less(op.stamp) && n.w.oracle.wrong == nil {
			n.w.oracle.wrong = fmt.Errorf("the replica at %v shows %v of %s, and write %d through it at %v was answered",
				n, lww.Timestamp, key, op.number, op.stamp)
		}
	}
}

// check asks the master that is written to for all that is written through this node (replica.check).
func (n *node) check(key string, r *replica) {
	w, doubts, at := n.w, r.Doubts(), n.masterOf(slotOf(key))
	checked := func(state *lattice.State, err error) {
		w.after(w.between(50, 3*millisecond), n.alive(func() {
			// What another master has answered need not be there.
			r.owed = slices.DeleteFunc(r.owed, func(op *operation) bool { return err != nil || op.node != at })
			if r.Checked(doubts, state, err) {
				n.check(key, r)
			}
		}))
	}
	if at == nil {
		checked(nil, errCutOff)
		return
	}
	w.after(w.between(50, 3*millisecond), func() {
		if at.kernel == nil || at.cutOff || n.cutOff || !at.takes(slotOf(key)) {
			checked(nil, errCutOff)
			return
		}
		state, found := at.kernel.Get(at.now(), key)
		switch found {
		case kernel.Here:
			checked(state.Clone(), nil)
		case kernel.InLog:
			at.step(&kernel.Read{Key: key})
			checked(nil, errCutOff) // in vain this time
		default:
			checked(nil, nil)
		}
	})
}

// replicaAgrees checks that a replica which answers shows what the key's masters show, and that nothing is held but what is to be.
func (n *node) replicaAgrees(key, shown string) error {
	r := n.held[key]
	if r == nil {
		return nil
	}
	if n.serves.has(slotOf(key)) {
		return fmt.Errorf("%v is a master of %s and holds a replica of it", n, key)
	}
	if got := describe(r.State().Live(n.w.now / 1000)); r.Answers(n.w.now) && got != shown {
		return fmt.Errorf("the replica at %v shows %s of %s, and its masters %s", n, got, key, shown)
	}
	n.w.replicas++
	return nil
}
