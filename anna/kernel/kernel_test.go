package kernel_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// TestKernel runs the scenarios in testdata. Every command is a message; what it prints is what the kernel wants done.
func TestKernel(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &scenario{}
		datadriven.RunTest(t, path, s.run)
	})
}

// scenario drives one kernel. Publishes are called p1, p2, … in the order in which the kernel asks for them.
type scenario struct {
	kernel    *kernel.Kernel
	now       int64 // microseconds
	set       int64 // how far the clock was set ahead
	publishes []kernel.Publish
	loads     map[string][]uint64 // what was asked for last of a key
	next      uint64              // sequence that the log gives next
	out       strings.Builder
}

const scenarioBegin = 1_000_000_000 // microseconds

func (s *scenario) run(t *testing.T, d *datadriven.TestData) string {
	s.out.Reset()
	if d.Cmd == "kernel" {
		s.now, s.set, s.next, s.publishes, s.loads = scenarioBegin, 0, 1, nil, map[string][]uint64{}
		s.kernel = newKernel(func(c *kernel.Config) {
			option(t, d, "publishes", &c.PublishesMax)
			option(t, d, "keys", &c.RecordKeysMax)
			option(t, d, "bytes", &c.RecordBytesMax)
			option(t, d, "changeset", &c.ChangesetBytesMax)
			option(t, d, "memory", &c.MemoryBytesMax)
			option(t, d, "compact", &c.CompactRecords)
			option(t, d, "parked", &c.ParkedMax)
		})
		return ""
	}
	for line := range strings.SplitSeq(d.Input, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			s.line(t, d, line)
		}
	}
	if d.Input == "" {
		s.line(t, d, d.Cmd)
	}
	return s.out.String()
}

func option(t *testing.T, d *datadriven.TestData, name string, value *int) {
	if d.HasArg(name) {
		var text string
		d.ScanArgs(t, name, &text)
		*value, _ = strconv.Atoi(text)
	}
}

// line runs one command: a word, its arguments, and options of the form name=value.
func (s *scenario) line(t *testing.T, d *datadriven.TestData, line string) {
	words := strings.Fields(line)
	var args []string
	options := map[string]string{}
	for _, w := range words[1:] {
		if name, value, ok := strings.Cut(w, "="); ok {
			options[name] = value
		} else {
			args = append(args, w)
		}
	}
	number := func(name string) uint64 {
		n, err := strconv.ParseUint(options[name], 10, 64)
		if err != nil {
			d.Fatalf(t, "%s: %s: %v", line, name, err)
		}
		return n
	}
	write := func(w kernel.Write) {
		w.Key, w.Ticket = args[0], line
		if options["ack"] == "memory" {
			w.Ack = kernel.Memory
		}
		w.Volatile = options["volatile"] != ""
		if options["slot"] != "" {
			w.Slot = uint16(number("slot"))
		}
		switch options["expect"] {
		case "":
		case "current":
			state, _ := s.kernel.Get(s.now, w.Key)
			w.Expect = fingerprint(state)
		default:
			w.Expect = number("expect")
		}
		if options["cache"] != "" {
			w.Cache = uint16(number("cache"))
		}
		if options["stamp"] != "" {
			w.Stamp = s.stamp(int64(number("stamp")))
		}
		w.Replace = options["replace"] != ""
		if options["floor"] != "" {
			w.Floor = s.stamp(int64(number("floor"))).Time
		}
		if options["ttl"] != "" {
			w.Delta.Merge(lattice.ExpireAt(lattice.Timestamp{}, s.now/1000+int64(number("ttl"))))
		}
		s.step(&w)
	}
	stamp := lattice.Timestamp{}
	if options["at"] != "" {
		stamp = s.stamp(int64(number("at")))
	}
	switch words[0] {
	case "put":
		write(kernel.Write{Delta: lattice.Put(stamp, []byte(args[1]))})
	case "add":
		write(kernel.Write{Delta: lattice.SetAdd(stamp, members(args[1:])...)})
	case "remove":
		write(kernel.Write{Delta: lattice.SetRemove(stamp, members(args[1:])...)})
	case "incr":
		n, _ := strconv.ParseInt(args[1], 10, 64)
		write(kernel.Write{Add: n})
	case "delete":
		write(kernel.Write{Delete: true})
	case "expire":
		at, _ := strconv.ParseInt(args[1], 10, 64)
		write(kernel.Write{Delta: lattice.ExpireAt(lattice.Timestamp{}, s.now/1000+at)})
	case "persist":
		write(kernel.Write{Persist: true})
	case "ack":
		for _, id := range s.ids(args) {
			sequence := s.next
			if options["seq"] != "" { // the answer is late
				sequence = number("seq")
			}
			s.step(&kernel.Acknowledged{Publish: s.publishes[id].ID, Sequence: sequence, Upload: options["upload"]})
			s.next = max(s.next, sequence+1)
		}
	case "fail":
		for _, id := range s.ids(args) {
			s.step(&kernel.Failed{Publish: s.publishes[id].ID, Err: errors.New("disk full")})
		}
	case "foreign": // another master appends to the log, unseen
		s.next += uint64(max(1, len(args)))
	case "apply":
		s.apply(args, options, number)
	case "hear":
		stamp.Writer = 2
		m := &kernel.Heard{Key: args[0], Delta: lattice.Delete(stamp)}
		switch {
		case len(args) > 1 && strings.HasPrefix(args[1], "+"):
			m.Delta = lattice.SetAdd(stamp, members(args[1:])...)
		case len(args) > 1:
			m.Delta = lattice.Put(stamp, []byte(args[1]))
		}
		if options["slot"] != "" {
			m.Slot = uint16(number("slot"))
		}
		s.step(m)
	case "load":
		options["loading"] = "yes"
		s.apply(args, options, number)
	case "assign":
		slot, _ := strconv.ParseUint(args[0], 10, 16)
		m := &kernel.Assign{Slots: []uint16{uint16(slot)}}
		m.Tenure = map[string]slots.Tenure{
			"leading": slots.Leading, "serving": slots.Serving, "parting": slots.Parting, "joining": slots.Joining, "stranger": slots.Stranger,
		}[options["tenure"]]
		if options["seq"] != "" {
			m.Sequence = number("seq")
		}
		s.step(m)
	case "watch":
		m := &kernel.Watch{Key: args[0], Cache: uint16(number("cache"))}
		if options["slot"] != "" {
			m.Slot = uint16(number("slot"))
		}
		s.step(m)
	case "unwatch":
		s.step(&kernel.Unwatch{Key: args[0], Cache: uint16(number("cache"))})
	case "read":
		s.step(&kernel.Read{Key: args[0], Ticket: line})
	case "loaded":
		m := &kernel.Loaded{Key: args[0], Sequences: s.loads[args[0]]}
		if options["err"] != "" {
			m.Err = errors.New(options["err"])
		} else if len(args) > 1 {
			m.State = lattice.Put(stamp, []byte(args[1]))
			if options["expired"] != "" {
				m.State.Merge(lattice.ExpireAt(stamp, s.now/1000-int64(number("expired"))))
			}
		}
		s.step(m)
	case "get":
		for _, key := range args {
			state, found := s.kernel.Get(s.now, key)
			fmt.Fprintf(&s.out, "%s: %s %s\n", key, [...]string{"absent", "here", "in the log"}[found], s.describe(state))
		}
	case "scan":
		prefix := ""
		if len(args) > 0 {
			prefix = args[0]
		}
		keys, more := s.kernel.Scan(s.now, prefix, options["after"], int(number("limit")), nil)
		fmt.Fprintf(&s.out, "%v more=%v\n", keys, more)
	case "pass":
		ms, _ := time.ParseDuration(args[0])
		s.now += ms.Microseconds()
		s.step(&kernel.Tick{})
	case "set": // the clock
		d, _ := time.ParseDuration(args[0])
		s.now += d.Microseconds()
		s.set += d.Microseconds()
	case "wake":
		if wake := s.kernel.Wake(s.moment()); wake < 1<<60 {
			fmt.Fprintf(&s.out, "wake in %v\n", time.Duration(wake-s.moment().Elapsed)*time.Microsecond)
		} else {
			s.out.WriteString("sleep\n")
		}
	case "position":
		fmt.Fprintf(&s.out, "position %d\n", s.kernel.Position(0))
	case "stats":
		st := s.kernel.Stats()
		fmt.Fprintf(&s.out, "keys %d, tombstones %d, cold %d, changeset %v, outstanding %d, waiting %d, publishes %d, rewrites %d, collected %d\n",
			st.Keys, st.Tombstones, st.Cold, st.ChangesetBytes > 0, st.Outstanding, st.Waiting, st.Publishes, st.Rewrites, st.Collected)
	case "compact":
		s.step(&kernel.Compact{Target: number("before")})
	case "floor":
		fmt.Fprintf(&s.out, "floor %d, %d bytes are needed\n", s.kernel.Floor(0), s.kernel.Needed(0))
	default:
		d.Fatalf(t, "unknown command %q", line)
	}
}

func members(words []string) [][]byte {
	var out [][]byte
	for _, w := range words {
		out = append(out, []byte(w))
	}
	return out
}

func (s *scenario) ids(args []string) (ids []int) {
	for _, a := range args {
		n, err := strconv.Atoi(strings.TrimPrefix(a, "p"))
		if err != nil || n < 1 || n > len(s.publishes) {
			panic("no publish " + a)
		}
		ids = append(ids, n-1)
	}
	return ids
}

// apply brings a record of the log: "apply seq=3 k put v", "apply seq=3 k delete", "apply seq=3" for nothing, or one in chunks.
func (s *scenario) apply(args []string, options map[string]string, number func(string) uint64) {
	m := &kernel.Applied{Sequence: number("seq"), Publisher: 2}
	e := kernel.Applying{Entry: kernel.Entry{Whole: options["whole"] != ""}, Bytes: 68}
	if e.Whole {
		m.Since = number("whole")
	}
	s.next = max(s.next, m.Sequence+1)
	if len(args) > 0 {
		e.Key = args[0]
		stamp := s.stamp(s.now - scenarioBegin)
		stamp.Writer = 2
		if options["at"] != "" {
			stamp = s.stamp(int64(number("at")))
			stamp.Writer = 2
		}
		switch args[1] {
		case "put":
			e.State = lattice.Put(stamp, []byte(args[2]))
		case "add":
			e.State = lattice.SetAdd(stamp, members(args[2:])...)
		case "delete":
			e.State = lattice.Delete(stamp)
		case "expire":
			at, _ := strconv.ParseInt(args[2], 10, 64)
			e.State = lattice.ExpireAt(stamp, s.now/1000+at)
		case "chunks":
			e.Upload, e.Type, e.Latest = args[2], lattice.TypeLWW, stamp
		}
	}
	if options["own"] != "" {
		m.Publisher = 1
	}
	if options["slot"] != "" {
		e.Slot = uint16(number("slot"))
	}
	if e.Key != "" {
		m.Entries = []kernel.Applying{e}
	}
	m.Loading = options["loading"] != ""
	s.step(m)
}

// stamp returns a time stamp in microseconds after the beginning.
func (s *scenario) stamp(at int64) lattice.Timestamp {
	return lattice.Timestamp{Time: uint64(scenarioBegin+at) << 12, Writer: 9}
}

func (s *scenario) moment() kernel.Moment { return kernel.Moment{Wall: s.now, Elapsed: s.now - s.set} }

func (s *scenario) step(m kernel.Message) {
	var out kernel.Effects
	s.kernel.Step(s.moment(), m, &out)
	for _, p := range out.Pushes {
		what := "push"
		if p.Whole {
			what = "push whole"
		}
		if p.Lost {
			fmt.Fprintf(&s.out, "lost to %d: %s\n", p.Cache, p.Key)
			continue
		}
		if p.Err != nil {
			fmt.Fprintf(&s.out, "%s to %d: %s: %v\n", what, p.Cache, p.Key, p.Err)
			continue
		}
		fmt.Fprintf(&s.out, "%s to %d: %s %s\n", what, p.Cache, p.Key, s.describe(p.Delta))
	}
	for _, p := range out.Publishes {
		s.publishes = append(s.publishes, p)
		for i, e := range p.Entries {
			how := "publish"
			if e.Whole {
				how = fmt.Sprintf("publish whole as of %d:", p.Since)
			}
			if i > 0 {
				how = "with" + strings.TrimPrefix(how, "publish")
			}
			fmt.Fprintf(&s.out, "p%d: %s %s %s\n", len(s.publishes), how, e.Key, s.describe(e.State))
		}
	}
	for _, r := range out.Replies {
		if r.Err != nil {
			fmt.Fprintf(&s.out, "[%s] fails: %v\n", r.Ticket, r.Err)
		} else {
			fmt.Fprintf(&s.out, "[%s] → %d\n", r.Ticket, r.Value)
		}
	}
	for _, l := range out.Loads {
		s.loads[l.Key] = l.Sequences
		fmt.Fprintf(&s.out, "load %s from %v\n", l.Key, l.Sequences)
	}
	for range out.Behind {
		s.out.WriteString("behind\n")
	}
	for _, u := range out.Superseded {
		fmt.Fprintf(&s.out, "remove upload %s\n", u.Name)
	}
}

// describe prints a state; stamps as microseconds after the beginning.
func (s *scenario) describe(state *lattice.State) string {
	if state == nil {
		return "nothing"
	}
	when := func(t lattice.Timestamp) string { return fmt.Sprint(t.UnixMicro()-scenarioBegin, "µs") }
	var parts []string
	show := func(l lattice.Lattice) {
		switch l := l.(type) {
		case *lattice.LWW:
			parts = append(parts, fmt.Sprintf("%q at %s", l.Value, when(l.Timestamp)))
		case *lattice.Set:
			var marks []string
			for m, mark := range l.Marks() {
				sign := "+"
				if mark.Removed {
					sign = "-"
				}
				marks = append(marks, sign+m)
			}
			slices.Sort(marks)
			parts = append(parts, fmt.Sprintf("set %v", marks))
		case *lattice.Counter:
			parts = append(parts, fmt.Sprintf("counter %d", l.Value()))
		}
	}
	if state.Lattice != nil {
		show(state.Lattice)
	}
	for _, l := range state.Others() {
		show(l)
	}
	if d := state.Deleted(); !d.IsZero() {
		parts = append(parts, "deleted "+when(d))
	}
	if e := state.Expiry(); e != (lattice.Expiry{}) {
		if e.At == 0 {
			parts = append(parts, "never expires")
		} else {
			parts = append(parts, fmt.Sprintf("expires in %dms", e.At-s.now/1000))
		}
	}
	if parts == nil {
		return "empty"
	}
	return strings.Join(parts, ", ")
}

// fingerprint stands for what a key holds, by its latest stamp.
func fingerprint(s *lattice.State) uint64 {
	if s == nil {
		return 1
	}
	return s.Latest().Time | 1
}

// newKernel returns a kernel of partition 0 with settings that tests can reckon with.
func newKernel(change func(*kernel.Config)) *kernel.Kernel {
	cfg := kernel.Config{
		Writer: 1, Partitions: []int{0}, PartitionOf: func(uint16) int { return 0 },
		Fingerprint: fingerprint, Reserved: func(string) bool { return false },
		PublishesMax: 512, RecordKeysMax: 1, RecordBytesMax: 1 << 20, PublishTimeout: 2e6, DurableTimeout: 5e6, RetryMin: 1e5, RetryMax: 1e6,
		ChangesetBytesMax: 1 << 30, MemoryBytesMax: 1 << 40, CompactRecords: 16, TombstoneGrace: 60e6, ParkedMax: 16,
	}
	change(&cfg)
	return kernel.New(cfg)
}
