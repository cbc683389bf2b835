package scheduler

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// rates says when functions with a rate limit may start: never more often than their limit within any period. Each limit of a function,
// and of a value of its key, has a gate, at which invocations wait in the order in which they came. Safe for concurrent use.
type rates struct {
	table *table
	seed  maphash.Seed

	mu    sync.Mutex
	gates map[gateKey]*gate
	swept time.Time
}

// gateKey names a gate. Versions of a function that have the same limit share it.
type gateKey struct {
	function string
	starts   int
	period   time.Duration
	key      string
	value    uint64 // hash of the argument's encoding
}

// gate counts the starts within the latest period, and holds the invocations that wait for their turn. Guarded by rates.mu.
type gate struct {
	starts int
	period time.Duration
	// marks are the starts within the latest period, up to share of them in one mark at the time of the last, so that a high limit needs
	// no more memory than a low one. begun is their number.
	marks   []mark
	share   int
	begun   int
	first   *turn
	last    *turn
	waiting int
	alarm   alarm
	armed   bool
}

type mark struct {
	at     time.Time
	starts int
}

// turn is the place of an invocation that waits at a gate. Guarded by rates.mu.
type turn struct {
	inv            *invocation
	gate           *gate // nil once it has left
	previous, next *turn
	since          time.Time
	patience       time.Duration // how long it may wait
}

func newRates(t *table) *rates {
	return &rates{table: t, seed: maphash.MakeSeed(), gates: make(map[gateKey]*gate)}
}

func newGate(starts int, period time.Duration) *gate {
	g := &gate{starts: starts, period: period, share: (starts + marksMax - 1) / marksMax}
	g.alarm.gate = g
	return g
}

// enter lets an invocation start now, when it returns nothing; or lets it wait for its turn; or objects, when that would take longer than the
// invocation may wait.
func (s *rates) enter(inv *invocation, limit *pb.RateLimit, sent *wire.Invocation, now time.Time, patience time.Duration) (*turn, *wire.Error) {
	key := gateKey{
		function: sent.Steps[0].Function.GetName(), starts: int(max(limit.GetStarts(), 1)),
		period: max(queueTimeoutOf(limit.GetPeriodMilliseconds()), time.Millisecond), key: limit.GetKey(),
	}
	if key.key != "" {
		key.value = maphash.Bytes(s.seed, keyed(limit, &sent.Steps[0], sent.Values))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gates[key]
	if g == nil {
		if len(s.gates) >= gatesMax && !s.sweep(now) {
			err := wire.Errorf(pb.Code_CODE_NO_RESOURCES, "run %s: %d functions with a rate limit, and values of the keys of such limits, have started within their "+
				"periods, the limit; try again later", nameOf(sent.Steps[0].Function), gatesMax)
			err.RetryAfter = sweepEvery
			return nil, err
		}
		g = newGate(key.starts, key.period)
		s.gates[key] = g
	}
	g.forget(now)
	if g.waiting == 0 && g.begun < g.starts {
		g.begin(now)
		return nil, nil
	}
	if wait := g.turnOf(g.waiting, now).Sub(now); wait > patience {
		err := wire.Errorf(pb.Code_CODE_NO_RESOURCES, "run %s: it may start %s (rate_limit), and %d others wait before it: its turn comes in %v, and it may wait for %v; "+
			"try again in %v", nameOf(sent.Steps[0].Function), key, g.waiting, roundUp(wait), roundUp(patience), roundUp(wait-patience))
		err.RetryAfter = wait - patience
		return nil, err
	}
	t := &turn{inv: inv, since: now, patience: patience}
	g.append(t)
	s.arm(g, now)
	return t, nil
}

// leave takes an invocation out of the queue in which it waits, if it still does.
func (s *rates) leave(t *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.gate != nil {
		t.gate.remove(t)
	}
}

// open returns the turns that have come at a gate whose alarm was due.
func (s *rates) open(g *gate, now time.Time) []*turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.armed = false
	g.forget(now)
	var come []*turn
	for g.waiting > 0 && g.begun < g.starts {
		t := g.first
		g.remove(t)
		if now.Sub(t.since) <= t.patience {
			g.begin(now)
		}
		come = append(come, t)
	}
	s.arm(g, now)
	return come
}

// arm sets the alarm of a gate at which invocations wait.
func (s *rates) arm(g *gate, now time.Time) {
	if g.waiting > 0 && !g.armed {
		g.armed = true
		s.table.alarmAt(&g.alarm, g.turnOf(0, now))
	}
}

// sweep forgets the gates that hold nothing, unless it has done so a moment ago, and reports whether there were any.
func (s *rates) sweep(now time.Time) bool {
	if now.Sub(s.swept) < sweepEvery {
		return false
	}
	s.swept = now
	before := len(s.gates)
	for key, g := range s.gates {
		if g.forget(now); g.begun == 0 && g.waiting == 0 && !g.armed {
			delete(s.gates, key)
		}
	}
	return len(s.gates) < before
}

// forget drops the starts that are a period ago.
func (g *gate) forget(now time.Time) {
	old := 0
	for old < len(g.marks) && now.Sub(g.marks[old].at) >= g.period {
		g.begun -= g.marks[old].starts
		old++
	}
	g.marks = slices.Delete(g.marks, 0, old)
}

// begin counts a start.
func (g *gate) begin(now time.Time) {
	g.begun++
	if n := len(g.marks); n > 0 {
		last := &g.marks[n-1]
		if now.Before(last.at) { // another goroutine has looked at the clock later, and come first
			now = last.at
		}
		if last.starts < g.share {
			last.starts++
			last.at = now
			return
		}
	}
	g.marks = append(g.marks, mark{at: now, starts: 1})
}

// turnOf returns when, at the earliest, the invocation starts before which so many others wait: a period after the start that so many starts
// are between as the limit has, which is one of the latest period, or of those that wait.
func (g *gate) turnOf(before int, now time.Time) time.Time {
	periods := time.Duration(before / g.starts)
	if periods >= timeoutSumMax/g.period {
		return now.Add(timeoutSumMax)
	}
	wait := periods * g.period
	at := g.begun + before%g.starts - g.starts
	if at < 0 {
		return now.Add(wait)
	}
	for _, m := range g.marks {
		if at -= m.starts; at < 0 {
			return m.at.Add(g.period + wait)
		}
	}
	return now.Add(g.period + wait) // begun is the number of starts that are marked, so this is not reached
}

func (g *gate) append(t *turn) {
	t.gate, t.previous = g, g.last
	if g.last == nil {
		g.first = t
	} else {
		g.last.next = t
	}
	g.last = t
	g.waiting++
}

func (g *gate) remove(t *turn) {
	if t.previous == nil {
		g.first = t.next
	} else {
		t.previous.next = t.next
	}
	if t.next == nil {
		g.last = t.previous
	} else {
		t.next.previous = t.previous
	}
	t.gate, t.previous, t.next = nil, nil, nil
	g.waiting--
}

// keyed returns the argument for each value of which a limit holds, as it is encoded; nil when the call does not give it. The result of an
// upstream function counts as one argument, and a reference as itself.
func keyed(limit *pb.RateLimit, step *wire.Step, values [][]byte) []byte {
	if i := slices.Index(step.Keywords, limit.GetKey()); i >= 0 {
		return values[step.Positional+i]
	}
	if at := int(limit.GetPosition()); at >= 1 && at <= step.Positional {
		return values[at-1]
	}
	return nil
}

// String returns the limit as people write it.
func (k gateKey) String() string {
	times := "once"
	if k.starts > 1 {
		times = strconv.Itoa(k.starts) + " times"
	}
	if k.key != "" {
		return fmt.Sprintf("%s in %v for each %s", times, k.period, k.key)
	}
	return fmt.Sprintf("%s in %v", times, k.period)
}

// roundUp returns a duration as people read it, and not less than it is.
func roundUp(d time.Duration) time.Duration {
	return (d + time.Millisecond - 1).Truncate(time.Millisecond)
}
