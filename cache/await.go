package cache

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// waiter is a call that waits for keys.
type waiter struct {
	changed chan struct{} // holds one token
	feed    *feed         // of a watch
}

func (w *waiter) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// admit counts one more call that waits, whose end takes it off again, unless there are too many.
func (c *Cache) admit(verb, key string) error {
	if n := c.waiting.Add(1); n > int64(c.cfg.WaitersMax) {
		c.waiting.Add(-1)
		return wire.Errorf(pb.Code_CODE_NO_RESOURCES, "%s %.64q: %d calls wait for keys already, the limit (cache.waiters_max); try again later", verb, key, c.cfg.WaitersMax)
	}
	return nil
}

// await fills in the entries that are missing. It is woken by what the store pushes; nothing is polled.
func (c *Cache) await(ctx context.Context, keys []string, entries []Entry, missing []int, wait time.Duration, read func(*item) Entry) error {
	if err := c.admit("get", keys[missing[0]]); err != nil {
		return err
	}
	defer c.waiting.Add(-1)
	w := &waiter{changed: make(chan struct{}, 1)}
	items := make([]*item, len(missing))
	for i, at := range missing {
		items[i] = c.ask(keys[at], w)
	}
	defer func() {
		for _, it := range items {
			c.forsake(it, w)
		}
	}()

	began := time.Now()
	timer := time.NewTimer(max(wait, 0))
	defer timer.Stop()
	limit := time.NewTimer(max(wait, 0) + fetchTimeout)
	defer limit.Stop()
	expired := wait <= 0
	for {
		unknown, absent, err := c.collect(keys, items, entries, missing, read)
		switch {
		case err != nil:
			return err
		case unknown == 0 && (absent == 0 || expired):
			return nil
		}
		select {
		case <-w.changed:
		case <-timer.C:
			expired = true
		case <-limit.C:
			return wire.Errorf(pb.Code_CODE_UNAVAILABLE, "get %.64q: the store did not answer within %v; try again", keys[missing[0]], time.Since(began).Round(time.Second))
		case <-ctx.Done():
			return fmt.Errorf("get %.64q: waited %v for the store: %w", keys[missing[0]], time.Since(began).Round(time.Millisecond), ctx.Err())
		}
	}
}

// ask makes w wait for a key, and asks the store for the key if no earlier waiter has.
func (c *Cache) ask(key string, w *waiter) *item {
	s := c.shardOf(key)
	s.mu.Lock()
	it := s.items[key]
	if it == nil {
		it = c.add(s, key)
	}
	it.waiters = append(it.waiters, w)
	first := it.flags&(known|asked) == 0
	if first {
		it.flags |= asked
		it.err = nil
	}
	s.mu.Unlock()
	if first {
		c.fetch(key)
	}
	return it
}

// fetch asks the store for a key, whose item says that it has been asked.
func (c *Cache) fetch(key string) {
	err := c.store.Watch(c.number, key)
	if err == nil {
		return
	}
	s := c.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[key]
	if it == nil {
		return
	}
	it.err = err
	it.flags &^= asked
	for _, other := range it.waiters {
		other.wake()
	}
	c.release(s, it)
}

// collect reads the entries that are known and counts the others.
func (c *Cache) collect(keys []string, items []*item, entries []Entry, missing []int, read func(*item) Entry) (unknown, absent int, err error) {
	for i, at := range missing {
		s := c.shardOf(keys[at])
		s.mu.Lock()
		it := items[i]
		switch {
		case it.flags&known != 0:
			it.touch()
			if entries[at] = read(it); entries[at].Absent() {
				absent++
			}
		case it.err != nil:
			err = fmt.Errorf("get %.64q: %w", keys[at], it.err)
		default:
			unknown++
		}
		s.mu.Unlock()
		if err != nil {
			return unknown, absent, err
		}
	}
	return unknown, absent, nil
}

// forsake ends the waiting for a key.
func (c *Cache) forsake(it *item, w *waiter) {
	s := c.shardOf(it.key)
	s.mu.Lock()
	if at := slices.Index(it.waiters, w); at >= 0 {
		it.waiters = slices.Delete(it.waiters, at, at+1)
	}
	c.release(s, it)
	s.mu.Unlock()
}
