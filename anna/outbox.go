package anna

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"cloudburst/anna/kernel"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// pushInterval is the least time between two messages to one node: what changes meanwhile goes out together, once a key.
	pushInterval = time.Millisecond
	// pulseInterval is how often a node is told that nothing has happened; one that misses silenceMax of them asks again.
	pulseInterval = time.Second
	silenceMax    = 4
	// outboxBytesMax bounds what waits to be pushed to one node. Beyond it all is dropped, and the node asks again.
	outboxBytesMax = 64 << 20
	// messageBytes is about how much goes into one message.
	messageBytes = 256 << 10
)

// outboxes holds what is to be pushed to the caches of other nodes. Safe for concurrent use.
type outboxes struct {
	peers  *peers
	caches *caches
	tasks  *tasks
	logger *slog.Logger

	mu    sync.Mutex
	boxes map[string]*outbox // by member
}

// outbox is what is to be pushed to one node.
type outbox struct {
	peers  *peers
	logger *slog.Logger
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
	kernel.Push
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
			peers: o.peers, logger: o.logger, member: member, wake: make(chan struct{}, 1), ended: make(chan struct{}),
			caches: map[uint32]uint16{}, places: map[placeKey]int{},
		}
		if !o.tasks.start(box.run) {
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
		number = o.caches.join(func(pushes []kernel.Push) { box.put(cache, pushes) })
		if number == 0 {
			return 0, wire.Errorf(pb.Code_CODE_NO_RESOURCES, "%d caches are known, the limit", cachesMax)
		}
		box.caches[cache] = number
	}
	return number, nil
}

// forgetAbsent forgets the nodes that are gone, and returns the numbers of their caches.
func (o *outboxes) forgetAbsent(present map[string]*pb.Presence) (numbers []uint16) {
	o.mu.Lock()
	var gone []*outbox
	for member, box := range o.boxes {
		if present[member] == nil {
			gone = append(gone, box)
			delete(o.boxes, member)
		}
	}
	o.mu.Unlock()
	for _, box := range gone {
		close(box.ended)
		box.mu.Lock()
		for _, number := range box.caches {
			numbers = append(numbers, number)
		}
		box.mu.Unlock()
	}
	return numbers
}

// forgetAbsent forgets what this node knows of caches and masters on nodes that are gone.
func (s *Server) forgetAbsent(present map[string]*pb.Presence) {
	if numbers := s.boxes.forgetAbsent(present); len(numbers) > 0 {
		for _, shard := range s.kernels.shards {
			s.kernels.step(shard, &kernel.CachesGone{Caches: numbers})
		}
		s.caches.leave(numbers)
	}
	s.remote.silent(present)
}

// put adds pushes for one of the node's caches.
func (b *outbox) put(cache uint32, pushes []kernel.Push) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range pushes {
		size := kernel.ItemBytes + len(p.Key)
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
	m.Member = b.peers.self
	subject, from := b.peers.nodeSubject(b.member, "push"), b.peers.nodeSubject(b.peers.self, "push")
	if err := b.peers.send(subject, from, m.GetNumber(), m); err != nil {
		b.logger.Debug("another node's caches will find that they have missed something", "member", b.member, "error", err)
	}
}
