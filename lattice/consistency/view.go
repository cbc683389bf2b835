package consistency

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"cloudburst/lattice"
)

// Bounds of what one session remembers.
const (
	KeysMax         = 1 << 16
	DependenciesMax = 1024
)

// ErrFull says that a session remembers as many keys as it may.
var ErrFull = errors.New("the session remembers too many keys")

// View is what one session has read and written. Not safe for concurrent use. The zero states of absent keys are states too.
type View struct {
	level    Level
	writer   string
	read     map[string]*lattice.State // joined: all that was shown
	wrote    map[string]*lattice.State // joined: all that was written
	cut      map[string]*lattice.State // what the transaction has been shown
	pending  map[string]*lattice.State // written and not committed
	required map[string]lattice.VectorClock
}

// NewView returns the view of a session that has seen nothing. The writer is its name in vector clocks, which no other may have.
func NewView(level Level, writer string) *View {
	return &View{
		level: level, writer: writer,
		read: make(map[string]*lattice.State), wrote: make(map[string]*lattice.State),
		cut: make(map[string]*lattice.State), pending: make(map[string]*lattice.State),
		required: make(map[string]lattice.VectorClock),
	}
}

// Cached returns what a key has to be shown as whatever the store holds, if that is so.
func (v *View) Cached(key string) (*lattice.State, bool) {
	if held, ok := v.cut[key]; ok {
		return v.overlay(key, held), true
	}
	return nil, false
}

// Knows reports whether the session has seen a key: a write to it has something to build on.
func (v *View) Knows(key string) bool {
	return v.read[key] != nil || v.wrote[key] != nil || v.cut[key] != nil || v.pending[key] != nil
}

// Base returns all that is known of a key, which a write builds on. It must not be changed.
func (v *View) Base(key string) *lattice.State {
	base := new(lattice.State)
	for _, known := range []map[string]*lattice.State{v.read, v.wrote, v.cut, v.pending} {
		if held := known[key]; held != nil {
			base.Merge(held)
		}
	}
	return base
}

// Read takes in what the store says that a key holds, and returns what the session is shown. It is not ok while that is older
// than what the session has seen depends on: the key has to be read again, later or elsewhere.
func (v *View) Read(key string, found *lattice.State) (shown *lattice.State, ok bool, err error) {
	if shown, ok := v.Cached(key); ok {
		return shown, true, nil
	}
	if err := v.room(key); err != nil {
		return nil, false, err
	}
	shown = found.Clone()
	if v.level&(MonotonicReads|Causal) != 0 {
		merge(shown, v.read[key])
	}
	if v.level&(ReadYourWrites|Causal) != 0 {
		merge(shown, v.wrote[key])
	}
	if v.level.Has(Causal) {
		if !v.covers(key, shown) {
			return nil, false, nil
		}
		if err := v.follow(key, shown); err != nil {
			return nil, false, err
		}
	}
	if v.level&(MonotonicReads|WritesFollowReads|Causal) != 0 {
		join(v.read, key, shown)
	}
	if v.level.Has(ItemCut) {
		v.cut[key] = shown.Clone()
	}
	return v.overlay(key, shown), true, nil
}

// Covered reports whether what was last shown of a key is as new as all that the session has seen by now depends on.
func (v *View) Covered(key string) bool {
	if _, ok := v.cut[key]; ok || !v.level.Has(Causal) {
		return true
	}
	return v.covers(key, v.Base(key))
}

func (v *View) covers(key string, s *lattice.State) bool {
	required, ok := v.required[key]
	if !ok || !s.Deleted().IsZero() { // a deletion forgets clocks
		return true
	}
	c, ok := s.Of(lattice.TypeCausal).(*lattice.Causal)
	return ok && c.Clock().Covers(required)
}

// follow makes the session depend on what it is shown, and on what that depends on.
func (v *View) follow(key string, s *lattice.State) error {
	c, ok := s.Of(lattice.TypeCausal).(*lattice.Causal)
	if !ok {
		return nil
	}
	v.require(key, c.Clock())
	for d := range c.Dependencies().Entries() {
		v.require(d.Key, d.Clock)
	}
	if len(v.required) > DependenciesMax {
		return fmt.Errorf("%w: %d depended on, and the limit is %d; begin a new session", ErrFull, len(v.required), DependenciesMax)
	}
	return nil
}

func (v *View) require(key string, clock lattice.VectorClock) {
	v.required[key] = v.required[key].Merge(clock)
}

// Version returns the version that the session writes to a key next: it has seen all that the session has.
func (v *View) Version(key string, value []byte) lattice.Version {
	var dependencies []lattice.Dependency
	for _, other := range slices.Sorted(maps.Keys(v.required)) {
		if other != key {
			dependencies = append(dependencies, lattice.Dependency{Key: other, Clock: v.required[other]})
		}
	}
	clock := v.required[key]
	if c, ok := v.Base(key).Of(lattice.TypeCausal).(*lattice.Causal); ok {
		clock = clock.Merge(c.Clock())
	}
	return lattice.Version{Clock: clock.Increment(v.writer), Dependencies: lattice.NewDependencies(dependencies...), Value: value}
}

// Write takes a delta in, and returns what is to be sent to the store: nil for one that is kept until the commit.
func (v *View) Write(key string, delta *lattice.State) (*lattice.State, error) {
	if err := v.room(key); err != nil {
		return nil, err
	}
	if v.level.Has(ReadCommitted) {
		join(v.pending, key, delta)
		return nil, nil
	}
	return v.sent(key, delta)
}

// sent makes a delta one of the session's writes and returns what carries it.
func (v *View) sent(key string, delta *lattice.State) (*lattice.State, error) {
	carrier := v.carry(key, delta)
	join(v.wrote, key, delta)
	if held := v.cut[key]; held != nil {
		held.Merge(delta)
	}
	if v.level.Has(Causal) {
		return carrier, v.follow(key, delta)
	}
	return carrier, nil
}

// carry returns a delta with what has to come before it.
func (v *View) carry(key string, delta *lattice.State) *lattice.State {
	carrier := delta.Clone()
	if v.level.Has(MonotonicWrites) {
		attach(carrier, v.wrote[key])
	}
	if v.level.Has(WritesFollowReads) {
		attach(carrier, v.read[key])
	}
	return carrier
}

// attach adds what a write follows, where it is the same lattice: with another type, the write fails at the store anyway.
func attach(carrier, held *lattice.State) {
	if held == nil || carrier.Lattice == nil || len(held.Others()) > 0 ||
		held.Lattice != nil && held.Lattice.Type() != carrier.Lattice.Type() {
		return
	}
	carrier.Merge(held)
}

// Pending returns the keys that have been written and not committed, in order.
func (v *View) Pending() []string { return slices.Sorted(maps.Keys(v.pending)) }

// Commit returns what is to be sent to the store, by key, to commit: all that was kept, with the given stamps. Tombstones get
// the first, which must be before the second. The transaction goes on until Committed or Abort is called.
func (v *View) Commit(deleted, stamp lattice.Timestamp) map[string]*lattice.State {
	deltas := make(map[string]*lattice.State, len(v.pending))
	for key, delta := range v.pending {
		deltas[key] = v.carry(key, Restamp(delta, deleted, stamp))
	}
	return deltas
}

// Committed ends the transaction: what Commit returned has arrived.
func (v *View) Committed(deltas map[string]*lattice.State) error {
	v.Abort()
	for key, delta := range deltas {
		if _, err := v.sent(key, delta); err != nil {
			return err
		}
	}
	return nil
}

// Abort ends the transaction and forgets what it has written.
func (v *View) Abort() {
	clear(v.pending)
	clear(v.cut)
}

// overlay returns a state with what the transaction has written to the key.
func (v *View) overlay(key string, s *lattice.State) *lattice.State {
	shown := s.Clone()
	merge(shown, v.pending[key])
	return shown
}

func (v *View) room(key string) error {
	n := max(len(v.read), len(v.wrote), len(v.cut), len(v.pending))
	if n >= KeysMax && !v.Knows(key) {
		return fmt.Errorf("%w: %d, the limit; begin a new session", ErrFull, n)
	}
	return nil
}

func merge(s, other *lattice.State) {
	if other != nil {
		s.Merge(other)
	}
}

// join merges a state into what is remembered of a key.
func join(states map[string]*lattice.State, key string, s *lattice.State) {
	if held := states[key]; held != nil {
		held.Merge(s)
		return
	}
	states[key] = s.Clone()
}
