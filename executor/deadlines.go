package executor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// deadlineTick is how often deadlines and queues are looked at while there is work.
	deadlineTick = 10 * time.Millisecond
	// deadlineLinger is how long the loop goes on ticking after the last work, so that a steady trickle of calls does not
	// wake it for each.
	deadlineLinger = time.Second
	// sweepEvery is how many ticks apart queued invocations are checked for their deadlines, and idle workers for their age.
	sweepEvery = 10
	// idleSweep is how often an idle pool is looked at while it is larger than it need be.
	idleSweep = time.Second
)

// wakeDeadlines makes sure that the loop over deadlines is ticking.
func (e *Executor) wakeDeadlines() {
	if e.ticking.Load() {
		return
	}
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// deadlines enforces deadlines, grows the pool when calls wait too long, and shrinks it when workers are idle. One goroutine
// looks at everything, instead of a timer per call; without work it sleeps.
func (e *Executor) deadlines(ctx context.Context) {
	for {
		var idle <-chan time.Time
		if e.surplus() {
			idle = time.After(idleSweep)
		}
		select {
		case <-ctx.Done():
			return
		case <-idle:
			e.shrink(time.Now())
			continue
		case <-e.wake:
		}
		e.ticking.Store(true)
		e.tickWhileBusy(ctx)
		e.ticking.Store(false)
		// What came between the last look and the line above has not woken us.
		if e.busy() {
			e.wakeDeadlines()
		}
	}
}

func (e *Executor) tickWhileBusy(ctx context.Context) {
	ticker := time.NewTicker(deadlineTick)
	defer ticker.Stop()
	last := time.Now()
	for n := 1; ; n++ {
		var now time.Time
		select {
		case <-ctx.Done():
			return
		case now = <-ticker.C:
		}
		if e.tick(now) {
			last = now
		} else if now.Sub(last) > deadlineLinger {
			return
		}
		if n%sweepEvery == 0 {
			e.watchSaturation(now)
			e.expireQueued(now)
			e.shrink(now)
			e.checkZygote(now)
		}
	}
}

// tick stops what has outlived its deadline, and gives workers to the lanes that lack them. It reports whether there is work.
func (e *Executor) tick(now time.Time) (busy bool) {
	var overdue []*worker
	var cancelled []cancelling
	var short []*lane
	e.interruptCancelled(now)
	e.mu.Lock()
	for _, w := range e.workers {
		switch {
		case w.condemned:
		case w.lane.shares():
			for _, s := range w.expire(now) {
				run := s.t.inv.RunID
				cancelled = append(cancelled, cancelling{w, s.id.Load(), run[:]})
			}
			if w.condemned {
				overdue = append(overdue, w)
			}
		case w.condemn(now):
			overdue = append(overdue, w)
		}
	}
	e.lanes(func(l *lane) {
		if l.size < l.keep || (l.size < l.floor && l.waiting() > 0) {
			short = append(short, l)
		}
	})
	e.mu.Unlock()
	for _, c := range cancelled {
		c.w.cancelOverdue(c.id, c.run)
	}
	for _, w := range overdue {
		w.kill()
	}
	for _, l := range short {
		e.refill(l)
	}
	e.help()
	e.grow(now)
	return e.busy()
}

// condemn marks what runs past its deadline, or for too long after it was cancelled, and reports whether anything does; then the worker
// is given nothing else. Executor.mu is held.
func (w *worker) condemn(now time.Time) bool {
	for _, s := range w.slots {
		if now.After(s.t.deadline) {
			s.t.awaited = w.e.awaited(s, now)
			s.t.overdue, w.condemned = true, true
			w.e.stats.overdue.Add(1)
		}
	}
	if s := w.last(); s != nil && !s.t.giveUp.IsZero() && now.After(s.t.giveUp) {
		s.t.overdue, w.condemned = true, true
	}
	return w.condemned
}

// busy reports whether anything runs, waits or is missing.
func (e *Executor) busy() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	busy := e.shared.size < e.shared.keep
	e.lanes(func(l *lane) { busy = busy || l.runs() || l.waiting() > 0 })
	return busy
}

// expireQueued fails the invocations that have waited too long.
func (e *Executor) expireQueued(now time.Time) {
	var late []*invocation
	var lanes []*lane
	e.mu.Lock()
	e.lanes(func(l *lane) {
		lanes = append(lanes, l)
		l.each(func(t *invocation) bool {
			if now.After(t.expiry()) {
				t.unstarted = e.unstarted(t, now)
				late = append(late, t)
			}
			return true
		})
		l.takeIf(func(t *invocation) bool { return t.unstarted != "" })
	})
	e.mu.Unlock()
	for _, t := range late {
		e.stats.overdue.Add(1)
		what := "its deadline has come"
		if t.outwaited(now) {
			what = fmt.Sprintf("its time limit for waiting (queue_timeout), %v, is over", t.inv.QueueTimeout)
		}
		t.fail(pb.Code_CODE_DEADLINE_EXCEEDED, "run %s: it has not started, and %s; %s", t.names(), what, t.unstarted)
	}
	if len(late) > 0 {
		for _, l := range lanes {
			e.serve(l) // another invocation of a function with a limit may start now
		}
	}
}

// checkZygote ends a zygote that does not fork what it has been told to; another takes its place.
func (e *Executor) checkZygote(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.workers {
		if w.pid == 0 && w.zygote == e.zygote && now.Sub(w.born) > e.cfg.StartTimeout {
			e.cfg.Logger.Error("the Python zygote does not fork and is stopped", "waited", now.Sub(w.born))
			e.zygote.kill()
			return
		}
	}
}

// surplus reports whether there are workers that idleness may end.
func (e *Executor) surplus() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.shared.size > e.shared.keep || len(e.classes) > 0
}

// shrink ends workers that have been idle for long, the coldest first, and instances of classes that are no more.
func (e *Executor) shrink(now time.Time) {
	e.mu.Lock()
	l := e.shared
	// retire only closes the socket; size follows when the process has ended, so count down by hand.
	for excess := l.size - l.keep; excess > 0 && len(l.idle) > 0; excess-- {
		w := l.idle[0]
		if now.Sub(w.idleSince) < e.cfg.IdleTimeout {
			break
		}
		l.idle = append(l.idle[:0], l.idle[1:]...)
		w.retire()
	}
	classes := make([]*lane, 0, len(e.classes))
	for _, l := range e.classes {
		classes = append(classes, l)
	}
	e.mu.Unlock()
	for _, l := range classes {
		if l.shares() {
			e.shrinkConcurrent(l, now)
			continue
		}
		latest, err := e.functions.Function(l.class.name)
		deleted := errors.Is(err, wire.ErrFunctionNotFound)
		if !deleted && (err != nil || latest.GetVersion() == l.class.version) {
			continue
		}
		e.mu.Lock()
		// A version that is not the latest may still be called by its number, and keeps its state while it is.
		if deleted || (len(l.idle) > 0 && now.Sub(l.idle[0].idleSince) >= e.cfg.IdleTimeout) {
			e.retire(l)
		}
		e.mu.Unlock()
	}
}
