package kernel_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// world is some kernels that are masters of the same keys, and their log.
type world struct {
	t       *rapid.T
	now     int64
	kernels []*master
	log     []entry                   // by sequence less one; what was cut off is nil
	first   uint64                    // of the sequences that are not cut off
	acked   map[string]*lattice.State // all that was acknowledged as durable
	bodies  map[string]*lattice.State // deltas, by ticket
	adds    map[string]int64          // additions to the counter, by ticket
	added   int64                     // the sum of those that were acknowledged as durable
}

type entry struct {
	*kernel.Publish
	writer uint64
}

type master struct {
	kernel  *kernel.Kernel
	writer  uint64
	pending []kernel.Publish // not answered
	away    bool             // no master of the slot that all keys are in
	loaded  int              // while it joins: so many records of the log have been brought
	end     int              // and up to here they are
	began   uint64           // what the log began with then
}

var keys = []string{"a", "b", "s", "t", "n"}

func (w *world) start(writer uint64) *master {
	m := &master{writer: writer}
	m.kernel = newKernel(func(c *kernel.Config) {
		c.Writer, c.CompactRecords, c.PublishesMax, c.RecordKeysMax = writer, 2, 3, 3
		c.MemoryBytesMax = 1200
	})
	w.follow(m, len(w.log))
	return m
}

func (w *world) step(m *master, message kernel.Message) {
	var out kernel.Effects
	m.kernel.Step(kernel.Moment{Wall: w.now, Elapsed: w.now}, message, &out)
	m.pending = append(m.pending, out.Publishes...)
	for _, r := range out.Replies {
		ticket := r.Ticket.(string)
		if r.Err == nil {
			w.added += w.adds[ticket]
		}
		if r.Err != nil || w.bodies[ticket] == nil {
			continue
		}
		key := ticket[:1]
		if w.acked[key] == nil {
			w.acked[key] = new(lattice.State)
		}
		w.acked[key].Merge(w.bodies[ticket])
	}
	for _, load := range out.Loads {
		w.load(m, load)
	}
}

func (w *world) load(m *master, load kernel.Load) {
	loaded := &kernel.Loaded{Key: load.Key, Sequences: load.Sequences}
	for _, sequence := range load.Sequences {
		r := w.log[sequence-1]
		if r.Publish == nil {
			continue
		}
		for _, e := range r.Entries {
			if e.Key != load.Key {
				continue
			}
			if loaded.State == nil {
				loaded.State = new(lattice.State)
			}
			loaded.State.Merge(e.State)
		}
	}
	w.step(m, loaded)
}

// append puts a publish into the log, as JetStream would.
func (w *world) append(m *master, p *kernel.Publish) {
	sequence := w.store(m, p)
	w.step(m, &kernel.Acknowledged{Publish: p.ID, Sequence: sequence})
}

func (w *world) store(m *master, p *kernel.Publish) uint64 {
	w.log = append(w.log, entry{p, m.writer})
	return uint64(len(w.log))
}

// follow brings a kernel up to n records of the log.
func (w *world) follow(m *master, n int) {
	for i := int(m.kernel.Position(0)); i < n; i++ {
		w.step(m, w.log[i].applied(uint64(i+1)))
	}
}

// applied returns a record as the message that brings it to a kernel.
func (e *entry) applied(sequence uint64) *kernel.Applied {
	m := &kernel.Applied{Sequence: sequence}
	if e.Publish == nil {
		return m
	}
	m.Publisher, m.Since = e.writer, e.Since
	for _, of := range e.Entries {
		of.State = of.State.Clone()
		m.Entries = append(m.Entries, kernel.Applying{Entry: of, Bytes: 50})
	}
	return m
}

// write draws a write and returns it with the delta that it stands for.
func (w *world) write(number int) (*kernel.Write, *lattice.State) {
	t := w.t
	key := rapid.SampledFrom(keys).Draw(t, "key")
	value := []byte(fmt.Sprint("v", number))
	// Explicit stamps, so that the model knows what a write is without asking a kernel.
	stamp := lattice.Timestamp{Time: uint64(w.now) << 12, Writer: uint64(number)}
	write := &kernel.Write{Key: key, Ticket: fmt.Sprint(key, number)}
	var delta *lattice.State
	switch {
	case key == "n":
		write.Add = int64(rapid.IntRange(1, 3).Draw(t, "add"))
		w.adds[write.Ticket.(string)] = write.Add
		return write, nil
	case rapid.IntRange(0, 9).Draw(t, "delete") == 0:
		delta = lattice.Delete(stamp)
		write.Delta = delta.Clone()
	case key == "a" || key == "b":
		delta = lattice.Put(stamp, value)
		write.Delta = delta.Clone()
	case rapid.Bool().Draw(t, "remove"):
		delta = lattice.SetRemove(stamp, []byte(fmt.Sprint(number%5)))
		write.Delta = delta.Clone()
	default:
		delta = lattice.SetAdd(stamp, []byte(fmt.Sprint(number%5)))
		write.Delta = delta.Clone()
	}
	return write, delta
}

// TestConvergence lets masters write, publish, fail, follow and crash in any order. When all is quiet they hold the same, and
// so does a kernel that is made from the log; nothing that was acknowledged is missing.
func TestConvergence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{
			t: t, now: scenarioBegin,
			acked: map[string]*lattice.State{}, bodies: map[string]*lattice.State{},
		}
		writers := uint64(rapid.IntRange(1, 3).Draw(t, "masters"))
		for i := range writers {
			w.kernels = append(w.kernels, w.start(i+1))
		}
		w.adds = map[string]int64{}
		for number := range rapid.IntRange(1, 120).Draw(t, "steps") {
			w.now += int64(rapid.IntRange(0, 2000).Draw(t, "pass"))
			m := rapid.SampledFrom(w.kernels).Draw(t, "master")
			switch rapid.IntRange(0, 9).Draw(t, "action") {
			case 0, 1, 2, 3:
				write, delta := w.write(number)
				w.bodies[write.Ticket.(string)] = delta
				away := m.away
				w.step(m, write)
				if !away && delta != nil && rapid.Bool().Draw(t, "heard of") {
					w.step(rapid.SampledFrom(w.kernels).Draw(t, "who hears"), &kernel.Heard{Key: write.Key, Delta: delta.Clone()})
				}
			case 4, 5, 6:
				if n := len(m.pending); n > 0 {
					at := rapid.IntRange(0, n-1).Draw(t, "publish")
					p := m.pending[at]
					m.pending = slices.Delete(m.pending, at, at+1)
					switch rapid.IntRange(0, 9).Draw(t, "fate") {
					case 0:
						w.step(m, &kernel.Failed{Publish: p.ID, Err: errors.New("lost")})
					case 1: // stored, but the answer is lost
						w.store(m, &p)
						w.step(m, &kernel.Failed{Publish: p.ID, Err: errors.New("answer lost")})
					default:
						w.append(m, &p)
					}
				}
			case 7:
				if writers > 1 {
					w.follow(m, rapid.IntRange(0, len(w.log)).Draw(t, "up to"))
				}
			case 8:
				switch rapid.IntRange(0, 2).Draw(t, "chore") {
				case 0:
					w.step(m, &kernel.Tick{})
				case 1:
					w.compact()
				case 2:
					w.truncate()
				}
			case 9:
				if rapid.Bool().Draw(t, "move") {
					w.move(m)
					break
				}
				if rapid.IntRange(0, 9).Draw(t, "crash") == 0 {
					writers++
					w.kernels[slices.Index(w.kernels, m)] = w.start(writers + 100)
				}
			}
		}
		w.settle()
		if rapid.Bool().Draw(t, "truncate in the end") {
			w.compact()
			w.settle()
			w.compact()
			w.truncate()
			w.settle()
		}
		w.check()
	})
}

// move lets a kernel go on with leaving the slot or coming back to it.
func (w *world) move(m *master) {
	slot := []uint16{0}
	switch {
	case !m.away && rapid.Bool().Draw(w.t, "part first"):
		w.step(m, &kernel.Assign{Slots: slot, Tenure: slots.Parting})
	case !m.away:
		w.step(m, &kernel.Assign{Slots: slot, Tenure: slots.Stranger})
		m.away, m.end, m.loaded = true, 0, 0
	case m.end == 0:
		w.step(m, &kernel.Assign{Slots: slot, Tenure: slots.Joining})
		m.end, m.began = len(w.log), w.first
		if m.end == 0 {
			w.arrive(m)
		}
	default:
		w.bring(m, rapid.IntRange(1, 8).Draw(w.t, "records"))
	}
}

// bring loads some records into a kernel that joins.
func (w *world) bring(m *master, n int) {
	for ; n > 0 && m.loaded < m.end; n-- {
		m.loaded++
		if e := w.log[m.loaded-1]; e.Publish != nil {
			applied := e.applied(uint64(m.loaded))
			applied.Loading = true
			w.step(m, applied)
		}
	}
	if m.loaded == m.end {
		w.arrive(m)
	}
}

func (w *world) arrive(m *master) {
	if w.first != m.began { // something was written again meanwhile: another pass follows the log (slots.Mover)
		w.follow(m, len(w.log))
	}
	w.step(m, &kernel.Assign{Slots: []uint16{0}, Tenure: slots.Leading, Sequence: uint64(m.end)})
	m.away = false
}

// compact has the first half of the log made superfluous.
func (w *world) compact() {
	for _, m := range w.kernels {
		w.step(m, &kernel.Compact{Target: (w.first + uint64(len(w.log))) / 2})
	}
	w.now += 10_000
	for _, m := range w.kernels {
		w.step(m, &kernel.Tick{})
	}
}

// truncate cuts off what nobody needs.
func (w *world) truncate() {
	floor := uint64(len(w.log))
	if !slices.ContainsFunc(w.kernels, func(m *master) bool { return !m.away }) {
		return // nobody speaks for the slot
	}
	for _, m := range w.kernels {
		if !m.away || m.kernel.Items(0) > 0 {
			floor = min(floor, m.kernel.Floor(0))
		}
	}
	for ; w.first+1 < floor; w.first++ {
		w.log[w.first].Publish = nil
	}
}

// settle lets everything come to rest.
func (w *world) settle() {
	for range 100 {
		busy := false
		w.now += 2e6
		for _, m := range w.kernels {
			for m.away {
				w.move(m)
				busy = true
			}
			w.step(m, &kernel.Tick{})
			for len(m.pending) > 0 {
				p := m.pending[0]
				m.pending = m.pending[1:]
				w.append(m, &p)
				busy = true
			}
			w.follow(m, len(w.log))
			busy = busy || m.kernel.Stats().ChangesetBytes > 0
		}
		if !busy {
			return
		}
	}
	w.t.Fatal("does not come to rest")
}

func (w *world) check() {
	fresh := w.start(1000)
	all := append(slices.Clone(w.kernels), fresh)
	for _, key := range keys {
		var first string
		for i, m := range all {
			shown := w.show(m, key)
			if i == 0 {
				first = shown
			} else if shown != first {
				w.t.Fatalf("master %d shows %s of %s, master %d %s", m.writer, shown, key, all[0].writer, first)
			}
		}
		if acked := w.acked[key]; acked != nil {
			state := w.logged(key)
			whole := state.Clone()
			whole.Merge(acked)
			if got, want := describeLive(state, w.now), describeLive(whole, w.now); got != want {
				w.t.Fatalf("the log holds %s of %s; with all that was acknowledged it is %s", got, key, want)
			}
		}
	}
	total := int64(0)
	for _, n := range w.adds {
		total += n
	}
	var count int64
	if c, ok := w.logged("n").Lattice.(*lattice.Counter); ok {
		count = c.Value()
	}
	if count < w.added || count > total {
		w.t.Fatalf("the counter is %d; %d was acknowledged and %d was asked for", count, w.added, total)
	}
	for _, m := range w.kernels {
		if s := m.kernel.Stats(); s.ChangesetBytes != 0 || s.Outstanding != 0 || s.Waiting != 0 {
			w.t.Fatalf("master %d is not at rest: %+v", m.writer, s)
		}
	}
}

func (w *world) state(m *master, key string) *lattice.State {
	for {
		state, found := m.kernel.Get(w.now, key)
		if found != kernel.InLog {
			return state
		}
		w.step(m, &kernel.Read{Key: key, Ticket: "-"})
		if _, found = m.kernel.Get(w.now, key); found == kernel.InLog {
			return w.logged(key) // evicted again
		}
	}
}

// logged merges all that the log holds of a key.
func (w *world) logged(key string) *lattice.State {
	state := new(lattice.State)
	for _, r := range w.log {
		if r.Publish == nil {
			continue
		}
		for _, e := range r.Entries {
			if e.Key == key {
				state.Merge(e.State)
			}
		}
	}
	return state
}

func (w *world) show(m *master, key string) string { return describeLive(w.state(m, key), w.now) }

func describeLive(s *lattice.State, now int64) string {
	if s == nil || s.Live(now/1000) == nil {
		return "nothing"
	}
	switch l := s.Live(now / 1000).(type) {
	case *lattice.LWW:
		return string(l.Value)
	case *lattice.Set:
		return fmt.Sprintf("%q", l.Members())
	case *lattice.Counter:
		return fmt.Sprint(l.Value())
	}
	return "?"
}
