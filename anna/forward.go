package anna

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"cloudburst/anna/hot"
	"cloudburst/anna/kernel"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// forwarder makes writes and reads of keys whose masters are other nodes: it asks those. Safe for concurrent use.
type forwarder struct {
	asks     *asker
	caches   *caches
	remote   *remotes
	replicas *replicas
	hot      *atomic.Pointer[hot.Table]
	kernels  *kernels
	stamps   *stamps
	recent   recent
	making   making
	// replicaOf draws the node to ask for a hot key; empty = a master.
	replicaOf func(hot *hot.Route, slot uint16) string
}

// makeAttempts bounds how often a write that depends on what is held is tried while other nodes change the key.
const makeAttempts = 64

// write has a master on another node make a write.
func (f *forwarder) write(w *kernel.Write, done Completion) {
	if done == nil {
		done = CompletionFunc(func(int64, error) {})
	}
	f.recent.forget(w.Key)
	kept := *w // the caller may use its own again before the answer comes
	w = &kept
	w.Key = strings.Clone(w.Key)
	if w.Put != nil {
		w.Delta, w.Put = lattice.Put(lattice.Timestamp{}, w.Put), nil
	}
	if w.Make != nil {
		err := f.making.enter(w.Key, func() { f.tryMake(w, f.making.leaving(w.Key, done), makeAttempts) })
		if err != nil {
			done.Complete(0, fmt.Errorf("write to %.64q: %w", w.Key, err))
		}
		return
	}
	switch {
	case w.Add != 0:
		f.change(w, lattice.Timestamp{}, true, "", done)
	case w.Cache != 0 && w.Ack == kernel.Memory && w.Delta != nil && stampable(w.Delta):
		// It can be read here when this returns, so it has the stamp of this moment, whatever the key holds.
		w.Delta.Complete(f.kernels.stamp(w.Slot), nil)
		f.caches.push([]kernel.Push{{Cache: w.Cache, Key: w.Key, Delta: w.Delta.Clone(), Asked: true}})
		f.remote.watch(w.Cache, w.Slot, w.Key)
		f.change(w, lattice.Timestamp{}, false, "", done)
	default:
		f.change(w, f.kernels.stamp(w.Slot), false, "", done)
	}
}

// change asks for a change. Once says that it must not be made twice. Other changes may be, since a node that is asked may be slow and
// another be asked meanwhile: both make the same change, with the same stamp, and a late one does no harm to what is written after it.
// A member is asked first, if one is named.
func (f *forwarder) change(w *kernel.Write, stamp lattice.Timestamp, once bool, member string, done Completion) {
	c := &pb.Change{
		Key: []byte(w.Key), Add: w.Add, Delete: w.Delete, Persist: w.Persist, Replace: w.Replace, Volatile: w.Volatile,
		Memory: w.Ack == kernel.Memory, Expect: w.Expect,
	}
	if w.Delta != nil {
		c.Delta = wire.AppendState(nil, w.Delta)
	}
	reached := stamp.Time
	overwrites := overwritesAll(w)
	if stamp.IsZero() {
		reached = f.kernels.reached(w.Slot)
	} else {
		if overwrites {
			f.recent.overwritten(w.Key, reached)
		}
		c.Stamp = &pb.Timestamp{Time: stamp.Time, Writer: stamp.Writer}
	}
	// Reads of a hot key that was written through this node lately ask the same master.
	direct := (*f.hot.Load())[w.Key] != nil
	q := &question{slot: w.Slot, lead: w.Expect != 0, direct: direct, once: once || w.Expect != 0, replica: member}
	if member == "" && (w.Delta == nil || !stampable(w.Delta) || w.Replace) {
		// The result depends on what is held, and the other masters may not have merged the last write.
		q.replica, _ = f.recent.writtenSince(w.Key, time.Now().Add(-lately))
	}
	q.done = func(answer *pb.Answer, err error) {
		value := answer.GetValue()
		if err == error(errBehind) && !stamp.IsZero() { //nolint:errorlint // it is never wrapped here
			if !overwrites || !f.recent.overwrittenSince(w.Key, stamp.Time) {
				// Another node has written it with a later stamp. The master that says so stamps this write later than that.
				f.change(w, lattice.Timestamp{}, true, answer.GetMember(), done)
				return
			}
			// This node has written that, without waiting for the answer: it is to stay.
			if err = nil; w.Delete {
				value = 1
			}
		}
		f.recent.written(w.Key, answer.GetMember(), time.Now())
		if err != nil {
			done.Complete(0, fmt.Errorf("write to %.64q: %w", w.Key, err))
			return
		}
		f.replicas.written(w.Key)
		done.Complete(value, nil)
	}
	f.asks.ask(q, &pb.Ask{What: &pb.Ask_Change{Change: c}, Time: reached})
}

// overwritesAll reports whether a write leaves nothing of those before it.
func overwritesAll(w *kernel.Write) bool {
	if w.Delta == nil || len(w.Delta.Others()) > 0 {
		return w.Delete
	}
	lww, ok := w.Delta.Lattice.(*lattice.LWW)
	return ok && lww.Timestamp.IsZero()
}

// stampable reports whether nothing about what is held must be known to complete a delta.
func stampable(delta *lattice.State) bool {
	if delta.Lattice == nil || len(delta.Others()) > 0 {
		return false
	}
	switch delta.Lattice.Type() {
	case lattice.TypeLWW, lattice.TypeSet, lattice.TypeOrderedSet:
		return true
	}
	return false
}

// tryMake makes a write that depends on what is held: a master says what that is, and makes the write if that has not changed.
func (f *forwarder) tryMake(w *kernel.Write, done Completion, attempts int) {
	fail := func(err error) { done.Complete(0, fmt.Errorf("write to %.64q: %w", w.Key, err)) }
	f.read(&question{slot: w.Slot, lead: true}, w.Key, func(held *lattice.State, answer *pb.Answer, err error) {
		if err != nil {
			fail(err)
			return
		}
		delta, value, err := f.make(w, held)
		if err != nil || delta == nil {
			done.Complete(value, err)
			return
		}
		c := &pb.Change{
			Key: []byte(w.Key), Delta: wire.AppendState(nil, delta), Volatile: w.Volatile, Memory: w.Ack == kernel.Memory,
			Expect: answer.GetFingerprint(),
		}
		f.asks.ask(&question{slot: w.Slot, lead: true, once: true, done: func(answer *pb.Answer, err error) {
			f.recent.written(w.Key, answer.GetMember(), time.Now())
			switch {
			case err == nil:
				if !w.Volatile {
					f.kernels.hear(w.Key, delta)
				}
				f.replicas.written(w.Key)
				done.Complete(value, nil)
			case attempts > 1 && err == error(errChanged): //nolint:errorlint // it is never wrapped here
				f.tryMake(w, done, attempts-1)
			default:
				fail(err)
			}
		}}, &pb.Ask{What: &pb.Ask_Change{Change: c}, Time: f.kernels.reached(w.Slot)})
	})
}

// make makes the delta of a write from what the leading master holds, and from what this node has acknowledged meanwhile if it is a
// master too: the leading master may not have merged that, and gets it with the delta.
func (f *forwarder) make(w *kernel.Write, held *lattice.State) (delta *lattice.State, value int64, err error) {
	if held == nil {
		held = new(lattice.State)
	}
	news := f.kernels.news(w.Key, held)
	now, stamp := f.kernels.wall()/1000, f.kernels.stamp(w.Slot)
	if reached := held.Latest(); !reached.Less(stamp) {
		return nil, 0, wire.Errorf(pb.Code_CODE_UNAVAILABLE, "write to %.64q: it holds what was written at %s, more than a day after this node's "+
			"time: set the clock that is wrong, and start its node again", w.Key, readable(reached.Time))
	}
	if delta, value, err = w.Make.Make(held, stamp, now); err != nil || delta == nil {
		return nil, value, err
	}
	delta, err = w.Complete(delta, held, now, f.kernels.stamp(w.Slot))
	if err != nil {
		return nil, 0, coded(err)
	}
	if delta != nil && news != nil {
		news.Merge(delta)
		delta = news
	}
	return delta, value, err
}

// read asks a master on another node what a key holds.
func (f *forwarder) read(q *question, key string, done func(*lattice.State, *pb.Answer, error)) {
	q.done = func(answer *pb.Answer, err error) {
		var state *lattice.State
		if err == nil && len(answer.GetState()) > 0 {
			if state, err = wire.DecodeState(answer.GetState()); err == nil {
				_ = f.stamps.observe(state.Latest().Time) // a stamp that is too far ahead is not followed
			}
		}
		done(state, answer, err)
	}
	f.asks.ask(q, &pb.Ask{What: &pb.Ask_Read{Read: []byte(key)}, Replica: q.replica != ""})
}

// fetch fetches a key from another node. A state that was asked for before a write was acknowledged is of no use to a read after the
// acknowledgement, so it is asked for again.
func (f *forwarder) fetch(key string, slot uint16, done Completion, attempts int) {
	began := time.Now()
	q := &question{slot: slot}
	if member, ok := f.recent.writtenSince(key, began.Add(-lately)); ok {
		q.replica = member // other masters may still be behind it
	} else if hot := (*f.hot.Load())[key]; hot != nil {
		if q.direct = f.replicas.find(key) != nil; !q.direct {
			q.replica = f.replicaOf(hot, slot)
		}
	}
	f.read(q, key, func(state *lattice.State, _ *pb.Answer, err error) {
		switch {
		case err != nil:
			done.Complete(0, fmt.Errorf("read %.64q: %w", key, err))
		case attempts > 1 && f.recent.overtaken(key, began):
			f.fetch(key, slot, done, attempts-1)
		default:
			f.recent.keep(key, state, time.Now())
			done.Complete(0, nil)
		}
	})
}
