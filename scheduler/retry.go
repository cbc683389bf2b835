package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// past is what has become of an invocation that is run again. Guarded by run.mu.
type past struct {
	failed    uint32 // attempts that have failed and count
	uncounted uint32 // attempts that have failed and do not count
	ends      []string
}

// retries returns how often a function of the run may run again, and whether the call or the function says so. Where neither does, an
// exception is final and the loss of a worker is not.
func (r *run) retries(f *pb.Function) (n uint32, said bool) {
	switch {
	case r.call.Retries != nil:
		return r.call.GetRetries(), true
	case f.Retries != nil:
		return f.GetRetries(), true
	}
	return 0, false
}

// atMostOnce reports whether functions may run at most once that say so, or not, by themselves: what the call says goes first.
func (r *run) atMostOnce(once bool) bool {
	if r.call.Retries != nil {
		return r.call.GetRetries() == 0
	}
	return once
}

// failed runs an invocation again, or ends the run with what the invocation has failed with. r.mu is held, and let go.
func (r *run) failed(inv *invocation, result wire.Result) {
	f := r.plan.functions[r.plan.chains[inv.chain].first]
	again, counts := r.mayRunAgain(inv, f, result)
	if !again {
		result.Err = r.final(inv, f, result)
		inv.running, inv.failed = false, true
		r.mu.Unlock()
		r.end(result)
		return
	}
	if inv.past == nil {
		inv.past = new(past)
	}
	next := *inv.sent
	next.Again, next.Along = true, next.Along || result.Lost == wire.LostAlong
	var pause time.Duration
	if counts {
		inv.past.note(describeEnd(result))
		next.Attempt++
		pause = r.s.jitter(backoff(f, inv.past.failed))
	} else {
		inv.past.uncounted++
		pause = retryDelayMin
	}
	inv.sent = &next
	r.mu.Unlock()
	r.s.stats.retried.Add(1)
	r.s.table.retryAt(inv, time.Now().Add(pause))
}

// mayRunAgain decides whether an invocation that has failed is run again, and whether this attempt counts among those that its function
// may have. r.mu is held.
func (r *run) mayRunAgain(inv *invocation, f *pb.Function, result wire.Result) (again, counts bool) {
	if inv.yielded() > 0 {
		return false, false // its items would come twice
	}
	retries, said := r.retries(f)
	failed, uncounted := inv.counts()
	switch result.Lost {
	case wire.LostRunning:
		if !said {
			retries = lossesUnsaid
		}
		return failed < retries, true
	case wire.LostUnstarted:
		return uncounted < uncountedMax, false
	case wire.LostAlong:
		return uncounted < uncountedMax && (retries > 0 || !said), false
	}
	if result.Err.Code != pb.Code_CODE_EXECUTION {
		return false, false
	}
	return failed < retries && retriedOn(f, result.Err.Exception), true
}

// final returns what a run ends with whose invocation is not run again.
func (r *run) final(inv *invocation, f *pb.Function, result wire.Result) *wire.Error {
	if result.Lost == wire.NotLost {
		if result.Err.RetryAfter > 0 { // the executor's queue is full
			full := *result.Err
			full.RetryAfter = max(full.RetryAfter, r.s.pace.comeBack(r.s.inFlight.Load()))
			return &full
		}
		return result.Err
	}
	names, how := r.names(inv), result.Err.Message
	failed, uncounted := inv.counts()
	retries, said := r.retries(f)
	switch {
	case said && retries == 0 && result.Lost != wire.LostUnstarted:
		return wire.Errorf(pb.Code_CODE_OUTCOME_UNKNOWN,
			"run of %s: %s while it ran %s, which may run at most once (retries=0), so it is not run again, and whether it took effect is not known: "+
				"find out before you call it again, or register it with retries=n if it may run twice", r.plan, how, names)
	case inv.yielded() > 0:
		return wire.Errorf(pb.Code_CODE_WORKER_DIED, "run of %s: %s while it ran %s; %d items of it have been sent, so it is not run again",
			r.plan, how, names, inv.yielded())
	case result.Lost == wire.LostRunning && failed == 0:
		return wire.Errorf(pb.Code_CODE_WORKER_DIED, "run of %s: %s while it ran %s, which is not tried again", r.plan, how, names)
	case result.Lost == wire.LostRunning:
		return wire.Errorf(pb.Code_CODE_WORKER_DIED, "run of %s: %s has failed %d times and is not tried again: %s",
			r.plan, names, failed+1, inv.past.history(how))
	default:
		return wire.Errorf(pb.Code_CODE_WORKER_DIED, "run of %s: %d workers ended that had been given %s, through no fault of it, the limit; the last: %s",
			r.plan, uncounted+1, names, how)
	}
}

// retriedOn reports whether a function is tried again after an exception.
func retriedOn(f *pb.Function, e *pb.RemoteException) bool {
	if len(f.GetRetryOn()) == 0 {
		return true
	}
	return slices.ContainsFunc(e.GetBases(), func(base string) bool { return slices.Contains(f.GetRetryOn(), base) })
}

// backoff returns how long to wait, at least, after so many failures.
func backoff(f *pb.Function, failures uint32) time.Duration {
	first, longest := retryDelayMin, retryDelayMax
	if said := f.GetBackoffMilliseconds(); said > 0 {
		first = time.Duration(min(said, uint64(backoffMax/time.Millisecond))) * time.Millisecond
		longest = max(first, backoffLongest)
	}
	return min(first<<min(failures-1, 16), longest)
}

// jittered returns a pause up to a quarter longer, so that invocations that have failed together are not tried together.
func jittered(pause time.Duration) time.Duration { return pause + rand.N(pause/4+1) }

// attempt returns which attempt of the invocation is under way, from 1 on. r.mu is held.
func (inv *invocation) attempt() uint32 {
	failed, _ := inv.counts()
	return failed + 1
}

func (inv *invocation) counts() (failed, uncounted uint32) {
	if inv.past == nil {
		return 0, 0
	}
	return inv.past.failed, inv.past.uncounted
}

// note keeps how an attempt has ended.
func (p *past) note(how string) {
	p.failed++
	if len(p.ends) == endsMax {
		p.ends = append(p.ends[:0], p.ends[1:]...)
	}
	p.ends = append(p.ends, how)
}

// history says how the latest attempts have ended, the last of them as given.
func (p *past) history(last string) string {
	var b strings.Builder
	first := p.failed - uint32(len(p.ends)) + 1
	if first > 1 {
		b.WriteString("…; ")
	}
	for i, end := range p.ends {
		fmt.Fprintf(&b, "attempt %d: %s; ", first+uint32(i), end)
	}
	fmt.Fprintf(&b, "attempt %d: %s", p.failed+1, last)
	return b.String()
}

func describeEnd(result wire.Result) string {
	if result.Lost != wire.NotLost {
		return result.Err.Message
	}
	e := result.Err.Exception
	return "it raised " + shortenTo(e.GetType()+": "+e.GetMessage(), endBytesMax)
}

// backoffSum returns how long the pauses between so many retries are together at most.
func backoffSum(f *pb.Function, retries uint32) time.Duration {
	var sum time.Duration
	for n := uint32(1); n <= retries; n++ {
		pause := backoff(f, n)
		pause += pause / 4
		sum += pause
		if backoff(f, n) < backoff(f, n+1) {
			continue
		}
		// It does not grow any more.
		rest := min(time.Duration(retries-n), timeoutSumMax/pause)
		return min(sum+rest*pause, timeoutSumMax)
	}
	return sum
}
