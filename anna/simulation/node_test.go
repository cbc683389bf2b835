package simulation

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

var (
	errFull       = errors.New("no space left on the device")
	errCutOff     = errors.New("no route to the log")
	errChunksLost = errors.New("chunks were cut off")
)

// node is a process with a kernel, which is a master of some slots.
type node struct {
	membership

	w         *world
	number    int
	kernel    *kernel.Kernel // nil while the process is down
	writer    uint64
	life      int // counts the processes that were this node
	skew      int64
	cutOff    bool
	cache     map[string]*lattice.State // what pushes have brought, of the keys that are watched
	clock     int64                     // when the kernel is to be looked at; 0 = not planned
	lag       bool                      // the log's records come late
	following bool                      // a look at the log is planned
	left      bool                      // it was stopped in good order
	// unsafe are the writes that were acknowledged in memory and may not be in the log yet; fleeting those that are not to be there.
	unsafe, fleeting []*operation
}

const memoryBytesMax = 6 << 10

// boot brings up a process that knows nothing.
func (n *node) boot() {
	w := n.w
	w.writers++
	n.life++
	n.writer, n.clock, n.following, n.left = w.writers, 0, false, false
	n.cache = map[string]*lattice.State{}
	n.membership, n.unsafe, n.fleeting = membership{}, nil, nil
	n.kernel = kernel.New(kernel.Config{
		Writer: n.writer, Partitions: []int{0, 1}, PartitionOf: func(slot uint16) int { return int(slot) % partitions },
		Fingerprint:  func(*lattice.State) uint64 { return 1 }, // no write expects anything
		Reserved:     func(string) bool { return false },
		PublishesMax: w.publishesMax, RecordKeysMax: w.recordKeysMax, RecordBytesMax: 1 << 20, PublishTimeout: 200 * millisecond, DurableTimeout: second,
		RetryMin: 20 * millisecond, RetryMax: 500 * millisecond,
		ChangesetBytesMax: 1 << 20, MemoryBytesMax: memoryBytesMax, CompactRecords: 2, TombstoneGrace: tombstoneGrace, ParkedMax: 64,
		LazyRate: w.lazyRate, LazyInterval: 2 * second,
	})
}

// start brings up a process that becomes one of the store's.
func (n *node) start() {
	former := n.id
	n.boot()
	if former != "" && !n.cutOff && n.w.chance(50) { // members.succeed; otherwise the former process is missed some time later
		n.w.bucket.remove(former)
	}
	n.w.tracef("node %d is up as writer %d", n.number, n.writer)
	n.join()
}

// study brings up a process that takes part in nothing, and knows all that the log holds.
func (n *node) study() {
	n.boot()
	for partition, s := range n.w.log.streams {
		for sequence := range s.records {
			n.step(n.w.log.applied(partition, uint64(sequence+1), all))
		}
	}
	n.follow()
}

// crash ends a process: what its kernel had not published is gone, what is on its way may arrive.
func (n *node) crash() { n.end("crashed") }

func (n *node) end(how string) {
	n.kernel = nil
	n.life++
	n.w.tracef("node %d %s, and %d writes may be lost", n.number, how, len(n.unsafe)+len(n.fleeting))
	n.unsafe, n.fleeting = nil, nil
	for _, op := range n.w.oracle.operations {
		if op.node == n {
			op.ended(n.w.latest)
		}
	}
}

// make lets the kernel make a write of a client.
func (n *node) make(op *operation, write *kernel.Write) {
	w := n.w
	op.node = n
	w.tracef("%v: write %d to %s durable=%v add=%d member=%q delete=%v", n, op.number, op.key, op.durable, op.add, op.member, op.deletes)
	n.step(write)
	if state, found := n.kernel.Get(n.now(), op.key); found == kernel.Here {
		w.oracle.stamped(op, state)
	} else if op.deletes || op.member != nil {
		w.oracle.unseen(op)
	}
}

// answer lets a client see what a key holds.
func (n *node) answer(key string) {
	state, found := n.kernel.Get(n.now(), key)
	switch found {
	case kernel.InLog:
		n.step(&kernel.Read{Key: key})
		return
	case kernel.Here:
		n.w.oracle.seen(n, key, state)
	}
	n.verify(key)
}

// verify checks that what the process holds of a key has all that the log held of it when the process began to serve it.
func (n *node) verify(key string) {
	promised := n.promised[key]
	held, found := n.kernel.Held(key)
	if promised == nil || found == kernel.InLog {
		return
	}
	all := new(lattice.State)
	if held != nil {
		all = held.Clone()
	}
	before := describe(all.Lattice)
	if all.Merge(promised); describe(all.Lattice) != before && n.w.oracle.wrong == nil {
		n.w.oracle.wrong = fmt.Errorf("%v serves %s and holds %s of it; the log held %s before", n, key, content(held), content(promised))
	}
}

// handedOver takes note that others serve a slot now, and get from the log what was not to be there.
func (n *node) handedOver(slot uint16) {
	n.fleeting = slices.DeleteFunc(n.fleeting, func(op *operation) bool {
		moved := slotOf(op.key) == slot
		if moved {
			n.unsafe = append(n.unsafe, op)
		}
		return moved
	})
}

// secure takes note of what is in the log for good.
func (n *node) secure() {
	if len(n.unsafe) > 0 && n.kernel.Stats().ChangesetBytes == 0 {
		for _, op := range n.unsafe {
			op.acked = true
		}
		n.unsafe = n.unsafe[:0]
	}
}

func (n *node) now() int64 {
	now := n.w.now + n.skew
	n.w.latest = max(n.w.latest, now)
	return now
}

func (n *node) moment() kernel.Moment { return kernel.Moment{Wall: n.now(), Elapsed: n.w.now} }

// step lets the kernel take a message in and does what it wants done, with the faults of the world.
func (n *node) step(m kernel.Message) {
	var out kernel.Effects
	n.kernel.Step(n.moment(), m, &out)
	for _, p := range out.Pushes {
		n.push(p)
	}
	for i := range out.Publishes {
		n.publish(&out.Publishes[i])
	}
	for _, r := range out.Replies {
		n.w.replied(n, r)
	}
	for _, load := range out.Loads {
		n.w.after(n.w.between(100, 5*millisecond), n.alive(func() {
			if n.cutOff {
				n.step(&kernel.Loaded{Key: load.Key, Err: errCutOff})
				return
			}
			n.step(n.w.log.load(load))
		}))
	}
	for _, up := range out.Superseded {
		n.w.after(n.w.latency(), n.alive(func() {
			n.w.tracef("%v removes %s", n, up.Name)
			delete(n.w.log.chunks, up.Name)
		}))
	}
	n.secure()
	n.wind()
}

// alive returns do as something that does not outlive the process.
func (n *node) alive(do func()) func() {
	life := n.life
	return func() {
		if n.kernel != nil && n.life == life {
			do()
		}
	}
}

// wind plans the tick that the kernel asks for.
func (n *node) wind() {
	wake := n.kernel.Wake(n.moment())
	if wake == math.MaxInt64 || n.clock != 0 && n.clock <= wake {
		return
	}
	n.clock = max(wake, 1)
	// A clock that is set makes a plan worthless, so nobody sleeps for long.
	n.w.after(min(max(wake-n.w.now, 100), n.w.nap), n.alive(func() {
		n.clock = 0
		n.step(&kernel.Tick{})
	}))
}

// push applies a change to the cache that the node's readers have.
func (n *node) push(p kernel.Push) {
	switch {
	case p.Cache >= remoteCaches:
		n.lend(p)
	case p.Lost:
		delete(n.cache, p.Key)
	case p.Err != nil:
		delete(n.cache, p.Key)
		n.w.after(10*millisecond, n.alive(func() { n.step(&kernel.Watch{Key: p.Key, Slot: slotOf(p.Key), Cache: 1}) }))
	case p.Whole:
		n.cache[p.Key] = p.Delta
	case n.cache[p.Key] != nil:
		n.cache[p.Key].Merge(p.Delta)
	}
}

// publish sends a record to the log. It may be lost, late or doubled, the log may refuse it, and the answer may be lost.
func (n *node) publish(p *kernel.Publish) {
	w, publisher, life := n.w, n.writer, n.life
	if w.variant == partedUnwritten && slices.ContainsFunc(p.Entries, func(e kernel.Entry) bool { return n.kernel.Tenure(e.Slot) >= slots.Parting }) {
		w.after(1, n.alive(func() {
			n.step(&kernel.Acknowledged{Publish: p.ID, Partition: p.Partition, Sequence: n.kernel.Position(p.Partition)})
		}))
		return
	}
	if w.variant == ackBeforePublish {
		n.w.after(1, n.alive(func() {
			// The sequence is made up, as that of a log that answers before it has stored anything.
			n.step(&kernel.Acknowledged{Publish: p.ID, Partition: p.Partition, Sequence: n.kernel.Position(p.Partition)})
		}))
	}
	if w.faulty(4) {
		w.tracef("publish of %s by writer %d is lost", names(p), publisher)
		return
	}
	w.after(w.latency(), func() { w.arrive(n, life, p, publisher) })
	if w.faulty(2) {
		w.after(w.latency(), func() { w.arrive(n, life, p, publisher) })
	}
}

// arrive is a publish at the log.
func (w *world) arrive(n *node, life int, p *kernel.Publish, publisher uint64) {
	answer := func(m kernel.Message) {
		w.after(w.latency(), func() {
			if n.kernel != nil && n.life == life && !n.cutOff && w.variant != ackBeforePublish {
				n.step(m)
			}
		})
	}
	if n.cutOff {
		answer(&kernel.Failed{Publish: p.ID, Err: errCutOff})
		return
	}
	if w.log.state == full {
		answer(&kernel.Failed{Publish: p.ID, Err: errFull})
		return
	}
	if !w.large || len(p.Entries) > 1 || !slices.Contains(largeKeys, p.Entries[0].Key) {
		w.store(p, publisher, "", answer)
		return
	}
	w.uploads++
	upload := fmt.Sprint("upload ", w.uploads)
	answer(&kernel.Advanced{Publish: p.ID, Partition: p.Partition, Sequence: w.log.upload(p.Partition, upload)})
	w.after(w.latency(), func() {
		if n.kernel != nil && n.life == life && !n.cutOff {
			w.store(p, publisher, upload, answer)
		}
	})
}

// store is a record that the log takes.
func (w *world) store(p *kernel.Publish, publisher uint64, upload string, answer func(kernel.Message)) {
	sequence := w.log.append(p, publisher, upload)
	for _, follower := range w.nodes {
		follower.follow()
	}
	if w.fresh != nil {
		w.fresh.follow()
	}
	w.tracef("log: %s by writer %d since %d → %d %s", names(p), publisher, p.Since, sequence, upload)
	switch {
	case upload != "" && !w.log.chunks[upload]: // publisher.upload
		answer(&kernel.Failed{Publish: p.ID, Err: errChunksLost})
	case !w.faulty(4):
		answer(&kernel.Acknowledged{Publish: p.ID, Partition: p.Partition, Sequence: sequence, Upload: upload})
	}
}

// names describes what a publish says of which keys.
func names(p *kernel.Publish) string {
	var of []string
	for _, e := range p.Entries {
		name := e.Key
		if e.Whole {
			name += " whole"
		}
		of = append(of, name)
	}
	return strings.Join(of, ", ")
}

// follow brings the kernel what others have published, in order, a few records at a time.
func (n *node) follow() {
	if n.following || n.kernel == nil {
		return
	}
	n.following = true
	pause := n.w.between(500, 10*millisecond)
	if n.lag {
		pause *= 100
	}
	n.w.after(pause, n.alive(func() {
		n.following = false
		if n.cutOff {
			n.follow()
			return
		}
		for partition, s := range n.w.log.streams {
			if !n.follows(partition) {
				continue
			}
			n.catchUp(partition, 1+n.w.random.IntN(8))
			if n.kernel.Position(partition) < uint64(len(s.records)) {
				n.follow()
			}
		}
		n.arrived()
	}))
}

func (n *node) catchUp(partition, records int) {
	for ; records > 0; records-- {
		at := n.kernel.Position(partition)
		if at >= uint64(len(n.w.log.streams[partition].records)) {
			return
		}
		if len(n.w.log.streams[partition].records[at].entries) == 0 {
			n.gaps[partition]++
		}
		m := n.w.log.applied(partition, at+1, func(slot uint16) bool { return n.kernel.Tenure(slot) != slots.Stranger }) // follower.choose
		if n.w.variant == mergeByArrival && m.Publisher != n.writer {
			for _, e := range m.Entries {
				restamp(e.State, n.w.now)
			}
		}
		n.step(m)
	}
}

// restamp makes whatever arrives last win, which is what the checkers must find in a store that merges in order of arrival.
func restamp(s *lattice.State, now int64) {
	if s == nil {
		return
	}
	if lww, ok := s.Lattice.(*lattice.LWW); ok {
		lww.Timestamp.Time = uint64(now) << 12
	}
}

func (n *node) String() string { return fmt.Sprintf("node %d (writer %d)", n.number, n.writer) }
