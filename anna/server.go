package anna

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
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
	shards    []*shard
	followers []*follower
	now       func() kernel.Moment
	ready     chan struct{}
	state     atomic.Int32
	stats     counters

	id      string // of this member
	members *members
	mover   *mover
	routes  atomic.Pointer[routing]
	serves  []atomic.Bool // by slot
	crowded atomic.Bool   // there are other masters
	moving  atomic.Int64  // slots that are being taken over
	sweep   atomic.Bool   // this node has read all of the log

	asks      *asker
	remote    *remotes
	boxes     *outboxes
	borrowed  borrowed
	replicas  *replicas
	compactor *compactor
	hot       atomic.Pointer[hot.Table]
	stamps    stamps
	parts     assemblies
	room      room
	inbox     chan *nats.Msg
	hearing   sync.Mutex
	slotSubs  []*nats.Subscription
	askSub    *nats.Subscription // what this node is asked by its name

	caches    atomic.Pointer[[]func([]kernel.Push)] // by number, which begins at 1
	joining   sync.Mutex
	loads     chan kernel.Load
	removals  chan kernel.Upload
	uploading chan struct{} // a token for each state that is being cut into pieces
	tasks     tasks
}

// The life of a server.
const (
	replaying = iota
	serving
	stopping
)

// shard is a kernel and the lock that lets one goroutine at a time into it.
type shard struct {
	mu     sync.RWMutex
	reads  atomic.Uint64 // beside the lock, which whoever reads has changed just before
	kernel *kernel.Kernel
	heat   *heat

	publisher *publisher
	armed     atomic.Int64 // when the clock looks at the kernel next
	poke      chan struct{}
}

// ID names this node among all that share its log. A node that is started again has another one.
func (s *Server) ID() string { return s.id }

// New returns a server whose log is at conn. It does nothing before Run.
func New(cfg Config, conn *bus.Conn) (*Server, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("anna settings: %w", err)
	}
	s := &Server{
		cfg:       cfg,
		log:       &streams{cfg: cfg, conn: conn},
		now:       clocks(),
		ready:     make(chan struct{}),
		loads:     make(chan kernel.Load, loadsMax),
		removals:  make(chan kernel.Upload, loadsMax),
		uploading: make(chan struct{}, uploads),
		id:        randomID(),
		serves:    make([]atomic.Bool, cfg.Slots),
		inbox:     make(chan *nats.Msg, inboxMax),
		slotSubs:  make([]*nats.Subscription, cfg.Slots),
		stamps:    stamps{clock: lattice.NewClock(randomWriter())},
	}
	s.stamps.wall = s.wall
	s.room.server = s
	s.members = newMembers(&s.cfg, s.log, s.id, s.pulseTime, s.stamps.observe)
	s.members.change(func(p *pb.Presence) { p.Name = cfg.Name })
	s.mover = newMover(s)
	s.asks = newAsker(s)
	s.remote = &remotes{server: s, began: time.Now(), watches: map[placeKey]string{}, sources: map[string]*source{}}
	s.replicas = newReplicas(s)
	s.compactor = newCompactor(s)
	s.hot.Store(new(hot.Table))
	s.boxes = &outboxes{server: s, boxes: map[string]*outbox{}}
	s.caches.Store(new([]func([]kernel.Push)))
	for i := range cfg.Kernels {
		s.shards = append(s.shards, s.newShard(i))
	}
	for i := range cfg.Streams {
		s.followers = append(s.followers, newFollower(s, i))
	}
	return s, nil
}

func (s *Server) newShard(number int) *shard {
	var partitions []int
	for p := number; p < s.cfg.Streams; p += s.cfg.Kernels {
		partitions = append(partitions, p)
	}
	memory := math.MaxInt
	if s.cfg.MemoryBytesMax > 0 {
		memory = s.cfg.MemoryBytesMax / s.cfg.Kernels
	}
	writer := randomWriter()
	shard := &shard{poke: make(chan struct{}, 1), heat: newHeat(s.cfg.Slots)}
	shard.kernel = kernel.New(kernel.Config{
		Writer:            writer,
		Partitions:        partitions,
		PartitionOf:       s.cfg.partitionOf,
		Fingerprint:       fingerprint,
		Reserved:          wire.Reserved,
		PublishesMax:      s.cfg.PublishesMax,
		RecordKeysMax:     recordKeysMax,
		RecordBytesMax:    recordBytesAim,
		LazyRate:          s.cfg.LazyRate / s.cfg.Streams,
		LazyInterval:      s.cfg.LazyInterval.Microseconds(),
		PublishTimeout:    s.cfg.PublishTimeout.Microseconds(),
		DurableTimeout:    s.cfg.DurableTimeout.Microseconds(),
		RetryMin:          retryMin.Microseconds(),
		RetryMax:          retryMax.Microseconds(),
		ChangesetBytesMax: s.cfg.ChangesetBytesMax / s.cfg.Kernels,
		MemoryBytesMax:    memory,
		CompactRecords:    s.cfg.CompactRecords,
		TombstoneGrace:    s.cfg.TombstoneGrace.Microseconds(),
		ParkedMax:         parkedMax,
	})
	shard.publisher = newPublisher(s.log, writer, func(m kernel.Message) { s.step(shard, m) }, s.room.spend)
	return shard
}

// Pauses between attempts to reach a log that is away.
const (
	retryMin = 20 * time.Millisecond
	retryMax = time.Second
)

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
	for _, shard := range s.shards {
		sub, err := shard.publisher.listen()
		if err != nil {
			return err
		}
		defer func() { _ = sub.Unsubscribe() }()
		group.Go(func() error { s.clock(inner, shard); return nil })
	}
	for range loaders {
		group.Go(func() error { s.load(inner); return nil })
	}
	group.Go(func() error { s.removeUploads(inner); return nil })
	group.Go(func() error { s.room.run(inner); return nil })
	deaf, err := s.attend()
	if err != nil {
		return err
	}
	defer deaf()
	group.Go(func() error { s.receive(inner); return nil })
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
	group.Go(func() error { s.tend(inner); return nil })
	group.Go(func() error { s.compactor.run(inner); return nil })
	if s.sweep.Load() {
		s.sweepUploads(ctx)
	}
}

// goAway ends a server in good order: others take over, and the log gets everything; it fails with ErrUnwritten if not.
func (s *Server) goAway(ctx context.Context) error {
	s.handOver(ctx)
	// Whoever asks from now on learns at once that nobody hears it, or a write that must not be asked twice would wait in vain.
	_ = s.askSub.Drain() // fails only when the connection is closed
	s.hearOut(ctx)
	s.state.Store(stopping)
	unwritten := s.drain()
	s.tasks.close()
	s.flush(ctx)
	if err := s.members.leave(ctx); err != nil {
		s.cfg.Logger.Warn("the other nodes find out later that this one is gone", "error", err)
	}
	return unwritten
}

// hearOut answers what other nodes have asked before they knew that this one goes.
func (s *Server) hearOut(ctx context.Context) {
	s.flush(ctx) // what is on its way is here then
	deadline := time.Now().Add(s.cfg.DrainTimeout)
	for len(s.inbox) > 0 && time.Now().Before(deadline) {
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
		for _, shard := range s.shards {
			s.step(shard, &kernel.Tick{Hurry: true})
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

// shardOf returns the slot of a key and the kernel that it belongs to.
func (s *Server) shardOf(key string) (uint16, *shard) {
	slot := slotOf(key, s.cfg.Slots)
	return slot, s.shards[s.cfg.partitionOf(slot)%len(s.shards)]
}

var effects = sync.Pool{New: func() any { return new(kernel.Effects) }}

// step lets a kernel take a message in, and does what it wants done.
func (s *Server) step(shard *shard, m kernel.Message) { s.stepIf(shard, m, nil) }

// stepIf is step if a condition holds, which is looked at with the kernel locked. It reports whether it did.
func (s *Server) stepIf(shard *shard, m kernel.Message, condition func(*kernel.Kernel) bool) bool {
	out := effects.Get().(*kernel.Effects)
	shard.mu.Lock()
	if condition != nil && !condition(shard.kernel) {
		shard.mu.Unlock()
		effects.Put(out)
		return false
	}
	now := s.now() // with the kernel locked, or it could be earlier than its last
	shard.kernel.Step(now, m, out)
	wake := shard.kernel.Wake(now)
	shard.mu.Unlock()
	if wake < shard.armed.Load() {
		shard.alarm()
	}
	s.perform(shard, out)
	out.Reset()
	effects.Put(out)
	return true
}

// perform does what a kernel wants done. Caches learn of a change before its writer does, so that whoever was told that a write
// is there finds it.
func (s *Server) perform(shard *shard, out *kernel.Effects) {
	for i := range out.Pushes {
		out.Pushes[i].Err = coded(out.Pushes[i].Err)
	}
	s.push(out.Pushes)
	for i := range out.Publishes {
		if m := &out.Publishes[i]; recordFits(m) {
			shard.publisher.publish(m)
		} else {
			s.upload(shard, *m)
		}
	}
	for i := range out.Replies {
		if r := &out.Replies[i]; r.Ticket != nil {
			r.Ticket.(Completion).Complete(r.Value, s.explain(coded(r.Err)))
		}
	}
	for _, load := range out.Loads {
		select {
		case s.loads <- load:
		default:
			s.step(shard, &kernel.Loaded{Key: load.Key, Err: wire.Errorf(pb.Code_CODE_NO_RESOURCES,
				"%d keys wait to be read from the log already, the limit; try again", loadsMax)})
		}
	}
	for _, partition := range out.Behind {
		s.followers[partition].catchUp()
	}
	for _, up := range out.Superseded {
		select {
		case s.removals <- up:
		default: // swept at the next start
		}
	}
}

// explain adds to an error that the log has caused what keeps the log from taking writes, as far as that is known.
func (s *Server) explain(err error) error {
	if err == nil || wire.CodeOf(err) != pb.Code_CODE_UNAVAILABLE {
		return err
	}
	if faults := s.log.conn.Faults(); len(faults) > 0 {
		return wire.Errorf(pb.Code_CODE_UNAVAILABLE, "%v; %s", err, strings.Join(faults, "; "))
	}
	return err
}

// upload publishes a large state, which has a record for itself, on a goroutine of its own. There are never more than large publishes may be
// outstanding.
func (s *Server) upload(shard *shard, m kernel.Publish) {
	started := s.tasks.start(func(ctx context.Context) {
		alive := time.NewTicker(s.cfg.PublishTimeout / 2)
		defer alive.Stop()
		for waiting := true; waiting; {
			select {
			case s.uploading <- struct{}{}:
				defer func() { <-s.uploading }()
				waiting = false
			case <-alive.C:
				s.step(shard, &kernel.Advanced{Publish: m.ID, Partition: m.Partition})
			case <-ctx.Done():
				return
			}
		}
		if err := shard.publisher.upload(ctx, &m, time.Now()); err != nil {
			s.step(shard, &kernel.Failed{Publish: m.ID, Err: err})
		}
	})
	if !started {
		s.step(shard, &kernel.Failed{Publish: m.ID, Err: errStopping})
	}
}

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
