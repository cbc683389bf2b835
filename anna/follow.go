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
	behind    chan struct{}
	end       atomic.Uint64 // the last sequence of the stream that is known
	foreign   atomic.Int64  // when a record of another master came last, in Unix microseconds
}

func newFollower(s *Server, partition int) *follower {
	return &follower{server: s, partition: partition, shard: s.shards[partition%len(s.shards)], behind: make(chan struct{}, 1)}
}

// catchUp makes the follower follow.
func (f *follower) catchUp() {
	select {
	case f.behind <- struct{}{}:
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
	end, position := f.end.Load(), f.position()
	return max(end, position) - position
}

// run follows the stream whenever somebody else writes to it.
func (f *follower) run(ctx context.Context) {
	audit := time.NewTicker(auditInterval)
	defer audit.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.behind:
		case <-audit.C:
			if !f.audit(ctx) {
				continue
			}
		}
		f.foreign.Store(time.Now().UnixMicro())
		if err := f.follow(ctx, f.quiet); err != nil && ctx.Err() == nil {
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

// quiet reports whether there has been no record of another master for long enough to stop following.
func (f *follower) quiet(caughtUp bool) bool {
	return caughtUp && time.Now().UnixMicro()-f.foreign.Load() > followLinger.Microseconds()
}

// follow brings records from where the kernel is until done says that it is enough; it is asked after every pause and told
// whether everything that was there has been brought.
func (f *follower) follow(ctx context.Context, done func(caughtUp bool) bool) error {
	s := f.server
	end, err := s.log.last(ctx, f.partition)
	if err != nil {
		return err
	}
	f.end.Store(end)
	position := f.position()
	if end <= position && done(true) {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	setup, cancelSetup := context.WithTimeout(ctx, attemptTimeout)
	defer cancelSetup()
	consumer, err := s.log.streams[f.partition].OrderedConsumer(setup, jetstream.OrderedConsumerConfig{
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    position + 1,
		FilterSubjects: []string{fmt.Sprintf("%s.%d.*.%c.>", s.cfg.Prefix, f.partition, recordKind)},
	})
	if err != nil {
		return fmt.Errorf("follow stream %s: %w", s.cfg.streamName(f.partition), err)
	}
	pending, err := consumer.Info(setup)
	if err != nil {
		return fmt.Errorf("follow stream %s: %w", s.cfg.streamName(f.partition), err)
	}
	defer f.forget(consumer)
	progress := make(chan struct{}, 1)
	var drained atomic.Bool
	drained.Store(pending.NumPending == 0)
	consume, err := consumer.Consume(func(m jetstream.Msg) {
		last := f.bring(m)
		drained.Store(last)
		if last {
			select {
			case progress <- struct{}{}:
			default:
			}
		}
	}, jetstream.PullMaxMessagesWithBytesLimit(followMessages, followBytes))
	if err != nil {
		return fmt.Errorf("follow stream %s: %w", s.cfg.streamName(f.partition), err)
	}
	defer func() {
		consume.Stop()
		<-consume.Closed()
	}()
	look := time.NewTicker(followLook)
	defer look.Stop()
	moved, seen := time.Now(), position
	for {
		if drained.Load() {
			// Nothing but pieces, and what has been replaced, lies between the last record and the end.
			s.step(f.shard, &Applied{Partition: f.partition, Sequence: end})
		}
		now := f.position()
		if done(now >= end) {
			return nil
		}
		if now != seen {
			moved, seen = time.Now(), now
		} else if now < end && time.Since(moved) > s.cfg.ReplayTimeout {
			return fmt.Errorf("stream %s stands still at %d of %d for %v", s.cfg.streamName(f.partition), now, end, s.cfg.ReplayTimeout)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-consume.Closed():
			return fmt.Errorf("the consumer of stream %s ended", s.cfg.streamName(f.partition))
		case <-progress:
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

// bring hands a record to the kernel and reports whether the stream has no further ones.
func (f *follower) bring(m jetstream.Msg) (last bool) {
	s := f.server
	meta, err := m.Metadata()
	if err != nil {
		s.cfg.Logger.Error("a message of the log says not where it is", "error", err)
		return false
	}
	applied := Applied{Partition: f.partition, Sequence: meta.Sequence.Stream}
	if err := f.decode(m, &applied); err != nil {
		applied.Key = ""
		s.cfg.Logger.Error("a record of the log cannot be read and is left out", "stream", s.cfg.streamName(f.partition),
			"sequence", meta.Sequence.Stream, "error", err)
	}
	if applied.Publisher != f.shard.publisher.publisher {
		f.foreign.Store(time.Now().UnixMicro())
	}
	s.step(f.shard, &applied)
	return meta.NumPending == 0
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
