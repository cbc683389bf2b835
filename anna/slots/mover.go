package slots

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"slices"
)

// Config says how a Mover works. Durations are in microseconds.
type Config struct {
	// Self is this member. As a Guest it is a master of nothing.
	Self  string
	Guest bool
	// Slots is the number of slots, Streams the number of streams of the log that they are spread over, and Masters how many members
	// serve each.
	Slots, Streams, Masters int
	// MemberTTL is after how long the others take a member for gone that says nothing.
	MemberTTL int64
	// BeginTimeout bounds the time until the first announcement arrives.
	BeginTimeout int64
	// SettleTimeout bounds the time without progress while slots that were loaded are followed to the log's end.
	SettleTimeout int64
	// RetryPause is before slots are loaded again, and AnnouncePause before something is announced again, after it has failed.
	RetryPause, AnnouncePause int64
	// LeaveTimeout bounds the time until the others know that this member is about to go, and DrainTimeout that until they serve
	// its slots.
	LeaveTimeout, DrainTimeout int64
}

// Why a member stops before others serve all of its slots, and why slots are not taken over.
var (
	ErrCutOff      = errors.New("this node has not been able to say anything for some time")
	ErrNotHeard    = errors.New("the other nodes could not be told in time")
	ErrNotTaken    = errors.New("the other nodes have not taken over all slots in time")
	ErrNotFollowed = errors.New("the stream was not followed to its end in time")
	ErrLeaving     = errors.New("this node is about to go")
)

// settlePasses bounds how often a stream is followed to its end before slots of it are served. One pass that met no gap is enough:
// everything is there then that the log held when the pass began. What fills a gap comes later, and may be missed for a moment if
// every pass meets one.
const settlePasses = 16

// Mover decides which slots a member serves, from who is there. It is a machine: Step takes in an event and returns what is to be
// done. Owned by one goroutine.
//
//	not served ── the table gives it to us ──► loaded ──► followed to the log's end ──► served
//	    ▲                                                                                  │ the table gives it to others
//	    └────────────────── they all serve it ─────────────────── parting, still served ◄──┘
//
// Slots overlap while they move, which does no harm: all who serve one merge the same.
type Mover struct {
	cfg     Config
	now     int64
	phase   phase
	others  []Member
	alive   int64    // when this member was last able to say that it is there
	known   []string // the members of the last table
	table   Table
	crowded bool     // there are others that can be masters
	tenures []Tenure // by slot; Joining while it is in a transfer
	serves  Bitmap

	transfers []*transfer
	count     uint64  // of the transfers that have been
	retry     []int64 // by stream: no slots of it are loaded before

	said         Announce // what the others know
	unsure       bool     // unless they know what was announced since, without an answer
	saying       *Announce
	sayAfter     int64
	begun, leave int64 // when the first announcement was made, and when the member was told to leave

	actions []Action
}

// phase is how far a member is.
type phase uint8

const (
	waiting   phase = iota // until it is known who is there
	beginning              // the slots that it got first are replayed
	announcing
	running
	leaving
	stopped
)

// NewMover returns a Mover that waits for the first Members.
func NewMover(cfg Config) *Mover {
	return &Mover{
		cfg: cfg, tenures: make([]Tenure, cfg.Slots), serves: NewBitmap(cfg.Slots), retry: make([]int64, cfg.Streams),
		said: Announce{Serves: NewBitmap(cfg.Slots), Leads: NewBitmap(cfg.Slots)},
	}
}

// Step takes in an event and returns what is to be done, in order.
func (m *Mover) Step(now int64, e Event) []Action {
	m.now = now
	switch e := e.(type) {
	case Members:
		m.meet(e.Others)
	case Alive:
		m.alive = e.At
	case Replayed:
		m.replayed(e)
	case Loaded:
		m.loaded(e)
	case EndKnown:
		m.endKnown(e)
	case Position:
		m.followed(e)
	case Listening:
		m.listening(e)
	case Announced:
		m.announced(e)
	case Leave:
		m.leaves()
	}
	m.proceed()
	actions := m.actions
	m.actions = nil
	return actions
}

// Wake returns when the next Tick is due; math.MaxInt64 if none is.
func (m *Mover) Wake() int64 {
	wake := int64(math.MaxInt64)
	for _, t := range m.transfers {
		if t.stage == following {
			wake = min(wake, t.since+m.cfg.SettleTimeout+1)
		}
	}
	for _, at := range m.retry {
		if at > m.now {
			wake = min(wake, at)
		}
	}
	if m.sayAfter > m.now {
		wake = min(wake, m.sayAfter)
	}
	if m.phase == leaving {
		if wake = min(wake, m.leave+m.cfg.DrainTimeout); !m.said.Leaving {
			wake = min(wake, m.leave+m.cfg.LeaveTimeout)
		}
	}
	return wake
}

// Tenure returns what the member is to a slot; Joining while it takes it over.
func (m *Mover) Tenure(slot uint16) Tenure { return m.tenures[slot] }

// Serves returns the slots that the member serves.
func (m *Mover) Serves() Bitmap { return slices.Clone(m.serves) }

// Joining returns how many slots are being taken over.
func (m *Mover) Joining() (n int) {
	for _, t := range m.transfers {
		n += len(t.slots)
	}
	return n
}

func (m *Mover) do(a Action) { m.actions = append(m.actions, a) }

// cutOff reports whether this member has not been able to say that it is there for so long that others may soon take it for gone.
func (m *Mover) cutOff() bool { return m.now-m.alive > m.cfg.MemberTTL*3/4 }

// meet takes in who is there, and makes another table if that is different.
func (m *Mover) meet(others []Member) {
	m.others = slices.Clone(others)
	m.route()
	if m.phase == waiting {
		m.begin()
	}
}

func (m *Mover) route() {
	var masters []string
	if !m.cfg.Guest && m.phase < leaving {
		masters = append(masters, m.cfg.Self)
	}
	crowded := false
	for i := range m.others {
		if o := &m.others[i]; !o.Guest {
			if crowded = true; !o.Leaving {
				masters = append(masters, o.ID)
			}
		}
	}
	slices.Sort(masters)
	if m.table == nil || !slices.Equal(masters, m.known) {
		m.known, m.table = masters, NewTable(m.cfg.Slots, m.cfg.Masters, masters)
	}
	m.do(Route{m.table})
	if m.phase == waiting || crowded != m.crowded {
		m.crowded = crowded
		m.do(Company{crowded})
	}
}

// plan returns what the member decides from, as it is now.
func (m *Mover) plan() *Plan {
	led := NewBitmap(m.cfg.Slots)
	served := make(map[string]Bitmap, len(m.others)+1)
	served[m.cfg.Self] = m.serves
	for i := range m.others {
		led.Add(m.others[i].Leads)
		served[m.others[i].ID] = m.others[i].Serves
	}
	return &Plan{
		Table: m.table, Self: m.cfg.Self, CutOff: m.cutOff(), Led: led.Has,
		Served: func(member string, slot uint16) bool { return served[member].Has(slot) },
	}
}

// proceed does what is due.
func (m *Mover) proceed() {
	for _, t := range slices.Clone(m.transfers) {
		if t.stage == following && m.now-t.since > m.cfg.SettleTimeout {
			m.abandon(t, ErrNotFollowed)
		}
	}
	switch m.phase {
	case waiting, stopped:
		return
	case beginning:
		if slices.ContainsFunc(m.transfers, func(t *transfer) bool { return t.stage < settled }) {
			return // all are served at once, since the server takes no requests before
		}
		for _, t := range m.transfers {
			m.listen(t)
		}
		if len(m.transfers) > 0 {
			return
		}
		m.phase, m.begun = announcing, m.now
	case announcing:
	default:
		m.move()
	}
	m.say()
	if m.phase == leaving {
		m.depart()
	}
}

// move takes over and gives up slots until it is as the table says.
func (m *Mover) move() {
	moves := m.plan().Moves(m.tenures)
	m.assign(moves.Leading, Leading)
	m.assign(moves.Serving, Serving)
	m.assign(moves.Parting, Parting)
	if len(moves.Left) > 0 {
		for _, slot := range moves.Left {
			m.serves.Unset(slot)
		}
		m.do(Unserve{moves.Left})
		m.assign(moves.Left, Stranger)
	}
	if m.phase == running {
		for stream, gained := range m.byStream(moves.Gained) {
			if len(gained) > 0 && m.now >= m.retry[stream] && !m.transfersOf(stream) {
				m.take(stream, gained)
			}
		}
	}
}

// assign tells the kernels what they are to some slots.
func (m *Mover) assign(which []uint16, tenure Tenure) {
	if len(which) == 0 {
		return
	}
	for _, slot := range which {
		m.tenures[slot] = tenure
	}
	m.do(Assign{Slots: which, Tenure: tenure})
}

// byStream returns some slots by the streams that they are in.
func (m *Mover) byStream(which []uint16) [][]uint16 {
	parts := make([][]uint16, m.cfg.Streams)
	for _, slot := range which {
		stream := int(slot) % m.cfg.Streams
		parts[stream] = append(parts[stream], slot)
	}
	return parts
}

// statement returns what the others are to know.
func (m *Mover) statement() Announce {
	leads := NewBitmap(m.cfg.Slots)
	for slot, tenure := range m.tenures {
		if tenure == Leading && m.serves.Has(uint16(slot)) {
			leads.Set(uint16(slot))
		}
	}
	return Announce{Serves: slices.Clone(m.serves), Leads: leads, Leaving: m.phase == leaving}
}

func (a *Announce) equal(b *Announce) bool {
	return bytes.Equal(a.Serves, b.Serves) && bytes.Equal(a.Leads, b.Leads) && a.Leaving == b.Leaving
}

// say announces what the others do not know yet, one announcement at a time.
func (m *Mover) say() {
	if m.saying != nil || m.now < m.sayAfter {
		return
	}
	if what := m.statement(); m.phase == announcing || m.unsure || !what.equal(&m.said) {
		m.saying = &what
		m.do(what)
	}
}

func (m *Mover) announced(e Announced) {
	what := m.saying
	if what == nil {
		return
	}
	m.saying = nil
	if e.Err != nil {
		m.unsure, m.sayAfter = true, m.now+m.cfg.AnnouncePause
		switch {
		case m.phase == announcing && m.now-m.begun > m.cfg.BeginTimeout:
			m.fail(e.Err)
		case m.phase == leaving && what.Leaving:
			m.stop(e.Err)
		}
		return
	}
	m.said, m.unsure, m.alive = *what, false, m.now
	if m.phase == announcing {
		m.phase = running
		m.do(Ready{All: m.serves.Count() == m.cfg.Slots})
	}
}

// leaves begins to hand all slots over.
func (m *Mover) leaves() {
	switch {
	case m.phase >= leaving:
		return
	case m.cfg.Guest || !m.crowded || m.phase < running:
		m.stop(nil)
		return
	case m.cutOff():
		m.stop(ErrCutOff)
		return
	}
	m.phase, m.leave, m.sayAfter = leaving, m.now, m.now
	for _, t := range slices.Clone(m.transfers) {
		m.abandon(t, ErrLeaving)
	}
	m.route()
}

// depart ends the wait for others to take over.
func (m *Mover) depart() {
	switch {
	case m.serves.Count() == 0 || !m.crowded:
		m.stop(nil)
	case !m.said.Leaving && m.now-m.leave >= m.cfg.LeaveTimeout:
		m.stop(ErrNotHeard)
	case m.now-m.leave >= m.cfg.DrainTimeout:
		m.stop(ErrNotTaken)
	}
}

func (m *Mover) stop(err error) {
	for _, t := range slices.Clone(m.transfers) {
		m.abandon(t, cmp.Or(err, ErrLeaving))
	}
	m.phase = stopped
	m.do(Stop{err})
}

// fail gives up before the member has begun.
func (m *Mover) fail(err error) {
	m.phase = stopped
	m.do(Fail{err})
}
