package anna

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"

	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// stamps is the clock of this node beside those of its kernels. It stamps what is written through this node to masters on others,
// and knows how far the clocks of these have got as far as this node has heard of it, in their answers above all: so whatever is
// written through this node is stamped later than what has been before, whichever master stamps it. Safe for concurrent use.
type stamps struct {
	wall    func() int64  // Unix microseconds
	reached atomic.Uint64 // what the clock has; for every write to a kernel of this node, which must not wait for others
	mu      sync.Mutex
	clock   *lattice.Clock
}

func (s *stamps) now() lattice.Timestamp {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamp := s.clock.Now(s.wall())
	s.reached.Store(stamp.Time)
	return stamp
}

// observe takes note of how far a clock of another node has got. It fails, and does nothing, when that is too far ahead.
func (s *stamps) observe(time uint64) error {
	if time <= s.reached.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.clock.Observe(lattice.Timestamp{Time: time}, s.wall())
	s.reached.Store(s.clock.Reached(0))
	return err
}

// follow takes note of how far a clock of this node has got, and returns how far this one has.
func (s *stamps) follow(time uint64) uint64 {
	if reached := s.reached.Load(); time <= reached {
		return reached
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock.Follow(time)
	s.reached.Store(s.clock.Reached(0))
	return s.clock.Reached(0)
}

// readable returns a Time for people.
func readable(reached uint64) string {
	return time.UnixMicro(lattice.Timestamp{Time: reached}.UnixMicro()).UTC().Format(time.RFC3339)
}

// observeWriter takes note of how far the clock of a node has got that asks for a change. One that is too far ahead has the change refused: by
// this node's clock it could be stamped earlier than what it is to replace, and be lost without a word.
func (s *Server) observeWriter(time uint64) error {
	if err := s.stamps.observe(time); err != nil {
		return wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the node that it was sent to has reached %s by its clock, more than a day after the time of "+
			"%s, which is a master of the key: set the clock that is wrong, and start its node again",
			readable(time), cmp.Or(s.cfg.Name, "node "+s.id))
	}
	return nil
}
