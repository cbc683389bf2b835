package hot

import "cloudburst/lattice"

const (
	// LagMax is how long a replica answers without a word from the master that it hears changes from, in microseconds.
	LagMax = 2_500_000
	// patience is after how long a master is asked again for a key of which nothing has come, in microseconds.
	patience = 2_000_000
)

// Source is a master from which changes come.
type Source interface {
	// Heard returns when something came from it last, in microseconds of the clock that Replica.Answers is given.
	Heard() int64
}

// Replica is a hot key of which a node is not a master, and which it answers reads of all the same: it watches the key at a master,
// as a cache does. It is a machine without a clock. Owned by one goroutine at a time.
//
// What a replica shows is never older than what the master that it watches held LagMax before. What is written through its node is
// seen here once that is acknowledged: until a master has shown the replica a state with it in it, that master is asked.
type Replica struct {
	state    lattice.State
	known    bool   // the state has been received, and every change is since
	asked    int64  // when a master was asked for it; 0 = not yet
	source   Source // from which changes come
	large    bool   // there is no room for it
	ended    bool   // it is held no more
	doubts   uint64 // writes through this node
	checking bool   // a master is asked for a state with these in it
}

// State returns what the replica holds. It is only lent, and means something only while Answers says so.
func (r *Replica) State() *lattice.State { return &r.state }

// Answers reports whether the replica may answer reads.
func (r *Replica) Answers(now int64) bool {
	return r.known && !r.checking && r.source != nil && now-r.source.Heard() <= LagMax
}

// Wants reports whether a master is to be asked for the key now.
func (r *Replica) Wants(now int64) bool {
	if r.known || r.large || r.ended || r.asked != 0 && now-r.asked < patience {
		return false
	}
	r.asked = now
	return true
}

// Whole takes in all that the key holds at a master that it is watched at from now on. The state is the replica's then.
func (r *Replica) Whole(state *lattice.State, from Source) {
	if r.ended || r.large {
		return
	}
	if !r.known {
		r.state = lattice.State{} // what it was before may have been forgotten by all others
	}
	r.known, r.source = true, from
	r.state.Merge(state)
}

// Changed takes in a change.
func (r *Replica) Changed(delta *lattice.State) {
	if r.known {
		r.state.Merge(delta)
	}
}

// Lost takes note that no changes come any more: a master is asked again at once.
func (r *Replica) Lost() {
	if !r.ended && !r.large {
		r.known, r.source, r.asked = false, nil, 0
	}
}

// Written takes note that a write through this node is about to be acknowledged. It reports whether the master that the write went to
// is to be asked what the key holds, for Checked.
func (r *Replica) Written() (check bool) {
	r.doubts++
	check = !r.checking
	r.checking = true
	return check
}

// Doubts is to be asked before the question is put that Checked answers.
func (r *Replica) Doubts() uint64 { return r.doubts }

// Checked takes in what the key holds at the master that was asked, nil = nothing, with all writes that were counted in doubts. It
// reports whether the master is to be asked once more.
func (r *Replica) Checked(doubts uint64, state *lattice.State, err error) (again bool) {
	again = err == nil && r.doubts != doubts
	r.checking = again
	switch {
	case err != nil:
		r.known = false
	case r.known && state != nil:
		r.state.Merge(state)
	case r.state.Lattice != nil: // all others have forgotten it
		r.known, r.asked = false, 0
	}
	return again
}

// Refuse gives up what the replica holds, since there is no room for it.
func (r *Replica) Refuse() { r.large, r.known, r.state = true, false, lattice.State{} }

// Large reports whether there was no room for it.
func (r *Replica) Large() bool { return r.large }

// End gives up what the replica holds: its node is not to hold the key any more.
func (r *Replica) End() { r.ended, r.known, r.state = true, false, lattice.State{} }
