package anna

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Write makes a write, which is only lent; done may be nil. The key's slot is filled in.
func (s *Server) Write(w *kernel.Write, done Completion) {
	err := s.check()
	if err == nil {
		err = CheckKey(w.Key)
	}
	if err != nil {
		if done != nil {
			done.Complete(0, err)
		}
		return
	}
	if !s.writeHere(w, done) {
		s.writeThere(w, done)
	}
}

// writeHere makes a write if this node serves its key, and reports whether it does.
func (s *Server) writeHere(w *kernel.Write, done Completion) bool {
	var shard *shard
	w.Slot, shard = s.shardOf(w.Key)
	if !s.serves[w.Slot].Load() {
		return false
	}
	if err := s.room.admit(w); err != nil {
		if done != nil {
			done.Complete(0, err)
		}
		return true
	}
	if done != nil {
		w.Ticket = done
	}
	w.Floor = s.stamps.reached.Load()
	// The slot may be given up just now, or the server stop, which has what is not in the log yet written and takes no more; and of
	// several masters one decides on what is held.
	return s.stepIf(shard, w, func(k *kernel.Kernel) bool {
		tenure := k.Tenure(w.Slot)
		return s.state.Load() != stopping && (tenure == slots.Leading || tenure < slots.Joining && w.Make == nil && w.Expect == 0)
	})
}

// makeAttempts bounds how often a write that depends on what is held is tried when others write to the key all the time.
const makeAttempts = 64

// writeThere lets a master on another node make a write.
func (s *Server) writeThere(w *kernel.Write, done Completion) {
	if done == nil {
		done = CompletionFunc(func(int64, error) {})
	}
	s.borrowed.forget(w.Key)
	kept := *w // whoever writes may use theirs again before the answer is there
	w = &kept
	w.Key = strings.Clone(w.Key)
	if w.Put != nil {
		w.Delta, w.Put = lattice.Put(lattice.Timestamp{}, w.Put), nil
	}
	if w.Make != nil {
		s.makeThere(w, done, makeAttempts)
		return
	}
	switch {
	case w.Add != 0:
		s.changeThere(w, lattice.Timestamp{}, true, "", done)
	case w.Cache != 0 && w.Ack == kernel.Memory && w.Delta != nil && stampable(w.Delta):
		// It can be read here when this returns, so that is when it was, whatever the key holds.
		w.Delta.Complete(s.stamp(w.Slot), nil)
		s.push([]kernel.Push{{Cache: w.Cache, Key: w.Key, Delta: w.Delta.Clone(), Asked: true}})
		s.remote.watch(w.Cache, w.Slot, w.Key)
		s.changeThere(w, lattice.Timestamp{}, false, "", done)
	default:
		s.changeThere(w, s.stamp(w.Slot), false, "", done)
	}
}

// changeThere asks for a change. Once says that it must not be made twice. Other changes may be, as who is asked may be slow and another
// be asked meanwhile: whoever makes it makes the same, with the same stamp, and one who is late does no harm to what is written after it.
// A member is asked first, if one is named.
func (s *Server) changeThere(w *kernel.Write, stamp lattice.Timestamp, once bool, member string, done Completion) {
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
		reached = s.reached(w.Slot)
	} else {
		if overwrites {
			s.borrowed.overwritten(w.Key, reached)
		}
		c.Stamp = &pb.Timestamp{Time: stamp.Time, Writer: stamp.Writer}
	}
	// Whoever reads a hot key that was written here lately asks the same master.
	direct := (*s.hot.Load())[w.Key] != nil
	q := &question{slot: w.Slot, lead: w.Expect != 0, direct: direct, once: once || w.Expect != 0, replica: member}
	if member == "" && (w.Delta == nil || !stampable(w.Delta) || w.Replace) {
		// What comes of it depends on what is held, and of the last write other masters may not have heard.
		q.replica, _ = s.borrowed.writtenSince(w.Key, time.Now().Add(-lately))
	}
	q.done = func(answer *pb.Answer, err error) {
		value := answer.GetValue()
		if err == error(errBehind) && !stamp.IsZero() { //nolint:errorlint // it is never wrapped here
			if !overwrites || !s.borrowed.overwrittenSince(w.Key, stamp.Time) {
				// Somebody else has written it with a later stamp. Who says so stamps this later than that.
				s.changeThere(w, lattice.Timestamp{}, true, answer.GetMember(), done)
				return
			}
			// This node has, without waiting for the answer: that is to stay.
			if err = nil; w.Delete {
				value = 1
			}
		}
		s.borrowed.written(w.Key, answer.GetMember(), time.Now())
		if err != nil {
			done.Complete(0, fmt.Errorf("write to %.64q: %w", w.Key, err))
			return
		}
		s.replicas.written(w.Key)
		done.Complete(value, nil)
	}
	s.asks.ask(q, &pb.Ask{What: &pb.Ask_Change{Change: c}, Time: reached})
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

// makeThere makes a write that depends on what is held: a master says what that is, and takes the write if it still is.
func (s *Server) makeThere(w *kernel.Write, done Completion, attempts int) {
	fail := func(err error) { done.Complete(0, fmt.Errorf("write to %.64q: %w", w.Key, err)) }
	s.readThere(&question{slot: w.Slot, lead: true}, w.Key, func(held *lattice.State, answer *pb.Answer, err error) {
		if err != nil {
			fail(err)
			return
		}
		delta, value, err := s.make(w, held)
		if err != nil || delta == nil {
			done.Complete(value, err)
			return
		}
		c := &pb.Change{
			Key: []byte(w.Key), Delta: wire.AppendState(nil, delta), Volatile: w.Volatile, Memory: w.Ack == kernel.Memory,
			Expect: answer.GetFingerprint(),
		}
		s.asks.ask(&question{slot: w.Slot, lead: true, once: true, done: func(answer *pb.Answer, err error) {
			s.borrowed.written(w.Key, answer.GetMember(), time.Now())
			switch {
			case err == nil:
				if _, shard := s.shardOf(w.Key); !w.Volatile {
					s.step(shard, &kernel.Heard{Key: w.Key, Slot: w.Slot, Delta: delta})
				}
				s.replicas.written(w.Key)
				done.Complete(value, nil)
			case attempts > 1 && err == error(errChanged): //nolint:errorlint // it is never wrapped here
				s.makeThere(w, done, attempts-1)
			default:
				fail(err)
			}
		}}, &pb.Ask{What: &pb.Ask_Change{Change: c}, Time: s.reached(w.Slot)})
	})
}

// make makes the delta of a write from what the master who leads holds, and from what this node has acknowledged meanwhile if it is
// a master too: the other may not have heard of that, and hears it with the delta.
func (s *Server) make(w *kernel.Write, held *lattice.State) (delta *lattice.State, value int64, err error) {
	if held == nil {
		held = new(lattice.State)
	}
	news := s.news(w.Key, held)
	now, stamp := s.wall()/1000, s.stamp(w.Slot)
	if reached := held.Latest(); !reached.Less(stamp) {
		return nil, 0, wire.Errorf(pb.Code_CODE_UNAVAILABLE, "write to %.64q: it holds what was written at %s, more than a day after this node's "+
			"time: set the clock that is wrong, and start its node again", w.Key, readable(reached.Time))
	}
	if delta, value, err = w.Make.Make(held, stamp, now); err != nil || delta == nil {
		return nil, value, err
	}
	delta, err = w.Complete(delta, held, now, s.stamp(w.Slot))
	if err != nil {
		return nil, 0, coded(err)
	}
	if delta != nil && news != nil {
		news.Merge(delta)
		delta = news
	}
	return delta, value, err
}

// news merges what this node holds of a key of which it is a master into what another holds, and returns it if that had not all of it.
func (s *Server) news(key string, held *lattice.State) *lattice.State {
	slot, shard := s.shardOf(key)
	if !s.serves[slot].Load() {
		return nil
	}
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	state, found := shard.kernel.Held(key)
	if found != kernel.Here || !held.Merge(state) {
		return nil
	}
	return state.Clone()
}

// readThere asks a master on another node what a key holds.
func (s *Server) readThere(q *question, key string, done func(*lattice.State, *pb.Answer, error)) {
	q.done = func(answer *pb.Answer, err error) {
		var state *lattice.State
		if err == nil && len(answer.GetState()) > 0 {
			if state, err = wire.DecodeState(answer.GetState()); err == nil {
				_ = s.stamps.observe(state.Latest().Time) // a stamp that is too far ahead is not followed
			}
		}
		done(state, answer, err)
	}
	s.asks.ask(q, &pb.Ask{What: &pb.Ask_Read{Read: []byte(key)}, Replica: q.replica != ""})
}

// View lets read see what a key holds, nil if nothing, and returns true; or false when the key is not in memory, and Fetch brings
// it there. The state may not be changed, or kept in any part but the bytes of values, and read must not block.
func (s *Server) View(key string, read func(*lattice.State)) bool {
	slot, shard := s.shardOf(key)
	if s.serves[slot].Load() {
		return shard.look(s.wall(), key, slot, read)
	}
	if now := time.Now(); !s.replicas.view(key, now, read) && !s.borrowed.view(key, now, read) {
		return false
	}
	shard.count(key, slot)
	return true
}

// count counts a read of this node's clients that is answered.
func (s *shard) count(key string, slot uint16) {
	s.reads.Add(1)
	s.heat.read(key, slot)
}

// look is View for a key of which this node is a master.
func (s *shard) look(now int64, key string, slot uint16, read func(*lattice.State)) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	state, found := s.kernel.Get(now, key)
	if found == kernel.InLog {
		return false
	}
	s.count(key, slot)
	read(state)
	return true
}

// Touch looks at what is held under keys that are about to be accessed one after another. The keys of a large store are not in
// the processor's cache, and memory answers several looks at a time when nothing else is done in between: so this makes the
// accesses faster by more than it takes. The nth member is looked for where the nth key holds a set, if it is not empty.
func (s *Server) Touch(keys, members []string) {
	var kernels [lattice.TouchMax]uint8
	for len(keys) > 0 {
		part := keys[:min(len(keys), lattice.TouchMax)]
		partMembers := members[:len(part)]
		keys, members = keys[len(part):], members[len(part):]
		for i, key := range part {
			kernels[i] = uint8(s.cfg.partitionOf(slotOf(key, s.cfg.Slots)) % len(s.shards))
		}
		for number, shard := range s.shards {
			shard.mu.RLock()
			shard.kernel.Touch(part, partMembers, kernels[:len(part)], uint8(number))
			shard.mu.RUnlock()
		}
	}
}

// Fetch brings a key into memory that is only in the log, or on another node.
func (s *Server) Fetch(key string, done Completion) {
	slot, shard := s.shardOf(key)
	if s.serves[slot].Load() {
		s.step(shard, &kernel.Read{Key: key, Ticket: done})
		return
	}
	if err := s.check(); err != nil {
		done.Complete(0, err)
		return
	}
	s.fetchThere(key, slot, done, fetchAttempts)
}

// fetchThere fetches a key from another node. What was asked for before a write was acknowledged is of no use to whoever reads
// after that, so it is asked for again.
func (s *Server) fetchThere(key string, slot uint16, done Completion, attempts int) {
	began := time.Now()
	q := &question{slot: slot}
	if member, ok := s.borrowed.writtenSince(key, began.Add(-lately)); ok {
		q.replica = member // other masters may still be behind it
	} else if hot := (*s.hot.Load())[key]; hot != nil {
		if q.direct = s.replicas.find(key) != nil; !q.direct {
			q.replica = s.replicaOf(hot, slot)
		}
	}
	s.readThere(q, key, func(state *lattice.State, _ *pb.Answer, err error) {
		switch {
		case err != nil:
			done.Complete(0, fmt.Errorf("read %.64q: %w", key, err))
		case attempts > 1 && s.borrowed.overtaken(key, began):
			s.fetchThere(key, slot, done, attempts-1)
		default:
			s.borrowed.keep(key, state, time.Now())
			done.Complete(0, nil)
		}
	})
}

const (
	// lately is for how long whoever has taken a write of this node is asked for its key.
	lately = 5 * time.Second
	// fetchAttempts is how often a key is fetched that is written through this node all the time.
	fetchAttempts = 8
	// borrowedFor is how long a state that was fetched from another node can be viewed.
	borrowedFor = 50 * time.Millisecond
	borrowedMax = 4096
)

// borrowed holds states of other nodes' keys for the moment between Fetch and View. Safe for concurrent use.
type borrowed struct {
	mu     sync.Mutex
	states map[string]borrowedState
	writes map[string]borrowedWrite
}

// borrowedWrite is the last write to a key that another node has acknowledged to this one, and the stamp of the last that it was asked
// for and that leaves nothing of those before.
type borrowedWrite struct {
	member string
	at     time.Time
	stamp  uint64
}

type borrowedState struct {
	state *lattice.State
	until time.Time
}

func (b *borrowed) keep(key string, state *lattice.State, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.states == nil || len(b.states) >= borrowedMax {
		b.states = map[string]borrowedState{}
	}
	b.states[key] = borrowedState{state, now.Add(borrowedFor)}
}

func (b *borrowed) forget(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.states, key)
}

// written takes note that a write through this node is about to be acknowledged.
func (b *borrowed) written(key, member string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.states, key)
	w := b.write(key)
	w.member, w.at = member, now
	b.writes[key] = w
}

// overwritten takes note that another node is asked for a write that leaves nothing of those before it.
func (b *borrowed) overwritten(key string, stamp uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.write(key)
	w.stamp = max(w.stamp, stamp)
	b.writes[key] = w
}

// overwrittenSince reports whether one has been asked for with a stamp that is later than another.
func (b *borrowed) overwrittenSince(key string, stamp uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.writes[key].stamp > stamp
}

// write returns what is known of the writes to a key, and makes room for more. The caller holds b.mu.
func (b *borrowed) write(key string) borrowedWrite {
	if b.writes == nil || len(b.writes) >= borrowedMax {
		b.writes = map[string]borrowedWrite{}
	}
	return b.writes[key]
}

// writtenSince returns who has acknowledged the last write to a key, if that was after a moment.
func (b *borrowed) writtenSince(key string, then time.Time) (member string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.writes[key]
	return w.member, w.at.After(then)
}

// overtaken reports whether a write to a key has been acknowledged since it was asked for.
func (b *borrowed) overtaken(key string, asked time.Time) bool {
	_, is := b.writtenSince(key, asked)
	return is
}

func (b *borrowed) view(key string, now time.Time, read func(*lattice.State)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	held, ok := b.states[key]
	if !ok || now.After(held.until) {
		delete(b.states, key)
		return false
	}
	state := held.state
	if state != nil && state.Live(now.UnixMilli()) == nil {
		state = nil
	}
	read(state)
	return true
}
