package executor

import (
	"cmp"
	"slices"

	"cloudburst/wire"
)

// queue holds the invocations that wait for a worker, and says which one goes next. Its clients are served in turn. Of the invocations of
// one client those of a higher priority go first; of these the ones that are nested deeper, since functions that run wait for them; and
// of these the ones that came first. An invocation that comes back to the queue gets its old place.
//
// To push, to pop and to remove take constant time, but for a binary search among the priorities and depths of one client. The zero
// value is empty. Guarded by Executor.mu.
type queue struct {
	count   int
	clients map[uint64]*clientQueue
	turn    *clientQueue // the client that is served next; nil when the queue is empty
	spare   *clientQueue // of a client that has left, for the next one that comes
	runs    map[wire.RunID]*invocation
}

// clientQueue holds the invocations of one client: the levels that go first stand first. The clients are a ring.
type clientQueue struct {
	client         uint64
	previous, next *clientQueue
	levels         []level
}

// level holds the invocations of one client with the same priority and depth, in the order of their places.
type level struct {
	priority    int32
	depth       int
	first, last *invocation
}

// compare is negative when the invocations of the level go before this one, positive when they go after it.
func (l level) compare(t *invocation) int {
	return cmp.Or(cmp.Compare(t.inv.Priority, l.priority), cmp.Compare(t.inv.Depth, l.depth))
}

// push adds an invocation that has its place.
func (q *queue) push(t *invocation) {
	q.clientOf(t).insert(t)
	q.count++
	if q.runs == nil {
		q.runs = make(map[wire.RunID]*invocation)
	}
	t.sameRun = q.runs[t.inv.RunID]
	q.runs[t.inv.RunID] = t
}

// first returns the invocation that goes next; nil when the queue is empty.
func (q *queue) first() *invocation {
	if q.turn == nil {
		return nil
	}
	return q.turn.levels[0].first
}

// pop takes the invocation that goes next out of the queue; after it, it is the next client's turn.
func (q *queue) pop() *invocation {
	t := q.first()
	if t == nil {
		return nil
	}
	served := q.turn
	q.remove(t)
	if q.turn == served {
		q.turn = served.next
	}
	return t
}

// remove takes an invocation out of the queue, in which it is, wherever it stands.
func (q *queue) remove(t *invocation) {
	c := q.clientOf(t)
	if c.remove(t); len(c.levels) == 0 {
		q.leave(c)
	}
	q.count--
	q.unlink(t)
}

// unlink takes an invocation out of the index by runs.
func (q *queue) unlink(t *invocation) {
	head := q.runs[t.inv.RunID]
	switch {
	case head == t && t.sameRun == nil:
		delete(q.runs, t.inv.RunID)
	case head == t:
		q.runs[t.inv.RunID] = t.sameRun
	default:
		for head.sameRun != t {
			head = head.sameRun
		}
		head.sameRun = t.sameRun
	}
	t.sameRun = nil
}

// oldest returns the invocation that has waited longest; nil when the queue is empty.
func (q *queue) oldest() *invocation {
	var oldest *invocation
	for _, c := range q.clients {
		for _, l := range c.levels {
			if oldest == nil || l.first.queued.Before(oldest.queued) {
				oldest = l.first
			}
		}
	}
	return oldest
}

// takeIf removes and returns the invocations that match, in no order that means something.
func (q *queue) takeIf(match func(*invocation) bool) []*invocation {
	var taken []*invocation
	q.each(func(t *invocation) bool {
		if match(t) {
			taken = append(taken, t)
		}
		return true
	})
	for _, t := range taken {
		q.remove(t)
	}
	return taken
}

// takeRun removes and returns the invocations of a run.
func (q *queue) takeRun(run wire.RunID) []*invocation {
	var taken []*invocation
	for t := q.runs[run]; t != nil; t = q.runs[run] {
		q.remove(t)
		taken = append(taken, t)
	}
	return taken
}

// each calls visit for every invocation until it returns false.
func (q *queue) each(visit func(*invocation) bool) {
	for _, c := range q.clients {
		for _, l := range c.levels {
			for t := l.first; t != nil; t = t.next {
				if !visit(t) {
					return
				}
			}
		}
	}
}

// clientOf returns the queue of an invocation's client. A client that had none is served after all others.
func (q *queue) clientOf(t *invocation) *clientQueue {
	if q.turn != nil && q.turn.client == t.inv.Client {
		return q.turn
	}
	if c := q.clients[t.inv.Client]; c != nil {
		return c
	}
	c := q.spare
	if q.spare = nil; c == nil {
		c = new(clientQueue)
	}
	c.client = t.inv.Client
	if q.turn == nil {
		c.previous, c.next = c, c
		q.turn = c
	} else {
		c.previous, c.next = q.turn.previous, q.turn
		c.previous.next, c.next.previous = c, c
	}
	if q.clients == nil {
		q.clients = make(map[uint64]*clientQueue)
	}
	q.clients[c.client] = c
	return c
}

// leave takes a client without invocations out of the ring.
func (q *queue) leave(c *clientQueue) {
	delete(q.clients, c.client)
	if q.turn == c {
		q.turn = c.next
	}
	if q.turn == c {
		q.turn = nil
	}
	c.previous.next, c.next.previous = c.next, c.previous
	c.previous, c.next = nil, nil
	q.spare = c
}

func (c *clientQueue) insert(t *invocation) {
	at, found := slices.BinarySearchFunc(c.levels, t, level.compare)
	if !found {
		c.levels = slices.Insert(c.levels, at, level{priority: t.inv.Priority, depth: t.inv.Depth, first: t, last: t})
		return
	}
	l := &c.levels[at]
	if l.last.place < t.place {
		t.previous = l.last
		l.last.next, l.last = t, t
		return
	}
	// It has been taken out before, so that those before it are others that have come back.
	after := l.first
	for after.place < t.place {
		after = after.next
	}
	t.previous, t.next = after.previous, after
	if after.previous = t; t.previous == nil {
		l.first = t
	} else {
		t.previous.next = t
	}
}

func (c *clientQueue) remove(t *invocation) {
	at, _ := slices.BinarySearchFunc(c.levels, t, level.compare)
	l := &c.levels[at]
	if t.previous == nil {
		l.first = t.next
	} else {
		t.previous.next = t.next
	}
	if t.next == nil {
		l.last = t.previous
	} else {
		t.next.previous = t.previous
	}
	t.previous, t.next = nil, nil
	if l.first == nil {
		c.levels = slices.Delete(c.levels, at, at+1)
	}
}
