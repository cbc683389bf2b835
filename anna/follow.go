package anna

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/anna/kernel"
	"cloudburst/anna/record"
	"cloudburst/anna/slots"
)

const (
	// followLinger is how long a stream is followed on after the last record of another master.
	followLinger = 10 * time.Second
	// auditInterval is how often the end of a stream that is not followed is looked at, in case another kernel writes to it.
	auditInterval = 2 * time.Second
)

var errReplay = errors.New("the store's log could not be replayed")

// follower brings the records of one stream to its kernel: all of them at the start, and later those of other masters. As long
// as there are none of these, every record is the kernel's own, of which the answers to its publishes tell: then nothing is
// followed.
type follower struct {
	cfg       *Config
	log       *streams
	kernels   *kernels
	crowded   *atomic.Bool // there are other masters
	partition int
	shard     *shard
	wake      chan struct{} // holds a token when there is something to follow
	end       atomic.Uint64 // the last sequence of the stream that is known
	foreign   atomic.Int64  // when a record of another master came last, in Unix microseconds
	gaps      atomic.Uint64 // how often something was not there any more when the stream was followed
}

func newFollower(k *kernels, partition int, crowded *atomic.Bool) *follower {
	return &follower{
		cfg: k.cfg, log: k.log, kernels: k, crowded: crowded, partition: partition, shard: k.ofStream(partition), wake: make(chan struct{}, 1),
	}
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

// run follows the stream whenever another kernel writes to it, or may.
func (f *follower) run(ctx context.Context) {
	audit := time.NewTicker(auditInterval)
	defer audit.Stop()
	for ctx.Err() == nil {
		if f.idle() || !f.crowded.Load() {
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
			f.cfg.Logger.Warn("following the log", "stream", f.cfg.streamName(f.partition), "error", err)
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
	now, err := f.log.end(ctx, f.partition)
	if err != nil {
		return false // a write finds out
	}
	f.end.Store(now.end)
	f.shard.mu.RLock()
	outstanding := f.shard.kernel.Stats().Outstanding
	f.shard.mu.RUnlock()
	// What this kernel is publishing just now moves the end as well.
	return now.end > f.position() && (outstanding == 0 || before == f.position())
}

// enough reports whether to stop following, because there has been no other master for long enough.
func (f *follower) enough(caughtUp bool) bool {
	return caughtUp && !f.crowded.Load() && time.Now().UnixMicro()-f.foreign.Load() > followLinger.Microseconds()
}

// idle reports whether the kernel is a master of no slot of the stream.
func (f *follower) idle() bool {
	cfg := f.cfg
	f.shard.mu.RLock()
	defer f.shard.mu.RUnlock()
	for slot := range cfg.Slots {
		if cfg.partitionOf(uint16(slot)) == f.partition && f.shard.kernel.Tenure(uint16(slot)) < slots.Joining {
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
func (f *follower) load(ctx context.Context, which []uint16) (uint64, error) {
	loading := slots.NewBitmap(f.cfg.Slots)
	for _, slot := range which {
		loading.Set(slot)
	}
	return f.read(ctx, 1, loading, func(caughtUp bool) bool { return caughtUp })
}

// bring hands a record to the kernel.
func (f *follower) bring(m jetstream.Msg, meta *jetstream.MsgMetadata, r *reading) {
	sequence, last := meta.Sequence.Stream, meta.NumPending == 0
	applied := kernel.Applied{Partition: f.partition, Sequence: sequence, Loading: r.loading != nil, Entries: r.entries[:0]}
	err := f.decode(m.Data(), r, &applied)
	if err != nil {
		f.cfg.Logger.Error("a record of the log cannot be read, or not all of it, and is left out", "stream", f.cfg.streamName(f.partition),
			"sequence", sequence, "error", err)
	}
	if applied.Publisher != f.shard.publisher.publisher {
		f.foreign.Store(time.Now().UnixMicro())
	}
	if len(applied.Entries) > 0 || r.loading == nil && (last || sequence%skipGrain == 0) {
		f.kernels.step(f.shard, &applied)
	}
	clear(applied.Entries)
	r.entries = applied.Entries
}

// skipGrain is after how many records of other nodes' slots the kernel is told how far the log has been followed.
const skipGrain = 32

// decode takes a record apart, and leaves out what is of other slots than those that are loading, or of which the kernel is a master.
func (f *follower) decode(data []byte, r *reading, applied *kernel.Applied) error {
	found := r.found[:0]
	head, err := record.Decode(data, func(e *record.Entry) error {
		slot := slotOf(e.Key, f.cfg.Slots)
		if f.cfg.partitionOf(slot) != f.partition {
			return fmt.Errorf("%w: key %.64q is of another stream", record.ErrMalformed, e.Key)
		}
		found = append(found, foundEntry{*e, slot, r.loading != nil && r.loading.Has(slot)})
		return nil
	})
	if r.loading == nil {
		f.choose(found)
	}
	faults := []error{err}
	for i := range found {
		e := &found[i]
		if !e.wanted {
			continue
		}
		a := kernel.Applying{Entry: kernel.Entry{Key: e.Key, Slot: e.slot, Whole: e.Whole}, Bytes: len(e.State)}
		if c := e.Chunks; c != nil {
			a.Type, a.Latest, a.Upload, a.Bytes = c.Type, c.Latest, c.Upload, c.Bytes
		} else if a.State, err = record.DecodeState(e.State); err != nil {
			faults = append(faults, fmt.Errorf("key %.64q: %w", e.Key, err))
			continue
		}
		applied.Entries = append(applied.Entries, a)
	}
	clear(found)
	r.found = found
	applied.Publisher, applied.Since = head.Publisher, head.Since
	return errors.Join(faults...)
}

// foundEntry is one of a record, before its state is decoded.
type foundEntry struct {
	record.Entry
	slot   uint16
	wanted bool
}

// choose wants the entries of slots of which the kernel is a master, or about to be one.
func (f *follower) choose(found []foundEntry) {
	f.shard.mu.RLock()
	defer f.shard.mu.RUnlock()
	for i := range found {
		found[i].wanted = f.shard.kernel.Tenure(found[i].slot) != slots.Stranger
	}
}

// replay brings everything that the stream holds. Gap says that some of it was not there any more when its turn came.
func (f *follower) replay(ctx context.Context) (gap bool, err error) {
	gaps := f.gaps.Load()
	err = f.catch(ctx)
	return gaps != f.gaps.Load(), err
}

// catch follows the stream to where it ends now. In a cluster that is still forming this takes more than one attempt; each goes on
// where the one before has ended.
func (f *follower) catch(ctx context.Context) error {
	position, since := f.position(), time.Now()
	for {
		err := f.follow(ctx, func(caughtUp bool) bool { return caughtUp })
		if err == nil || ctx.Err() != nil {
			return err
		}
		if now := f.position(); now != position {
			position, since = now, time.Now()
		}
		if time.Since(since) > f.cfg.ReplayTimeout {
			return err
		}
		f.cfg.Logger.Warn("replaying the log", "stream", f.cfg.streamName(f.partition), "at", position, "error", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(openRetryDelay):
		}
	}
}
