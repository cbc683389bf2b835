package anna

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"cloudburst/anna/kernel"
)

// cachesMax bounds the caches that a server knows, those of other nodes too.
const cachesMax = math.MaxUint16

// caches are those of this node, and those of other nodes, which outboxes stand for. Safe for concurrent use.
type caches struct {
	mu        sync.Mutex
	receivers atomic.Pointer[[]func([]kernel.Push)] // by number, which begins at 1
}

func newCaches() *caches {
	c := new(caches)
	c.receivers.Store(new([]func([]kernel.Push)))
	return c
}

// join gives a cache a number; 0 = there are too many.
func (c *caches) join(receive func([]kernel.Push)) uint16 {
	c.mu.Lock()
	defer c.mu.Unlock()
	joined := slices.Clone(*c.receivers.Load())
	at := slices.IndexFunc(joined, func(taken func([]kernel.Push)) bool { return taken == nil })
	if at < 0 {
		if at = len(joined); at == cachesMax {
			return 0
		}
		joined = append(joined, nil)
	}
	joined[at] = receive
	c.receivers.Store(&joined)
	return uint16(at + 1)
}

// leave frees numbers that no kernel knows any more.
func (c *caches) leave(numbers []uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	joined := slices.Clone(*c.receivers.Load())
	for _, number := range numbers {
		joined[number-1] = nil
	}
	c.receivers.Store(&joined)
}

// push hands pushes over, those for one cache together.
func (c *caches) push(pushes []kernel.Push) {
	if len(pushes) == 0 {
		return
	}
	receivers := *c.receivers.Load()
	for begin := 0; begin < len(pushes); {
		end := begin + 1
		for end < len(pushes) && pushes[end].Cache == pushes[begin].Cache {
			end++
		}
		if at := int(pushes[begin].Cache) - 1; at >= 0 && at < len(receivers) && receivers[at] != nil {
			receivers[at](pushes[begin:end])
		}
		begin = end
	}
}

// Join makes receive get the changes of the keys that are watched under the number that is returned. It is called by the
// goroutine that made the change, must not block, and must not keep the slice. It returns 0 when there are too many.
func (s *Server) Join(receive func([]kernel.Push)) uint16 { return s.caches.join(receive) }

// Watch makes a cache get every change of a key. The first push, which says what the key holds now, has been received when
// Watch returns if the key is in memory.
func (s *Server) Watch(cache uint16, key string) error {
	if err := s.check(); err != nil {
		return err
	}
	slot, shard := s.kernels.shardOf(key)
	shard.count(key, slot)
	if s.serves[slot].Load() {
		s.kernels.step(shard, &kernel.Watch{Key: key, Slot: slot, Cache: cache})
	} else {
		s.remote.watch(cache, slot, key)
	}
	return nil
}

// Unwatch ends a Watch. A push may still be under way.
func (s *Server) Unwatch(cache uint16, key string) {
	if s.remote.unwatch(cache, key) {
		return
	}
	_, shard := s.kernels.shardOf(key)
	s.kernels.step(shard, &kernel.Unwatch{Key: key, Cache: cache})
}
