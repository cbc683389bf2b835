package simulation

import (
	"fmt"
	"runtime/debug"
	"slices"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

const (
	partitions     = 2
	operations     = 250
	tombstoneGrace = 12 * hour // more than clocks are apart and writes on their way
)

// keys are few, so that writers meet. The first letter says what a key holds: a value, a set, a counter, an expiring value, or a value
// that is not to be in the log, of which only worlds with one master for each slot know.
var keys = []string{"v1", "v2", "v3", "v4", "s1", "s2", "s3", "n1", "n2", "x1", "x2", "t1", "t2"}

// largeKeys hold in some worlds what is kept in chunks.
var largeKeys = []string{"v4", "s3"}

func slotOf(key string) uint16 {
	var h uint16
	for i := range len(key) {
		h = h*31 + uint16(key[i])
	}
	return h % slotCount
}

// variant is a defect put in on purpose.
type variant uint8

const (
	sound variant = iota
	mergeByArrival
	unguardedWhole
	cutAlone
	cutUnread
	ackBeforePublish
	servedUnread
	servedUnsettled
	partedUnwritten
	missedUnnoticed
	ownWriteUnseen
)

// world is everything there is in one simulation.
type world struct {
	*timeline
	variant variant
	log     *log
	nodes   []*node
	bucket  members // of those who are there
	masters int     // of each slot
	writers uint64
	// lazyRate is how many records a second are written at least of what nobody waits for; 0 = all at once.
	lazyRate int
	// publishesMax and recordKeysMax are those of the kernels.
	publishesMax, recordKeysMax int
	large                       bool // largeKeys hold more than goes into one record
	uploads                     int
	coldAfter                   int64 // how long hot keys stay hot; 0 = none are
	replicas                    int   // that were there at the end
	fresh                       *node // the last to come, which takes part in nothing
	calm                        bool  // no new faults
	aging                       bool  // much time passes, in which nothing happens
	latest                      int64 // the furthest that any clock has been
	nap                         int64 // how long a kernel's clock sleeps at most
	pace                        int64 // how long it takes at most to load some records
	oracle                      *oracle
	trace                       func(string, ...any)
}

func newWorld(seed uint64, v variant, trace func(string, ...any)) *world {
	w := &world{timeline: newTimeline(seed), variant: v, log: newLog(partitions), oracle: newOracle(), trace: trace, nap: second}
	w.log.unguarded = v == unguardedWhole
	w.pace = 5 * millisecond
	if w.chance(50) {
		w.pace = 200 * millisecond // there are many
	}
	w.masters = 1 + w.random.IntN(3)
	w.large = w.chance(50)
	if w.chance(50) {
		w.coldAfter = second
		if w.chance(70) {
			w.coldAfter = 100 * hour
		}
	}
	w.publishesMax, w.recordKeysMax = 1+w.random.IntN(4), 1+w.random.IntN(4)
	if w.chance(50) {
		w.lazyRate = 1 + w.random.IntN(10)
	}
	for range 1 + w.random.IntN(4) {
		w.add()
	}
	return w
}

// add brings up a node that has not been there before.
func (w *world) add() {
	n := &node{w: w, number: len(w.nodes)}
	w.nodes = append(w.nodes, n)
	n.start()
}

func (w *world) tracef(format string, args ...any) {
	if w.trace != nil {
		w.trace("%10.6f "+format, append([]any{float64(w.now-begin) / second}, args...)...)
	}
}

// faulty reports whether something that goes wrong in so many cases of a hundred goes wrong.
func (w *world) faulty(percent int) bool { return !w.calm && w.chance(percent) }

// latency draws how long a message is on its way to or from the log.
func (w *world) latency() int64 {
	switch {
	case w.calm:
		return w.between(50, 500)
	case w.log.state == slow:
		return w.between(50*millisecond, 400*millisecond)
	case w.chance(5):
		return w.between(millisecond, 300*millisecond)
	}
	return w.between(50, 2*millisecond)
}

// run is one whole simulation; it returns what is wrong, or nil.
func (w *world) run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	for range operations {
		w.after(w.between(0, 5*second), w.operate)
	}
	for range 12 {
		w.after(w.between(0, 5*second), w.misbehave)
	}
	for range w.random.IntN(8) {
		w.after(w.between(0, 5*second), w.relocate)
	}
	w.pass(6 * second)
	if w.chance(30) {
		// Long after, tombstones are collected; then some more is written over what is left.
		if err := w.settle(); err != nil {
			return err
		}
		w.age()
		w.calm = false
		for range operations / 4 {
			w.after(w.between(0, second), w.operate)
		}
		w.pass(2 * second)
	}
	if err := w.settle(); err != nil {
		return err
	}
	return w.check()
}

// pass lets time pass.
func (w *world) pass(duration int64) { w.timeline.run(w.now + duration) }

// age lets so much time pass that tombstones are collected.
func (w *world) age() {
	w.nap, w.aging = 10*minute, true
	w.pass(2 * tombstoneGrace)
	w.nap, w.aging = second, false
	for i := range w.bucket {
		w.bucket[i].seen = w.now
	}
	for _, n := range w.nodes {
		if n.kernel == nil {
			continue
		}
		n.heard, n.promised = w.now, map[string]*lattice.State{}
		for _, s := range n.sources {
			s.heard = w.now
		}
		for i := range n.others {
			n.others[i].seen = w.now
		}
		w.after(w.between(0, beat), n.alive(n.tick))
	}
}

// operate is a client that writes or reads at some node.
func (w *world) operate() {
	n := w.nodes[w.random.IntN(len(w.nodes))]
	if n.kernel == nil || n.stage == starting || n.stage == stopping {
		return
	}
	key := keys[w.random.IntN(len(keys))]
	if key[0] == 't' && w.masters > 1 {
		key = "n2"
	}
	if w.chance(50) {
		w.read(n, key)
		return
	}
	number := w.oracle.next()
	write := &kernel.Write{Key: key, Slot: slotOf(key)}
	if w.chance(40) {
		write.Ack = kernel.Memory
	}
	op := &operation{number: number, key: key}
	value := fmt.Appendf(nil, "%s=%d", key, number)
	switch {
	case key[0] == 't':
		write.Ack, write.Volatile = kernel.Memory, true
		op.value = value
		write.Delta = lattice.Put(lattice.Timestamp{}, value)
	case key[0] == 'n':
		write.Add = 1 + w.random.Int64N(3)
		op.add = write.Add
	case key[0] == 's' && w.chance(35):
		op.member = fmt.Appendf(nil, "m%d", w.random.IntN(6))
		write.Delta = lattice.SetRemove(lattice.Timestamp{}, op.member)
	case key[0] == 's' && !w.chance(8):
		op.member = fmt.Appendf(nil, "m%d", w.random.IntN(6))
		write.Delta = lattice.SetAdd(lattice.Timestamp{}, op.member)
	case w.chance(12) || key[0] == 's':
		write.Delete = true
		op.deletes = true
	default:
		op.value = value
		write.Delta = lattice.Put(lattice.Timestamp{}, value)
		if key[0] == 'x' {
			write.Delta.Merge(lattice.ExpireAt(lattice.Timestamp{}, (n.now()+w.between(0, 3*second))/1000))
		}
	}
	op.durable = write.Ack == kernel.Durable
	write.Ticket = op
	w.oracle.issued(op)
	n.request(op, write, w.now+second)
}

// request has a write made here or, if others serve its slot, there (Server.Write). Only what has not been heard is asked again
// (asker.later): what was may have been made.
func (n *node) request(op *operation, write *kernel.Write, deadline int64) {
	w := n.w
	if n.takes(write.Slot) {
		n.make(op, write)
		return
	}
	later := func() {
		if w.now < deadline {
			w.after(10*millisecond, n.alive(func() { n.request(op, write, deadline) }))
		}
	}
	to := w.listener(n, write.Slot)
	if n.table[write.Key] != nil {
		to = n.masterOf(write.Slot)
	}
	if to == nil {
		later()
		return
	}
	w.after(w.between(50, 3*millisecond), to.alive(func() {
		switch {
		case to.cutOff:
		case to.takes(write.Slot):
			op.via, op.viaLife = n, n.life
			to.make(op, write)
		default:
			w.after(w.between(50, 3*millisecond), n.alive(later)) // it has moved
		}
	}))
}

// listener returns one of those that have told the bus that they serve a slot, nil if a node reaches none.
func (w *world) listener(from *node, slot uint16) *node {
	var all []*node
	for _, n := range w.nodes {
		if n != from && n.kernel != nil && !n.cutOff && n.serves.has(slot) {
			all = append(all, n)
		}
	}
	if from.cutOff || len(all) == 0 {
		return nil
	}
	return all[w.random.IntN(len(all))]
}

// read is a client that looks at a key, and remembers what it saw at this process.
func (w *world) read(n *node, key string) {
	n.reads[key]++
	slot := slotOf(key)
	if r := n.held[key]; r != nil && !n.takes(slot) && r.Answers(w.now) {
		n.verifyReplica(key, r)
		return
	}
	if !n.takes(slot) {
		if n = w.listener(n, slot); n == nil || !n.takes(slot) {
			return
		}
	}
	n.answer(key)
}

// replied takes the kernel's answer to a write.
func (w *world) replied(n *node, r kernel.Reply) {
	op, ok := r.Ticket.(*operation)
	if !ok {
		return
	}
	w.tracef("%v: write %d is answered: %v", n, op.number, r.Err)
	op.answered(r.Err, w.latest)
	if via := op.via; via != nil && r.Err == nil && via.kernel != nil && via.life == op.viaLife {
		via.written(op)
	}
	switch {
	case r.Err != nil || op.durable:
	case op.key[0] == 't' && n.kernel.Tenure(slotOf(op.key)) < slots.Parting:
		n.fleeting = append(n.fleeting, op)
	default:
		n.unsafe = append(n.unsafe, op)
	}
}

// relocate is a node that comes, or one that goes in good order.
func (w *world) relocate() {
	n := w.nodes[w.random.IntN(len(w.nodes))]
	switch {
	case n.left:
		n.start()
	case w.chance(50) && len(w.nodes) < nodesMax:
		w.add()
	case n.kernel != nil && n.stage == serving && len(w.there()) > 1:
		n.leave()
	}
}

// misbehave is something that happens to a machine, the network or the log.
func (w *world) misbehave() {
	n := w.nodes[w.random.IntN(len(w.nodes))]
	switch w.random.IntN(7) {
	case 0, 1:
		if n.kernel != nil {
			n.crash()
			w.after(w.between(10*millisecond, second), func() {
				if n.kernel == nil && !n.left {
					n.start()
				}
			})
		}
	case 2:
		n.cutOff = true
		w.tracef("%v is cut off", n)
		w.after(w.between(50*millisecond, 2*second), func() { n.cutOff = false })
	case 3:
		n.skew = w.between(-hour, hour)
		w.tracef("%v: its clock jumps to %+d s", n, n.skew/second)
	case 4:
		w.log.state = slow
		w.after(w.between(100*millisecond, second), func() { w.log.state = healthy })
	case 5:
		w.log.state = full
		w.tracef("the log is full")
		w.after(w.between(100*millisecond, second), func() { w.log.state = healthy })
	case 6:
		n.lag = true
		w.after(w.between(100*millisecond, second), func() { n.lag = false })
	}
}

// settle ends all faults and waits until nothing is on its way any more.
func (w *world) settle() error {
	w.calm, w.log.state = true, healthy
	for _, n := range w.nodes {
		n.cutOff, n.lag, n.skew = false, false, 0
		if n.kernel == nil && !n.left {
			n.start()
		}
	}
	if !slices.ContainsFunc(w.nodes, func(n *node) bool { return n.kernel != nil && n.stage <= serving }) {
		w.add()
	}
	for range 200 {
		w.pass(500 * millisecond)
		if w.quiet() {
			return nil
		}
	}
	return fmt.Errorf("does not come to rest: %s", w.unrest())
}

func (w *world) quiet() bool { return w.unrest() == "" }

// unrest says what is not at rest.
func (w *world) unrest() string {
	table := slots.NewTable(slotCount, w.masters, w.there())
	for _, n := range w.nodes {
		if n.kernel == nil {
			continue
		}
		if s := n.kernel.Stats(); s.ChangesetBytes != 0 || s.Outstanding != 0 || s.Waiting != 0 {
			return fmt.Sprintf("%v: %+v", n, s)
		}
		for partition, s := range w.log.streams {
			if at := n.kernel.Position(partition); n.follows(partition) && at < uint64(len(s.records)) {
				return fmt.Sprintf("%v is at %d of %d records of partition %d", n, at, len(s.records), partition)
			}
		}
		if n.stage != serving {
			return fmt.Sprintf("%v is at stage %d", n, n.stage)
		}
		for slot, masters := range table {
			if got, want := n.mover.Tenure(uint16(slot)), tenureOf(masters, n.id); got != want {
				return fmt.Sprintf("%v is %d to slot %d, and is to be %d", n, got, slot, want)
			}
		}
	}
	return ""
}

// tenureOf returns what a member is to a slot of some masters when nothing moves.
func tenureOf(masters []string, id string) slots.Tenure {
	switch at := slices.Index(masters, id); {
	case at == 0:
		return slots.Leading
	case at > 0:
		return slots.Serving
	}
	return slots.Stranger
}

// there returns who is up, in order.
func (w *world) there() (ids []string) {
	for _, n := range w.nodes {
		if n.kernel != nil {
			ids = append(ids, n.id)
		}
	}
	slices.Sort(ids)
	return ids
}
