package simulation

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// How long things take, in microseconds, as they are measured on the machine that the figures are for.
var (
	hopFlag     = quantiles("hop", "40,50,60,80,150", "from one node over the bus to another: quantiles of equal distance")
	logFlag     = quantiles("log", "20,30,50,80,300", "until the log has stored a record: quantiles of equal distance")
	messageFlag = flag.Float64("message", 1, "how long the bus is busy with one message from or to one node")
)

func quantiles(name, standard, usage string) *durations {
	d := new(durations)
	if err := d.Set(standard); err != nil {
		panic(err)
	}
	flag.Var(d, name, usage)
	return d
}

// durations is a distribution by its quantiles.
type durations []float64

// String implements flag.Value.
func (d *durations) String() string { return fmt.Sprint(*d) }

// Set implements flag.Value.
func (d *durations) Set(text string) error {
	*d = nil
	for part := range strings.SplitSeq(text, ",") {
		v, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return err
		}
		*d = append(*d, v)
	}
	return nil
}

const (
	castSlots     = 1024
	castStreams   = 4
	castMasters   = 2
	castValue     = 100         // bytes
	pushInterval  = millisecond // the outboxes' own, which wait as long from one message to a node to the next
	partHead      = 16          // before every message from one node to another
	castCache     = 1           // a node's own number of its cache
	logAnswer     = `{"stream":"cloudburst-anna-0","seq":1000000}`
	recordHead    = 12 // before the state in a record of the log
	castKeyLength = 32
)

// cast is a store of many nodes, of which some hold a key in their caches. The masters have kernels as they are; of the others
// there is what reaches their caches. Between them are the log of the other simulations, and a bus that does one thing after another.
type cast struct {
	*timeline
	log      *log
	key      string
	slot     uint16
	masters  []*master
	holders  []int
	hears    int // nodes that follow the stream of the key
	busy     float64
	messages int
	bytes    int

	updates []update
	seen    map[int]int // how many updates, by holder
	took    []int64     // of every update at every holder but its writer
	last    []int64     // of every update at the last of them
}

// update is a client's write.
type update struct {
	at      int64
	writer  int // node
	missing int // holders that have not seen it, beside the writer
}

// master is a node that holds the key for all.
type master struct {
	c       *cast
	number  int
	writer  uint64
	kernel  *kernel.Kernel
	boxes   map[uint16]*box // of the caches that watch the key here
	arrived int64           // when the last record of the log did
}

// box is what is to be pushed to one node.
type box struct {
	holder  int
	held    *lattice.State // what waits
	free    int64          // when it may send again
	arrives int64          // when the message before does
}

// newCast makes a store of some nodes that hold a key, chosen at random; how often the masters are among them is left to chance.
func newCast(seed uint64, nodes, holders int) *cast {
	c := &cast{timeline: newTimeline(seed), log: newLog(castStreams), key: fmt.Sprintf("%0*d", castKeyLength, seed), seen: map[int]int{}}
	names := make([]string, nodes)
	for i := range names {
		names[i] = fmt.Sprintf("node-%d", i)
	}
	table := slots.NewTable(castSlots, castMasters, names)
	c.slot = uint16(c.random.IntN(castSlots))
	followers := map[string]bool{}
	for slot, who := range table {
		if slot%castStreams == int(c.slot)%castStreams {
			for _, name := range who {
				followers[name] = true
			}
		}
	}
	c.hears = len(followers)
	c.holders = c.random.Perm(nodes)[:holders]
	for i, name := range table[c.slot] {
		m := &master{c: c, number: slices.Index(names, name), writer: uint64(i + 1), boxes: map[uint16]*box{}}
		cfg := kernel.Config{
			Writer: m.writer, Partitions: []int{0, 1, 2, 3}, PartitionOf: func(slot uint16) int { return int(slot) % castStreams },
			PublishesMax: 2, RecordKeysMax: 256, RecordBytesMax: 16 << 10,
			PublishTimeout: 2 * second, DurableTimeout: 5 * second, RetryMin: 20 * millisecond, RetryMax: second,
			ChangesetBytesMax: 1 << 30, MemoryBytesMax: math.MaxInt, CompactRecords: 16, TombstoneGrace: hour, ParkedMax: 64,
			Reserved: func(string) bool { return false },
		}
		m.kernel = kernel.New(cfg)
		c.masters = append(c.masters, m)
	}
	for i, holder := range c.holders {
		at := c.masterAt(holder)
		if at == nil {
			at = c.masters[0] // who leads is asked first
		}
		at.boxes[uint16(i+1)] = &box{holder: holder}
		at.step(&kernel.Watch{Key: c.key, Slot: c.slot, Cache: uint16(i + 1)})
	}
	c.run(c.now + second)
	c.messages, c.bytes = 0, 0
	return c
}

// masterAt returns the master that a node is, nil if it is none.
func (c *cast) masterAt(node int) *master {
	for _, m := range c.masters {
		if m.number == node {
			return m
		}
	}
	return nil
}

// send carries something over the bus. It is not before a time, and returns when it will be there.
func (c *cast) send(bytes int, notBefore int64, do func()) int64 {
	c.count(2, 2*bytes)
	at := max(c.through(2)+c.draw(hopFlag), notBefore)
	c.after(at-c.now, do)
	return at
}

// count adds to what the bus has received and sent.
func (c *cast) count(messages, bytes int) { c.messages, c.bytes = c.messages+messages, c.bytes+bytes }

// through returns when the bus will have done so many things more.
func (c *cast) through(messages float64) int64 {
	c.busy = max(c.busy, float64(c.now)) + messages**messageFlag
	return int64(c.busy)
}

func (c *cast) draw(q *durations) int64 {
	d := *q
	at := c.random.Float64() * float64(len(d)-1)
	low := int(at)
	high := min(low+1, len(d)-1)
	return int64(math.Round(d[low] + (at-float64(low))*(d[high]-d[low])))
}

// write is a client's update at a node.
func (c *cast) write(node int) {
	u := update{at: c.now, writer: node, missing: len(c.holders)}
	if slices.Contains(c.holders, node) {
		u.missing--
	}
	c.updates = append(c.updates, u)
	value := make([]byte, castValue)
	copy(value, strconv.Itoa(len(c.updates)))
	write := &kernel.Write{Key: c.key, Slot: c.slot, Delta: lattice.Put(lattice.Timestamp{}, value), Ticket: func() {}}
	if m := c.masterAt(node); m != nil {
		m.step(write)
		return
	}
	ask := &pb.Ask{What: &pb.Ask_Change{Change: &pb.Change{Key: []byte(c.key), Delta: wire.AppendState(nil, write.Delta)}}}
	m := c.masters[c.random.IntN(len(c.masters))] // the bus chooses
	c.send(partHead+proto.Size(ask), 0, func() {
		write.Ticket = func() { c.send(partHead+proto.Size(&pb.Answer{Member: "0123456789abc"}), 0, func() {}) }
		m.step(write)
	})
}

// step lets the kernel take a message in, and does what it wants done.
func (m *master) step(message kernel.Message) {
	var out kernel.Effects
	m.kernel.Step(kernel.Moment{Wall: m.c.now, Elapsed: m.c.now}, message, &out)
	for i := range out.Pushes {
		m.push(&out.Pushes[i])
	}
	for i := range out.Publishes {
		m.publish(&out.Publishes[i])
	}
	for _, r := range out.Replies {
		r.Ticket.(func())()
	}
}

// publish sends a record to the log, which tells all who follow the stream.
func (m *master) publish(p *kernel.Publish) {
	c := m.c
	bytes := recordHead + wire.StateSize(p.Entries[0].State)
	c.count(1, bytes)
	c.after(c.through(1)+c.draw(logFlag)-c.now, func() {
		sequence := c.log.append(p, m.writer, "")
		c.count(1, len(logAnswer))
		c.count(c.hears, c.hears*bytes)
		sent := c.through(float64(c.hears + 1))
		c.after(sent+c.draw(hopFlag)-c.now, func() {
			m.step(&kernel.Acknowledged{Publish: p.ID, Partition: p.Partition, Sequence: sequence})
		})
		for _, follower := range c.masters {
			follower.arrived = max(follower.arrived, sent+c.draw(hopFlag))
			record := c.log.applied(p.Partition, sequence, all)
			c.after(follower.arrived-c.now, func() { follower.step(record) })
		}
	})
}

// push brings a change to a cache: at once in the own process, to others when their box may send.
func (m *master) push(p *kernel.Push) {
	c, b := m.c, m.boxes[p.Cache]
	if b.holder == m.number {
		c.show(b.holder, p.Delta)
		return
	}
	if b.held != nil {
		b.held.Merge(p.Delta)
		return
	}
	b.held = p.Delta.Clone()
	c.after(max(b.free-c.now, 0), func() {
		held := b.held
		b.held, b.free = nil, c.now+pushInterval
		m.flush(b, held)
	})
}

func (m *master) flush(b *box, held *lattice.State) {
	pushes := &pb.Pushes{Member: "0123456789abc", Number: 1000, Pushed: []*pb.Pushed{
		{Key: []byte(m.c.key), Cache: castCache, State: wire.AppendState(nil, held)},
	}}
	b.arrives = m.c.send(partHead+proto.Size(pushes), b.arrives, func() { m.c.show(b.holder, held) })
}

// show is a holder that sees what has reached its cache.
func (c *cast) show(holder int, s *lattice.State) {
	lww, ok := s.Lattice.(*lattice.LWW)
	if !ok {
		return
	}
	number, err := strconv.Atoi(strings.TrimRight(string(lww.Value), "\x00"))
	if err != nil {
		panic(err)
	}
	for at := c.seen[holder]; at < number; at++ {
		u := &c.updates[at]
		if u.writer == holder {
			continue
		}
		c.took = append(c.took, c.now-u.at)
		if u.missing--; u.missing == 0 {
			c.last = append(c.last, c.now-u.at)
		}
	}
	c.seen[holder] = max(c.seen[holder], number)
}

// update writes at nodes chosen at random, and lets everything arrive.
func (c *cast) update(count, nodes int, interval int64) {
	for i := range count {
		c.after(int64(i)*interval, func() { c.write(c.random.IntN(nodes)) })
	}
	c.run(c.now + int64(count)*interval + 10*second)
}

// TestMulticast: whoever holds a key sees every update in the end, and an update of a quiet key costs what the design says.
func TestMulticast(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		c := newCast(seed, 50, 20)
		c.update(100, 50, 10*millisecond)
		for at, u := range c.updates {
			if u.missing != 0 {
				t.Fatalf("seed %d: %d holders have not seen update %d", seed, u.missing, at)
			}
		}
		// Every message counts twice, as it comes to the bus and as it goes. The write to a master and its answer, a push to every
		// holder; and records, with their answers and to all who follow the stream.
		records := 0
		for _, m := range c.masters {
			records += int(m.kernel.Stats().Publishes)
		}
		if most := 100*(4+2*len(c.holders)) + records*(2+c.hears); records > 120 || c.messages > most {
			t.Fatalf("seed %d: %d messages for 100 updates, %d of the log; at most %d are needed", seed, c.messages, records, most)
		}
	}
}

// BenchmarkMulticast makes b.N updates of one key.
func BenchmarkMulticast(b *testing.B) {
	for _, nodes := range []int{3, 7, 15, 30, 100, 300, 1000} {
		tried := map[int]bool{}
		for _, holders := range []int{3, 30, 300, nodes} {
			if holders <= nodes && !tried[holders] {
				tried[holders] = true
				b.Run(fmt.Sprintf("nodes=%d/holders=%d", nodes, holders), func(b *testing.B) {
					benchmarkCast(b, nodes, holders, 20*millisecond)
				})
			}
		}
	}
	for _, rate := range []int64{100, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("rate=%d", rate), func(b *testing.B) { benchmarkCast(b, 15, 15, second/rate) })
	}
}

func benchmarkCast(b *testing.B, nodes, holders int, interval int64) {
	b.Helper()
	// Where a key's masters are, and who holds it, differs from key to key.
	const keys = 10
	var messages, bytes, count int
	var took, last []int64
	for seed := range uint64(keys) {
		c := newCast(seed, nodes, holders)
		c.update(max(1, b.N/keys), nodes, interval)
		count += len(c.updates)
		messages, bytes = messages+c.messages, bytes+c.bytes
		took, last = append(took, c.took...), append(last, c.last...)
	}
	slices.Sort(took)
	slices.Sort(last)
	at := func(all []int64, share float64) float64 { return float64(all[int(share*float64(len(all)-1))]) }
	b.ReportMetric(float64(messages)/float64(count), "messages/update")
	b.ReportMetric(float64(bytes)/float64(count), "B/update")
	b.ReportMetric(at(took, 0.5), "p50-µs")
	b.ReportMetric(at(took, 0.99), "p99-µs")
	b.ReportMetric(at(last, 0.5), "last-p50-µs")
	b.ReportMetric(at(last, 0.99), "last-p99-µs")
}
