package anna

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cloudburst/anna/hot"
	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
	"cloudburst/wire/pb"
)

// replicas are hot keys of which this node is no master, and which it answers reads of nevertheless. It watches them at a master
// as a cache does; who writes to them asks the masters. Safe for concurrent use.
type replicas struct {
	self     string
	bytesMax int64
	serves   []atomic.Bool // which slots this node serves
	remote   *remotes
	caches   *caches
	// read asks a master on another node what a key holds.
	read func(q *question, key string, done func(*lattice.State, *pb.Answer, error))

	keys  atomic.Pointer[map[string]*replica] // changes are made by the goroutine in trackHot
	bytes atomic.Int64
	cache uint16 // the number that they watch under; of the goroutine in trackHot
}

// replica is one of them.
type replica struct {
	key  string
	slot uint16

	mu    sync.RWMutex
	it    hot.Replica
	bytes int
}

// find returns the replica of a key; nil if there is none.
func (r *replicas) find(key string) *replica { return (*r.keys.Load())[key] }

// follow holds what this node is to hold, and nothing else.
func (r *replicas) follow(table hot.Table) {
	old := *r.keys.Load()
	if len(table) == 0 && len(old) == 0 {
		return
	}
	if r.cache == 0 {
		if r.cache = r.caches.join(r.receive); r.cache == 0 {
			return // as many caches are known as can be
		}
	}
	keys := map[string]*replica{}
	for _, key := range table.Held(r.self, func(slot uint16) bool { return r.serves[slot].Load() }, hotHeldMax) {
		if keys[key] = old[key]; keys[key] == nil {
			keys[key] = &replica{key: key, slot: table[key].Slot}
		}
	}
	r.keys.Store(&keys)
	for key, one := range old {
		if keys[key] == nil {
			r.remote.unwatch(r.cache, key)
			one.drop(r)
		}
	}
	for key, one := range keys {
		one.mu.Lock()
		wants := one.it.Wants(r.remote.elapsed())
		one.mu.Unlock()
		if wants {
			r.remote.watch(r.cache, one.slot, key)
		}
	}
}

// held returns the hashes of the keys that this node answers for, in order.
func (r *replicas) held() []uint64 {
	var held []uint64
	now := r.remote.elapsed()
	for key, one := range *r.keys.Load() {
		one.mu.RLock()
		if one.it.Answers(now) {
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
	if !one.it.Answers(r.remote.elapsed()) {
		return false
	}
	if state := one.it.State(); state.Live(now.UnixMilli()) == nil {
		read(nil)
	} else {
		read(state)
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
			from = r.remote.sourceOf(p.Key, r.cache)
		}
		one.mu.Lock()
		switch {
		case p.Err != nil || p.Lost:
			one.it.Lost()
		case p.Whole && from != nil:
			one.it.Whole(p.Delta, from)
		case !p.Whole && p.Delta != nil:
			one.it.Changed(p.Delta)
		}
		one.count(r)
		large := one.it.Large()
		one.mu.Unlock()
		if large {
			r.remote.unwatch(r.cache, p.Key)
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
	check := one.it.Written()
	one.mu.Unlock()
	if check {
		one.check(r)
	}
}

// check asks the master that what is written through this node is written to first for a state with all of it.
func (o *replica) check(r *replicas) {
	o.mu.RLock()
	doubts := o.it.Doubts()
	o.mu.RUnlock()
	r.read(&question{slot: o.slot, direct: true}, o.key, func(state *lattice.State, _ *pb.Answer, err error) {
		o.mu.Lock()
		again := o.it.Checked(doubts, state, err)
		o.count(r)
		o.mu.Unlock()
		if again {
			o.check(r)
		}
	})
}

// count bounds what all replicas take: one that there is no room for is not held. The caller holds o.mu.
func (o *replica) count(r *replicas) {
	bytes := 0
	if state := o.it.State(); state.Lattice != nil {
		bytes = kernel.ItemBytes + len(o.key) + state.Bytes()
	}
	if r.bytes.Add(int64(bytes-o.bytes)) > r.bytesMax {
		o.it.Refuse()
		r.bytes.Add(int64(-bytes))
		bytes = 0
	}
	o.bytes = bytes
}

// drop gives back what the replica takes.
func (o *replica) drop(r *replicas) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.it.End()
	o.count(r)
}
