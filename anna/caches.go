package anna

import (
	"math"
	"slices"

	"cloudburst/anna/kernel"
)

// cachesMax bounds the caches that a server knows, those of other nodes too.
const cachesMax = math.MaxUint16

// Join makes receive get the changes of the keys that are watched under the number that is returned. It is called by the
// goroutine that made the change, must not block, and must not keep the slice. It returns 0 when there are too many.
func (s *Server) Join(receive func([]kernel.Push)) uint16 {
	s.joining.Lock()
	defer s.joining.Unlock()
	joined := slices.Clone(*s.caches.Load())
	at := slices.IndexFunc(joined, func(taken func([]kernel.Push)) bool { return taken == nil })
	if at < 0 {
		if at = len(joined); at == cachesMax {
			return 0
		}
		joined = append(joined, nil)
	}
	joined[at] = receive
	s.caches.Store(&joined)
	return uint16(at + 1)
}

// disjoin gives numbers free that Join has returned, and that no kernel knows any more.
func (s *Server) disjoin(numbers []uint16) {
	s.joining.Lock()
	defer s.joining.Unlock()
	joined := slices.Clone(*s.caches.Load())
	for _, number := range numbers {
		joined[number-1] = nil
	}
	s.caches.Store(&joined)
}

// Watch makes a cache get every change of a key. The first push, which says what the key holds now, has been received when
// Watch returns if the key is in memory.
func (s *Server) Watch(cache uint16, key string) error {
	if err := s.check(); err != nil {
		return err
	}
	slot, shard := s.shardOf(key)
	shard.count(key, slot)
	if s.serves[slot].Load() {
		s.step(shard, &kernel.Watch{Key: key, Slot: slot, Cache: cache})
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
	_, shard := s.shardOf(key)
	s.step(shard, &kernel.Unwatch{Key: key, Cache: cache})
}

// push hands pushes over, those for one cache together.
func (s *Server) push(pushes []kernel.Push) {
	if len(pushes) == 0 {
		return
	}
	caches := *s.caches.Load()
	for begin := 0; begin < len(pushes); {
		end := begin + 1
		for end < len(pushes) && pushes[end].Cache == pushes[begin].Cache {
			end++
		}
		if at := int(pushes[begin].Cache) - 1; at >= 0 && at < len(caches) && caches[at] != nil {
			caches[at](pushes[begin:end])
		}
		begin = end
	}
}
