package anna

import (
	"context"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cloudburst/anna/kernel"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// kernels are those of this node. They get messages by step, which carries out what they want done. Safe for concurrent use.
type kernels struct {
	cfg    *Config
	log    *streams
	caches *caches
	tasks  *tasks
	stamps *stamps
	state  *atomic.Int32
	stats  *counters
	serves []atomic.Bool       // by slot, whether this node serves it
	behind func(partition int) // has a stream followed that holds something which its kernel has not merged
	now    func() kernel.Moment
	spend  func(bytes int) // takes note of how much is published

	shards    []*shard
	loads     chan kernel.Load
	removals  chan kernel.Upload
	uploading chan struct{} // a token for each state that is being cut into chunks
}

// shard is a kernel and the lock that lets one goroutine at a time into it.
type shard struct {
	mu     sync.RWMutex
	reads  atomic.Uint64 // beside the lock, which a reader has changed just before
	kernel *kernel.Kernel
	heat   *heat

	publisher *publisher
	armed     atomic.Int64 // when the clock looks at the kernel next
	poke      chan struct{}
}

// Pauses between attempts to reach a log that is away.
const (
	retryMin = 20 * time.Millisecond
	retryMax = time.Second
)

func (k *kernels) newShard(number int) *shard {
	var partitions []int
	for p := number; p < k.cfg.Streams; p += k.cfg.Kernels {
		partitions = append(partitions, p)
	}
	memory := math.MaxInt
	if k.cfg.MemoryBytesMax > 0 {
		memory = k.cfg.MemoryBytesMax / k.cfg.Kernels
	}
	writer := randomWriter()
	shard := &shard{poke: make(chan struct{}, 1), heat: newHeat(k.cfg.Slots)}
	shard.kernel = kernel.New(kernel.Config{
		Writer:            writer,
		Partitions:        partitions,
		PartitionOf:       k.cfg.partitionOf,
		Fingerprint:       fingerprint,
		Reserved:          wire.Reserved,
		PublishesMax:      k.cfg.PublishesMax,
		RecordKeysMax:     recordKeysMax,
		RecordBytesMax:    recordBytesAim,
		LazyRate:          k.cfg.LazyRate / k.cfg.Streams,
		LazyInterval:      k.cfg.LazyInterval.Microseconds(),
		PublishTimeout:    k.cfg.PublishTimeout.Microseconds(),
		DurableTimeout:    k.cfg.DurableTimeout.Microseconds(),
		RetryMin:          retryMin.Microseconds(),
		RetryMax:          retryMax.Microseconds(),
		ChangesetBytesMax: k.cfg.ChangesetBytesMax / k.cfg.Kernels,
		MemoryBytesMax:    memory,
		CompactRecords:    k.cfg.CompactRecords,
		TombstoneGrace:    k.cfg.TombstoneGrace.Microseconds(),
		ParkedMax:         parkedMax,
	})
	shard.publisher = newPublisher(k.log, writer, func(m kernel.Message) { k.step(shard, m) }, k.spend)
	return shard
}

// shardOf returns the slot of a key and the kernel that it belongs to.
func (k *kernels) shardOf(key string) (uint16, *shard) {
	slot := slotOf(key, k.cfg.Slots)
	return slot, k.ofSlot(slot)
}

func (k *kernels) ofSlot(slot uint16) *shard { return k.ofStream(k.cfg.partitionOf(slot)) }

var effects = sync.Pool{New: func() any { return new(kernel.Effects) }}

// ofStream returns the kernel that a stream of the log belongs to.
func (k *kernels) ofStream(partition int) *shard { return k.shards[partition%len(k.shards)] }

// step lets a kernel take a message in, and does what it wants done.
func (k *kernels) step(shard *shard, m kernel.Message) { k.stepIf(shard, m, nil) }

// stepIf is step if a condition holds, which is looked at with the kernel locked. It reports whether it did.
func (k *kernels) stepIf(shard *shard, m kernel.Message, condition func(*kernel.Kernel) bool) bool {
	out := effects.Get().(*kernel.Effects)
	shard.mu.Lock()
	if condition != nil && !condition(shard.kernel) {
		shard.mu.Unlock()
		effects.Put(out)
		return false
	}
	now := k.now() // with the kernel locked, or it could be earlier than its last
	shard.kernel.Step(now, m, out)
	wake := shard.kernel.Wake(now)
	shard.mu.Unlock()
	if wake < shard.armed.Load() {
		shard.alarm()
	}
	k.perform(shard, out)
	out.Reset()
	effects.Put(out)
	return true
}

// perform does what a kernel wants done. Caches get a change before its writer gets the answer, so that a client that was told that a
// write is made finds it.
func (k *kernels) perform(shard *shard, out *kernel.Effects) {
	for i := range out.Pushes {
		out.Pushes[i].Err = coded(out.Pushes[i].Err)
	}
	k.caches.push(out.Pushes)
	for i := range out.Publishes {
		if m := &out.Publishes[i]; recordFits(m) {
			shard.publisher.publish(m)
		} else {
			k.upload(shard, *m)
		}
	}
	for i := range out.Replies {
		if r := &out.Replies[i]; r.Ticket != nil {
			r.Ticket.(Completion).Complete(r.Value, k.explain(r.Err))
		}
	}
	for _, load := range out.Loads {
		select {
		case k.loads <- load:
		default:
			k.step(shard, &kernel.Loaded{Key: load.Key, Err: wire.Errorf(pb.Code_CODE_NO_RESOURCES,
				"%d keys wait to be read from the log already, the limit; try again", loadsMax)})
		}
	}
	for _, partition := range out.Behind {
		k.behind(partition)
	}
	for _, up := range out.Superseded {
		select {
		case k.removals <- up:
		default: // swept at the next start
		}
	}
}

// explain gives an error of a kernel its code, and adds what keeps the log from taking writes, as far as that is known.
func (k *kernels) explain(err error) error {
	err = coded(err)
	if err == nil || isSentinel(err) || wire.CodeOf(err) != pb.Code_CODE_UNAVAILABLE {
		return err
	}
	if faults := k.log.conn.Faults(); len(faults) > 0 {
		return wire.Errorf(pb.Code_CODE_UNAVAILABLE, "%v; %s", err, strings.Join(faults, "; "))
	}
	return err
}

// keepAlive tells the kernel that a publish gets on, until the function that it returns is called. While a large state waits for its turn
// and is cut into chunks the log acknowledges nothing, and a kernel that gave up then would have it published again, beside the first. A
// log that does not answer fails the chunks themselves.
func (k *kernels) keepAlive(shard *shard, publish uint64, partition int) (end func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		alive := time.NewTicker(k.cfg.PublishTimeout / 2)
		defer alive.Stop()
		for {
			select {
			case <-alive.C:
				k.step(shard, &kernel.Advanced{Publish: publish, Partition: partition})
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// upload publishes a large state, which has a record for itself, on a goroutine of its own. There are never more of them than large
// publishes may be outstanding.
func (k *kernels) upload(shard *shard, m kernel.Publish) {
	started := k.tasks.start(func(ctx context.Context) {
		defer k.keepAlive(shard, m.ID, m.Partition)()
		select {
		case k.uploading <- struct{}{}:
			defer func() { <-k.uploading }()
		case <-ctx.Done():
			return
		}
		if err := shard.publisher.upload(ctx, &m, time.Now()); err != nil {
			k.step(shard, &kernel.Failed{Publish: m.ID, Err: err})
		}
	})
	if !started {
		k.step(shard, &kernel.Failed{Publish: m.ID, Err: errStopping})
	}
}

// reached returns the Time that no stamp is later than of what has been written to a slot's keys here, or elsewhere as far as this
// node knows.
func (k *kernels) reached(slot uint16) uint64 {
	shard := k.ofSlot(slot)
	shard.mu.RLock()
	time := shard.kernel.Reached()
	shard.mu.RUnlock()
	return k.stamps.follow(time)
}

// stamp returns a stamp that is later than all of these.
func (k *kernels) stamp(slot uint16) lattice.Timestamp {
	k.reached(slot)
	return k.stamps.now()
}

// pulseTime is where this node's clocks are, as others are told from time to time: it may be later than all stamps, so that they
// need not wait for one to know of a clock that is ahead.
func (k *kernels) pulseTime() uint64 {
	reached := uint64(0)
	for _, shard := range k.shards {
		shard.mu.RLock()
		reached = max(reached, shard.kernel.Reached())
		shard.mu.RUnlock()
	}
	k.stamps.follow(reached)
	k.stamps.mu.Lock()
	defer k.stamps.mu.Unlock()
	return k.stamps.clock.Reached(k.stamps.wall())
}

// news merges what this node, a master of the key, holds into what another one holds. It returns what this node
// holds, or nil when the other one lacked nothing.
func (k *kernels) news(key string, held *lattice.State) *lattice.State {
	slot, shard := k.shardOf(key)
	if !k.serves[slot].Load() {
		return nil
	}
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	state, found := shard.kernel.Held(key)
	if found != kernel.Here || !held.Merge(state) {
		return nil
	}
	return state.Clone()
}

// hear merges what another master has made of a write of a client of this node, if this node is a master of the key too.
func (k *kernels) hear(key string, delta *lattice.State) {
	slot, shard := k.shardOf(key)
	k.step(shard, &kernel.Heard{Key: key, Slot: slot, Delta: delta})
}
