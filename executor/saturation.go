package executor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// saturatedAfter is how long an invocation waits for a worker before the node says that it is saturated. Until none has waited so long
	// for half of that time, it is the same episode.
	saturatedAfter = time.Second
	// describeEvery is how often what waits for what is described anew in an episode.
	describeEvery = time.Second
	// backlogNames is how many functions a description of what waits, or runs, names.
	backlogNames = 5
	// backlogCounted bounds how many of the invocations that wait are looked at to describe them.
	backlogCounted = 10_000
)

// saturation is an episode in which invocations wait for long, because no worker can be added. Guarded by Executor.mu.
type saturation struct {
	since     time.Time // zero while there is none
	calm      time.Time // since when no invocation has waited for long; zero while one has
	text      string    // what waits for what
	described time.Time // when that was so
	cores     bool      // workers could be added, and are not since those that are up use the cores
}

// watchSaturation notices when invocations begin to wait for long, and when they do no more. Each of the two is one line of the log.
func (e *Executor) watchSaturation(now time.Time) {
	e.mu.Lock()
	s := &e.saturation
	waited := time.Duration(0)
	if oldest := e.shared.queue.oldest(); oldest != nil {
		waited = now.Sub(oldest.since)
	}
	began, ended := false, false
	switch {
	case waited >= saturatedAfter:
		began = s.since.IsZero()
		if began {
			s.since = now.Add(-waited)
		}
		s.calm = time.Time{}
		if began || now.Sub(s.described) >= describeEvery {
			s.described, s.text = now, e.backlog()
		}
	case s.since.IsZero():
	case s.calm.IsZero():
		s.calm = now
	case now.Sub(s.calm) >= saturatedAfter/2:
		ended = true
	}
	text, lasted := s.text, now.Sub(s.since)
	if ended {
		s.since, s.calm, s.described = time.Time{}, time.Time{}, time.Time{}
	}
	e.mu.Unlock()
	if began {
		e.cfg.Logger.Warn("saturated: calls wait for workers", "waited", waited.Round(time.Millisecond), "why", text)
	}
	if ended {
		e.cfg.Logger.Info("no longer saturated", "lasted", lasted.Round(time.Millisecond))
	}
}

// backlog describes what waits for workers, and what these do. e.mu is held.
func (e *Executor) backlog() string {
	waiting := make(map[functionKey]*group)
	left := backlogCounted
	e.shared.queue.each(func(t *invocation) bool {
		key := keyOf(t.inv.Steps[0].Function)
		if waiting[key] == nil {
			waiting[key] = &group{name: t.names()}
		}
		waiting[key].count++
		left--
		return left > 0
	})
	known := make(map[wire.RunID]string) // what is running
	for _, w := range e.workers {
		for _, s := range w.slots {
			known[s.t.inv.RunID] = s.t.names()
		}
	}
	running := make(map[string]*group)
	for _, w := range e.workers {
		if w.lane != e.shared || !w.busy() {
			continue
		}
		name := e.doing(w.last(), known)
		if running[name] == nil {
			running[name] = &group{name: name}
		}
		running[name].count++
	}
	limit := fmt.Sprintf("%d of at most %d workers are up (executor.workers_max)", e.shared.size, e.cfg.WorkersMax)
	if e.saturation.cores {
		limit = fmt.Sprintf("%d workers are up and use the cores, which more would only share,", e.shared.size)
	}
	if beyond := e.shared.size - e.cfg.WorkersMax; beyond > 0 {
		limit = fmt.Sprintf("%d workers are up, %d of at most %d beyond executor.workers_max (executor.workers_spare)", e.shared.size, beyond, e.cfg.WorkersSpare)
	}
	return fmt.Sprintf("%s wait for a worker; %s and run %s", enumerate(waiting), limit, enumerate(running))
}

// doing names what a worker runs, and what it waits for, as far as that is known. e.mu is held.
func (e *Executor) doing(s *slot, known map[wire.RunID]string) string {
	name := s.t.names()
	if len(s.waits) == 0 {
		return name
	}
	x := s.waits[len(s.waits)-1] // the others are of other threads, or over
	for _, run := range x.runs[:min(len(x.runs), backlogNames)] {
		if t := e.shared.queue.runs[run]; t != nil {
			return name + ", which waits for " + t.names()
		}
		if awaited := known[run]; awaited != "" {
			return name + ", which waits for " + awaited
		}
	}
	return name
}

// awaited says for which run that is under way a function waits, and why that has not started; nothing when it waits for none. e.mu is held.
func (e *Executor) awaited(s *slot, now time.Time) string {
	if len(s.waits) == 0 {
		return ""
	}
	runs := s.waits[len(s.waits)-1].runs // the other waits are of other threads, or over
	for _, run := range runs[:min(len(runs), backlogNames)] {
		if t := e.queued(run); t != nil {
			return fmt.Sprintf("it waited for run %v of %s, which had not started: %s", run, t.names(), e.unstarted(t, now))
		}
		for _, w := range e.workers {
			for _, other := range w.slots {
				if other.t.inv.RunID == run {
					return fmt.Sprintf("it waited for run %v of %s", run, other.t.names())
				}
			}
		}
	}
	return ""
}

// queued returns an invocation of a run that waits for a worker, or nil. e.mu is held.
func (e *Executor) queued(run wire.RunID) (t *invocation) {
	e.lanes(func(l *lane) { t = cmp.Or(t, l.find(run)) })
	return t
}

// group is several invocations that are described in one.
type group struct {
	name  string
	count int
}

// enumerate writes how many there are of each group, the largest first.
func enumerate[K comparable](groups map[K]*group) string {
	if len(groups) == 0 {
		return "nothing"
	}
	sorted := slices.SortedFunc(maps.Values(groups), func(a, b *group) int {
		return cmp.Or(-cmp.Compare(a.count, b.count), cmp.Compare(a.name, b.name))
	})
	var parts []string
	for _, g := range sorted[:min(len(sorted), backlogNames)] {
		parts = append(parts, fmt.Sprintf("%d × %s", g.count, g.name))
	}
	if more := len(sorted) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %d others", more))
	}
	return strings.Join(parts, "; ")
}

// Unstarted says why no invocation of a run has started that waits for a worker; nothing when none waits.
func (e *Executor) Unstarted(run wire.RunID) string {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.queued(run)
	if t == nil {
		return ""
	}
	return e.unstarted(t, now)
}

// unstarted says why an invocation that waits has not started. e.mu is held.
func (e *Executor) unstarted(t *invocation, now time.Time) string {
	waited, f := now.Sub(t.since).Round(time.Millisecond), t.inv.Steps[0].Function
	switch {
	case f.GetConvention() == pb.Convention_CONVENTION_CLASS:
		return fmt.Sprintf("it waited for %v, because a class runs one invocation at a time", waited)
	case !e.shared.admits(t):
		return fmt.Sprintf("it waited for %v, because %s runs only so often at once on a node: concurrency=%d", waited, f.GetName(), f.GetConcurrency())
	}
	// Many may run out of time together.
	if now.Sub(e.saturation.described) > time.Second/10 {
		e.saturation.described, e.saturation.text = now, e.backlog()
	}
	return fmt.Sprintf("it waited for %v for a worker: %s", waited, e.saturation.text)
}
