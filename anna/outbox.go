package anna

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// pushInterval is the least time between two messages to one node: what changes meanwhile goes out together, once a key.
	pushInterval = time.Millisecond
	// pulseInterval is how often a node is told that nothing has happened; one that misses silenceMax of them asks anew.
	pulseInterval = time.Second
	silenceMax    = 4
	// outboxBytesMax bounds what waits to be pushed to one node. Beyond it all is dropped, and the node asks anew.
	outboxBytesMax = 64 << 20
	// messageBytes is about how much goes into one message.
	messageBytes = 256 << 10
)

// outboxes holds what is to be pushed to the caches of other nodes. Safe for concurrent use.
type outboxes struct {
	server *Server

	mu    sync.Mutex
	boxes map[string]*outbox // by member
}

// outbox is what is to be pushed to one node.
type outbox struct {
	server *Server
	member string
	wake   chan struct{}
	ended  chan struct{}

	mu      sync.Mutex
	caches  map[uint32]uint16 // the node's numbers of its caches, and this server's
	waiting []waitingPush
	places  map[placeKey]int // in waiting
	bytes   int
	number  uint64
}

type placeKey struct {
	key   string
	cache uint32
}

type waitingPush struct {
	Push
	cache  uint32 // the node's number
	shared bool   // the delta is not the outbox's own
}

// find returns this server's number of a node's cache.
func (o *outboxes) find(member string, cache uint32) (uint16, bool) {
	o.mu.Lock()
	box := o.boxes[member]
	o.mu.Unlock()
	if box == nil {
		return 0, false
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	number, ok := box.caches[cache]
	return number, ok
}

// cache is find for a cache that may be new.
func (o *outboxes) cache(member string, cache uint32) (uint16, error) {
	o.mu.Lock()
	box := o.boxes[member]
	if box == nil {
		box = &outbox{
			server: o.server, member: member, wake: make(chan struct{}, 1), ended: make(chan struct{}),
			caches: map[uint32]uint16{}, places: map[placeKey]int{},
		}
		if !o.server.tasks.start(box.run) {
			o.mu.Unlock()
			return 0, errStopping
		}
		o.boxes[member] = box
	}
	o.mu.Unlock()
	box.mu.Lock()
	defer box.mu.Unlock()
	number, ok := box.caches[cache]
	if !ok {
		number = o.server.Join(func(pushes []Push) { box.put(cache, pushes) })
		if number == 0 {
			return 0, wire.Errorf(pb.Code_CODE_NO_RESOURCES, "%d caches are known, the limit", cachesMax)
		}
		box.caches[cache] = number
	}
	return number, nil
}

// forsakeAbsent forgets the caches of nodes that are gone.
func (s *Server) forsakeAbsent(present map[string]*pb.Presence) {
	s.boxes.mu.Lock()
	var gone []*outbox
	for member, box := range s.boxes.boxes {
		if present[member] == nil {
			gone = append(gone, box)
			delete(s.boxes.boxes, member)
		}
	}
	s.boxes.mu.Unlock()
	for _, box := range gone {
		close(box.ended)
		box.mu.Lock()
		var numbers []uint16
		for _, number := range box.caches {
			numbers = append(numbers, number)
		}
		box.mu.Unlock()
		for _, shard := range s.shards {
			s.step(shard, &Forsake{Caches: numbers})
		}
		s.disjoin(numbers)
	}
	s.remote.silent(present)
}

// put adds pushes for one of the node's caches.
func (b *outbox) put(cache uint32, pushes []Push) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range pushes {
		size := itemBytes + len(p.Key)
		if p.Delta != nil {
			size += p.Delta.Bytes()
		}
		b.bytes += size
		at, ok := b.places[placeKey{p.Key, cache}]
		if !ok {
			b.places[placeKey{p.Key, cache}] = len(b.waiting)
			b.waiting = append(b.waiting, waitingPush{p, cache, true})
			continue
		}
		held := &b.waiting[at]
		switch {
		case p.Whole || p.Lost || held.Lost || held.Err != nil || held.Delta == nil:
			*held = waitingPush{p, cache, true}
		default:
			if held.shared {
				held.Delta, held.shared = held.Delta.Clone(), false
			}
			held.Delta.Merge(p.Delta)
		}
	}
	if b.bytes > outboxBytesMax {
		b.drop()
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// drop loses everything that waits, so that the node finds a number missing. The caller holds b.mu.
func (b *outbox) drop() {
	b.waiting, b.bytes = nil, 0
	clear(b.places)
	b.number++
}

// run pushes what waits, until ctx ends or the node is gone.
func (b *outbox) run(ctx context.Context) {
	pulse := time.NewTicker(pulseInterval)
	defer pulse.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.ended:
			return
		case <-pulse.C:
			b.mu.Lock()
			number := b.number
			b.mu.Unlock()
			b.send(&pb.Pushes{Number: number, Pulse: true})
		case <-b.wake:
			b.flush()
			select {
			case <-ctx.Done():
				return
			case <-time.After(pushInterval):
			}
		}
	}
}

func (b *outbox) flush() {
	b.mu.Lock()
	waiting := b.waiting
	b.waiting, b.bytes = nil, 0
	clear(b.places)
	b.mu.Unlock()
	for len(waiting) > 0 {
		message := &pb.Pushes{}
		size := 0
		for len(waiting) > 0 && size < messageBytes {
			p := &waiting[0]
			pushed := &pb.Pushed{Key: []byte(p.Key), Cache: p.cache, Whole: p.Whole, Lost: p.Lost}
			if p.Delta != nil {
				pushed.State = wire.AppendState(nil, p.Delta)
			}
			if p.Err != nil {
				pushed.Error = wire.AsError(p.Err).Proto()
			}
			size += len(pushed.GetState()) + len(p.Key)
			message.Pushed = append(message.Pushed, pushed)
			waiting = waiting[1:]
		}
		b.mu.Lock()
		b.number++
		message.Number = b.number
		b.mu.Unlock()
		b.send(message)
	}
}

func (b *outbox) send(m *pb.Pushes) {
	s := b.server
	m.Member = s.id
	data, err := proto.Marshal(m)
	if err == nil {
		subject, from := s.nodeSubject(b.member, "push"), s.nodeSubject(s.id, "push")
		err = cutParts(m.GetNumber(), data, func(message []byte) error {
			return s.log.conn.NATS.PublishRequest(subject, from, message)
		})
	}
	if err != nil {
		s.cfg.Logger.Debug("another node's caches will find that they have missed something", "member", b.member, "error", err)
	}
}

// remotes is what this node's caches watch at masters on other nodes. Safe for concurrent use.
type remotes struct {
	server *Server
	parts  assemblies

	mu      sync.Mutex
	watches map[placeKey]string // and at whom, empty while nobody has said what the key holds
	sources map[string]*source
}

// source is a master on another node from which changes come.
type source struct {
	number uint64
	heard  time.Time
	keys   map[placeKey]struct{}
}

// watch asks a master for a key and its changes.
func (r *remotes) watch(cache uint16, slot uint16, key string) {
	place := placeKey{key, uint32(cache)}
	r.mu.Lock()
	if _, ok := r.watches[place]; !ok {
		r.watches[place] = ""
	}
	r.mu.Unlock()
	s := r.server
	s.asks.ask(&question{slot: slot, direct: true, done: func(_ *pb.Answer, err error) {
		if err != nil {
			r.fail(place, err)
		}
	}}, &pb.Ask{What: &pb.Ask_Watch{Watch: &pb.Watching{Key: []byte(key), Member: s.id, Cache: uint32(cache)}}})
}

func (r *remotes) fail(place placeKey, err error) {
	r.mu.Lock()
	at, ok := r.watches[place]
	if ok && at == "" {
		delete(r.watches, place)
	}
	r.mu.Unlock()
	if ok && at == "" {
		r.server.push([]Push{{Cache: uint16(place.cache), Key: place.key, Whole: true, Err: err}})
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
	s := r.server
	ask := &pb.Ask{What: &pb.Ask_Unwatch{Unwatch: &pb.Watching{Key: []byte(place.key), Member: s.id, Cache: place.cache}}}
	if data, err := proto.Marshal(ask); err == nil {
		_ = cutParts(0, data, func(message []byte) error {
			return s.log.conn.NATS.Publish(s.nodeSubject(member, "ask"), message)
		}) // if it is lost, the next change that comes is declined as well
	}
}

// lose tells the caches that they will not hear of changes from a member any more. It returns what to push.
func (r *remotes) lose(member string) (lost []Push) {
	source := r.sources[member]
	if source == nil {
		return nil
	}
	for place := range source.keys {
		delete(r.watches, place)
		lost = append(lost, Push{Cache: uint16(place.cache), Key: place.key, Lost: true})
	}
	delete(r.sources, member)
	slices.SortFunc(lost, func(a, b Push) int { return int(a.Cache) - int(b.Cache) })
	return lost
}

// silent loses masters that are gone or have not been heard of for long.
func (r *remotes) silent(present map[string]*pb.Presence) {
	var lost []Push
	r.mu.Lock()
	for member, source := range r.sources {
		if present[member] == nil || time.Since(source.heard) > silenceMax*pulseInterval {
			lost = append(lost, r.lose(member)...)
		}
	}
	r.mu.Unlock()
	r.server.push(lost)
}

// take checks that nothing was missed, and returns the master's source and what was lost.
func (r *remotes) take(m *pb.Pushes) (*source, []Push) {
	known := r.sources[m.GetMember()]
	expected := m.GetNumber()
	if known != nil {
		if expected = known.number; !m.GetPulse() {
			expected++
		}
	}
	var lost []Push
	if known != nil && m.GetNumber() != expected {
		lost = r.lose(m.GetMember())
		known = nil
	}
	if known == nil {
		known = &source{keys: map[placeKey]struct{}{}}
		r.sources[m.GetMember()] = known
	}
	known.number, known.heard = m.GetNumber(), time.Now()
	return known, lost
}

// pushed takes in what a master pushes.
func (r *remotes) pushed(message *nats.Msg) {
	_, data, err := r.parts.add(message.Reply, message.Data, time.Now())
	if err == nil && data == nil {
		return
	}
	m := new(pb.Pushes)
	if err == nil {
		err = proto.Unmarshal(data, m)
	}
	if err != nil {
		r.server.cfg.Logger.Warn("another node pushes what cannot be understood", "error", err)
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
		push := Push{Cache: uint16(p.GetCache()), Key: place.key, Whole: p.GetWhole(), Lost: p.GetLost(), Delta: new(lattice.State)}
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
				r.server.stamps.observe(push.Delta)
			}
			if push.Whole {
				r.watches[place] = m.GetMember()
				source.keys[place] = struct{}{}
			}
		}
		pushes = append(pushes, push)
	}
	r.mu.Unlock()
	r.server.push(pushes)
}
