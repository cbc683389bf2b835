package anna

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
)

const (
	// followMessages and followBytes bound what is on its way from one stream.
	followMessages = 5000
	followBytes    = 16 << 20
	// followLook is how often a stream that is followed is looked at when it is quiet.
	followLook = time.Second
	// followLooks is how often in a row nothing may have come of what the stream has, before it is followed from another server.
	followLooks = 3
	// followHeartbeat is how often a consumer says that it is there; one that misses two is not.
	followHeartbeat = 5 * time.Second
	// followForgotten is after how long JetStream forgets a consumer that is not asked any more.
	followForgotten = time.Minute
)

// reading is one pass over a stream.
type reading struct {
	// loading is what is brought: some slots, from the beginning; or, when it is nil, everything of which the kernel is a master,
	// in order.
	loading slots.Bitmap
	done    func(caughtUp bool) bool
	extent  extent // of the stream, as its leader has said last
	stepped uint64 // up to here the kernel knows that there is no more
	// brought is the last sequence that has been brought, or left out, and target the one that is waited for: then reached gets a
	// token.
	brought, target atomic.Uint64
	reached         chan struct{}
	// found and entries are room for those of a record.
	found   []foundEntry
	entries []kernel.Applying
}

// read brings records, those of slots that are being loaded or of all, and returns the sequence up to which they were there when it
// began. It reads whole streams, and leaves out what is of other slots: to let JetStream choose costs many times as much, since
// the slots lie scattered.
//
// A consumer of a replicated stream is on any of its servers. One that has been away may have a part of the stream yet, says that
// there is no more, and brings the rest when it gets it. So it is the stream's leader who says whether everything has been brought,
// and of a consumer that does not get there another is made, which may be elsewhere.
func (f *follower) read(ctx context.Context, from uint64, loading slots.Bitmap, done func(caughtUp bool) bool) (uint64, error) {
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
		if ctx.Err() != nil || time.Since(since) > f.cfg.ReplayTimeout {
			return 0, fmt.Errorf("follow stream %s: %w", f.cfg.streamName(f.partition), err)
		}
		f.cfg.Logger.Debug("following the log from another server", "stream", f.cfg.streamName(f.partition),
			"at", r.brought.Load(), "of", r.target.Load(), "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(openRetryDelay):
		}
	}
}

var (
	errLagging = errors.New("the server that it is followed from does not bring what its leader has")
	errSkipped = errors.New("records were lost on the way")
)

// survey asks how far the stream goes now.
func (f *follower) survey(ctx context.Context, r *reading) error {
	extent, err := f.log.extent(ctx, f.partition)
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	setup, cancelSetup := context.WithTimeout(ctx, attemptTimeout)
	defer cancelSetup()
	// An ordered consumer of the library would do, but that cannot be stopped while it is being made again, which may take long.
	consumer, err := f.log.streams[f.partition].CreateConsumer(setup, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.brought.Load() + 1,
		FilterSubject: f.log.subjects[f.partition],
		AckPolicy:     jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: followForgotten,
	})
	if err != nil {
		return err
	}
	defer f.forget(consumer)
	faults := make(chan error, 1)
	fault := func(err error) {
		select {
		case faults <- err:
		default:
		}
	}
	expected := uint64(1)
	consume, err := consumer.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		switch {
		case err != nil:
			fault(fmt.Errorf("a message of the log says not where it is: %w", err))
			return
		case meta.Sequence.Consumer != expected:
			fault(errSkipped)
			return
		}
		expected++
		if r.loading == nil && meta.Sequence.Stream != r.brought.Load()+1 {
			f.gaps.Add(1)
		}
		f.bring(m, meta, r)
		before := r.brought.Swap(meta.Sequence.Stream)
		if target := r.target.Load(); before < target && target <= meta.Sequence.Stream {
			select {
			case r.reached <- struct{}{}:
			default:
			}
		}
	}, jetstream.PullMaxMessagesWithBytesLimit(followMessages, followBytes), jetstream.PullHeartbeat(followHeartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { fault(err) }))
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
			// Nothing but chunks, and what has been replaced, lies between the last record and the end.
			if r.extent.end > f.position() {
				f.gaps.Add(1)
			}
			f.kernels.step(f.shard, &kernel.Applied{Partition: f.partition, Sequence: r.extent.end})
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
		case err := <-faults:
			return err
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
				return errLagging
			}
		}
	}
}

// behind reports whether the stream has records that have not been brought. As long as nothing at all has been added to it that
// takes one small question.
func (f *follower) behind(ctx context.Context, r *reading) (bool, error) {
	if f.caughtUp(r) {
		now, err := f.log.end(ctx, f.partition)
		if err != nil || now.end <= r.extent.end || now.end <= f.position() {
			return false, err
		}
	}
	err := f.survey(ctx, r)
	return !f.caughtUp(r), err
}

// forget removes a consumer that is not used any more.
func (f *follower) forget(consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	// One that is not there any more, or a log that is away, forgets it as well.
	_ = f.log.streams[f.partition].DeleteConsumer(ctx, consumer.CachedInfo().Name)
}
