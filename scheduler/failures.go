package scheduler

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	"cloudburst/wire"
)

const (
	// failureLinesMax is how many failed runs of one function or DAG are logged one by one in a second; the rest are counted.
	failureLinesMax = 5
	// failureTargetsMax is how many functions and DAGs are told apart in a second; the failures of further ones are counted together.
	failureTargetsMax = 64
	// errorBytesMax is how much of an error a line has.
	errorBytesMax = 1 << 10
)

// failures writes a line into the node's log for each run that fails. Safe for concurrent use.
type failures struct {
	logger *slog.Logger

	mu      sync.Mutex
	since   time.Time // when the current second began
	targets map[string]*tally
}

// tally is what has been made of the failures of one target in a second.
type tally struct {
	lines    int
	unlisted uint64
}

// note logs that a run has failed, or counts it.
func (f *failures) note(now time.Time, r *run, err *wire.Error) {
	target := r.plan.String()
	f.mu.Lock()
	ended := f.turn(now)
	t := f.targets[target]
	if t == nil {
		if len(f.targets) >= failureTargetsMax {
			target = "others"
			t = f.targets[target]
		}
		if t == nil {
			t = new(tally)
			f.targets[target] = t
		}
	}
	listed := t.lines < failureLinesMax
	if listed {
		t.lines++
	} else {
		t.unlisted++
	}
	f.mu.Unlock()
	f.summarize(ended)
	if !listed {
		return
	}
	attributes := []any{"target", r.plan.String(), "run", r.id.String()}
	if e := err.Exception; e != nil && e.GetFunction() != "" {
		attributes = append(attributes, "function", e.GetFunction(), "version", e.GetVersion())
	}
	f.logger.Warn("a run failed", append(attributes, "after", now.Sub(r.started).Round(time.Microsecond), "error", shorten(err.Error()))...)
}

// flush logs how many failed runs have no line, once their second is over.
func (f *failures) flush(now time.Time) {
	f.mu.Lock()
	ended := f.turn(now)
	f.mu.Unlock()
	f.summarize(ended)
}

// turn begins another second if the current one is over, and returns what that has counted. f.mu is held.
func (f *failures) turn(now time.Time) (ended map[string]*tally) {
	if now.Sub(f.since) < time.Second {
		return nil
	}
	ended = f.targets
	f.since = now
	if len(ended) > 0 || ended == nil {
		f.targets = make(map[string]*tally)
	}
	return ended
}

func (f *failures) summarize(ended map[string]*tally) {
	for target, t := range ended {
		if t.unlisted > 0 {
			f.logger.Warn("more runs failed, which are not listed", "target", target, "runs", t.unlisted)
		}
	}
}

func shorten(message string) string { return shortenTo(message, errorBytesMax) }

func shortenTo(message string, bytesMax int) string {
	if len(message) <= bytesMax {
		return message
	}
	return strings.ToValidUTF8(message[:bytesMax], "") + "…"
}
