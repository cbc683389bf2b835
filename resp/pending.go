package resp

import (
	"sync/atomic"

	"cloudburst/lattice"
)

// pending is a command that is not finished: what it has asked of the store is under way, and the replies of later commands
// wait behind its own, for the replies of a connection come in the order of its commands. Owned by the loop of its
// connection, but for Complete.
type pending struct {
	conn *conn
	left atomic.Int32 // what is under way, and one more until everything has been begun
	sum  atomic.Int64 // of the values that came back
	err  atomic.Pointer[error]

	known bool // everything has come back
	halts bool // no later command of the connection begins before
	again bool // has no reply of its own: the command is carried out again
	// answer makes the reply; nil when it is in body.
	answer func(w *reply, p *pending)
	change change
	body   reply
	after  reply // of later commands
}

const (
	// pendingKeepMax bounds the buffers that an unused pending keeps, membersKeepMax the members that it has room for,
	// pendingsKeepMax the unused pendings of a loop.
	pendingKeepMax  = 4 << 10
	membersKeepMax  = 64
	pendingsKeepMax = 4096
)

// Complete takes one thing that was under way, from any goroutine. It does not block. Of several the values are added up,
// and the first error counts.
func (p *pending) Complete(value int64, err error) {
	if value != 0 {
		p.sum.Add(value)
	}
	if err != nil {
		first := err // err itself would be allocated every time
		p.err.CompareAndSwap(nil, &first)
	}
	if p.left.Add(-1) == 0 {
		p.conn.loop.inbox.complete(p)
	}
}

// Make implements anna.Maker.
func (p *pending) Make(held *lattice.State, stamp lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	return p.change.make(&p.change, held, stamp, nowMillis)
}

func (p *pending) failure() error {
	if err := p.err.Load(); err != nil {
		return *err
	}
	return nil
}

// write puts the reply into w.
func (p *pending) write(w *reply) {
	switch err := p.failure(); {
	case err != nil:
		w.error(errorText(err))
	case p.answer != nil:
		p.answer(w, p)
	default:
		w.buf = append(w.buf, p.body.buf...)
	}
}

// release gives p back to the loop, which uses it again.
func (p *pending) release(l *loop) {
	if len(l.pendings) >= pendingsKeepMax || cap(p.body.buf) > pendingKeepMax || cap(p.after.buf) > pendingKeepMax {
		return
	}
	p.conn, p.answer = nil, nil
	p.change.reset()
	p.known, p.halts, p.again = false, false, false
	p.sum.Store(0)
	p.err.Store(nil)
	p.body.buf, p.after.buf = p.body.buf[:0], p.after.buf[:0]
	l.pendings = append(l.pendings, p)
}

// replies is a queue, first in first out.
type replies struct {
	ring []*pending // a power of two
	head int
	n    int
}

func (q *replies) push(p *pending) {
	if q.n == len(q.ring) {
		grown := make([]*pending, max(16, 2*len(q.ring)))
		k := copy(grown, q.ring[q.head:])
		copy(grown[k:], q.ring[:q.head])
		q.ring, q.head = grown, 0
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = p
	q.n++
}

func (q *replies) front() *pending {
	if q.n == 0 {
		return nil
	}
	return q.ring[q.head]
}

func (q *replies) pop() {
	q.ring[q.head] = nil
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
}
