package anna

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"cloudburst/anna/hot"
	"cloudburst/anna/kernel"
	"cloudburst/bus"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Completion takes the answer to a write. It must not block.
type Completion interface {
	// Complete is called exactly once. Value is that of a Reply.
	Complete(value int64, err error)
}

// CompletionFunc is a function as a Completion.
type CompletionFunc func(value int64, err error)

// Complete implements Completion.
func (f CompletionFunc) Complete(value int64, err error) { f(value, err) }

// Server is a node's part of Anna: its kernels, and what connects them to the log. Its methods are safe for concurrent use.
type Server struct {
	cfg       Config
	log       *streams
	kernels   *kernels
	followers []*follower
	ready     chan struct{}
	state     atomic.Int32
	stats     counters

	id      string // of this member
	members *members
	mover   *mover
	routes  routes
	serves  []atomic.Bool // by slot
	crowded atomic.Bool   // there are other masters
	moving  atomic.Int64  // slots that are being taken over
	sweep   atomic.Bool   // this node has read all of the log

	peers     *peers
	inbox     *inbox
	asks      *asker
	remote    *remotes
	boxes     *outboxes
	forward   *forwarder
	replicas  *replicas
	compactor *compactor
	hot       atomic.Pointer[hot.Table]
	stamps    stamps
	room      room

	caches *caches
	tasks  tasks
}

// The life of a server.
const (
	replaying = iota
	serving
	stopping
)

// ID names this node among all that share its log. A node that is started again has another one.
func (s *Server) ID() string { return s.id }

// New returns a server whose log is at conn. It does nothing before Run.
func New(cfg Config, conn *bus.Conn) (*Server, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("anna settings: %w", err)
	}
	s := &Server{
		cfg:    cfg,
		log:    &streams{cfg: cfg, conn: conn},
		ready:  make(chan struct{}),
		id:     randomID(),
		serves: make([]atomic.Bool, cfg.Slots),
		caches: newCaches(),
		stamps: stamps{clock: lattice.NewClock(randomWriter())},
	}
	s.kernels = &kernels{
		cfg: &s.cfg, log: s.log, caches: s.caches, tasks: &s.tasks, stamps: &s.stamps, state: &s.state, stats: &s.stats, serves: s.serves,
		behind: func(partition int) { s.followers[partition].catchUp() }, now: clocks(),
		loads: make(chan kernel.Load, loadsMax), removals: make(chan kernel.Upload, loadsMax), uploading: make(chan struct{}, uploads),
	}
	s.room.log, s.room.kernels, s.room.logger = s.log, s.kernels, cfg.Logger
	s.kernels.spend = s.room.spend
	s.stamps.wall = s.kernels.wall
	s.members = newMembers(&s.cfg, s.log, s.id, s.kernels.pulseTime, s.stamps.observe)
	s.members.change(func(p *pb.Presence) { p.Name = cfg.Name })
	s.mover = newMover(s)
	s.connect(conn)
	s.compactor = newCompactor(s)
	s.hot.Store(new(hot.Table))
	for i := range cfg.Kernels {
		s.kernels.shards = append(s.kernels.shards, s.kernels.newShard(i))
	}
	for i := range cfg.Streams {
		s.followers = append(s.followers, newFollower(s.kernels, i, &s.crowded))
	}
	return s, nil
}

// connect makes what exchanges messages with the other nodes.
func (s *Server) connect(conn *bus.Conn) {
	s.routes.self = s.id
	s.peers = &peers{conn: conn, prefix: s.cfg.Prefix, self: s.id}
	s.inbox = newInbox(s.peers, s.cfg.Logger, s.cfg.Slots, s.asked)
	s.asks = &asker{
		peers: s.peers, routes: &s.routes, serves: s.serves, observe: s.stamps.observe, timeout: s.cfg.DurableTimeout + askTimeout,
		wake: make(chan struct{}, 1), pending: map[uint64]*question{},
	}
	s.remote = &remotes{
		peers: s.peers, asks: s.asks, caches: s.caches, observe: s.stamps.observe, logger: s.cfg.Logger,
		began: time.Now(), watches: map[placeKey]string{}, sources: map[string]*source{},
	}
	s.boxes = &outboxes{peers: s.peers, caches: s.caches, tasks: &s.tasks, logger: s.cfg.Logger, boxes: map[string]*outbox{}}
	s.replicas = &replicas{
		self: s.id, bytesMax: int64(s.cfg.HotBytesMax), serves: s.serves, remote: s.remote, caches: s.caches,
		read: func(q *question, key string, done func(*lattice.State, *pb.Answer, error)) {
			s.forward.read(q, key, done)
		},
	}
	s.replicas.keys.Store(new(map[string]*replica))
	s.forward = &forwarder{
		asks: s.asks, caches: s.caches, remote: s.remote, replicas: s.replicas, hot: &s.hot,
		kernels: s.kernels, stamps: &s.stamps, replicaOf: s.replicaOf,
	}
}

// randomWriter names a kernel. A kernel that begins again becomes another writer, since it may have forgotten what it has
// counted.
func randomWriter() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:]) | 1
}

// randomID names a node among the members.
func randomID() string { return strconv.FormatUint(randomWriter(), 36) }

// Ready is closed when the log is replayed and keys can be read and written.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run opens the log, replays it and serves until ctx ends; what the log does not hold yet is written to it before Run returns,
// as far as that is possible in DrainTimeout, and it fails with ErrUnwritten if it was not. It fails when the log cannot be opened or
// replayed; later it tries again for as long as it takes.
func (s *Server) Run(ctx context.Context) error {
	if err := s.log.open(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	// What runs below outlives ctx until the changeset is drained.
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, inner := errgroup.WithContext(inner)
	s.tasks.open(inner, group)
	for _, shard := range s.kernels.shards {
		sub, err := shard.publisher.listen()
		if err != nil {
			return err
		}
		defer func() { _ = sub.Unsubscribe() }()
		group.Go(func() error { s.kernels.clock(inner, shard); return nil })
	}
	for range loaders {
		group.Go(func() error { s.kernels.load(inner); return nil })
	}
	group.Go(func() error { s.kernels.removeUploads(inner); return nil })
	group.Go(func() error { s.room.run(inner); return nil })
	unlisten, err := s.listen()
	if err != nil {
		return err
	}
	defer unlisten()
	group.Go(func() error { s.inbox.run(inner); return nil })
	group.Go(func() error { s.asks.run(inner); return nil })
	var unwritten error
	group.Go(func() error {
		defer stop()
		ready, err := s.takePart(inner, group, ctx.Done())
		if err != nil {
			return err
		}
		if ready {
			s.begin(ctx, inner, group)
		}
		<-ctx.Done()
		unwritten = s.goAway(inner)
		return nil
	})
	if err := group.Wait(); ctx.Err() == nil {
		return err
	}
	return unwritten
}

// begin takes requests: the log is replayed.
func (s *Server) begin(ctx, inner context.Context, group *errgroup.Group) {
	s.state.Store(serving)
	close(s.ready)
	for _, f := range s.followers {
		group.Go(func() error { f.run(inner); return nil })
	}
	group.Go(func() error { s.trackHot(inner); return nil })
	group.Go(func() error { s.compactor.run(inner); return nil })
	if s.sweep.Load() {
		s.kernels.sweepUploads(ctx)
	}
}

// goAway ends a server in good order: others take over, and the log gets everything; it fails with ErrUnwritten if not.
func (s *Server) goAway(ctx context.Context) error {
	s.handOver(ctx)
	// A node that asks from now on must learn at once that it cannot be answered, or a write that must not be asked twice would wait in vain.
	s.inbox.closeMember()
	s.answerWaiting(ctx)
	s.state.Store(stopping)
	unwritten := s.drain()
	s.tasks.close()
	s.flush(ctx)
	if err := s.members.leave(ctx); err != nil {
		s.cfg.Logger.Warn("the other nodes find out later that this one is gone", "error", err)
	}
	return unwritten
}

// answerWaiting answers what other nodes have asked before they knew that this one goes.
func (s *Server) answerWaiting(ctx context.Context) {
	s.flush(ctx) // what is on its way is here then
	deadline := time.Now().Add(s.cfg.DrainTimeout)
	for len(s.inbox.waiting) > 0 && time.Now().Before(deadline) {
		time.Sleep(drainTick)
	}
}

// flush waits until the bus has got everything, and has nothing more for this node that was said before.
func (s *Server) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DrainTimeout)
	defer cancel()
	if err := s.log.conn.NATS.FlushWithContext(ctx); err != nil {
		s.cfg.Logger.Warn("what this node has said last may not reach the others", "error", err)
	}
}

// ErrUnwritten is returned by Run when the log has not taken all changes in DrainTimeout, among them acknowledged ones.
var ErrUnwritten = errors.New("changes are lost that the log did not take")

// drain waits until the log holds everything, or DrainTimeout is over.
func (s *Server) drain() error {
	deadline := time.Now().Add(s.cfg.DrainTimeout)
	ticker := time.NewTicker(drainTick)
	defer ticker.Stop()
	left := 0
	for {
		left = 0
		for _, shard := range s.kernels.shards {
			s.kernels.step(shard, &kernel.Tick{Hurry: true})
			shard.mu.RLock()
			left += shard.kernel.Stats().ChangesetBytes
			shard.mu.RUnlock()
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			s.cfg.Logger.Error("stopping with changes that the log does not hold", "bytes", left, "waited", s.cfg.DrainTimeout)
			return fmt.Errorf("%w: %d bytes, for which it was waited %v (anna.drain_timeout)", ErrUnwritten, left, s.cfg.DrainTimeout)
		}
		<-ticker.C
	}
}

const drainTick = 2 * time.Millisecond

// check returns an error while the server cannot take a request.
func (s *Server) check() error {
	switch s.state.Load() {
	case replaying:
		return wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the store is still reading its log; try again")
	case stopping:
		return errStopping
	}
	return nil
}
