package anna

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// askTimeout is how long a master is asked beyond the time that a durable write may take.
	askTimeout = 5 * time.Second
	// askRetry is the pause before a slot whose masters are not there, or just moving, is asked again.
	askRetry = 10 * time.Millisecond
	// askRepeat is how long an answer is waited for before the same is asked again, if that does no harm.
	askRepeat = time.Second
	// questionsMax bounds the questions that are not answered.
	questionsMax = 1 << 16
)

// asker asks masters on other nodes. Safe for concurrent use.
type asker struct {
	peers   *peers
	routes  *routes
	serves  []atomic.Bool // which slots this node serves
	observe func(time uint64) error
	timeout time.Duration // of an answer
	next    atomic.Uint64
	wake    chan struct{}
	parts   assemblies

	mu      sync.Mutex
	pending map[uint64]*question
}

// question is what a master is asked.
type question struct {
	id   uint64
	slot uint16
	data []byte
	// member is who is asked; empty = any master of the slot.
	member string
	// direct asks one certain master of the slot, always the same as long as it serves: so that what one is asked keeps its order.
	direct bool
	// replica is a node that is asked first: it holds the key, which is hot, beside the masters, or has taken a write to it. Guarded
	// by asker.mu.
	replica string
	// lead asks the master of the slot who leads.
	lead bool
	// once says that it must not be asked again when it may have been heard.
	once bool
	done func(*pb.Answer, error)

	attempts int
	deadline time.Time
	asked    time.Time
	again    time.Time // when it is asked again because it was not heard; zero while it may have been
	reason   string
}

// ask puts a question. Done is called once, on any goroutine, and must not block.
func (a *asker) ask(q *question, ask *pb.Ask) {
	data, err := proto.Marshal(ask)
	if err != nil {
		q.done(nil, fmt.Errorf("encode a question to another node: %w", err))
		return
	}
	q.id, q.data = a.next.Add(1), data
	now := time.Now()
	q.deadline = now.Add(a.timeout)
	a.mu.Lock()
	if len(a.pending) >= questionsMax {
		a.mu.Unlock()
		q.done(nil, wire.Errorf(pb.Code_CODE_NO_RESOURCES, "%d questions to other nodes are not answered, the limit; try again", questionsMax))
		return
	}
	a.pending[q.id] = q
	first := len(a.pending) == 1
	q.asked = now
	a.mu.Unlock()
	if first {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
	a.send(q)
}

// send sends a question. A small one goes to whichever master of the slot the bus finds, a large one to one that is known.
func (a *asker) send(q *question) {
	answer := a.peers.nodeSubject(a.peers.self, "answer") + "." + strconv.FormatUint(q.id, 36)
	subject := a.peers.slotSubject(q.slot)
	member := q.member
	if replica := a.replica(q); replica != "" {
		member = replica
	}
	if q.lead {
		if member = a.routes.leaderOf(q.slot); member == "" {
			a.later(q, "no node leads its slot")
			return
		}
	}
	if member == "" && (q.direct || len(q.data) > partBytes) {
		if member = a.routes.masterOf(q.slot, q.attempts); member == "" && a.serves[q.slot].Load() {
			member = a.peers.self // it has become the only one since this was asked
		}
		if member == "" {
			a.later(q, "no node serves its slot")
			return
		}
	}
	if member != "" {
		subject = a.peers.nodeSubject(member, "ask")
	}
	if err := a.peers.sendEncoded(subject, answer, q.id, q.data); err != nil {
		a.later(q, err.Error())
	}
}

func (a *asker) replica(q *question) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return q.replica
}

// turn asks the masters instead of a replica, and reports whether it was one that was asked.
func (a *asker) turn(q *question) bool {
	a.mu.Lock()
	was := q.replica != ""
	q.replica = ""
	a.mu.Unlock()
	if was {
		a.send(q)
	}
	return was
}

// later asks again after a pause: the question has not been heard.
func (a *asker) later(q *question, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q.again, q.reason = time.Now().Add(askRetry), reason
	q.attempts++
}

// answered takes a message that is an answer, or a part of one.
func (a *asker) answered(m *nats.Msg) {
	at := strings.LastIndexByte(m.Subject, '.')
	id, err := strconv.ParseUint(m.Subject[at+1:], 36, 64)
	if err != nil {
		return
	}
	a.mu.Lock()
	q := a.pending[id]
	a.mu.Unlock()
	if q == nil {
		return
	}
	if m.Header.Get("Status") == "503" {
		if a.turn(q) {
			return
		}
		if q.member != "" {
			a.finish(q, nil, errMoved) // it is gone
			return
		}
		a.later(q, "no node serves its slot")
		return
	}
	answer := new(pb.Answer)
	_, complete, err := a.parts.decode(m.Subject, m.Data, answer, time.Now())
	switch {
	case !complete:
		return // a part that is malformed, or comes twice, leaves the question open
	case err != nil:
		a.finish(q, nil, fmt.Errorf("an answer of another node cannot be decoded: %w", err))
		return
	}
	_ = a.observe(answer.GetTime()) // one that is too far ahead is not followed
	switch {
	case answer.GetMoved() && a.turn(q):
	case answer.GetMoved() && q.member == "":
		a.later(q, "its slot is moving")
	case answer.GetMoved():
		a.finish(q, nil, errMoved)
	case answer.GetChanged():
		a.finish(q, nil, errChanged)
	case answer.GetBehind():
		a.finish(q, answer, errBehind) // who says so is asked again
	case answer.GetError() != nil:
		a.finish(q, nil, &wire.Error{Code: answer.GetError().GetCode(), Message: answer.GetError().GetMessage()})
	default:
		a.finish(q, answer, nil)
	}
}

func (a *asker) finish(q *question, answer *pb.Answer, err error) {
	a.mu.Lock()
	_, open := a.pending[q.id]
	delete(a.pending, q.id)
	a.mu.Unlock()
	if open {
		q.done(answer, err)
	}
}

// run asks again what was not heard, and gives up on what is not answered in time.
func (a *asker) run(ctx context.Context) {
	ticker := time.NewTicker(askRetry)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			a.endAll()
			return
		case <-a.wake:
		}
		for a.look(time.Now()) {
			select {
			case <-ctx.Done():
				a.endAll()
				return
			case <-ticker.C:
			}
		}
	}
}

// look reports whether questions are left.
func (a *asker) look(now time.Time) bool {
	var again, over []*question
	a.mu.Lock()
	for _, q := range a.pending {
		switch {
		case now.After(q.deadline):
			over = append(over, q)
		case !q.again.IsZero() && now.After(q.again), q.again.IsZero() && !q.once && now.Sub(q.asked) > askRepeat:
			q.again, q.asked, q.replica = time.Time{}, now, ""
			again = append(again, q)
		}
	}
	a.mu.Unlock()
	for _, q := range again {
		a.send(q)
	}
	for _, q := range over {
		reason := q.reason
		if reason == "" {
			reason = "there is no answer"
		}
		a.finish(q, nil, wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the store's nodes did not answer in time: %s; it may have happened all the same", reason))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.pending) > 0 // others may have come meanwhile
}

func (a *asker) endAll() {
	a.mu.Lock()
	var all []*question
	for _, q := range a.pending {
		all = append(all, q)
	}
	a.mu.Unlock()
	for _, q := range all {
		a.finish(q, nil, errStopping)
	}
}
