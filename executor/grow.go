package executor

import (
	"runtime"
	"time"
)

const (
	// growAtOnce is how many workers are started at once when all are blocked, so that many functions that sleep soon run side by side.
	growAtOnce = 8
	// spinnersExtra is how many workers are added soon, beyond one per core, while all of these use the CPU and no invocation
	// ends: a function may spin until another one has run. Further ones are added after longer and longer pauses.
	spinnersExtra = 2
	// spinnersFactor is how much longer than for blocked workers it takes until such a worker is added.
	spinnersFactor = 10
	// stuckPause is after how long another one is added to these, the first time; then the pause doubles.
	stuckPause = 10 * time.Second
	// windowFactor is how much longer than Config.GrowAfter a worker is measured before it counts as blocked.
	windowFactor = 2
	// shortTurn is how long a thread runs at a time that goes to sleep by itself: on average in a window with at least shortTurnsMin turns.
	shortTurn     = 250 * time.Microsecond
	shortTurnsMin = 4
	// measureShare bounds what the node spends to look at its workers: one part of so many of its time on one core.
	measureShare = 20
)

// pool is what the growth of the shared lane depends on.
type pool struct {
	waiting int           // invocations that a worker could start
	size    int           // workers that are up
	blocked int           // workers that are known not to use the CPU
	polling int           // of the others, workers that go to sleep all the time
	cores   int           // how many workers are to use it
	room    int           // how many workers may be added
	still   time.Duration // for how long no invocation has ended and no worker has been added
	after   time.Duration // Config.GrowAfter
}

// growth returns how many workers to add: as many as there are blocked ones that are not made up for yet. When nearly all are blocked,
// it is as many as these up to growAtOnce, since those that start now are likely to block as well.
func (p pool) growth() int {
	active := p.size - p.blocked
	wanted := 0
	switch {
	case active < p.cores:
		wanted = max(p.cores-active, min(p.blocked, growAtOnce))
	case p.still >= p.patience(active-p.cores):
		wanted = 1
	}
	return max(0, min(wanted, p.waiting, p.room))
}

// patience returns how long workers that use the CPU may go on without an end before another one is added to extra ones. Functions that
// poll are likely to wait for one that waits here.
func (p pool) patience(extra int) time.Duration {
	if extra < spinnersExtra || p.polling > 0 {
		return spinnersFactor * p.after
	}
	return stuckPause << min(extra-spinnersExtra, 20)
}

// observer measures which workers are blocked, as long as invocations wait. Owned by the loop over deadlines.
type observer struct {
	since    time.Time // when it was first seen that an invocation waits; zero when none does
	looks    map[*worker]look
	next     time.Time // when the workers are looked at again
	finished uint64    // invocations that had ended at the last look
	progress time.Time // when the last one ended, or a worker was added
	blocked  int       // workers that are blocked
	polling  int       // workers that are not, but go to sleep all the time
	waiting  int       // of the blocked ones, those whose functions wait for runs
}

// look is what has been seen of a worker that runs something.
type look struct {
	invocation uint64 // id of its Invoke frame
	used       usage
	at         time.Time // when that was; zero: it has not been measured
	blocked    bool
	polling    bool
}

// judge says what a worker has done in a window. What its process still waits for does not count in the usage, so a process that is ready is
// not blocked, unless it gets its turns.
func (k *look) judge(window time.Duration, in usage, ready func() bool) {
	turns := in.turns >= shortTurnsMin && in.ran < time.Duration(in.turns)*shortTurn
	k.blocked = in.ran >= 0 && in.ran+in.waited < window/2 && (turns || !ready())
	k.polling = !k.blocked && turns
}

// observed is a worker to look at.
type observed struct {
	w          *worker
	invocation uint64
	process    kernelView
	waits      bool // its function has said that it waits for runs
}

// kernelView is what the kernel says of a process.
type kernelView interface {
	used() (usage, error)
	ready() bool
}

// grow adds workers to the shared lane when invocations have waited for Config.GrowAfter and workers are blocked.
func (e *Executor) grow(now time.Time) {
	o := &e.observer
	e.mu.Lock()
	if e.shared.first() == nil {
		o.since = time.Time{}
		clear(o.looks)
		e.mu.Unlock()
		return
	}
	if o.since.IsZero() {
		o.since, o.progress, o.blocked, o.waiting = now, now, 0, 0
	}
	if finished := e.stats.finished.Load(); finished != o.finished {
		o.finished, o.progress = finished, now
	}
	var workers []observed
	mayWait := 0
	if len(e.waits.of) > 0 {
		mayWait = e.cfg.WorkersSpare
	}
	if e.room(mayWait) > 0 && !now.Before(o.next) {
		workers = e.observed()
	}
	e.mu.Unlock()
	if workers == nil {
		return
	}
	o.measure(workers, now, windowFactor*e.cfg.GrowAfter)
	if now.Sub(o.since) >= e.cfg.GrowAfter {
		e.add(now)
	}
}

// observed returns the workers of the shared lane that run something. e.mu is held.
func (e *Executor) observed() []observed {
	workers := make([]observed, 0, e.shared.size)
	for _, w := range e.workers {
		if w.lane != e.shared || w.pid == 0 || !w.busy() {
			continue
		}
		if s := w.last(); s.id.Load() != 0 {
			workers = append(workers, observed{w, s.id.Load(), process{w.pid, w.conn}, len(s.waits) > 0})
		}
	}
	return workers
}

// room returns how many workers may be added to the shared lane while the functions of so many wait for runs. e.mu is held.
func (e *Executor) room(waiting int) int {
	return e.cfg.WorkersMax + min(waiting, e.cfg.WorkersSpare) - e.shared.size
}

// measure counts the workers that are blocked: those that have run the same invocation for a window, in which their threads neither
// ran nor waited for a core for half of the time.
func (o *observer) measure(workers []observed, now time.Time, window time.Duration) {
	began := time.Now()
	looks := make(map[*worker]look, len(workers))
	o.blocked, o.polling, o.waiting = 0, 0, 0
	for _, w := range workers {
		seen, ok := o.looks[w.w]
		switch {
		case !ok || seen.invocation != w.invocation:
			seen = look{invocation: w.invocation} // most invocations have ended before the next look, so nothing is measured yet
		case seen.at.IsZero() || now.Sub(seen.at) >= window:
			used, err := w.process.used()
			if err != nil {
				continue // its process has ended
			}
			if !seen.at.IsZero() {
				seen.judge(now.Sub(seen.at), used.since(seen.used), w.process.ready)
			}
			seen.used, seen.at = used, now
		}
		looks[w.w] = seen
		if seen.blocked {
			o.blocked++
			if w.waits {
				o.waiting++
			}
		}
		if seen.polling {
			o.polling++
		}
	}
	o.looks = looks
	o.next = now.Add(measureShare * time.Since(began))
}

// add starts the workers that the pool lacks, and gives them what waits.
func (e *Executor) add(now time.Time) {
	e.mu.Lock()
	l, o := e.shared, &e.observer
	p := pool{
		waiting: l.queue.count, size: l.size, blocked: o.blocked, polling: o.polling, cores: max(l.keep, runtime.NumCPU()),
		room: e.room(o.waiting), still: now.Sub(o.progress), after: e.cfg.GrowAfter,
	}
	e.saturation.cores = p.room > 0 && p.size-p.blocked >= p.cores
	added := 0
	for range p.growth() {
		w, err := e.spawn(l)
		if err != nil {
			break
		}
		l.putIdle(w)
		o.progress = now
		added++
	}
	e.mu.Unlock()
	if added > 0 {
		e.serve(l)
	}
}
