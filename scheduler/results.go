package scheduler

import (
	"context"
	"sync"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// resultOverheadBytes is about what a stored result costs in addition to its value.
	resultOverheadBytes = 1 << 10
	// forgetBatch is how many results are deleted at once, and forgetTimeout how long that may take.
	forgetBatch   = 256
	forgetTimeout = 5 * time.Second
	ringInitial   = 64
)

// results knows which results lie in the store under keys made of their runs' ids, the oldest first, so that the oldest make room when they
// are too many or too large together. Safe for concurrent use.
type results struct {
	max, bytesMax int
	ttl           time.Duration
	wake          chan struct{}

	mu    sync.Mutex
	ring  []storedResult
	head  int
	count int
	bytes int
}

// storedResult has no pointers, since there are many of it.
type storedResult struct {
	id      wire.RunID
	bytes   int
	expires int64 // Unix milliseconds
}

func newResults(cfg Config) *results {
	return &results{max: cfg.ResultsMax, bytesMax: cfg.ResultsBytesMax, ttl: cfg.ResultTTL, wake: make(chan struct{}, 1)}
}

// add takes note of a result that is stored.
func (r *results) add(id wire.RunID, bytes int) {
	now := time.Now()
	r.mu.Lock()
	r.drop(now.UnixMilli())
	if r.count == len(r.ring) {
		grown := make([]storedResult, max(ringInitial, 2*len(r.ring)))
		n := copy(grown, r.ring[r.head:])
		copy(grown[n:], r.ring[:r.head])
		r.ring, r.head = grown, 0
	}
	one := storedResult{id: id, bytes: bytes + resultOverheadBytes, expires: now.Add(r.ttl).UnixMilli()}
	r.ring[(r.head+r.count)%len(r.ring)] = one
	r.count++
	r.bytes += one.bytes
	over := r.over()
	r.mu.Unlock()
	if over {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

func (r *results) over() bool { return r.count > r.max || r.bytes > r.bytesMax }

// pop takes the oldest out. r.mu is held.
func (r *results) pop() storedResult {
	one := r.ring[r.head]
	r.head = (r.head + 1) % len(r.ring)
	r.count--
	r.bytes -= one.bytes
	return one
}

// drop takes those out that the store has forgotten by itself. r.mu is held.
func (r *results) drop(now int64) {
	for r.count > 0 && r.ring[r.head].expires <= now {
		r.pop()
	}
	if r.count == 0 {
		r.ring, r.head = nil, 0
	}
}

// excess takes out what has to make room, a batch at most, and returns the keys.
func (r *results) excess() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys []string
	for r.over() && len(keys) < forgetBatch {
		keys = append(keys, r.pop().id.ResultKey())
	}
	return keys
}

// held returns how many results are stored, and how many bytes they take, as accounted.
func (r *results) held() (count, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(time.Now().UnixMilli())
	return r.count, r.bytes
}

// forget deletes results when there are too many.
func (s *Scheduler) forget(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.results.wake:
		}
		for keys := s.results.excess(); len(keys) > 0; keys = s.results.excess() {
			bounded, cancel := context.WithTimeout(ctx, forgetTimeout)
			err := s.store.Delete(bounded, keys, pb.Ack_ACK_MEMORY)
			cancel()
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				s.cfg.Logger.Warn("stored results could not be deleted to make room", "results", len(keys), "error", err)
			}
			s.stats.forgotten.Add(uint64(len(keys)))
		}
	}
}
