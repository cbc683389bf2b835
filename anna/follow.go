package anna

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	// followMessages and followBytes bound what is on its way from one stream.
	followMessages = 5000
	followBytes    = 16 << 20
	// followLinger is how long a stream is followed on after the last record of another master.
	followLinger = 10 * time.Second
	// auditInterval is how often the end of a stream that is not followed is looked at, in case somebody else writes to it.
	auditInterval = 2 * time.Second
)

var errReplay = errors.New("the store's log could not be replayed")

// follower brings the records of one stream to its kernel: all of them at the start, and later those of other masters. As long
// as there are none of these, every record is the kernel's own, of which the answers to its publishes tell: then nothing is
// followed.
type follower struct {
	server    *Server
	partition int
	shard     *shard
	wake      chan struct{} // holds a token when there is something to follow
	end       atomic.Uint64 // the last sequence of the stream that is known
	foreign   atomic.Int64  // when a record of another master came last, in Unix microseconds
}

func newFollower(s *Server, partition int) *follower {
	return &follower{server: s, partition: partition, shard: s.shards[partition%len(s.shards)], wake: make(chan struct{}, 1)}
}

// catchUp makes the follower follow.
func (f *follower) catchUp() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// position returns the sequence up to which everything is merged.
func (f *follower) position() uint64 {
	f.shard.mu.RLock()
	defer f.shard.mu.RUnlock()
	return f.shard.kernel.Position(f.partition)
}

func (f *follower) lag() uint64 {
	if f.idle() {
		return 0
	}
	end, position := f.end.Load(), f.position()
	return max(end, position) - position
}

// run follows the stream whenever somebody else writes to it, or may.
func (f *follower) run(ctx context.Context) {
	audit := time.NewTicker(auditInterval)
	defer audit.Stop()
	for ctx.Err() == nil {
		if f.idle() || !f.server.crowded.Load() {
			select {
			case <-ctx.Done():
				return
			case <-f.wake:
			case <-audit.C:
				if !f.audit(ctx) {
					continue
				}
			}
			f.foreign.Store(time.Now().UnixMicro())
		}
		if err := f.follow(ctx, f.enough); err != nil && ctx.Err() == nil {
			f.server.cfg.Logger.Warn("following the log", "stream", f.server.cfg.streamName(f.partition), "error", err)
			f.catchUp()
			select {
			case <-ctx.Done():
			case <-time.After(retryMax):
			}
		}
	}
}

// audit reports whether the stream holds something that the kernel does not know of.
func (f *follower) audit(ctx context.Context) bool {
	if f.idle() {
		return false
	}
	before := f.position()
	end, err := f.server.log.end(ctx, f.partition)
	if err != nil {
		return false // whoever writes finds out
	}
	f.end.Store(end)
	f.shard.mu.RLock()
	outstanding := f.shard.kernel.Stats().Outstanding
	f.shard.mu.RUnlock()
	// What this kernel is publishing just now moves the end as well.
	return end > f.position() && (outstanding == 0 || before == f.position())
}

// enough reports whether to stop following, because there has been no other master for long enough.
func (f *follower) enough(caughtUp bool) bool {
	return caughtUp && !f.server.crowded.Load() && time.Now().UnixMicro()-f.foreign.Load() > followLinger.Microseconds()
}

// idle reports whether the kernel is a master of no slot of the stream.
func (f *follower) idle() bool {
	cfg := &f.server.cfg
	f.shard.mu.RLock()
	defer f.shard.mu.RUnlock()
	for slot := range cfg.Slots {
		if cfg.partitionOf(uint16(slot)) == f.partition && f.shard.kernel.Tenure(uint16(slot)) < Joining {
			return false
		}
	}
	return true
}

// follow brings records from where the kernel is until done says that it is enough; it is asked after every pause and told
// whether everything that was there has been brought.
func (f *follower) follow(ctx context.Context, done func(caughtUp bool) bool) error {
	if f.idle() {
		return nil
	}
	_, err := f.read(ctx, f.position()+1, nil, done)
	return err
}

// load brings all records of some slots, and returns up to where.
func (f *follower) load(ctx context.Context, slots []uint16) (uint64, error) {
	loading := newBitmap(f.server.cfg.Slots)
	for _, slot := range slots {
		loading.set(slot)
	}
	return f.read(ctx, 1, loading, func(caughtUp bool) bool { return caughtUp })
}

// reading is one pass over a stream.
type reading struct {
	// loading is what is brought: some slots, from the beginning; or, when it is nil, everything of which the kernel is a master,
	// in order.
	loading bitmap
	done    func(caughtUp bool) bool
	extent  extent // of the stream, as its leader has said last
	stepped uint64 // up to here the kernel knows that there is no more
	// brought is the last sequence that has been brought, or left out, and target the one that is waited for: then reached gets a
	// token.
	brought, target atomic.Uint64
	reached         chan struct{}
}

// read brings records, those of slots that are being loaded or of all, and returns the sequence up to which they were there when it
// began. It reads whole streams, and leaves out what is of other slots: to let JetStream choose costs many times as much, since
// the slots lie scattered.
//
// A consumer of a replicated stream is on any of its servers. One that has been away may have a part of the stream yet, says that
// there is no more, and brings the rest when it gets it. So it is the stream's leader who says whether everything has been brought,
// and of a consumer that does not get there another is made, which may be elsewhere.
func (f *follower) read(ctx context.Context, from uint64, loading bitmap, done func(caughtUp bool) bool) (uint64, error) {
	r := &reading{loading: loading, done: done, reached: make(chan struct{}, 1)}
	r.brought.Store(from - 1)
	err := insist(ctx, func(ctx context.Context) error { return f.survey(ctx, r) })
	if err != nil {
		return 0, err
	}
	end := r.extent.end
	if f.caughtUp(r) && done(true) {
		return end, nil
	}
	for since := time.Now(); ; {
		before := r.brought.Load()
		err = f.consume(ctx, r)
		if err == nil {
			return end, nil
		}
		if r.brought.Load() > before {
			since = time.Now()
		}
		behind := errors.Is(err, errBehind) && time.Since(since) < f.server.cfg.ReplayTimeout
		if ctx.Err() != nil || !behind {
			return 0, fmt.Errorf("follow stream %s: %w", f.server.cfg.streamName(f.partition), err)
		}
		f.server.cfg.Logger.Debug("following the log from another server", "stream", f.server.cfg.streamName(f.partition),
			"at", r.brought.Load(), "of", r.target.Load())
	}
}

var errBehind = errors.New("the server that it is followed from does not bring what its leader has")

// survey asks how far the stream goes now.
func (f *follower) survey(ctx context.Context, r *reading) error {
	extent, err := f.server.log.extent(ctx, f.partition)
	if err != nil {
		return err
	}
	r.extent = extent
	r.target.Store(extent.record)
	f.end.Store(extent.end)
	return nil
}

// caughtUp reports whether everything that was there when the stream was surveyed last has been brought.
func (f *follower) caughtUp(r *reading) bool {
	target := r.target.Load()
	return r.brought.Load() >= target || r.loading == nil && f.position() >= target
}

// consume brings records by one consumer, until that is enough.
func (f *follower) consume(ctx context.Context, r *reading) error {
	s := f.server
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	setup, cancelSetup := context.WithTimeout(ctx, attemptTimeout)
	defer cancelSetup()
	consumer, err := s.log.streams[f.partition].OrderedConsumer(setup, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.brought.Load() + 1,
		FilterSubjects: []string{s.log.recordSubjects(f.partition)},
	})
	if err != nil {
		return err
	}
	defer f.forget(consumer)
	consume, err := consumer.Consume(func(m jetstream.Msg) {
		sequence, before := f.bring(m, r.loading), r.brought.Load()
		if sequence <= before {
			return
		}
		r.brought.Store(sequence)
		if target := r.target.Load(); before < target && target <= sequence {
			select {
			case r.reached <- struct{}{}:
			default:
			}
		}
	}, jetstream.PullMaxMessagesWithBytesLimit(followMessages, followBytes))
	if err != nil {
		return err
	}
	closed := consume.Closed() // asked for once: each asking is a goroutine that waits for the end
	defer func() {
		consume.Stop()
		<-closed
	}()
	look := time.NewTicker(followLook)
	defer look.Stop()
	for seen, still := r.brought.Load(), 0; ; {
		caughtUp := f.caughtUp(r)
		if caughtUp && r.loading == nil && r.extent.end > r.stepped {
			// Nothing but pieces, and what has been replaced, lies between the last record and the end.
			s.step(f.shard, &Applied{Partition: f.partition, Sequence: r.extent.end})
			r.stepped = r.extent.end
		}
		if r.done(caughtUp) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-closed:
			return errors.New("the consumer ended")
		case <-r.reached:
			continue
		case <-f.wake:
			continue
		case <-look.C:
		}
		if now := r.brought.Load(); now > seen {
			seen, still = now, 0
			continue
		}
		switch behind, err := f.behind(ctx, r); {
		case err != nil: // it elects; whether anything is missing will be known after that
		case !behind:
			still = 0
		default:
			if still++; still >= followLooks {
				return errBehind
			}
		}
	}
}

// behind reports whether the stream has records that have not been brought. As long as nothing at all has been added to it that
// takes one small question.
func (f *follower) behind(ctx context.Context, r *reading) (bool, error) {
	if f.caughtUp(r) {
		end, err := f.server.log.end(ctx, f.partition)
		if err != nil || end <= r.extent.end || end <= f.position() {
			return false, err
		}
	}
	err := f.survey(ctx, r)
	return !f.caughtUp(r), err
}

const (
	// followLook is how often a stream that is followed is looked at when it is quiet.
	followLook = time.Second
	// followLooks is how often in a row nothing may have come of what the stream has, before it is followed from another server.
	followLooks = 3
)

// forget removes a consumer that is not used any more.
func (f *follower) forget(consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout)
	defer cancel()
	// One that is not there any more, or a log that is away, forgets it as well.
	_ = f.server.log.streams[f.partition].DeleteConsumer(ctx, consumer.CachedInfo().Name)
}

// bring hands a record to the kernel, and returns its sequence.
func (f *follower) bring(m jetstream.Msg, loading bitmap) uint64 {
	s := f.server
	meta, err := m.Metadata()
	if err != nil {
		s.cfg.Logger.Error("a message of the log says not where it is", "error", err)
		return 0
	}
	sequence, last := meta.Sequence.Stream, meta.NumPending == 0
	applied := Applied{Partition: f.partition, Sequence: sequence, Loading: loading != nil}
	slot, token, ok := parseSubject(m.Subject(), s.cfg.Prefix)
	switch {
	case !ok || int(slot) >= s.cfg.Slots:
		err = fmt.Errorf("%w: its subject is %q", errRecord, m.Subject())
	case loading != nil && !loading.has(slot):
		return sequence
	case loading == nil && f.foreignSlot(slot):
		if last || sequence%skipGrain == 0 {
			s.step(f.shard, &applied)
		}
		return sequence
	default:
		applied.Slot = slot
		err = f.decode(token, m.Data(), &applied)
	}
	if err != nil {
		applied.Key = ""
		s.cfg.Logger.Error("a record of the log cannot be read and is left out", "stream", s.cfg.streamName(f.partition),
			"sequence", sequence, "error", err)
	}
	if applied.Publisher != f.shard.publisher.publisher {
		f.foreign.Store(time.Now().UnixMicro())
	}
	if applied.Key != "" || loading == nil {
		s.step(f.shard, &applied)
	}
	return sequence
}

// skipGrain is after how many records of other nodes' slots the kernel is told how far the log has been followed.
const skipGrain = 32

// foreignSlot reports whether the kernel is no master of a slot.
func (f *follower) foreignSlot(slot uint16) bool {
	f.shard.mu.RLock()
	defer f.shard.mu.RUnlock()
	return f.shard.kernel.Tenure(slot) == Stranger
}

func (f *follower) decode(token string, data []byte, applied *Applied) error {
	r, err := decodeRecord(data)
	if err != nil {
		return err
	}
	key, ok := keyOf(token)
	if key == "" {
		key = r.key
	}
	if !ok || key == "" || slotOf(key, f.server.cfg.Slots) != applied.Slot {
		return fmt.Errorf("%w: its subject's last part, %q, is that of no key", errRecord, token)
	}
	applied.Key, applied.Publisher, applied.Whole, applied.Bytes = key, r.publisher, r.whole, len(data)
	if r.chunked != nil {
		applied.Type, applied.Latest, applied.Upload = r.chunked.kind, r.chunked.latest, r.chunked.upload
		return nil
	}
	applied.State, err = decodeOwnState(r.state)
	return err
}

// replay brings everything that the stream holds. In a cluster that is still forming this takes more than one attempt; each goes on
// where the one before has ended.
func (f *follower) replay(ctx context.Context) error {
	position, since := f.position(), time.Now()
	for {
		err := f.follow(ctx, func(caughtUp bool) bool { return caughtUp })
		if err == nil || ctx.Err() != nil {
			return err
		}
		if now := f.position(); now != position {
			position, since = now, time.Now()
		}
		if time.Since(since) > f.server.cfg.ReplayTimeout {
			return err
		}
		f.server.cfg.Logger.Warn("replaying the log", "stream", f.server.cfg.streamName(f.partition), "at", position, "error", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(openRetryDelay):
		}
	}
}

// replay brings everything that the log holds.
func (s *Server) replay(ctx context.Context) error {
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, f := range s.followers {
		group.Go(func() error { return f.replay(ctx) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("%w: %w", errReplay, err)
	}
	took := time.Since(began)
	s.stats.replayMilliseconds.Store(uint64(took.Milliseconds()))
	records := uint64(0)
	for _, shard := range s.shards {
		shard.mu.RLock()
		records += shard.kernel.Stats().Applied
		shard.mu.RUnlock()
	}
	s.stats.replayed.Store(records)
	s.cfg.Logger.Info("the store's log is replayed", "records", records, "took", took.Round(time.Millisecond))
	return nil
}
