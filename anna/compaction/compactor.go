// Package compaction decides when the beginning of a stream of the log is cut off: a machine without clock, I/O, goroutine or lock.
package compaction

import (
	"math"

	"cloudburst/anna/slots"
)

// Config says how a Compactor works.
type Config struct {
	// Slots is the number of slots, and Streams the number of streams that they are spread over.
	Slots, Streams int
	// A stream is too long when it takes more than Ratio times what is needed of it, and BytesMin more.
	Ratio, BytesMin int
	// Wait is for how long what is not needed stays in the log before it is cut off, in microseconds. What has replaced it is on the
	// disk then, also where writes do not wait for that.
	Wait int64
}

// Compactor keeps the streams of the log short. It is a machine: Step takes in an event and returns what is to be done. Owned by one
// goroutine.
//
// The member that leads the first slot of a stream looks after the stream:
//
//	too long ──► target announced ──► kernels of all members write again what they need before it
//	    ▲                                   │ every member's floor, which it announces, has reached the target
//	    └── cut off ◄── Wait has passed ◄───┘
type Compactor struct {
	cfg     Config
	streams []stream
}

// stream is what the machine knows of one.
type stream struct {
	members []Member
	leads   bool   // this member looks after it
	held    int    // of its slots
	length  Length // as of the last look
	target  uint64 // before which nothing is to be needed; 0 = it is short enough
	cut     uint64 // before which nothing is needed, as of since; 0 = not known to have reached the target
	since   int64
	cutting bool // Truncate is not answered
}

// Length is how long a stream is, and about how many bytes of it are needed; zero if another member looks after it.
type Length struct{ Bytes, Needed int }

// Member is what a member, this one or another, says about itself.
type Member struct {
	// Guest is a master of nothing.
	Guest bool
	// Leads are the slots that it leads.
	Leads slots.Bitmap
	// Floors are, by stream, the sequences before which it needs nothing, and Targets those before which nothing is to be needed.
	Floors, Targets []uint64
}

// Event is what has happened.
type Event interface{ event() }

// Look asks for one look at a stream.
type Look struct {
	Stream int
	// Leads says that this member leads the first slot of the stream, and Held of how many of its slots it is a master.
	Leads bool
	Held  int
	// Members are all that are there, this one among them.
	Members []Member
}

// ExtentKnown answers AskExtent.
type ExtentKnown struct {
	Stream int
	// First is the first sequence that the stream holds, End one beyond which it holds none, and Bytes what it takes.
	First, End, Bytes uint64
	// Needed is about how many bytes of it are needed for the slots that this member is a master of.
	Needed int
	// Kept is the room that is kept for what is written again, of all streams together, while the log has little room; 0 = it has enough.
	Kept int
}

// Truncated answers Truncate.
type Truncated struct {
	Stream int
	Err    error
}

func (Look) event()        {}
func (ExtentKnown) event() {}
func (Truncated) event()   {}

// Action is what a Compactor wants done, in the order of the list.
type Action interface{ action() }

// AskExtent asks how long a stream is. It is answered by ExtentKnown, or not at all: then the next look asks again.
type AskExtent struct{ Stream int }

// Compact tells the kernel that nothing before the target is to be needed.
type Compact struct {
	Stream int
	Target uint64
}

// Announce lets the others know the target of a stream that this member looks after, 0 without one, and how far its floors are.
type Announce struct {
	Stream int
	Target uint64
}

// Truncate cuts off what a stream holds before a sequence. It is answered by Truncated.
type Truncate struct {
	Stream int
	Before uint64
}

func (AskExtent) action() {}
func (Compact) action()   {}
func (Announce) action()  {}
func (Truncate) action()  {}

// New returns a Compactor.
func New(cfg Config) *Compactor { return &Compactor{cfg: cfg, streams: make([]stream, cfg.Streams)} }

// Length returns how long a stream was at the last look.
func (c *Compactor) Length(number int) Length { return c.streams[number].length }

// Step takes in an event and returns what is to be done, in order.
func (c *Compactor) Step(now int64, e Event) []Action {
	switch e := e.(type) {
	case Look:
		return c.look(&e)
	case ExtentKnown:
		return c.extentKnown(now, &e)
	case Truncated:
		s := &c.streams[e.Stream]
		if s.cutting = false; e.Err == nil {
			s.cut = 0
		}
	}
	return nil
}

func (c *Compactor) look(e *Look) []Action {
	s := &c.streams[e.Stream]
	s.members, s.leads, s.held = e.Members, e.Leads, e.Held
	if s.leads {
		return []Action{AskExtent{e.Stream}}
	}
	s.target, s.cut, s.length = 0, 0, Length{}
	return c.tell(e.Stream)
}

func (c *Compactor) extentKnown(now int64, e *ExtentKnown) []Action {
	s := &c.streams[e.Stream]
	if !s.leads {
		return nil // another member has begun to lead it meanwhile
	}
	c.judge(s, e)
	actions := c.tell(e.Stream)
	switch floor := c.floor(e.Stream); {
	case s.target == 0 || s.cutting:
	case s.cut == 0:
		if floor >= s.target {
			s.cut, s.since = min(floor, e.End+1), now // what comes from now on may be needed
		}
	case now-s.since >= c.cfg.Wait:
		s.cutting = true
		actions = append(actions, Truncate{e.Stream, s.cut})
	}
	return actions
}

// judge decides whether a stream is too long.
func (c *Compactor) judge(s *stream, e *ExtentKnown) {
	needed := e.Needed * c.slotsOf(e.Stream) / max(1, s.held)
	s.length = Length{int(e.Bytes), needed}
	if s.target > e.First {
		return // still to be done
	}
	s.target, s.cut = 0, 0
	if e.Bytes > uint64(c.cfg.Ratio*needed+c.cfg.BytesMin) {
		// The older a record the less likely is it needed. So half of them go, or more when twice of what is needed is less than half.
		part := max(0.5, 1-2*float64(needed)/float64(e.Bytes))
		s.target = e.First + uint64(part*float64(e.End-e.First)) + 1
		return
	}
	if e.Kept > 0 && e.Bytes > uint64(needed+needed/shortShare+shortBytes) {
		// What is written again has to fit into the room that is kept for it.
		part := min(0.5, float64(e.Kept)/float64(2*c.cfg.Streams*max(needed, 1)))
		s.target = e.First + uint64(part*float64(e.End-e.First)) + 1
	}
}

// While the log has little room, a stream is too long already when it takes this share more than what is needed of it, and so many bytes.
const (
	shortShare = 8
	shortBytes = 512 << 10
)

// tell tells the kernel the furthest target that any member has announced, and announces this one's.
func (c *Compactor) tell(number int) (actions []Action) {
	s := &c.streams[number]
	target := s.target
	for i := range s.members {
		if targets := s.members[i].Targets; number < len(targets) {
			target = max(target, targets[number])
		}
	}
	if target != 0 {
		actions = append(actions, Compact{number, target})
	}
	return append(actions, Announce{number, s.target})
}

// floor returns a sequence before which no member needs anything of a stream; 0 when that is not known.
func (c *Compactor) floor(number int) uint64 {
	floor, led := uint64(math.MaxUint64), slots.NewBitmap(c.cfg.Slots)
	members := c.streams[number].members
	for i := range members {
		m := &members[i]
		if m.Guest {
			continue
		}
		if number >= len(m.Floors) {
			return 0 // it has not said yet what it needs
		}
		floor = min(floor, m.Floors[number])
		led.Add(m.Leads)
	}
	for slot := number; slot < c.cfg.Slots; slot += c.cfg.Streams {
		if !led.Has(uint16(slot)) {
			return 0 // what it needs is not known
		}
	}
	return floor
}

// slotsOf returns how many slots a stream has.
func (c *Compactor) slotsOf(number int) int {
	return (c.cfg.Slots - number + c.cfg.Streams - 1) / c.cfg.Streams
}
