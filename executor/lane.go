package executor

import (
	"slices"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// lane is a set of workers that serve one queue. Stateless functions share one lane that grows and shrinks; a class has a
// lane of one worker to itself, in which its instance lives, and a coroutine function a lane whose workers run many invocations of it at
// once. Guarded by Executor.mu.
type lane struct {
	keep      int // workers that are there even without work
	floor     int // workers that are started at once when an invocation finds none idle; beyond it the loop over deadlines decides
	queueMax  int
	perWorker int // invocations that one worker runs at once
	size      int
	retired   bool // ends with its queue
	class     functionKey

	idle   []*worker // most recently used last: it is the warmest
	queue  queue     // of the invocations that a worker can start
	places uint64    // in the queue, that have been given away
	again  uint64    // … to invocations that run again: all of these are before the others
	limits map[string]*limit
	parked int // invocations that wait until others of their function have ended
}

// limit bounds how many invocations of one function run at once. The others that have come to the front of the queue are parked here, so
// that they do not hold up other functions.
type limit struct {
	running int
	parked  queue
}

// placesAgain is more than there will be invocations that run again.
const placesAgain = 1 << 48

func newLane(queueMax int) *lane { return &lane{queueMax: queueMax, perWorker: 1} }

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

func (l *lane) putIdle(w *worker) {
	if l.shares() && slices.Contains(l.idle, w) {
		return // it had room before
	}
	l.idle = append(l.idle, w)
}

// remove takes a worker out of the lane.
func (l *lane) remove(w *worker) {
	l.unidle(w)
	l.size--
}

// unidle makes a worker be given nothing more.
func (l *lane) unidle(w *worker) {
	if at := slices.Index(l.idle, w); at >= 0 {
		l.idle = slices.Delete(l.idle, at, at+1)
	}
}

// waiting returns how many invocations have not started.
func (l *lane) waiting() int { return l.queue.count + l.parked }

// push lets an invocation wait for a worker. It reports false when the queue is full, which it is not for an invocation that runs again.
func (l *lane) push(t *invocation) bool {
	if l.waiting() >= l.queueMax && !t.inv.Again {
		return false
	}
	l.putBack(t)
	return true
}

func (l *lane) placed(t *invocation) *invocation {
	switch {
	case t.place != 0:
	case t.inv.Again:
		l.again++
		t.place = l.again
	default:
		l.places++
		t.place = placesAgain + l.places
	}
	return t
}

// first returns the invocation that goes next, or nil when none can start. Those that their functions' limits hold up are parked.
func (l *lane) first() *invocation {
	for {
		t := l.queue.first()
		if t == nil || l.admits(t) {
			return t
		}
		l.queue.remove(t)
		l.park(t)
	}
}

// pop takes the invocation that goes next, and lets it start.
func (l *lane) pop() *invocation {
	t := l.first()
	if t != nil {
		l.queue.pop()
		l.enter(t)
	}
	return t
}

// claim takes an invocation of a run out of the queue for a worker that waits for it, and lets it start: nil when none waits
// here that may be nested, or their functions' limits hold them up.
func (l *lane) claim(run wire.RunID) *invocation {
	for t := l.queue.runs[run]; t != nil; t = t.sameRun {
		if t.nests() && l.admits(t) {
			l.queue.remove(t)
			l.enter(t)
			return t
		}
	}
	return nil
}

// putBack lets an invocation wait in its old place that was given to a worker and has not begun, however full the queue is.
func (l *lane) putBack(t *invocation) {
	t.since = time.Now()
	l.queue.push(l.placed(t))
}

// each calls visit for every invocation that waits, until it returns false.
func (l *lane) each(visit func(*invocation) bool) {
	l.queue.each(visit)
	for _, limit := range l.limits {
		limit.parked.each(visit)
	}
}

// find returns an invocation of a run that waits here, or nil.
func (l *lane) find(run wire.RunID) *invocation {
	if t := l.queue.runs[run]; t != nil {
		return t
	}
	for _, limit := range l.limits {
		if t := limit.parked.runs[run]; t != nil {
			return t
		}
	}
	return nil
}

// takeIf removes and returns the invocations that match. Others that are let start by that are served with the next end of an invocation, or
// by Executor.serve.
func (l *lane) takeIf(match func(*invocation) bool) []*invocation {
	return l.take(func(q *queue) []*invocation { return q.takeIf(match) })
}

// takeRun removes and returns the invocations of a run, as takeIf does.
func (l *lane) takeRun(run wire.RunID) []*invocation {
	return l.take(func(q *queue) []*invocation { return q.takeRun(run) })
}

func (l *lane) take(from func(*queue) []*invocation) []*invocation {
	taken := from(&l.queue)
	queued := len(taken)
	for _, limit := range l.limits {
		parked := from(&limit.parked)
		l.parked -= len(parked)
		taken = append(taken, parked...)
	}
	for _, t := range taken[:queued] {
		l.unpark(t) // in its stead
	}
	for name, limit := range l.limits {
		l.drop(name, limit)
	}
	return taken
}

// admits reports whether the limit of an invocation's function lets it start.
func (l *lane) admits(t *invocation) bool {
	f := t.limited()
	if f == nil {
		return true
	}
	limit := l.limits[f.GetName()]
	return limit == nil || limit.running < int(f.GetConcurrency())
}

// park lets an invocation wait until another one of its function has ended.
func (l *lane) park(t *invocation) {
	l.limitOf(t.limited()).parked.push(l.placed(t))
	l.parked++
}

// enter counts an invocation that starts.
func (l *lane) enter(t *invocation) {
	if f := t.limited(); f != nil {
		l.limitOf(f).running++
	}
}

// exit counts an invocation that started and runs no more: one that was parked for it goes back to the queue.
func (l *lane) exit(t *invocation) {
	if f := t.limited(); f != nil {
		l.limits[f.GetName()].running--
		l.unpark(t)
		l.drop(f.GetName(), l.limits[f.GetName()])
	}
}

// unpark lets an invocation go back to the queue that was parked because of another one. It is parked again when it cannot start yet.
func (l *lane) unpark(other *invocation) {
	f := other.limited()
	if f == nil || l.limits[f.GetName()] == nil {
		return
	}
	if next := l.limits[f.GetName()].parked.pop(); next != nil {
		l.parked--
		l.queue.push(next)
	}
}

func (l *lane) limitOf(f *pb.Function) *limit {
	if l.limits == nil {
		l.limits = make(map[string]*limit)
	}
	if l.limits[f.GetName()] == nil {
		l.limits[f.GetName()] = new(limit)
	}
	return l.limits[f.GetName()]
}

// drop forgets a limit that holds up nothing.
func (l *lane) drop(name string, limit *limit) {
	if limit.running == 0 && limit.parked.count == 0 {
		delete(l.limits, name)
	}
}

// lanes calls f for every lane. e.mu is held.
func (e *Executor) lanes(f func(*lane)) {
	f(e.shared)
	for _, l := range e.classes {
		f(l)
	}
}

// laneOf returns the lane that runs an invocation. The lanes of earlier versions of a class stay while they are called: shrink ends
// them. When there is no room for another lane, those that are idle end at once. e.mu is held.
func (e *Executor) laneOf(t *invocation) (*lane, *wire.Error) {
	f := t.inv.Steps[0].Function
	concurrent := t.concurrent()
	if !concurrent && f.GetConvention() != pb.Convention_CONVENTION_CLASS {
		return e.shared, nil
	}
	key := keyOf(f)
	if l := e.classes[key]; l != nil {
		return l, nil
	}
	if len(e.classes) >= classesMax {
		for other, l := range e.classes {
			if other.name == key.name && other.version < key.version {
				e.retire(l)
			}
		}
	}
	if len(e.classes) >= classesMax && concurrent {
		return e.shared, nil // where they run one at a time in each worker
	}
	if len(e.classes) >= classesMax {
		return nil, wire.Errorf(pb.Code_CODE_NO_RESOURCES, "run %s: %d classes have an instance already, the limit; delete one that is not used (cloudburst fn rm NAME)", t.names(), classesMax)
	}
	l := newLane(e.cfg.QueueMax)
	l.floor = 1
	l.class = key
	if concurrent {
		l.perWorker = max(coroutinesMax, int(f.GetConcurrency()))
	}
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
		if !w.busy() { // else it comes here again with the end of what it runs
			w.retire()
		}
	}
}

// forget makes a class's lane take no more invocations: the next one builds another instance. e.mu is held.
func (e *Executor) forget(l *lane) {
	if e.classes[l.class] == l {
		delete(e.classes, l.class)
	}
}
