package executor

import (
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// lane is a set of workers that serve one queue. Stateless functions share one lane that grows and shrinks; a class has a
// lane of one worker to itself, in which its instance lives. Guarded by Executor.mu.
type lane struct {
	keep     int // workers that are there even without work
	floor    int // workers that are started at once when an invocation finds none idle; beyond it the loop over deadlines decides
	queueMax int
	size     int
	retired  bool // ends with its queue
	class    functionKey

	idle  []*worker     // most recently used last: it is the warmest
	queue []*invocation // ring
	head  int
	count int
}

const queueInitial = 64

func newLane(queueMax int) *lane {
	return &lane{queueMax: queueMax, queue: make([]*invocation, queueInitial)}
}

func (l *lane) takeIdle() *worker {
	n := len(l.idle)
	if n == 0 {
		return nil
	}
	w := l.idle[n-1]
	l.idle[n-1] = nil
	l.idle = l.idle[:n-1]
	return w
}

func (l *lane) putIdle(w *worker) { l.idle = append(l.idle, w) }

// remove takes a worker out of the lane.
func (l *lane) remove(w *worker) {
	for i, other := range l.idle {
		if other == w {
			l.idle = append(l.idle[:i], l.idle[i+1:]...)
			break
		}
	}
	l.size--
}

func (l *lane) waiting() int { return l.count }

func (l *lane) oldest() *invocation {
	if l.count == 0 {
		return nil
	}
	return l.queue[l.head]
}

// push appends an invocation to the queue; an invocation that runs again goes to its front. It reports false when the queue is full.
func (l *lane) push(t *invocation) bool {
	if l.count >= l.queueMax && t.attempt == 1 {
		return false
	}
	if l.count == len(l.queue) {
		grown := make([]*invocation, 2*len(l.queue))
		for i := range l.count {
			grown[i] = l.queue[(l.head+i)%len(l.queue)]
		}
		l.queue, l.head = grown, 0
	}
	if t.attempt > 1 {
		l.head = (l.head - 1 + len(l.queue)) % len(l.queue)
		l.queue[l.head] = t
	} else {
		l.queue[(l.head+l.count)%len(l.queue)] = t
	}
	l.count++
	return true
}

func (l *lane) pop() *invocation {
	if l.count == 0 {
		return nil
	}
	t := l.queue[l.head]
	l.queue[l.head] = nil
	l.head = (l.head + 1) % len(l.queue)
	l.count--
	return t
}

// takeIf removes and returns the invocations that match.
func (l *lane) takeIf(match func(*invocation) bool) []*invocation {
	var taken []*invocation
	kept := 0
	for i := range l.count {
		at := (l.head + i) % len(l.queue)
		t := l.queue[at]
		l.queue[at] = nil
		if match(t) {
			taken = append(taken, t)
			continue
		}
		l.queue[(l.head+kept)%len(l.queue)] = t
		kept++
	}
	l.count = kept
	return taken
}

// lanes calls f for every lane. e.mu is held.
func (e *Executor) lanes(f func(*lane)) {
	f(e.shared)
	for _, l := range e.classes {
		f(l)
	}
}

// laneOf returns the lane that runs an invocation. A newer version of a class retires the lanes of those before. e.mu is held.
func (e *Executor) laneOf(t *invocation) (*lane, *wire.Error) {
	f := t.inv.Steps[0].Function
	if f.GetConvention() != pb.Convention_CONVENTION_CLASS {
		return e.shared, nil
	}
	key := keyOf(f)
	if l := e.classes[key]; l != nil {
		return l, nil
	}
	for other, l := range e.classes {
		if other.name == key.name && other.version < key.version {
			e.retire(l)
		}
	}
	if len(e.classes) >= classesMax {
		return nil, wire.Errorf(pb.Code_CODE_NO_RESOURCES, "run %s: %d classes have an instance already, the limit; delete one that is not used (cloudburst fn rm NAME)", t.names(), classesMax)
	}
	l := newLane(e.cfg.QueueMax)
	l.floor = 1
	l.class = key
	e.classes[key] = l
	return l, nil
}

// retire ends a class's lane once it has nothing more to do. e.mu is held.
func (e *Executor) retire(l *lane) {
	l.retired = true
	if l.waiting() > 0 {
		return // its worker comes here again with the end of the queue
	}
	e.forget(l)
	for w := l.takeIdle(); w != nil; w = l.takeIdle() {
		w.retire()
	}
}

// forget makes a class's lane take no more invocations: the next one builds another instance. e.mu is held.
func (e *Executor) forget(l *lane) {
	if e.classes[l.class] == l {
		delete(e.classes, l.class)
	}
}
