package cache

import (
	"context"
	"fmt"
	"sync"
	"time"

	"cloudburst/anna"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Bounds of the changes that wait for one watch to be reported.
const (
	feedChangesMax = 1024
	feedBytesMax   = 8 << 20
)

// feed is what a watch has not reported yet. Changes are added under the lock of their key's shard, in the order in which they
// happened to it.
type feed struct {
	mu      sync.Mutex
	changes []change
	bytes   int
	last    uint64 // number of the last change, also of those that were left out
	lagged  bool   // changes were left out
}

type change struct {
	item   *item
	number uint64
	entry  Entry
	stale  bool // the entry is to be read when it is reported
}

// add takes a change of an item in, whose shard is locked.
func (f *feed) add(it *item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	if f.lagged {
		return
	}
	c := change{item: it, number: f.last, entry: it.entry, stale: it.flags&stale != 0}
	for _, value := range c.entry.Values {
		f.bytes += len(value)
	}
	f.changes = append(f.changes, c)
	if len(f.changes) > feedChangesMax || f.bytes > feedBytesMax && len(f.changes) > 1 {
		f.changes, f.bytes, f.lagged = nil, 0, true
	}
}

func (f *feed) take() (changes []change, lagged bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changes, lagged = f.changes, f.lagged
	f.changes, f.bytes, f.lagged = nil, 0, false
	return changes, lagged
}

func (f *feed) number() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// Watch reports what distinct keys hold: first of all of them, and then of each that has changed, in the order of the changes
// and never going back. If report is slower than the changes come, some are left out, and then all keys are reported as they
// are: whole says so. With states the entries are as of States. It is the pushes of the store that are reported; nothing is
// polled. Watch returns when ctx ends, or report returns an error, and calls report on its caller's goroutine only.
func (c *Cache) Watch(ctx context.Context, keys []string, states bool, report func(keys []string, entries []Entry, whole bool) error) error {
	if len(keys) == 0 {
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "watch: no key given")
	}
	for _, key := range keys {
		if err := anna.CheckKey(key); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
	if err := c.admit("watch", keys[0]); err != nil {
		return err
	}
	defer c.waiting.Add(-1)
	w := &watch{
		cache: c, keys: keys, states: states,
		waiter: &waiter{changed: make(chan struct{}, 1), feed: new(feed)},
		items:  make([]*item, len(keys)), shown: make(map[*item]uint64, len(keys)),
	}
	for i, key := range keys {
		w.items[i] = c.ask(key, w.waiter)
	}
	defer func() {
		for _, it := range w.items {
			c.forsake(it, w.waiter)
		}
	}()
	if err := w.know(ctx); err != nil {
		return err
	}
	for whole := true; ; {
		changes, lagged := w.waiter.feed.take()
		if whole = whole || lagged; whole {
			if err := report(keys, w.all(), true); err != nil {
				return err
			}
			whole = false
		}
		if names, entries := w.changed(changes); len(names) > 0 {
			if err := report(names, entries, false); err != nil {
				return err
			}
		}
		select {
		case <-w.waiter.changed:
		case <-ctx.Done():
			return fmt.Errorf("watch %.64q: %w", keys[0], ctx.Err())
		}
	}
}

// watch is one call of Watch.
type watch struct {
	cache  *Cache
	keys   []string
	items  []*item
	waiter *waiter
	states bool
	shown  map[*item]uint64 // changes up to this number have been reported
}

// know waits until all keys are known.
func (w *watch) know(ctx context.Context) error {
	limit := time.NewTimer(fetchTimeout)
	defer limit.Stop()
	entries, all := make([]Entry, len(w.keys)), make([]int, len(w.keys))
	for i := range all {
		all[i] = i
	}
	nothing := func(*item) Entry { return Entry{} }
	for {
		unknown, _, err := w.cache.collect(w.keys, w.items, entries, all, nothing)
		if err != nil || unknown == 0 {
			return err
		}
		select {
		case <-w.waiter.changed:
		case <-limit.C:
			return wire.Errorf(pb.Code_CODE_UNAVAILABLE, "watch %.64q: the store did not answer within %v; try again", w.keys[0], fetchTimeout)
		case <-ctx.Done():
			return fmt.Errorf("watch %.64q: %w", w.keys[0], ctx.Err())
		}
	}
}

func (w *watch) all() []Entry {
	entries := make([]Entry, len(w.items))
	for i, it := range w.items {
		entries[i] = w.now(it)
	}
	return entries
}

// now returns what an item holds, with which all of its changes so far are reported.
func (w *watch) now(it *item) Entry {
	s := w.cache.shardOf(it.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	it.touch()
	w.shown[it] = w.waiter.feed.number()
	if w.states {
		return it.whole()
	}
	return it.read()
}

// changed returns what is to be reported of changes.
func (w *watch) changed(changes []change) (keys []string, entries []Entry) {
	for i := range changes {
		ch := &changes[i]
		if ch.number <= w.shown[ch.item] {
			continue
		}
		entry := ch.entry
		if ch.stale || w.states {
			entry = w.now(ch.item)
		}
		keys, entries = append(keys, ch.item.key), append(entries, entry)
	}
	return keys, entries
}
