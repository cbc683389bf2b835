package anna

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/wire/pb"
)

// truncateLooks is for how many looks at the log that stays there which is not needed any more. So what has replaced it is on the disk
// when it goes, also where that is not waited for (nats.sync_interval).
const truncateLooks = 3

// compactor keeps the streams of the log short. The one who leads the first slot of a stream looks after it: when the stream is too
// long for what is needed of it, it makes known from where on it is to be needed; the kernels of all see to that (Kernel.sweep), and
// every master says how far they are. What nobody needs is cut off. Owned by the goroutine in run.
type compactor struct {
	server  *Server
	streams []streamLength
}

// streamLength is what is known of the length of a stream.
type streamLength struct {
	bytes, needed atomic.Int64 // as of the last look; 0 = somebody else looks after it
	target        uint64       // what it is to be cut off to, 0 = it is short enough
	cut           uint64       // from where on it is needed, as of since
	since         time.Time
}

func newCompactor(s *Server) *compactor {
	return &compactor{server: s, streams: make([]streamLength, s.cfg.Streams)}
}

func (c *compactor) run(ctx context.Context) {
	ticker := time.NewTicker(c.server.cfg.CompactInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for p := range c.streams {
				if err := c.look(ctx, p, now); err != nil && ctx.Err() == nil {
					c.server.cfg.Logger.Debug("the log is shortened later", "stream", c.server.cfg.streamName(p), "error", err)
				}
			}
		}
	}
}

// look goes on with shortening a stream, if it is too long.
func (c *compactor) look(ctx context.Context, partition int, now time.Time) error {
	s, stream := c.server, &c.streams[partition]
	shard := s.shards[partition%len(s.shards)]
	first, held := c.mine(partition)
	if !first {
		stream.target, stream.cut = 0, 0
		stream.bytes.Store(0)
		stream.needed.Store(0)
	} else {
		shard.mu.RLock()
		needed := shard.kernel.Needed(partition)
		shard.mu.RUnlock()
		e, err := s.log.end(ctx, partition)
		if err != nil {
			return err
		}
		c.judge(stream, &e, needed*s.slotsOf(partition)/held)
		if stream.target != 0 {
			if err := c.cut(ctx, partition, now); err != nil {
				return err
			}
		}
	}
	target := stream.target
	present := s.members.present()
	for _, p := range present {
		if partition < len(p.GetTargets()) {
			target = max(target, p.GetTargets()[partition])
		}
	}
	if target != 0 {
		s.step(shard, &kernel.Compact{Partition: partition, Target: target})
	}
	s.members.change(func(p *pb.Presence) {
		if p.Targets == nil {
			p.Targets = make([]uint64, s.cfg.Streams)
		}
		p.Targets[partition] = stream.target
		p.Floors = s.floors()
	})
	return nil
}

// judge decides whether a stream is too long.
func (c *compactor) judge(stream *streamLength, e *extent, needed int) {
	cfg := &c.server.cfg
	stream.bytes.Store(int64(e.bytes))
	stream.needed.Store(int64(needed))
	if stream.target > e.first {
		return // still to be done
	}
	stream.target, stream.cut = 0, 0
	if e.bytes > uint64(cfg.CompactRatio*needed+cfg.CompactBytesMin) {
		// The older a record the less likely is it needed. So half of them go, or more when twice of what is needed is less than half.
		part := max(0.5, 1-2*float64(needed)/float64(e.bytes))
		stream.target = e.first + uint64(part*float64(e.end-e.first)) + 1
	}
}

// cut cuts off what nobody needs, once that has been so for some looks.
func (c *compactor) cut(ctx context.Context, partition int, now time.Time) error {
	s, stream := c.server, &c.streams[partition]
	if stream.cut == 0 {
		if floor := c.floor(partition); floor >= stream.target {
			stream.cut, stream.since = floor, now
		}
		return nil
	}
	if now.Sub(stream.since) < truncateLooks*s.cfg.CompactInterval {
		return nil
	}
	if err := s.log.truncate(ctx, partition, stream.cut); err != nil {
		return err
	}
	s.stats.truncations.Add(1)
	s.cfg.Logger.Debug("the log has been shortened", "stream", s.cfg.streamName(partition), "before", stream.cut)
	stream.cut = 0
	return nil
}

// floor returns from where on a stream is needed by anybody; 0 when that is not known.
func (c *compactor) floor(partition int) uint64 {
	s := c.server
	led := slots.NewBitmap(s.cfg.Slots)
	floor := uint64(math.MaxUint64)
	for _, p := range s.members.present() {
		if p.GetGuest() {
			continue
		}
		if partition >= len(p.GetFloors()) {
			return 0
		}
		floor = min(floor, p.GetFloors()[partition])
		led.Add(p.GetLeads())
	}
	for slot := range uint16(s.cfg.Slots) {
		if s.cfg.partitionOf(slot) == partition && !led.Has(slot) {
			return 0 // nobody speaks for it
		}
	}
	return floor
}

// mine reports whether this node leads the first slot of a stream, and of how many of its slots it is a master.
func (c *compactor) mine(partition int) (first bool, held int) {
	s := c.server
	shard := s.shards[partition%len(s.shards)]
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	for slot := partition; slot < s.cfg.Slots; slot += s.cfg.Streams {
		if shard.kernel.Tenure(uint16(slot)) < slots.Joining {
			held++
		}
	}
	return shard.kernel.Tenure(uint16(partition)) == slots.Leading, held
}

// slotsOf returns how many slots a stream has.
func (s *Server) slotsOf(partition int) int {
	return (s.cfg.Slots - partition + s.cfg.Streams - 1) / s.cfg.Streams
}

// floors returns from where on each stream is needed by this node. It goes with what the node says that it leads: a slot is only led
// once its keys are counted here.
func (s *Server) floors() []uint64 {
	floors := make([]uint64, s.cfg.Streams)
	for p, f := range s.followers {
		idle := f.idle()
		f.shard.mu.RLock()
		if floors[p] = f.shard.kernel.Floor(p); idle && f.shard.kernel.Items(p) == 0 {
			floors[p] = math.MaxUint64
		}
		f.shard.mu.RUnlock()
	}
	return floors
}
