package anna

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"cloudburst/anna/compaction"
	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/wire/pb"
)

// truncateLooks is for how many looks at the log what is not needed any more stays there. What has replaced it is on the disk when it
// is cut off, also where writes do not wait for that (nats.sync_interval).
const truncateLooks = 3

// compactor has compaction.Compactor decide when the streams of the log are cut off at their beginning, and carries that out. Owned by
// the goroutine in run, but for the lengths.
type compactor struct {
	server  *Server
	machine *compaction.Compactor
	began   time.Time
	lengths []streamLength
}

// streamLength is how long a stream was at the last look, in bytes; 0 = another node looks after it.
type streamLength struct{ bytes, needed atomic.Int64 }

func newCompactor(s *Server) *compactor {
	cfg := &s.cfg
	return &compactor{
		server: s, began: time.Now(), lengths: make([]streamLength, cfg.Streams),
		machine: compaction.New(compaction.Config{
			Slots: cfg.Slots, Streams: cfg.Streams, Ratio: cfg.CompactRatio, BytesMin: cfg.CompactBytesMin,
			Wait: truncateLooks * cfg.CompactInterval.Microseconds(),
		}),
	}
}

func (c *compactor) run(ctx context.Context) {
	ticker := time.NewTicker(c.server.cfg.CompactInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for stream := range c.server.followers {
				if err := c.look(ctx, stream); err != nil && ctx.Err() == nil {
					c.server.cfg.Logger.Debug("the log is shortened later", "stream", c.server.cfg.streamName(stream), "error", err)
				}
			}
		}
	}
}

// look has the machine take one look at a stream, and does what it wants done.
func (c *compactor) look(ctx context.Context, stream int) error {
	look := compaction.Look{Stream: stream}
	look.Leads, look.Held = c.mine(stream)
	present := c.server.members.present()
	for _, id := range slices.Sorted(maps.Keys(present)) {
		p := present[id]
		look.Members = append(look.Members, compaction.Member{
			Guest: p.GetGuest(), Leads: p.GetLeads(), Floors: p.GetFloors(), Targets: p.GetTargets(),
		})
	}
	var failed error
	for events := []compaction.Event{look}; len(events) > 0; events = events[1:] {
		for _, a := range c.machine.Step(time.Since(c.began).Microseconds(), events[0]) {
			answer, err := c.perform(ctx, a)
			if answer != nil {
				events = append(events, answer)
			}
			if err != nil {
				failed = err
			}
		}
	}
	length := c.machine.Length(stream)
	c.lengths[stream].bytes.Store(int64(length.Bytes))
	c.lengths[stream].needed.Store(int64(length.Needed))
	return failed
}

// perform does what the machine wants done, and returns the event that answers it, if there is one.
func (c *compactor) perform(ctx context.Context, a compaction.Action) (compaction.Event, error) {
	s := c.server
	switch a := a.(type) {
	case compaction.AskExtent:
		shard := s.kernels.ofStream(a.Stream)
		shard.mu.RLock()
		needed := shard.kernel.Needed(a.Stream)
		shard.mu.RUnlock()
		e, err := s.log.end(ctx, a.Stream)
		if err != nil {
			return nil, err
		}
		return compaction.ExtentKnown{Stream: a.Stream, First: e.first, End: e.end, Bytes: e.bytes, Needed: needed, Kept: s.room.kept()}, nil
	case compaction.Compact:
		s.kernels.step(s.kernels.ofStream(a.Stream), &kernel.Compact{Partition: a.Stream, Target: a.Target})
	case compaction.Announce:
		s.members.change(func(p *pb.Presence) {
			if p.Targets == nil {
				p.Targets = make([]uint64, s.cfg.Streams)
			}
			p.Targets[a.Stream] = a.Target
			p.Floors = s.floors()
		})
	case compaction.Truncate:
		err := s.log.truncate(ctx, a.Stream, a.Before)
		if err == nil {
			s.stats.truncations.Add(1)
			s.cfg.Logger.Debug("the log has been shortened", "stream", s.cfg.streamName(a.Stream), "before", a.Before)
		}
		return compaction.Truncated{Stream: a.Stream, Err: err}, err
	}
	return nil, nil
}

// mine reports whether this node leads the first slot of a stream, and of how many of its slots it is a master.
func (c *compactor) mine(stream int) (leads bool, held int) {
	s := c.server
	shard := s.kernels.ofStream(stream)
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	for slot := stream; slot < s.cfg.Slots; slot += s.cfg.Streams {
		if shard.kernel.Tenure(uint16(slot)) < slots.Joining {
			held++
		}
	}
	return shard.kernel.Tenure(uint16(stream)) == slots.Leading, held
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
