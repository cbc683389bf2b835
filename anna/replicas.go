package anna

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
	"cloudburst/wire/pb"
)

const (
	// replicaLagMax is how long a replica answers without a word from the master that it hears changes from, which says every
	// pulseInterval that nothing has happened.
	replicaLagMax = 2500 * time.Millisecond
	// replicaPatience is after how long a master is asked again for a key of which nothing has come.
	replicaPatience = 2 * time.Second
)

// replicas are hot keys of which this node is no master, and which it answers reads of nevertheless. It watches them at a master
// as a cache does; who writes to them asks the masters. Safe for concurrent use.
//
// What a replica shows is never older than what the master that it watches held replicaLagMax before. What is written through
// this node is seen here once it is acknowledged: until a master has shown the replica a state with it in it, that master is
// asked.
type replicas struct {
	server *Server
	keys   atomic.Pointer[map[string]*replica] // changes are made by the goroutine in tend
	bytes  atomic.Int64
	cache  uint16 // the number that they watch under; of the goroutine in tend
}

// replica is one of them.
type replica struct {
	key  string
	slot uint16

	mu       sync.RWMutex
	state    lattice.State
	bytes    int
	known    bool      // the state has been received, and every change is since
	asked    time.Time // when a master was asked for it
	source   *source   // from which changes come
	large    bool      // there is no room for it
	ended    bool      // it is held no more
	doubts   uint64    // writes through this node
	checking bool      // a master is asked for a state with these in it
}

func newReplicas(s *Server) *replicas {
	r := &replicas{server: s}
	r.keys.Store(new(map[string]*replica))
	return r
}

// find returns the replica of a key; nil if there is none.
func (r *replicas) find(key string) *replica { return (*r.keys.Load())[key] }

// follow holds what this node is to hold, and nothing else.
func (r *replicas) follow(table hotTable) {
	s := r.server
	old := *r.keys.Load()
	if len(table) == 0 && len(old) == 0 {
		return
	}
	if r.cache == 0 {
		if r.cache = s.Join(r.receive); r.cache == 0 {
			return // as many caches are known as can be
		}
	}
	keys := map[string]*replica{}
	for key, hot := range table {
		if s.serves[hot.slot].Load() || !slices.Contains(hot.members, s.id) || len(keys) == hotHeldMax {
			continue
		}
		if keys[key] = old[key]; keys[key] == nil {
			keys[key] = &replica{key: key, slot: hot.slot}
		}
	}
	r.keys.Store(&keys)
	for key, one := range old {
		if keys[key] == nil {
			s.remote.unwatch(r.cache, key)
			one.drop(r)
		}
	}
	for key, one := range keys {
		if one.wants(time.Now()) {
			s.remote.watch(r.cache, one.slot, key)
		}
	}
}

// held returns the hashes of the keys that this node answers for, in order.
func (r *replicas) held() []uint64 {
	var held []uint64
	now := r.server.remote.elapsed()
	for key, one := range *r.keys.Load() {
		one.mu.RLock()
		if one.answers(now) {
			held = append(held, slots.Hash(key))
		}
		one.mu.RUnlock()
	}
	slices.Sort(held)
	return held
}

// view lets read see what a hot key holds, nil if nothing; or returns false, and masters are to be asked.
func (r *replicas) view(key string, now time.Time, read func(*lattice.State)) bool {
	one := r.find(key)
	if one == nil {
		return false
	}
	one.mu.RLock()
	defer one.mu.RUnlock()
	if !one.answers(r.server.remote.elapsed()) {
		return false
	}
	if one.state.Live(now.UnixMilli()) == nil {
		read(nil)
	} else {
		read(&one.state)
	}
	return true
}

// receive takes in what a master pushes.
func (r *replicas) receive(pushes []kernel.Push) {
	for i := range pushes {
		p := &pushes[i]
		one := r.find(p.Key)
		if one == nil {
			continue
		}
		var from *source
		if p.Whole && p.Err == nil {
			from = r.server.remote.sourceOf(p.Key, r.cache)
		}
		one.mu.Lock()
		switch {
		case one.ended || one.large:
		case p.Err != nil || p.Lost:
			one.known, one.source, one.asked = false, nil, time.Time{}
		case p.Whole && from != nil:
			if !one.known {
				one.state = lattice.State{} // what it was before may have been forgotten by all others
			}
			one.known, one.source = true, from
			one.merge(r, p.Delta)
		case one.known && p.Delta != nil:
			one.merge(r, p.Delta)
		}
		large := one.large
		one.mu.Unlock()
		if large {
			r.server.remote.unwatch(r.cache, p.Key)
		}
	}
}

// written takes note that a write through this node is about to be acknowledged.
func (r *replicas) written(key string) {
	one := r.find(key)
	if one == nil {
		return
	}
	one.mu.Lock()
	one.doubts++
	begin := !one.checking
	one.checking = true
	one.mu.Unlock()
	if begin {
		one.check(r)
	}
}

// check asks the master that what is written through this node is written to first for a state with all of it.
func (o *replica) check(r *replicas) {
	o.mu.RLock()
	doubts := o.doubts
	o.mu.RUnlock()
	r.server.readThere(&question{slot: o.slot, direct: true}, o.key, func(state *lattice.State, _ *pb.Answer, err error) {
		o.mu.Lock()
		again := err == nil && o.doubts != doubts
		o.checking = again
		switch {
		case err != nil:
			o.known = false
		case o.known && state != nil:
			o.merge(r, state)
		case o.state.Lattice != nil: // all others have forgotten it
			o.known, o.asked = false, time.Time{}
		}
		o.mu.Unlock()
		if again {
			o.check(r)
		}
	})
}

// answers reports whether the replica may answer. The caller holds o.mu.
func (o *replica) answers(now time.Duration) bool {
	return o.known && !o.checking && o.source != nil && now-time.Duration(o.source.heard.Load()) <= replicaLagMax
}

// wants reports whether a master is to be asked for the key.
func (o *replica) wants(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known || o.large || now.Sub(o.asked) < replicaPatience {
		return false
	}
	o.asked = now
	return true
}

// merge merges a state, if there is room for it. The caller holds o.mu.
func (o *replica) merge(r *replicas, state *lattice.State) {
	o.state.Merge(state)
	bytes := kernel.ItemBytes + len(o.key) + o.state.Bytes()
	if r.bytes.Add(int64(bytes-o.bytes)) > int64(r.server.cfg.HotBytesMax) {
		o.large, o.known, o.state = true, false, lattice.State{}
		r.bytes.Add(int64(-bytes))
		bytes = 0
	}
	o.bytes = bytes
}

// drop gives back what the replica takes.
func (o *replica) drop(r *replicas) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r.bytes.Add(int64(-o.bytes))
	o.ended, o.known, o.state, o.bytes = true, false, lattice.State{}, 0
}
