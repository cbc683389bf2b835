package anna

import (
	"time"

	"cloudburst/anna/kernel"
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
