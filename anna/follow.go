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
	renew     atomic.Bool   // what is followed has changed
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

// begin makes the follower follow anew, since slots have been taken over or there are others now.
func (f *follower) begin() {
	f.renew.Store(true)
	f.catchUp()
}

// position returns the sequence up to which everything is merged.
func (f *follower) position() uint64 {
	f.shard.mu.RLock()
	defer f.shard.mu.RUnlock()
	return f.shard.kernel.Position(f.partition)
}

func (f *follower) lag() uint64 {
	if len(f.filter()) == 0 {
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
		if len(f.filter()) == 0 || !f.server.crowded.Load() {
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
		f.renew.Store(false)
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
	if len(f.filter()) == 0 {
		return false
	}
	before := f.position()
	end, err := f.server.log.last(ctx, f.partition)
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

// enough reports whether to stop following: to begin anew, or because there has been no other master for long enough.
func (f *follower) enough(caughtUp bool) bool {
	return f.renew.Load() ||
		caughtUp && !f.server.crowded.Load() && time.Now().UnixMicro()-f.foreign.Load() > followLinger.Microseconds()
}

// filter returns the subjects of the slots that the kernel is a master of; none if it is of none.
func (f *follower) filter() []string {
	cfg := &f.server.cfg
	var own []string
	all := true
	f.shard.mu.RLock()
	defer f.shard.mu.RUnlock()
	for slot := range cfg.Slots {
		if cfg.partitionOf(uint16(slot)) != f.partition {
			continue
		}
		if f.shard.kernel.Tenure(uint16(slot)) == Stranger {
			all = false
			continue
		}
		own = append(own, f.slotSubject(uint16(slot)))
	}
	if all {
		return []string{fmt.Sprintf("%s.%d.*.%c.>", cfg.Prefix, f.partition, recordKind)}
	}
	return own
}

func (f *follower) slotSubject(slot uint16) string {
	return fmt.Sprintf("%s.%d.%d.%c.>", f.server.cfg.Prefix, f.partition, slot, recordKind)
}

// follow brings records from where the kernel is until done says that it is enough; it is asked after every pause and told
// whether everything that was there has been brought.
func (f *follower) follow(ctx context.Context, done func(caughtUp bool) bool) error {
	filter := f.filter()
	if len(filter) == 0 {
		return nil
	}
	_, err := f.read(ctx, filter, f.position()+1, false, done)
	return err
}

// load brings all records of some slots, and returns up to where.
func (f *follower) load(ctx context.Context, slots []uint16) (uint64, error) {
	filter := make([]string, len(slots))
	for i, slot := range slots {
		filter[i] = f.slotSubject(slot)
	}
	return f.read(ctx, filter, 1, true, func(caughtUp bool) bool { return caughtUp })
}

// read brings records, and returns the sequence up to which they were there when it began.
func (f *follower) read(ctx context.Context, filter []string, from uint64, loading bool, done func(caughtUp bool) bool) (uint64, error) {
	s := f.server
	failed := func(err error) (uint64, error) {
		return 0, fmt.Errorf("follow stream %s: %w", s.cfg.streamName(f.partition), err)
	}
	end, err := s.log.last(ctx, f.partition)
	if err != nil {
		return 0, err
	}
	f.end.Store(end)
	if end < from && done(true) {
		return end, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	setup, cancelSetup := context.WithTimeout(ctx, attemptTimeout)
	defer cancelSetup()
	consumer, err := s.log.streams[f.partition].OrderedConsumer(setup, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from, FilterSubjects: filter,
	})
	if err != nil {
		return failed(err)
	}
	defer f.forget(consumer)
	info, err := consumer.Info(setup)
	if err != nil {
		return failed(err)
	}
	var brought, moved atomic.Int64 // everything up to end has been brought; how many records have
	if info.NumPending == 0 {
		brought.Store(1)
	}
	progress := make(chan struct{}, 1)
	consume, err := consumer.Consume(func(m jetstream.Msg) {
		moved.Add(1)
		if sequence, last := f.bring(m, loading); (last || sequence >= end) && brought.CompareAndSwap(0, 1) {
			progress <- struct{}{}
		}
	}, jetstream.PullMaxMessagesWithBytesLimit(followMessages, followBytes))
	if err != nil {
		return failed(err)
	}
	defer func() {
		consume.Stop()
		<-consume.Closed()
	}()
	look := time.NewTicker(followLook)
	defer look.Stop()
	since, seen, told := time.Now(), int64(0), false
	for {
		caughtUp := brought.Load() != 0
		if caughtUp && !told && !loading {
			// Nothing but pieces, and what has been replaced, lies between the last record and the end.
			s.step(f.shard, &Applied{Partition: f.partition, Sequence: end})
			told = true
		}
		if done(caughtUp) {
			return end, nil
		}
		if now := moved.Load(); now != seen || caughtUp {
			since, seen = time.Now(), now
		} else if time.Since(since) > s.cfg.ReplayTimeout {
			return failed(fmt.Errorf("it brings nothing for %v, and has been followed for %d records", s.cfg.ReplayTimeout, now))
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-consume.Closed():
			return failed(errors.New("the consumer ended"))
		case <-progress:
		case <-f.wake:
		case <-look.C:
		}
	}
}

// followLook is how often a stream that is followed is looked at even when it is quiet.
const followLook = time.Second

// forget removes a consumer that is not used any more.
func (f *follower) forget(consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout)
	defer cancel()
	// One that is not there any more, or a log that is away, forgets it as well.
	_ = f.server.log.streams[f.partition].DeleteConsumer(ctx, consumer.CachedInfo().Name)
}

// bring hands a record to the kernel, and returns its sequence and whether the stream has no further ones.
func (f *follower) bring(m jetstream.Msg, loading bool) (sequence uint64, last bool) {
	s := f.server
	meta, err := m.Metadata()
	if err != nil {
		s.cfg.Logger.Error("a message of the log says not where it is", "error", err)
		return 0, false
	}
	applied := Applied{Partition: f.partition, Sequence: meta.Sequence.Stream, Loading: loading}
	if err := f.decode(m, &applied); err != nil {
		applied.Key = ""
		s.cfg.Logger.Error("a record of the log cannot be read and is left out", "stream", s.cfg.streamName(f.partition),
			"sequence", meta.Sequence.Stream, "error", err)
	}
	if applied.Publisher != f.shard.publisher.publisher {
		f.foreign.Store(time.Now().UnixMicro())
	}
	if applied.Key != "" || !loading {
		s.step(f.shard, &applied)
	}
	return meta.Sequence.Stream, meta.NumPending == 0
}

func (f *follower) decode(m jetstream.Msg, applied *Applied) error {
	slot, token, ok := parseSubject(m.Subject(), f.server.cfg.Prefix)
	if !ok || int(slot) >= f.server.cfg.Slots {
		return fmt.Errorf("%w: its subject is %q", errRecord, m.Subject())
	}
	data := m.Data()
	r, err := decodeRecord(data)
	if err != nil {
		return err
	}
	key, ok := keyOf(token)
	if key == "" {
		key = r.key
	}
	if !ok || key == "" || slotOf(key, f.server.cfg.Slots) != slot {
		return fmt.Errorf("%w: its subject %q is that of no key", errRecord, m.Subject())
	}
	applied.Key, applied.Slot, applied.Publisher, applied.Whole, applied.Bytes = key, slot, r.publisher, r.whole, len(data)
	if r.chunked != nil {
		applied.Type, applied.Latest, applied.Upload = r.chunked.kind, r.chunked.latest, r.chunked.upload
		return nil
	}
	applied.State, err = decodeOwnState(r.state)
	return err
}

// replay brings everything that the log holds.
func (s *Server) replay(ctx context.Context) error {
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, f := range s.followers {
		group.Go(func() error {
			return f.follow(ctx, func(caughtUp bool) bool { return caughtUp })
		})
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
