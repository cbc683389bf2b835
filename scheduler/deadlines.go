package scheduler

import (
	"context"
	"time"
)

// deadlinesLinger is how long the deadlines loop goes on ticking after the last run, so that a steady trickle of calls does not
// wake it for each.
const deadlinesLinger = time.Second

// tickSoon makes sure that the deadlines loop is ticking.
func (s *Scheduler) tickSoon() {
	if s.ticking.Load() {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// deadlines ends runs at their deadlines and launches invocations whose retry is due. One goroutine looks at all runs, instead of a timer
// per run; without runs it sleeps.
func (s *Scheduler) deadlines(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		s.ticking.Store(true)
		s.tickWhileBusy(ctx)
		s.ticking.Store(false)
		// A run that began just before the line above has not woken the loop.
		if s.inFlight.Load() > 0 {
			s.tickSoon()
		}
	}
}

func (s *Scheduler) tickWhileBusy(ctx context.Context) {
	ticker := time.NewTicker(wheelTickMilliseconds * time.Millisecond)
	defer ticker.Stop()
	last := time.Now()
	var due []*alarm
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		s.pace.look(now, s.stats.ends())
		s.failures.flush(now)
		if s.inFlight.Load() > 0 {
			last = now
		} else if now.Sub(last) > deadlinesLinger {
			return
		}
		due = s.table.due(now, due[:0])
		for i, a := range due {
			switch {
			case a.gate != nil:
				s.open(a.gate, now)
			case a.retry != nil:
				a.run.launch(a.retry, now)
			default:
				a.run.expire(now)
			}
			due[i] = nil
		}
	}
}
