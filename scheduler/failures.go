package scheduler

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// failureLinesMax is how many failed runs of one function or DAG are logged one by one in a second; the rest are counted.
	failureLinesMax = 5
	// failureTargetsMax is how many functions and DAGs are told apart in a second; the failures of further ones are counted together.
	failureTargetsMax = 64
	// errorBytesMax is how much of an error a line has.
	errorBytesMax = 1 << 10
)

// failures writes a line into the node's log for each run that fails or is cancelled; those that end with a run above them have none.
// Safe for concurrent use.
type failures struct {
	logger *slog.Logger

	mu      sync.Mutex
	since   time.Time // when the current second began
	targets map[string]*tally
}

// tally is what has been made of the failures of one target in a second.
type tally struct {
	lines               int
	unlisted, cancelled uint64
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
	switch {
	case listed:
		t.lines++
	case err.Code == pb.Code_CODE_CANCELLED:
		t.cancelled++
	default:
		t.unlisted++
	}
	f.mu.Unlock()
	f.summarize(ended)
	if !listed {
		return
	}
	attributes := []any{"target", r.plan.String(), "run", r.id.String()}
	switch e := err.Exception; {
	case e != nil && e.GetFunction() != "":
		attributes = append(attributes, "function", e.GetFunction(), "version", e.GetVersion())
	case r.plan.dag == nil:
		attributes = append(attributes, "function", r.plan.functions[0].GetName(), "version", r.plan.functions[0].GetVersion())
	}
	if label := r.call.GetLabel(); label != "" {
		attributes = append(attributes, "label", label)
	}
	if r.parent != (wire.RunID{}) {
		attributes = append(attributes, "parent", r.parent.String())
	}
	attributes = append(attributes, "after", now.Sub(r.started).Round(time.Microsecond), "error", shortenTo(err.Error(), errorBytesMax))
	if err.Code == pb.Code_CODE_CANCELLED {
		f.logger.Info("a run was cancelled", attributes...)
		return
	}
	f.logger.Warn("a run failed", attributes...)
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
		if t.cancelled > 0 {
			f.logger.Info("more runs were cancelled, which are not listed", "target", target, "runs", t.cancelled)
		}
	}
}

// shortenTo returns the beginning of a string that is longer than so many bytes.
func shortenTo(text string, bytesMax int) string {
	if len(text) <= bytesMax {
		return text
	}
	return strings.ToValidUTF8(text[:bytesMax], "") + "…"
}
