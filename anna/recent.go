package anna

import (
	"sync"
	"time"

	"cloudburst/lattice"
)

const (
	// lately is for how long the node that has made a write for this one is asked for its key.
	lately = 5 * time.Second
	// fetchAttempts is how often a key is fetched that is written through this node all the time.
	fetchAttempts = 8
	// fetchedFor is how long a state that was fetched from another node can be viewed.
	fetchedFor = 50 * time.Millisecond
	recentMax  = 4096
)

// recent holds states of other nodes' keys for the moment between Fetch and View, and knows the last writes that other nodes have made
// for this one. Safe for concurrent use.
type recent struct {
	mu     sync.Mutex
	states map[string]fetched
	writes map[string]recentWrite
}

// recentWrite is the last write to a key that another node has acknowledged to this one, and the stamp of the last one asked for that
// leaves nothing of those before it.
type recentWrite struct {
	member string
	at     time.Time
	stamp  uint64
}

type fetched struct {
	state *lattice.State
	until time.Time
}

func (r *recent) keep(key string, state *lattice.State, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.states == nil || len(r.states) >= recentMax {
		r.states = map[string]fetched{}
	}
	r.states[key] = fetched{state, now.Add(fetchedFor)}
}

func (r *recent) forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.states, key)
}

// written takes note that a write through this node is about to be acknowledged.
func (r *recent) written(key, member string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.states, key)
	w := r.write(key)
	w.member, w.at = member, now
	r.writes[key] = w
}

// overwritten takes note that another node is asked for a write that leaves nothing of those before it.
func (r *recent) overwritten(key string, stamp uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.write(key)
	w.stamp = max(w.stamp, stamp)
	r.writes[key] = w
}

// overwrittenSince reports whether one has been asked for with a stamp that is later than another.
func (r *recent) overwrittenSince(key string, stamp uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writes[key].stamp > stamp
}

// write returns what is known of the writes to a key, and makes room for more. The caller holds r.mu.
func (r *recent) write(key string) recentWrite {
	if r.writes == nil || len(r.writes) >= recentMax {
		r.writes = map[string]recentWrite{}
	}
	return r.writes[key]
}

// writtenSince returns the member that has acknowledged the last write to a key, if that was after a moment.
func (r *recent) writtenSince(key string, then time.Time) (member string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.writes[key]
	return w.member, w.at.After(then)
}

// overtaken reports whether a write to a key has been acknowledged since it was asked for.
func (r *recent) overtaken(key string, asked time.Time) bool {
	_, is := r.writtenSince(key, asked)
	return is
}

func (r *recent) view(key string, now time.Time, read func(*lattice.State)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	held, ok := r.states[key]
	if !ok || now.After(held.until) {
		delete(r.states, key)
		return false
	}
	state := held.state
	if state != nil && state.Live(now.UnixMilli()) == nil {
		state = nil
	}
	read(state)
	return true
}
