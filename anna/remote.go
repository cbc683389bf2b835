package anna

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"cloudburst/anna/kernel"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// remotes is what this node's caches watch at masters on other nodes. Safe for concurrent use.
type remotes struct {
	peers   *peers
	asks    *asker
	caches  *caches
	observe func(time uint64) error
	logger  *slog.Logger
	parts   assemblies

	began   time.Time
	mu      sync.Mutex
	watches map[placeKey]string // by member; empty while no master has said what the key holds
	sources map[string]*source
}

// source is a master on another node from which changes come.
type source struct {
	number uint64
	heard  atomic.Int64 // when something came from it, as remotes.elapsed says
	keys   map[placeKey]struct{}
}

// Heard implements hot.Source.
func (s *source) Heard() int64 { return s.heard.Load() }

// elapsed is the time by which masters are heard of, in microseconds; it takes no notice of clocks that are set.
func (r *remotes) elapsed() int64 { return time.Since(r.began).Microseconds() }

// sourceOf returns the master that has said what a key holds that a cache watches; nil while none has.
func (r *remotes) sourceOf(key string, cache uint16) *source {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sources[r.watches[placeKey{key, uint32(cache)}]]
}

// watch asks a master for a key and its changes.
func (r *remotes) watch(cache uint16, slot uint16, key string) {
	place := placeKey{key, uint32(cache)}
	r.mu.Lock()
	if _, ok := r.watches[place]; !ok {
		r.watches[place] = ""
	}
	r.mu.Unlock()
	r.asks.ask(&question{slot: slot, direct: true, done: func(_ *pb.Answer, err error) {
		if err != nil {
			r.fail(place, err)
		}
	}}, &pb.Ask{What: &pb.Ask_Watch{Watch: &pb.Watching{Key: []byte(key), Member: r.peers.self, Cache: uint32(cache)}}})
}

func (r *remotes) fail(place placeKey, err error) {
	r.mu.Lock()
	at, ok := r.watches[place]
	if ok && at == "" {
		delete(r.watches, place)
	}
	r.mu.Unlock()
	if ok && at == "" {
		r.caches.push([]kernel.Push{{Cache: uint16(place.cache), Key: place.key, Whole: true, Err: err}})
	}
}

// unwatch ends watch, and reports whether there was one.
func (r *remotes) unwatch(cache uint16, key string) bool {
	place := placeKey{key, uint32(cache)}
	r.mu.Lock()
	defer r.mu.Unlock()
	member, ok := r.watches[place]
	delete(r.watches, place)
	if source := r.sources[member]; source != nil {
		delete(source.keys, place)
	}
	if ok && member != "" {
		r.decline(member, place)
	}
	return ok
}

// decline tells a master that a key is not watched any more. The caller holds r.mu, so that a later watch comes after it.
func (r *remotes) decline(member string, place placeKey) {
	ask := &pb.Ask{What: &pb.Ask_Unwatch{Unwatch: &pb.Watching{Key: []byte(place.key), Member: r.peers.self, Cache: place.cache}}}
	_ = r.peers.send(r.peers.nodeSubject(member, "ask"), "", 0, ask) // if it is lost, the next change that comes is declined as well
}

// lose tells the caches that they will not hear of changes from a member any more. It returns what to push.
func (r *remotes) lose(member string) (lost []kernel.Push) {
	source := r.sources[member]
	if source == nil {
		return nil
	}
	for place := range source.keys {
		delete(r.watches, place)
		lost = append(lost, kernel.Push{Cache: uint16(place.cache), Key: place.key, Lost: true})
	}
	delete(r.sources, member)
	slices.SortFunc(lost, func(a, b kernel.Push) int { return int(a.Cache) - int(b.Cache) })
	return lost
}

// silent loses masters that are gone or have not been heard of for long.
func (r *remotes) silent(present map[string]*pb.Presence) {
	var lost []kernel.Push
	r.mu.Lock()
	for member, source := range r.sources {
		if present[member] == nil || r.elapsed()-source.Heard() > silenceMax*pulseInterval.Microseconds() {
			lost = append(lost, r.lose(member)...)
		}
	}
	r.mu.Unlock()
	r.caches.push(lost)
}

// take checks that nothing was missed, and returns the master's source and what was lost.
func (r *remotes) take(m *pb.Pushes) (*source, []kernel.Push) {
	known := r.sources[m.GetMember()]
	expected := m.GetNumber()
	if known != nil {
		if expected = known.number; !m.GetPulse() {
			expected++
		}
	}
	var lost []kernel.Push
	if known != nil && m.GetNumber() != expected {
		lost = r.lose(m.GetMember())
		known = nil
	}
	if known == nil {
		known = &source{keys: map[placeKey]struct{}{}}
		r.sources[m.GetMember()] = known
	}
	known.number = m.GetNumber()
	known.heard.Store(r.elapsed())
	return known, lost
}

// pushed takes in what a master pushes.
func (r *remotes) pushed(message *nats.Msg) {
	m := new(pb.Pushes)
	_, complete, err := r.parts.decode(message.Reply, message.Data, m, time.Now())
	if err != nil {
		r.logger.Warn("what another node pushes cannot be decoded", "error", err)
	}
	if err != nil || !complete {
		return
	}
	r.mu.Lock()
	source, pushes := r.take(m)
	for _, p := range m.GetPushed() {
		place := placeKey{string(p.GetKey()), p.GetCache()}
		if _, ok := r.watches[place]; !ok {
			if !p.GetLost() {
				r.decline(m.GetMember(), place)
			}
			continue
		}
		push := kernel.Push{Cache: uint16(p.GetCache()), Key: place.key, Whole: p.GetWhole(), Lost: p.GetLost(), Delta: new(lattice.State)}
		switch {
		case p.GetLost():
			delete(r.watches, place)
			delete(source.keys, place)
		case p.GetError() != nil:
			push.Err = &wire.Error{Code: p.GetError().GetCode(), Message: p.GetError().GetMessage()}
			delete(r.watches, place)
		default:
			if push.Delta, err = wire.DecodeState(p.GetState()); err != nil {
				push.Err = err
			} else {
				_ = r.observe(push.Delta.Latest().Time) // a stamp that is too far ahead is not followed
			}
			if push.Whole {
				r.watches[place] = m.GetMember()
				source.keys[place] = struct{}{}
			}
		}
		pushes = append(pushes, push)
	}
	r.mu.Unlock()
	r.caches.push(pushes)
}
