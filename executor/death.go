package executor

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// exitNoticeWait is how long the zygote may take to say how a worker ended.
	exitNoticeWait = 200 * time.Millisecond
	// logDrainWait is how long the log pipe of a worker that has ended is read on, for a child of it may hold it open for ever.
	logDrainWait = 200 * time.Millisecond

	spawnBackoffMin = 50 * time.Millisecond
	spawnBackoffMax = 5 * time.Second
)

// died takes note that a worker has ended. What it ran is lost, unless the worker was stopped for it.
func (e *Executor) died(w *worker, cause error) {
	w.pipe.drain(true) // what a library or the interpreter has written as its last word comes before the end of the run
	e.mu.Lock()
	var lost []*invocation
	var cut waiters
	for w.busy() {
		s := w.last()
		lost = append(lost, s.t)
		cut = append(cut, w.release(s)...)
	}
	w.gone = true
	w.lane.remove(w)
	delete(e.workers, w.number)
	stopping := e.stopped
	if len(lost) > 0 && !w.condemned && !stopping && lost[0].cancelled() == nil {
		e.leaving[w.number] = w
	}
	told := w.retired.Load() || w.condemned || stopping
	if len(lost) == 0 && !told {
		// It ended with nothing to do. If the next ones do so too, starting them must not become all that the node does.
		e.spawnAfter = time.Now().Add(min(spawnBackoffMin<<min(e.spawnFails, 10), spawnBackoffMax))
		e.spawnFails++
	}
	if l := w.lane; l != e.shared && l.size == 0 && l.waiting() == 0 {
		e.forget(l)
	}
	e.mu.Unlock()
	w.close()
	cut.answer()
	if !told {
		e.stats.died.Add(1)
		if len(lost) == 0 {
			e.cfg.Logger.Warn("worker died without work", "worker", w.number, "cause", cause)
		}
	}
	how := sync.OnceValue(w.exit) // which may have to be waited for
	// From the lowest on: the end of the process is the doing of the last one, and how it ended may have to be waited for.
	for i, t := range slices.Backward(lost) {
		switch {
		case stopping:
			t.failStopping()
		case t.cancelled() != nil:
			if t.overdue {
				e.stats.replaced.Add(1)
				e.cfg.Logger.Warn("worker stopped: what it ran did not end after it was cancelled", "worker", w.number, "functions", t.names(),
					"run", t.inv.RunID.String(), "grace", e.cfg.CancelGrace)
			}
			t.failCancelled(e)
		case t.overdue:
			t.finish(wire.Result{Err: t.late("so its worker was stopped")})
		case w.condemned || i > 0 && !w.lane.shares() || lost[0].cancelled() != nil && !w.lane.shares():
			e.loseAlong(w, t)
		default:
			e.lose(w, t, how(), cause)
		}
	}
	e.mu.Lock()
	delete(e.leaving, w.number)
	e.mu.Unlock()
	e.refill(w.lane)
	e.serve(w.lane) // another invocation of a function with a limit may start now
}

// late returns the error of an invocation that ran past its deadline.
func (t *invocation) late(what string) *wire.Error {
	if t.awaited != "" {
		what += "; " + t.awaited
	}
	return wire.Errorf(pb.Code_CODE_DEADLINE_EXCEEDED, "run %s: it was not done at its deadline, %v after it was queued, %s",
		t.names(), t.deadline.Sub(t.queued).Round(time.Millisecond), what)
}

// lose answers the invocation of a worker that has ended; the scheduler decides whether it is run again. An invocation has had no effect
// that was not sent, since it still waited for a definition, or that the process had not read: then the end of its socket is a reset.
// This holds as long as the worker has sent nothing, for until then it was sent nothing else.
func (e *Executor) lose(w *worker, t *invocation, how string, cause error) {
	loss := wire.LostRunning
	if t.slot.id.Load() == 0 || !w.heard && errors.Is(cause, syscall.ECONNRESET) {
		loss = wire.LostUnstarted
	}
	e.stats.lost.Add(1)
	e.cfg.Logger.Warn("worker died while it had an invocation", "worker", w.number, "how", how, "functions", t.names(),
		"run", t.inv.RunID.String(), "attempt", t.inv.Attempt, "started", loss == wire.LostRunning, "cause", cause)
	t.finish(wire.Result{Err: wire.Errorf(pb.Code_CODE_WORKER_DIED, "worker %d %s", w.number, how), Lost: loss})
}

// loseAlong answers an invocation whose worker has ended because of another one in it.
func (e *Executor) loseAlong(w *worker, t *invocation) {
	e.stats.lost.Add(1)
	e.cfg.Logger.Info("a worker ended because of another invocation in it", "worker", w.number, "functions", t.names(), "run", t.inv.RunID.String(),
		"attempt", t.inv.Attempt)
	t.finish(wire.Result{
		Err:  wire.Errorf(pb.Code_CODE_WORKER_DIED, "worker %d ended because of another invocation in it", w.number),
		Lost: wire.LostAlong,
	})
}

// serve gives what waits to idle workers, after something else than the end of an invocation has let it start.
func (e *Executor) serve(l *lane) {
	for {
		e.mu.Lock()
		if len(l.idle) == 0 || l.first() == nil {
			e.mu.Unlock()
			return
		}
		w := l.takeIdle()
		next := e.next(w)
		e.mu.Unlock()
		if next != nil {
			e.dispatch(w, next)
		}
	}
}

// refill keeps a lane at its least size, and its queue served, after a worker has gone or a zygote has come.
func (e *Executor) refill(l *lane) {
	for {
		e.mu.Lock()
		short := l.size < l.keep || (l.size < l.floor && l.waiting() > 0)
		if !short || e.zygote == nil || e.stopped {
			e.mu.Unlock()
			return
		}
		w, err := e.spawn(l)
		if err != nil {
			e.mu.Unlock()
			e.wakeDeadlines() // which tries again
			return
		}
		next := e.next(w)
		e.mu.Unlock()
		if next != nil {
			e.dispatch(w, next)
		}
	}
}

func (e *Executor) forked(notice zygoteNotice) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w := e.workers[notice.Forked]; w != nil {
		w.pid = notice.Pid
	}
}

func (e *Executor) exited(notice zygoteNotice) {
	how := fmt.Sprintf("exited with status %d", notice.Code)
	switch {
	case notice.Error != "":
		how = notice.Error
	case notice.Signal != 0:
		how = fmt.Sprintf("was killed by signal %d (%v)", notice.Signal, syscall.Signal(notice.Signal))
	}
	e.mu.Lock()
	w := e.workers[notice.Exited]
	if w == nil {
		w = e.leaving[notice.Exited]
	}
	e.mu.Unlock()
	if w == nil {
		return
	}
	select {
	case w.exited <- how:
	default: // one notice per worker, and there is room for it
	}
}
