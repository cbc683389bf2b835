package client

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"cloudburst/codec"
	"cloudburst/lattice"
	"cloudburst/lattice/consistency"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Consistency is what a session is promised. Promises combine: ReadCommitted | ItemCut.
type Consistency = consistency.Level

// The promises; docs/consistency.md says what each of them costs.
const (
	// Eventual promises that every reader sees every write in the end, and nothing else.
	Eventual Consistency = 0
	// ReadCommitted keeps writes back until Commit, which sends all of them with one stamp.
	ReadCommitted = consistency.ReadCommitted
	// ItemCut shows a key, once it was read, unchanged until Commit or Abort.
	ItemCut = consistency.ItemCut
	// ReadYourWrites shows a key with all that the session has written to it.
	ReadYourWrites = consistency.ReadYourWrites
	// MonotonicReads never shows a key older than before.
	MonotonicReads = consistency.MonotonicReads
	// MonotonicWrites makes a reader that sees one of the session's writes to a key see the earlier ones to it.
	MonotonicWrites = consistency.MonotonicWrites
	// WritesFollowReads makes a reader that sees one of the session's writes to a key see what the session had read of it before.
	WritesFollowReads = consistency.WritesFollowReads
	// SessionGuarantees are the last four together.
	SessionGuarantees = consistency.Session
	// Causal makes a reader that sees a version see, of every key, what the writer of the version had seen. It is for values that are read and
	// written in causal sessions alone: they keep concurrent versions side by side, for [Concurrent].
	Causal = consistency.Causal
)

// Session reads and writes with promises. It is safe for concurrent use, and does one thing after another; programs whose
// parts are promised nothing about each other use several. It remembers what it has read and written, so it is not for ever:
// at 65,536 keys it is full.
type Session struct {
	client *Client
	level  Consistency
	writer uint64

	mu        sync.Mutex
	view      *consistency.View
	clock     *lattice.Clock
	uncertain map[string]*lattice.State // a commit that failed and may have arrived

	// trace is told what the session was shown and wrote, and of the end of transactions. For tests.
	trace func(what event, key string, s *lattice.State)
}

// event is something that a session did.
type event uint8

const (
	eventRead event = iota
	eventWrite
	eventEnd
)

func (s *Session) traced(what event, key string, state *lattice.State) {
	if s.trace != nil {
		s.trace(what, key, state)
	}
}

// Session returns a session that has seen nothing. It needs no end.
func (c *Client) Session(level Consistency) *Session {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	writer := binary.BigEndian.Uint64(id[:]) | 1
	return &Session{
		client: c, level: level, writer: writer,
		view: consistency.NewView(level, hex.EncodeToString(id[:])), clock: lattice.NewClock(writer),
	}
}

// Get reads a key, as [Client.Get] does.
func (s *Session) Get(ctx context.Context, key string, out any) error {
	entries, err := s.GetAll(ctx, key)
	if err != nil {
		return err
	}
	return entries[0].Decode(out)
}

// GetAll reads several keys, and returns what they hold in their order. In a causal session that is a causal cut: no entry is
// older than what another depends on.
func (s *Session) GetAll(ctx context.Context, keys ...string) ([]Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	shown := make(map[string]*lattice.State, len(keys))
	var missing []string
	for _, key := range keys {
		if held, ok := s.view.Cached(key); ok {
			shown[key] = held
		} else {
			missing = append(missing, key)
		}
	}
	for len(missing) > 0 {
		if err := s.read(ctx, missing, shown); err != nil {
			return nil, err
		}
		missing = missing[:0:0]
		for key := range shown { // what was read may depend on something newer than what was read before
			if !s.view.Covered(key) {
				missing = append(missing, key)
			}
		}
	}
	entries, now := make([]Entry, len(keys)), time.Now().UnixMilli()
	for i, key := range keys {
		s.traced(eventRead, key, shown[key])
		entries[i] = entryOf(key, shown[key].Live(now))
	}
	return entries, nil
}

// read reads keys from the store, waiting for what it does not have yet and the session depends on.
func (s *Session) read(ctx context.Context, keys []string, shown map[string]*lattice.State) error {
	found, err := s.fetch(ctx, keys)
	if err != nil {
		return err
	}
	for i, key := range keys {
		state, ok, err := s.view.Read(key, found[i])
		if err == nil && !ok {
			state, err = s.awaitKey(ctx, key)
		}
		if err != nil {
			return sessionError("get", key, err)
		}
		shown[key] = state
	}
	return nil
}

// awaitKey watches a key until the session may be shown it.
func (s *Session) awaitKey(ctx context.Context, key string) (*lattice.State, error) {
	ctx, cancel := context.WithTimeout(ctx, s.client.options.requestTimeout)
	defer cancel()
	for change, err := range s.client.watch(ctx, &pb.Watch{Keys: []string{key}, States: true}) {
		if err != nil {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("%w: %w", wire.Errorf(pb.Code_CODE_DEADLINE_EXCEEDED, "a version that what was read depends on has not arrived in time"), ctx.Err())
			}
			return nil, err
		}
		found, err := change.state()
		if err != nil {
			return nil, err
		}
		if err := s.observe(found); err != nil {
			return nil, err
		}
		state, ok, err := s.view.Read(key, found)
		if err != nil || ok {
			return state, err
		}
	}
	return nil, malformed("the end of a watch that goes on")
}

// fetch returns what the store holds under keys.
func (s *Session) fetch(ctx context.Context, keys []string) ([]*lattice.State, error) {
	entries, err := s.client.fetch(ctx, &pb.Get{Keys: keys, States: true})
	if err != nil {
		return nil, err
	}
	states := make([]*lattice.State, len(entries))
	for i, e := range entries {
		if states[i], err = e.state(); err != nil {
			return nil, err
		}
		if err := s.observe(states[i]); err != nil {
			return nil, fmt.Errorf("get %q: %w", keys[i], err)
		}
	}
	return states, nil
}

// observe makes the stamps of the session later than those that it has seen.
func (s *Session) observe(state *lattice.State) error {
	if err := s.clock.Observe(state.Latest(), time.Now().UnixMicro()); err != nil {
		return invalid("%v; set the clock of this machine", err)
	}
	return nil
}

// state returns the state that an entry carries that was asked for as one.
func (e Entry) state() (*lattice.State, error) {
	if len(e.values) == 0 {
		return new(lattice.State), nil
	}
	state, err := codec.DecodeLattice(e.values[0])
	if err != nil || len(e.values) > 1 {
		return nil, malformed("%d values that are no state for key %.64q: %v", len(e.values), e.Key, err)
	}
	return state, nil
}

// Put writes a key: now, and durable when it returns, or with ReadCommitted when Commit is called. It takes what [Client.Put]
// takes. In a causal session that is only values, which become versions.
func (s *Session) Put(ctx context.Context, key string, value any) error {
	delta := deltaOf(value)
	if s.level.Has(Causal) {
		if delta.kind != lattice.TypeLWW {
			return wire.Errorf(pb.Code_CODE_UNSUPPORTED, "put %q: a causal session puts values, and no changes of lattices", key)
		}
		delta.reads = true
	}
	if delta.make == nil {
		return invalid("put %q: an empty Delta; make one with AddToSet, Increment and the like", key)
	}
	return s.write(ctx, key, delta.reads, func(base *lattice.State, stamp lattice.Timestamp) (*lattice.State, error) {
		if !s.level.Has(Causal) {
			return delta.make(base, stamp, s.writer)
		}
		encoded, err := codec.Encode(value)
		if err != nil {
			return nil, err
		}
		return lattice.CausalPut(base, s.view.Version(key, encoded))
	})
}

// Delete removes a key. Its absence satisfies those who depend on a version of it.
func (s *Session) Delete(ctx context.Context, key string) error {
	return s.write(ctx, key, false, func(_ *lattice.State, stamp lattice.Timestamp) (*lattice.State, error) {
		return lattice.Delete(stamp), nil
	})
}

func (s *Session) write(ctx context.Context, key string, reads bool, change func(base *lattice.State, stamp lattice.Timestamp) (*lattice.State, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	base := s.view.Base(key)
	if reads || !s.view.Knows(key) { // what is there is older than what is written now
		found, err := s.fetch(ctx, []string{key})
		if err != nil {
			return sessionError("put", key, err)
		}
		base.Merge(found[0])
	}
	delta, err := change(base, s.now())
	if err != nil {
		return sessionError("put", key, err)
	}
	sent, err := s.view.Write(key, delta)
	s.traced(eventWrite, key, delta)
	if err != nil || sent == nil {
		return sessionError("put", key, err)
	}
	return s.send(ctx, map[string]*lattice.State{key: sent})
}

func (s *Session) now() lattice.Timestamp { return s.clock.Now(time.Now().UnixMicro()) }

// send puts states. It may be repeated, since they merge.
func (s *Session) send(ctx context.Context, states map[string]*lattice.State) error {
	put := &pb.Put{Ack: pb.Ack_ACK_DURABLE}
	r := &request{verb: "put", again: true, header: &pb.Header{Body: &pb.Header_Put{Put: put}}}
	for _, key := range sortedKeys(states) {
		r.add(&pb.Cell{Key: key}, states[key])
		r.name = key
	}
	if len(states) > 1 {
		r.name = ""
	}
	_, err := s.client.ask(ctx, r)
	return err
}

// Commit ends the transaction: it sends all that was written with one stamp, and returns when that is durable. If it fails some
// of the writes may have arrived; then it can be called again, which sends the same, or Abort gives up.
func (s *Session) Commit(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uncertain == nil {
		pending := s.view.Pending()
		if len(pending) == 0 {
			s.end()
			return nil
		}
		if _, err := s.fetch(ctx, pending); err != nil { // so that the stamp is later than what is there
			return fmt.Errorf("commit: %w", err)
		}
		deleted := s.now()
		s.uncertain = s.view.Commit(deleted, s.now())
	}
	if err := s.send(ctx, s.uncertain); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	committed := s.uncertain
	s.end()
	return sessionError("commit", "", s.view.Committed(committed))
}

func (s *Session) end() {
	s.uncertain = nil
	s.view.Abort()
	s.traced(eventEnd, "", nil)
}

// Abort ends the transaction and forgets what it has written. What was committed stays.
func (s *Session) Abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
}

// usable returns an error when the session can do nothing at the moment.
func (s *Session) usable() error {
	if err := s.level.Check(); err != nil {
		return invalid("%v", err)
	}
	if s.uncertain != nil {
		return invalid("the commit of this session has failed, and may have happened in part; call Commit again, or Abort")
	}
	return nil
}

func sessionError(verb, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, consistency.ErrFull):
		err = fmt.Errorf("%w: %w", wire.Errorf(pb.Code_CODE_NO_RESOURCES, "%v", err), err)
	case errors.Is(err, lattice.ErrVersions):
		err = fmt.Errorf("%w: %w", wire.Errorf(pb.Code_CODE_NO_RESOURCES, "%v", err), err)
	}
	if key == "" {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return fmt.Errorf("%s %q: %w", verb, key, err)
}

// entryOf returns the entry of a key that holds a lattice; of nil, an absent one.
func entryOf(key string, held lattice.Lattice) Entry {
	switch l := held.(type) {
	case nil:
		return Entry{Key: key}
	case *lattice.LWW:
		return Entry{key, pb.LatticeType_LATTICE_TYPE_LWW, [][]byte{l.Value}}
	case *lattice.Set:
		return Entry{key, pb.LatticeType_LATTICE_TYPE_SET, l.Members()}
	}
	state := lattice.NewState(lattice.Timestamp{}, lattice.Expiry{}, held)
	return Entry{key, pb.LatticeType(held.Type()), [][]byte{codec.EncodeLattice(state)}}
}
