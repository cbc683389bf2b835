// Package executor runs functions: it owns the Python workers of a node and hands them invocations.
//
// An invocation is answered exactly once. No goroutine stands between the reading of a worker's answer and what is done
// with it: the goroutine that reads a worker's socket calls Invocation.Done.
package executor

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"cloudburst/printed"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Executor runs the functions of one node. Safe for concurrent use.
type Executor struct {
	cfg       Config
	store     Store
	functions Functions
	stats     counters
	printed   *printed.Store
	pipesUsed atomic.Bool // functions of this node write past Python's own streams, so the pipes are looked at after each invocation
	ready     chan struct{}
	python    atomic.Pointer[zygoteNotice] // what the zygote has said of its Python
	life      context.Context              // of everything that waits for an invocation or a worker; ends with Run
	endLife   context.CancelFunc

	mu      sync.Mutex
	clients *connections // nil before Run
	zygote  *zygote      // nil while there is none: before Run, and between the end of one and the start of the next
	stopped bool
	shared  *lane // stateless functions
	classes map[functionKey]*lane
	waits   waits
	workers map[uint64]*worker
	leaving map[uint64]*worker // ended, and waiting for the zygote's word on how
	numbers uint64
	// resolving has what ends the wait of invocations for their references.
	resolving map[*wire.Trace]func()

	// goroutines of workers and invocations; added to only while not stopped.
	goroutines sync.WaitGroup

	observer   observer
	saturation saturation
	spawnAfter time.Time // no worker is started before, because those before ended at once
	spawnFails int
	ticking    atomic.Bool
	wake       chan struct{}
}

// New returns an executor; it does nothing before Run.
func New(cfg Config, store Store, functions Functions) (*Executor, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	return &Executor{
		cfg:       cfg,
		store:     store,
		functions: functions,
		printed:   printed.New(printed.Config{Bytes: cfg.LogBytes, Origin: cfg.Origin}),
		ready:     make(chan struct{}),
		life:      life,
		endLife:   end,
		shared:    newLane(cfg.QueueMax),
		classes:   make(map[functionKey]*lane),
		waits:     newWaits(),
		workers:   make(map[uint64]*worker),
		leaving:   make(map[uint64]*worker),
		resolving: make(map[*wire.Trace]func()),
		wake:      make(chan struct{}, 1),
	}, nil
}

// Ready is closed once functions can run.
func (e *Executor) Ready() <-chan struct{} { return e.ready }

// PythonVersion returns the minor version of the workers, such as "3.11"; empty before Ready.
func (e *Executor) PythonVersion() string {
	if python := e.python.Load(); python != nil {
		return python.Python
	}
	return ""
}

// PythonPath returns the directories, besides Python's own, from which the workers import modules; nil before Ready.
func (e *Executor) PythonPath() []string {
	if python := e.python.Load(); python != nil {
		return python.Path
	}
	return nil
}

// Invoke runs an invocation and calls its Done. A class must be an invocation of its own, since its instance lives in one
// worker; an invocation of several steps with a class among them is refused.
func (e *Executor) Invoke(inv *wire.Invocation) {
	t := &invocation{inv: inv, queued: time.Now(), limit: e.timeout(inv)}
	if inv.Trace == nil {
		inv.Trace = new(wire.Trace)
	}
	inv.Trace.Queue(t.queued)
	err := t.check()
	if err == nil && inv.Depth > e.cfg.DepthMax {
		err = wire.Errorf(pb.Code_CODE_TOO_DEEP, "run %s: it is called by the %d runs above it, more than %d (executor.depth_max); a loop may do it with fewer",
			t.names(), inv.Depth, e.cfg.DepthMax)
	}
	if err != nil {
		t.finish(wire.Result{Err: err})
		return
	}
	if referenceIn(inv.Values) {
		e.resolve(t)
		return
	}
	e.submit(t)
}

// timeout returns how long the functions of an invocation may take together.
func (e *Executor) timeout(inv *wire.Invocation) time.Duration {
	var sum time.Duration
	for i := range inv.Steps {
		own := milliseconds(inv.Steps[i].Function.GetTimeoutMilliseconds())
		if own == 0 {
			own = e.cfg.Timeout
		}
		sum = min(sum+own, waitMax)
	}
	return sum
}

// submit gives an invocation to an idle worker, or lets it wait for one.
func (e *Executor) submit(t *invocation) {
	e.mu.Lock()
	if e.stopped {
		e.mu.Unlock()
		t.failStopping()
		return
	}
	if t.cancelled() != nil { // Cancel finds it from here on
		e.mu.Unlock()
		t.failCancelled(e)
		return
	}
	l, err := e.laneOf(t)
	if err != nil {
		e.mu.Unlock()
		t.finish(wire.Result{Err: err})
		return
	}
	var w *worker
	if l.admits(t) {
		if w = l.takeIdle(); w == nil && (l.size < l.floor || l.shares() && l.size < e.cfg.WorkersMax) {
			w, _ = e.spawn(l) // if it cannot be started now, the loop over deadlines tries again
		}
	}
	if w == nil && l.admits(t) {
		w = e.helperFor(t)
	}
	if w == nil {
		queued := l.push(t)
		e.mu.Unlock()
		if !queued {
			full := wire.Errorf(pb.Code_CODE_NO_RESOURCES, "run %s: %d invocations wait for a worker already, the limit (executor.queue_max); try again later", t.names(), l.queueMax)
			full.RetryAfter = queueRetryAfter // at least; the scheduler knows how fast runs end
			t.finish(wire.Result{Err: full})
			return
		}
		e.stats.waited.Add(1)
		e.wakeDeadlines()
		return
	}
	l.enter(t)
	w.reserve(t)
	l.offer(w)
	e.mu.Unlock()
	e.wakeDeadlines()
	e.dispatch(w, t)
}

// dispatch sends an invocation to the worker that has been reserved for it.
func (e *Executor) dispatch(w *worker, t *invocation) {
	if w.lane.shares() {
		e.dispatchTo(w, t)
		return
	}
	for i := range t.inv.Steps {
		if !w.holds(t.inv.Steps[i].Function) {
			// The definition may have to be fetched, so the calling goroutine is spared the wait. When the executor has been
			// stopped, the end of the worker ends the invocation.
			e.start(func() { e.loadAndInvoke(w, t) })
			return
		}
	}
	e.invoke(w, t)
}

func (e *Executor) loadAndInvoke(w *worker, t *invocation) {
	for i := range t.inv.Steps {
		if err := e.load(w, t, t.inv.Steps[i].Function); err != nil {
			// The worker is as good as it was; only this invocation cannot run.
			e.giveBack(w, t, err)
			return
		}
	}
	e.invoke(w, t)
}

// CheckFunction returns an error when the workers of this node could never run a function that is to be registered.
func (e *Executor) CheckFunction(f *pb.Function) error {
	python := e.otherPython(f)
	if python == "" {
		return nil
	}
	return wire.Errorf(pb.Code_CODE_INCOMPATIBLE,
		"register function %q: this program runs Python %s, but the workers of the node run Python %s (%s), and bytecode does not travel between them: run the program with Python %s, or start the node with --python and a Python %s that has the cloudburst package",
		f.GetName(), f.GetPythonVersion(), python, e.cfg.Python, python, f.GetPythonVersion())
}

// otherPython returns the version of the workers' Python if a function needs another one.
func (e *Executor) otherPython(f *pb.Function) string {
	if python := e.PythonVersion(); f.GetPythonVersion() != "" && f.GetPythonVersion() != python {
		return python
	}
	return ""
}

func (e *Executor) load(w *worker, t *invocation, f *pb.Function) error {
	if w.holds(f) {
		return nil
	}
	if python := e.otherPython(f); python != "" {
		return wire.Errorf(pb.Code_CODE_INCOMPATIBLE,
			"function %s@%d was registered from Python %s, but the workers run Python %s, and bytecode does not travel between them: register it from Python %s, or start the node with --python",
			f.GetName(), f.GetVersion(), f.GetPythonVersion(), python, python)
	}
	ctx, cancel := context.WithDeadline(w.life, t.deadline)
	defer cancel()
	definition, err := e.functions.Definition(ctx, f)
	if err != nil {
		return loadError(f, err)
	}
	return w.load(t, f, definition)
}

// invoke sends an invocation to a worker that holds its functions. When the worker cannot be reached, its reader sees that, and answers
// that the invocation is lost.
func (e *Executor) invoke(w *worker, t *invocation) {
	if err := w.invoke(t); err != nil && w.sender.Err() == nil {
		e.giveBack(w, t, err)
	}
}

// giveBack ends an invocation that cannot run, and makes the worker that was reserved for it available again. It does nothing when the
// worker has ended meanwhile, since then the invocation is in other hands.
func (e *Executor) giveBack(w *worker, t *invocation, err error) {
	e.mu.Lock()
	s := w.holder(t)
	if s == nil {
		e.mu.Unlock()
		return
	}
	e.freed(w, s)
	t.finish(wire.Result{Err: wire.AsError(err)})
}

// freed goes on with a worker in which the invocation of a slot has ended. e.mu is held, and let go.
func (e *Executor) freed(w *worker, s *slot) {
	cut := w.release(s)
	var next *invocation
	var over uint64
	if host := w.last(); host == nil || w.lane.shares() {
		next = e.next(w)
	} else if x := host.helps; x != nil && x.ended != 0 {
		over = x.ended
		e.waits.remove(x)
	} else {
		next = e.helpWith(w)
	}
	nested := w.busy()
	e.mu.Unlock()
	cut.answer()
	if over != 0 {
		w.reply(over, nil)
	}
	if next != nil {
		e.dispatch(w, next)
	}
	if nested {
		e.serve(w.lane) // what was declined, or held up by a limit
	}
}

// answered takes a worker's answer: the worker goes on with the next invocation before the answer is looked at.
func (e *Executor) answered(w *worker, id uint64, r wire.Result) bool {
	e.mu.Lock()
	s := w.last()
	if w.lane.shares() {
		s = w.slotOf(id)
	}
	if s == nil || id == 0 || id != s.id.Load() {
		e.mu.Unlock()
		return false
	}
	t := s.t
	e.spawnFails = 0
	if t.overdue {
		r = wire.Result{Err: t.late("so it was cancelled")}
	}
	if declined(s, r) && !w.lane.shares() {
		// As if it had not been tried: it has not begun.
		again := &invocation{inv: t.inv, queued: t.queued, limit: t.limit, place: t.place}
		w.lane.putBack(again)
		e.freed(w, s)
		return true
	}
	e.freed(w, s)
	e.stats.finished.Add(1)
	if items := t.inv.Items; items != nil {
		items.Disconnect()
	}
	t.finish(r)
	return true
}

// next gives the worker the invocation that has waited longest, or makes it idle. e.mu is held.
func (e *Executor) next(w *worker) *invocation {
	if w.gone || w.condemned {
		return nil
	}
	next := w.lane.pop()
	if next == nil {
		if w.lane.retired {
			e.forget(w.lane)
			if !w.busy() {
				w.retire()
			}
			return nil
		}
		w.idleSince = time.Now()
		w.lane.putIdle(w)
		return nil
	}
	w.reserve(next)
	w.lane.offer(w)
	return next
}

// start runs f on a goroutine that Run waits for. It reports false when the executor has been stopped.
func (e *Executor) start(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return false
	}
	e.goroutines.Go(f)
	return true
}
