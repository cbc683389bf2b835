package executor

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"time"
)

// saturatedFactor is how much longer calls wait before the pool grows while its workers use every core: more of them would
// only share these, but a function that spins until another one has run must not keep that one out for ever.
const saturatedFactor = 10

// grow adds workers to the shared lane when its oldest invocation has waited for so long that the workers must be blocked: at most as
// many as wait, and at most a doubling at once. When they are not blocked but use every core, it adds one at a time, seldom.
func (e *Executor) grow(now time.Time) {
	e.mu.Lock()
	wanted := e.wantsGrowth(now, e.cfg.GrowAfter)
	var pids []int
	if wanted {
		for _, w := range e.workers {
			if w.busy() && w.pid > 0 {
				pids = append(pids, w.pid)
			}
		}
	}
	e.mu.Unlock()
	if !wanted {
		return
	}
	saturated := runningAtLeast(pids, runtime.NumCPU())
	if saturated && !e.wantsGrowthLocked(now, saturatedFactor*e.cfg.GrowAfter) {
		return
	}
	e.add(now, saturated)
}

// wantsGrowth reports whether the oldest invocation has waited for long, and the pool's last growth is as long ago. e.mu is held.
func (e *Executor) wantsGrowth(now time.Time, after time.Duration) bool {
	l := e.shared
	oldest := l.queue.oldest()
	return oldest != nil && l.size < e.cfg.WorkersMax && now.Sub(oldest.queued) >= after && now.Sub(e.grown) >= after
}

func (e *Executor) wantsGrowthLocked(now time.Time, after time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.wantsGrowth(now, after)
}

func (e *Executor) add(now time.Time, one bool) {
	type start struct {
		w *worker
		t *invocation
	}
	var starts []start
	e.mu.Lock()
	l := e.shared
	room := min(l.waiting(), max(l.size, 1), e.cfg.WorkersMax-l.size)
	if one {
		room = min(room, 1)
	}
	for range room {
		w, err := e.spawn(l)
		if err != nil {
			break
		}
		if t := e.next(w); t != nil {
			starts = append(starts, start{w, t})
		}
		e.grown = now
	}
	e.mu.Unlock()
	for _, s := range starts {
		e.dispatch(s.w, s.t)
	}
}

// runningAtLeast reports whether n of the processes use a core, or wait for one.
func runningAtLeast(pids []int, n int) bool {
	for _, pid := range pids {
		if n <= 0 {
			break
		}
		if isRunning(pid) {
			n--
		}
	}
	return n <= 0
}

// isRunning reports whether a process is in the state R; one that cannot be looked at is taken for blocked.
func isRunning(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// The state follows the name, which is in parentheses and may contain more of them.
	at := bytes.LastIndexByte(stat, ')')
	return at >= 0 && at+2 < len(stat) && stat[at+2] == 'R'
}
