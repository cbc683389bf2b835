package scheduler

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	"cloudburst/wire"
)

// failureLinesMax is how many failed runs a second are logged one by one; the rest are counted.
const failureLinesMax = 10

// failures writes a line into the node's log for each run that fails. Safe for concurrent use.
type failures struct {
	logger *slog.Logger

	mu       sync.Mutex
	since    time.Time // when the current second of lines began
	lines    int       // in that second
	unlisted uint64    // runs that failed and have no line
}

// note logs that a run has failed, or counts it.
func (f *failures) note(now time.Time, r *run, err *wire.Error) {
	f.mu.Lock()
	unlisted := f.turn(now)
	listed := f.lines < failureLinesMax
	if listed {
		f.lines++
	} else {
		f.unlisted++
	}
	f.mu.Unlock()
	f.summarize(unlisted)
	if !listed {
		return
	}
	attributes := []any{"target", r.plan.String(), "run", r.id.String()}
	if e := err.Exception; e != nil && e.GetFunction() != "" {
		attributes = append(attributes, "function", e.GetFunction(), "version", e.GetVersion())
	}
	f.logger.Warn("a run failed", append(attributes, "after", now.Sub(r.started).Round(time.Microsecond), "error", shorten(err.Error()))...)
}

// errorBytesMax is how much of an error a line has.
const errorBytesMax = 1 << 10

func shorten(message string) string {
	if len(message) <= errorBytesMax {
		return message
	}
	return strings.ToValidUTF8(message[:errorBytesMax], "") + "…"
}

// flush logs how many failed runs have no line, once their second is over.
func (f *failures) flush(now time.Time) {
	f.mu.Lock()
	unlisted := f.turn(now)
	f.mu.Unlock()
	f.summarize(unlisted)
}

// turn begins another second if the current one is over, and returns how many runs have no line. f.mu is held.
func (f *failures) turn(now time.Time) (unlisted uint64) {
	if now.Sub(f.since) >= time.Second {
		unlisted = f.unlisted
		f.since, f.lines, f.unlisted = now, 0, 0
	}
	return unlisted
}

func (f *failures) summarize(unlisted uint64) {
	if unlisted > 0 {
		f.logger.Warn("more runs failed, which are not listed", "runs", unlisted)
	}
}
