package scheduler

import (
	"cmp"
	"fmt"
	"time"

	"cloudburst/cache"
	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// end gives the run its result, unless it has one. A run that does not succeed ends those below it.
func (r *run) end(result wire.Result) {
	now := time.Now()
	if !r.conclude(result, now) {
		return
	}
	if result.Err != nil {
		r.endBelow(now)
	}
	r.finish(result, now, false)
}

// conclude makes a result that of the run, unless it has one. Nothing of the run starts from then on, and nothing below it if
// the result is an error.
func (r *run) conclude(result wire.Result, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	r.ended, r.endedAt, r.result = true, now, result
	return true
}

// finish takes note of the end of a run, and delivers its result. A result that is to be kept is in the store before any caller
// is told of it, so that a reference to it can be read at once. along says that it ended with a run above it.
func (r *run) finish(result wire.Result, now time.Time, along bool) {
	r.leave()
	r.leaveGates()
	r.s.stats.ended(result, now.Sub(r.started))
	r.s.recent.add(r)
	if result.Err != nil && !along {
		r.s.failures.note(now, r, result.Err)
	}
	if !r.store {
		r.deliver()
		return
	}
	r.s.keep(r.id, r.key, r.call.GetOutputKey(), result, r.kept)
}

// kept is called when the result is in the store, or cannot be put there.
func (r *run) kept(err error) {
	if err != nil {
		r.s.lose(r.id, err)
		r.mu.Lock()
		if r.result.Err == nil {
			r.result = wire.Result{Err: wire.AsError(fmt.Errorf("run of %s: it finished, but its result could not be stored under %q: %w",
				r.plan, cmp.Or(r.call.GetOutputKey(), r.key), err))}
		}
		r.mu.Unlock()
	}
	r.deliver()
}

// resume ends the run with the result that an earlier run of the same id has left in the store.
func (r *run) resume(result wire.Result) {
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return
	}
	r.ended, r.resumed, r.result = true, true, result
	r.mu.Unlock()
	r.leave()
	r.deliver()
}

// deliver hands the result to those who wait for it, keeps it if none of them is there any more, starts the continuation
// and forgets the run.
func (r *run) deliver() {
	r.mu.Lock()
	r.delivered = true
	result, waiters, observers, resumed := r.result, r.waiters, r.observers, r.resumed
	r.waiters, r.observers = nil, nil
	r.mu.Unlock()
	taken := false
	for _, done := range waiters {
		taken = done(result) || taken
	}
	if !taken {
		r.keepUndelivered()
	}
	for _, ended := range observers {
		(*ended)()
	}
	if next := r.call.GetContinuation(); next != nil && !resumed {
		r.s.proceed(r.client, r.parent, next, r.after, result)
	}
	r.s.table.remove(r)
	r.s.leave()
}

// keepUndelivered stores a result that no waiter took; the client finds it when it connects and calls again.
func (r *run) keepUndelivered() {
	r.mu.Lock()
	result, stored := r.result, r.resumed || r.items != nil || r.store && r.call.GetOutputKey() == ""
	r.mu.Unlock()
	if stored {
		return
	}
	r.s.stats.undelivered.Add(1)
	r.s.keepAside(r.id, r.key, "", result)
}

// kept is what a put of one result takes, as one allocation.
type kept struct {
	write [1]cache.Write
	value [1][]byte
}

// keep stores a result: under a key that the caller has named for ever and durably, under the run's own for a while.
func (s *Scheduler) keep(id wire.RunID, own, named string, result wire.Result, done func(error)) {
	k := new(kept)
	k.value[0] = result.Value
	if result.Err != nil {
		k.value[0] = encodeFailure(result.Err)
	}
	k.write[0] = cache.Write{Key: named, Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: k.value[:]}
	ack := pb.Ack_ACK_DURABLE
	if named == "" {
		k.write[0].Key, k.write[0].TTL, k.write[0].Volatile = own, s.cfg.ResultTTL, true
		ack = pb.Ack_ACK_MEMORY
		s.results.add(id, len(k.value[0]))
	}
	s.store.PutAsync(k.write[:], ack, done)
}

// keepAside stores a result without a waiter.
func (s *Scheduler) keepAside(id wire.RunID, own, named string, result wire.Result) {
	s.keep(id, own, named, result, func(err error) {
		if err != nil {
			s.lose(id, err)
		}
	})
}

// lose counts a result that could not be stored.
func (s *Scheduler) lose(id wire.RunID, err error) {
	s.stats.lost.Add(1)
	s.cfg.Logger.Warn("a result could not be stored", "run", id.String(), "error", err)
}

// encodeFailure returns the value that stands for a failed run. What makes it too large is left out: the exception itself.
func encodeFailure(e *wire.Error) []byte {
	value, err := codec.EncodeFailure(e)
	if err == nil && len(value) <= wire.ValueBytesMax {
		return value
	}
	// Code and a valid message always encode.
	value, _ = codec.EncodeFailure(wire.Errorf(e.Code, "the run failed, and its exception is too large to be kept"))
	return value
}

// stored returns the result that a run has left in the store under its own key.
func (s *Scheduler) stored(own string) (wire.Result, bool) {
	entry, ok := s.store.Peek(own)
	if !ok || entry.Type != pb.LatticeType_LATTICE_TYPE_LWW || len(entry.Values) != 1 {
		return wire.Result{}, false
	}
	if failure := codec.DecodeFailure(entry.Values[0]); failure != nil {
		return wire.Result{Err: failure}, true
	}
	return wire.Result{Value: entry.Values[0]}, true
}

// proceed starts the continuation of a run that has ended. No client waits for it, so its result, or the reason why it never
// came to be, is always stored.
func (s *Scheduler) proceed(client uint64, parent wire.RunID, call *pb.Call, values [][]byte, before wire.Result) {
	split := given(call)
	q := submission{
		client: client, parent: parent, call: call, id: wire.RunID(call.GetRunId()), values: values[:split:split], after: values[split:], before: before.Value,
		started: time.Now(), continues: true, done: func(wire.Result) bool { return true },
	}
	if before.Err != nil {
		failed := *before.Err
		failed.Message = fmt.Sprintf("call %s: it was to continue a run that failed: %s", targetOf(call), before.Err.Error())
		s.refuse(&q, &failed)
		return
	}
	s.start(&q, false)
}
