package slots

import "slices"

// transfer is slots of one stream that are being taken over.
type transfer struct {
	number   uint64
	stream   int
	slots    []uint16
	stage    stage
	goal     uint64 // to where the stream is to be followed
	position uint64
	since    int64  // when position was reached
	gaps     uint64 // how many gaps were met before this pass
	passes   int
}

type stage uint8

const (
	replaying stage = iota // the stream is followed to its end, at the start
	loading                // the slots' records are brought
	asking                 // where the stream ends
	following              // to there
	settled                // everything that the log held is there
	listened               // requests are about to come
)

// begin takes over the slots that the first table gives to this member, by replaying their streams.
func (m *Mover) begin() {
	m.phase = beginning
	var own, strangers []uint16
	for slot, masters := range m.table {
		if slices.Contains(masters, m.cfg.Self) {
			own = append(own, uint16(slot))
		} else {
			strangers = append(strangers, uint16(slot))
		}
	}
	m.assign(strangers, Stranger)
	for stream, part := range m.byStream(own) {
		if len(part) > 0 {
			t := m.transfer(stream, part, replaying)
			m.do(Replay{t.number, stream})
		}
	}
}

func (m *Mover) transfer(stream int, part []uint16, at stage) *transfer {
	m.count++
	t := &transfer{number: m.count, stream: stream, slots: part, stage: at}
	m.transfers = append(m.transfers, t)
	for _, slot := range part {
		m.tenures[slot] = Joining
	}
	return t
}

// take loads slots of a stream, of which no others are being taken over.
func (m *Mover) take(stream int, part []uint16) {
	t := m.transfer(stream, part, loading)
	m.assign(part, Joining)
	m.do(Load{t.number, stream, part})
}

// find returns the transfer with a number if it is at a stage, nil otherwise: the answer to one that was abandoned comes in vain.
func (m *Mover) find(number uint64, at stage) *transfer {
	for _, t := range m.transfers {
		if t.number == number && t.stage == at {
			return t
		}
	}
	return nil
}

func (m *Mover) transfersOf(stream int) bool {
	return slices.ContainsFunc(m.transfers, func(t *transfer) bool { return t.stream == stream })
}

func (m *Mover) remove(t *transfer) {
	m.transfers = slices.DeleteFunc(m.transfers, func(other *transfer) bool { return other == t })
}

// abandon does not take the slots over after all. What has been brought of them is of no use.
func (m *Mover) abandon(t *transfer, err error) {
	m.remove(t)
	m.assign(t.slots, Stranger)
	m.retry[t.stream] = m.now + m.cfg.RetryPause
	m.do(Abandon{t.number, t.slots, err})
}

func (m *Mover) replayed(e Replayed) {
	t := m.find(e.Transfer, replaying)
	if t == nil {
		return
	}
	t.passes++
	switch {
	case e.Err != nil:
		m.fail(e.Err)
	case e.Gap && t.passes < settlePasses:
		m.do(Replay{t.number, t.stream})
	default:
		t.stage = settled
	}
}

func (m *Mover) loaded(e Loaded) {
	t := m.find(e.Transfer, loading)
	if t == nil {
		return
	}
	if e.Err != nil {
		m.abandon(t, e.Err)
		return
	}
	m.appoint(t.slots, e.End, !m.holds(t.stream))
	m.ask(t)
}

// holds reports whether this member is a master of any slot of a stream.
func (m *Mover) holds(stream int) bool {
	for slot := stream; slot < m.cfg.Slots; slot += m.cfg.Streams {
		if m.tenures[slot] < Joining {
			return true
		}
	}
	return false
}

// appoint makes the kernels masters of slots that are being taken over, leading ones of those that nobody else leads and the table
// has this member first for.
func (m *Mover) appoint(which []uint16, sequence uint64, first bool) (lead, serve []uint16) {
	plan := m.plan()
	for _, slot := range which {
		if plan.Tenure(slot) == Leading {
			lead = append(lead, slot)
		} else {
			serve = append(serve, slot)
		}
	}
	if len(lead) > 0 {
		m.do(Assign{lead, Leading, sequence, first})
	}
	if len(serve) > 0 {
		m.do(Assign{serve, Serving, sequence, first})
	}
	return lead, serve
}

// ask begins a pass that follows the stream to where it ends now: what has been replaced while it was read is there again then, unless
// it has been replaced once more. A kernel that served before it had all that it has written itself could count the same twice.
func (m *Mover) ask(t *transfer) {
	t.stage = asking
	m.do(AskEnd{t.number, t.stream})
}

func (m *Mover) endKnown(e EndKnown) {
	t := m.find(e.Transfer, asking)
	if t == nil {
		return
	}
	if e.Err != nil {
		m.abandon(t, e.Err)
		return
	}
	t.passes++
	t.stage, t.goal, t.gaps, t.position, t.since = following, e.Record, e.Gaps, 0, m.now
	m.do(Await{t.number, t.stream, t.goal})
}

func (m *Mover) followed(e Position) {
	t := m.find(e.Transfer, following)
	if t == nil {
		return
	}
	if e.Sequence > t.position {
		t.position, t.since = e.Sequence, m.now
	}
	switch {
	case e.Sequence < t.goal:
	case e.Gaps != t.gaps && t.passes < settlePasses:
		m.ask(t)
	default:
		t.stage = settled
		m.listen(t)
	}
}

func (m *Mover) listen(t *transfer) {
	if t.stage == settled {
		t.stage = listened
		m.do(Listen{t.number, t.slots})
	}
}

// listening serves the slots of a transfer: requests for them are taken, and the others are told.
func (m *Mover) listening(e Listening) {
	t := m.find(e.Transfer, listened)
	if t == nil {
		return
	}
	if e.Err != nil {
		if m.phase == beginning {
			m.fail(e.Err)
			return
		}
		m.abandon(t, e.Err)
		return
	}
	m.remove(t)
	lead, serve := m.appoint(t.slots, 0, false)
	for _, slot := range lead {
		m.tenures[slot] = Leading
	}
	for _, slot := range serve {
		m.tenures[slot] = Serving
	}
	for _, slot := range t.slots {
		m.serves.Set(slot)
	}
	m.do(Serve{t.number, t.slots})
}
