package scheduler

import (
	"sync/atomic"

	"cloudburst/codec"
	"cloudburst/wire"
)

// Work is what a policy places: functions in a row, with their arguments.
type Work struct {
	Steps []wire.Step
	// Values are the arguments, one step after another.
	Values [][]byte
}

// References calls visit with the key of every reference among the arguments.
func (w Work) References(visit func(key string)) {
	one := func(value []byte) {
		if len(value) > 0 && value[0] == codec.KindReference {
			if r, err := codec.DecodeReference(value); err == nil {
				visit(r.Key)
			}
		}
	}
	for _, value := range w.Values {
		if !codec.HasElements(value) {
			one(value)
			continue
		}
		elements, _ := codec.SplitSequence(value) // the executor refuses a malformed one
		for _, element := range elements {
			one(element)
		}
	}
}

// Candidate is an executor that work may be placed on. Safe for concurrent use.
type Candidate struct {
	executor Executor
	holder   Holder
	queue    Queue
	load     atomic.Int64
}

// Holder is implemented by an executor that can tell which keys are in the cache of its node.
type Holder interface {
	Holds(key string) bool
}

// Queue is implemented by an executor in which invocations wait.
type Queue interface {
	// Unstarted says why no invocation of a run has started that waits there; nothing when none waits.
	Unstarted(run wire.RunID) string
}

// Load returns how many invocations the candidate has not answered yet.
func (c *Candidate) Load() int { return int(c.load.Load()) }

// Holds reports whether a key is known to be in the cache of the candidate.s node.
func (c *Candidate) Holds(key string) bool { return c.holder != nil && c.holder.Holds(key) }

// unstarted says why no invocation of a run has started that waits at the candidate.
func (c *Candidate) unstarted(run wire.RunID) string {
	if c == nil || c.queue == nil {
		return ""
	}
	return c.queue.Unstarted(run)
}

// Policy places work when it is about to run. Place returns one of the candidates, at least two; it is
// called by many goroutines at once and must not block.
type Policy interface {
	Place(work Work, candidates []*Candidate) *Candidate
}

// Locality prefers the executors that hold most of the inputs, and among these the one with the least load.
type Locality struct{}

// Place implements Policy.
func (Locality) Place(work Work, candidates []*Candidate) *Candidate {
	best, bestHeld := candidates[0], -1
	for _, c := range candidates {
		held := 0
		if c.holder != nil {
			work.References(func(key string) {
				if c.Holds(key) {
					held++
				}
			})
		}
		if held > bestHeld || held == bestHeld && c.Load() < best.Load() {
			best, bestHeld = c, held
		}
	}
	return best
}
