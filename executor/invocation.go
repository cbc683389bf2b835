package executor

import (
	"fmt"
	"strings"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// waitMax bounds every wait that a caller asks for, far within what a time.Duration can say.
const waitMax = 10 * 365 * 24 * time.Hour

// invocation is a wire.Invocation on its way through the executor. It is in one place at a time: its references are being replaced, it
// is in the queue of a lane, or it is in a slot of a worker. The goroutine that takes it out of there, with Executor.mu held, finishes
// it or passes it on.
type invocation struct {
	inv    *wire.Invocation
	queued time.Time
	limit  time.Duration // how long it may run
	// deadline is when it is stopped; set when a worker is reserved for it.
	deadline time.Time
	slot     *slot  // in which a worker runs it; set when a worker is reserved for it
	overdue  bool   // its worker was killed because it ran for too long
	awaited  string // the run that it waited for then; empty if it did not wait

	// Of one that is cancelled while it runs. Guarded by Executor.mu.
	giveUp    time.Time // when its worker is replaced; zero before it is told
	signalled bool      // its worker has been interrupted

	// Of the queue that it is in.
	place          uint64      // what it has instead of an arrival time; 0 before it is queued for the first time
	since          time.Time   // when it was queued this time
	previous, next *invocation // of the same client, priority and depth
	sameRun        *invocation // another one of its run that is queued
	unstarted      string      // why it has waited too long; empty as long as it has not
}

// check returns why an invocation cannot be run as it is, or nil.
func (t *invocation) check() *wire.Error {
	if len(t.inv.Steps) == 0 {
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "an invocation of no function")
	}
	for i := range t.inv.Steps {
		f := t.inv.Steps[i].Function
		switch {
		case f.GetRuntime() != pb.Runtime_RUNTIME_PYTHON && f.GetRuntime() != pb.Runtime_RUNTIME_UNSPECIFIED:
			return wire.Errorf(pb.Code_CODE_UNSUPPORTED, "run %s: %s@%d is for the runtime %v, and this node runs Python", t.names(), f.GetName(), f.GetVersion(), f.GetRuntime())
		case len(t.inv.Steps) > 1 && f.GetConvention() == pb.Convention_CONVENTION_CLASS:
			// Run in a row with others it would be built a second time, in whichever worker is free.
			return wire.Errorf(pb.Code_CODE_INTERNAL, "run %s: %s@%d is a class, which is invoked alone", t.names(), f.GetName(), f.GetVersion())
		case len(t.inv.Steps) > 1 && f.GetConcurrency() > 0:
			// In a row with others it would hold its share of the limit while they run.
			return wire.Errorf(pb.Code_CODE_INTERNAL, "run %s: %s@%d has a limit (concurrency), so it is invoked alone", t.names(), f.GetName(), f.GetVersion())
		}
	}
	return nil
}

// reserved sets the deadline of an invocation that a worker takes now.
func (t *invocation) reserved(now time.Time) {
	t.deadline = now.Add(t.limit)
	if d := t.inv.Deadline; !d.IsZero() && d.Before(t.deadline) {
		t.deadline = d
	}
}

// limited returns the function of the invocation if only so many of it may run at once, and else nil. A class is not meant: its one
// worker runs one invocation at a time.
func (t *invocation) limited() *pb.Function {
	if f := t.inv.Steps[0].Function; f.GetConcurrency() > 0 && f.GetConvention() != pb.Convention_CONVENTION_CLASS {
		return f
	}
	return nil
}

// expiry returns when it is too late for the invocation to begin.
func (t *invocation) expiry() time.Time {
	expiry := t.queued.Add(t.limit)
	if !t.inv.Deadline.IsZero() {
		expiry = t.inv.Deadline
	}
	if limit := t.inv.QueueTimeout; limit > 0 && t.since.Add(limit).Before(expiry) {
		expiry = t.since.Add(limit)
	}
	return expiry
}

// outwaited reports whether the invocation has waited for longer than it may, whatever its deadline is.
func (t *invocation) outwaited(now time.Time) bool {
	return t.inv.QueueTimeout > 0 && now.After(t.since.Add(t.inv.QueueTimeout))
}

func (t *invocation) finish(r wire.Result) { t.inv.Done(r) }

func (t *invocation) fail(code pb.Code, format string, args ...any) {
	t.finish(wire.Result{Err: wire.Errorf(code, format, args...)})
}

func (t *invocation) failStopping() {
	t.fail(pb.Code_CODE_UNAVAILABLE, "run %s: the node is stopping", t.names())
}

// names returns the functions of the invocation as people write them.
func (t *invocation) names() string { return stepNames(t.inv.Steps) }

func stepNames(steps []wire.Step) string {
	names := make([]string, len(steps))
	for i, step := range steps {
		names[i] = fmt.Sprintf("%s@%d", step.Function.GetName(), step.Function.GetVersion())
	}
	return strings.Join(names, " → ")
}

// needs reports whether a function is one of the invocation's.
func (t *invocation) needs(key functionKey) bool {
	for i := range t.inv.Steps {
		if keyOf(t.inv.Steps[i].Function) == key {
			return true
		}
	}
	return false
}

// functionKey names one version of a function.
type functionKey struct {
	name    string
	version uint64
}

func keyOf(f *pb.Function) functionKey { return functionKey{f.GetName(), f.GetVersion()} }

func loadError(f *pb.Function, err error) error {
	return fmt.Errorf("load function %s@%d: %w", f.GetName(), f.GetVersion(), err)
}

// milliseconds returns a wait that a caller asks for, bounded.
func milliseconds(n uint64) time.Duration {
	return time.Duration(min(n, uint64(waitMax/time.Millisecond))) * time.Millisecond
}
