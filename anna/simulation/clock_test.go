// Package simulation runs Anna's kernels, and the machines that move slots, shorten the log and keep hot keys, as they are in a world
// that is made up: its time, network, log and nodes follow from a seed, and misbehave as real ones do, only more often. Checkers then
// hold what they show against what they promised.
//
// A seed that fails is printed and replays exactly:
//
//	go test ./anna/simulation -run TestSimulation -seed 4711 -v
package simulation

import "math/rand/v2"

// Durations of the simulated world, in microseconds.
const (
	millisecond = 1000
	second      = 1000 * millisecond
	minute      = 60 * second
	hour        = 60 * minute
)

// begin is when every simulation starts: late enough for clocks that are set back.
const begin = 1_800_000_000 * second

// events is a heap of what is going to happen, soonest first, and in the order of its planning at one time.
type events []event

type event struct {
	at     int64
	number int
	do     func()
}

func (e events) less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].number < e[j].number
}

// push and pop are container/heap's, without an allocation for each.
func (e *events) push(v event) {
	*e = append(*e, v)
	h := *e
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if h.less(parent, i) {
			break
		}
		h[parent], h[i] = h[i], h[parent]
		i = parent
	}
}

func (e *events) pop() event {
	h := *e
	next, last := h[0], len(h)-1
	h[0], h[last] = h[last], event{}
	h = h[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && h.less(child+1, child) {
			child++
		}
		if h.less(i, child) {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	*e = h
	return next
}

// timeline is the one source of time and chance of a simulation.
type timeline struct {
	now     int64 // microseconds
	random  *rand.Rand
	planned events
	count   int
}

func newTimeline(seed uint64) *timeline {
	return &timeline{now: begin, random: rand.New(rand.NewPCG(seed, 0x616e6e61))}
}

// after plans something.
func (l *timeline) after(delay int64, do func()) {
	l.count++
	l.planned.push(event{l.now + delay, l.count, do})
}

// run lets everything happen that is planned before a time.
func (l *timeline) run(until int64) {
	for len(l.planned) > 0 && l.planned[0].at <= until {
		next := l.planned.pop()
		l.now = next.at
		next.do()
	}
	l.now = until
}

// between draws a duration.
func (l *timeline) between(least, most int64) int64 { return least + l.random.Int64N(most-least+1) }

// chance reports true in so many cases of a hundred.
func (l *timeline) chance(percent int) bool { return l.random.IntN(100) < percent }
