package anna

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/anna/kernel"
	"cloudburst/bus"
	"cloudburst/lattice"
)

// SetClock makes the time of day by which a server goes another than the machine's. It comes before Run.
func (s *Server) SetClock(ahead func() time.Duration) {
	now := s.kernels.now
	s.kernels.now = func() kernel.Moment {
		at := now()
		at.Wall += ahead().Microseconds()
		return at
	}
}

// Stall keeps a server from handling anything that others send it, until the function that it returns is called.
func (s *Server) Stall() (resume func()) {
	for _, shard := range s.kernels.shards {
		shard.mu.Lock()
	}
	return func() {
		for _, shard := range s.kernels.shards {
			shard.mu.Unlock()
		}
	}
}

// ClockReached returns how far the clock of what is written through a server to others has got, as far as it knows.
func (s *Server) ClockReached() uint64 { return s.stamps.reached.Load() }

// ReadBehind reads a key by the last record of its stream, from a server of the log that does not have the last messages yet: so many
// questions for chunks find nothing.
func ReadBehind(ctx context.Context, cfg Config, conn *bus.Conn, key string, questions int32) (*lattice.State, error) {
	l := &streams{cfg: cfg.WithDefaults(), conn: conn}
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	slot := slotOf(key, l.cfg.Slots)
	p := l.cfg.partitionOf(slot)
	last, err := l.streams[p].GetLastMsgForSubject(ctx, l.subjects[p])
	if err != nil {
		return nil, err
	}
	left := new(atomic.Int32)
	left.Store(questions)
	l.streams[p] = behindStream{l.streams[p], left}
	state, _, err := l.read(ctx, kernel.Load{Key: key, Slot: slot, Partition: p, Sequences: []uint64{last.Sequence}})
	return state, err
}

type behindStream struct {
	jetstream.Stream
	left *atomic.Int32
}

func (b behindStream) GetLastMsgForSubject(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	if b.left.Add(-1) >= 0 {
		return nil, jetstream.ErrMsgNotFound
	}
	return b.Stream.GetLastMsgForSubject(ctx, subject)
}
