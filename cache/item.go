package cache

import (
	"sync/atomic"
	"time"
	"unsafe"

	"cloudburst/anna/kernel"
	"cloudburst/codec"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// item is a key in a cache. Guarded by the lock of its shard.
type item struct {
	key     string
	state   lattice.State
	entry   Entry // what the state shows, unless stale
	expires int64 // when the entry does, in Unix milliseconds; 0 = never
	waiters []*waiter
	err     error // why the key cannot be known; for those who wait, who then forget the item
	bytes   int32 // as accounted, in units of accountUnit
	pins    int32 // the item stays while a writer is at it
	place   uint32
	flags   flags
	used    atomic.Uint32 // not zero = read since the last sweep
}

type flags uint8

const (
	// known: all that the key holds has been received, and every change will be.
	known flags = 1 << iota
	// asked: the store has been asked for it.
	asked
	// stale: the state has changed since entry was made.
	stale
)

const (
	accountUnit = 16
	// itemBytes is what a key takes in addition to its state: the item, its places in map and ring, and its entry.
	itemBytes = int(unsafe.Sizeof(item{})) + 48 + 24
)

func (it *item) touch() {
	if it.used.Load() == 0 {
		it.used.Store(1)
	}
}

// show makes the entry again. An entry that is made of many values is only made when it is read.
func (it *item) show(wanted bool) {
	live := it.state.Live(time.Now().UnixMilli())
	it.expires = it.state.ExpiresAt()
	it.flags &^= stale
	switch l := live.(type) {
	case nil:
		it.entry = Entry{}
	case *lattice.LWW:
		it.entry = Entry{Type: pb.LatticeType_LATTICE_TYPE_LWW, Timestamp: l.Timestamp, Values: [][]byte{l.Value}}
	case *lattice.Set:
		if !wanted {
			it.entry = Entry{}
			it.flags |= stale
			return
		}
		it.entry = Entry{Type: pb.LatticeType_LATTICE_TYPE_SET, Values: l.Members()}
	default:
		if !wanted {
			it.entry = Entry{}
			it.flags |= stale
			return
		}
		value := wire.AppendState([]byte{codecLattice}, &it.state)
		it.entry = Entry{Type: pb.LatticeType(l.Type()), Values: [][]byte{value}}
	}
}

// read returns what the key holds, making the entry if need be.
func (it *item) read() Entry {
	if it.flags&stale != 0 {
		it.show(true)
	}
	if it.expires != 0 && time.Now().UnixMilli() >= it.expires {
		return Entry{}
	}
	return it.entry
}

// whole returns all that is known of the key, as one value.
func (it *item) whole() Entry {
	if it.state.IsZero() {
		return Entry{}
	}
	e := Entry{Values: [][]byte{codec.EncodeLattice(&it.state)}}
	if live := it.state.Live(time.Now().UnixMilli()); live != nil {
		e.Type = pb.LatticeType(live.Type())
	}
	return e
}

// receive takes changes in that the store pushes.
func (c *Cache) receive(pushes []kernel.Push) {
	var again []string // what is asked for again
	for i := range pushes {
		p := &pushes[i]
		s := c.shardOf(p.Key)
		s.mu.Lock()
		if it := s.items[p.Key]; it != nil {
			c.merge(it, p)
			switch {
			case p.Lost && len(it.waiters) > 0:
				it.flags |= asked
				again = append(again, p.Key)
			case p.Lost || p.Err != nil:
				c.release(s, it)
			case !p.Whole && it.gone():
				c.drop(s, it)
			}
		}
		s.mu.Unlock()
		c.stats.pushes.Add(1)
	}
	for _, key := range again {
		c.fetch(key)
	}
	if c.bytes.Load() > int64(c.cfg.BytesMax) {
		c.evict(c.shardOf(pushes[0].Key))
	}
}

// gone reports whether an item can be dropped: its key was deleted or has expired, and neither a reader nor a writer is at it. To remember for
// long that every such key is absent would take as much memory as the keys did.
func (it *item) gone() bool {
	return it.flags&(known|stale) == known && it.entry.Absent() && it.pins == 0 && len(it.waiters) == 0
}

func (c *Cache) merge(it *item, p *kernel.Push) {
	changed := false
	switch {
	case p.Lost:
		// What is known may be out of date from now on.
		it.flags &^= known | asked
		return
	case p.Asked:
		it.flags |= asked
		changed = it.state.Merge(p.Delta)
	case p.Err != nil:
		it.err = p.Err
		it.flags &^= asked
	case p.Whole && it.state.IsZero():
		it.state = *p.Delta
		it.flags |= known
		changed = true
	default:
		changed = it.state.Merge(p.Delta)
		if p.Whole {
			it.flags |= known
		}
	}
	if it.flags&known != 0 {
		it.err = nil
		it.show(false)
	}
	c.resize(it)
	for _, w := range it.waiters {
		if changed && w.feed != nil {
			w.feed.add(it)
		}
		w.wake()
	}
}

func (c *Cache) resize(it *item) {
	units := int32(min((itemBytes+len(it.key)+it.state.Bytes())/accountUnit, 1<<31-1))
	c.bytes.Add(int64(units-it.bytes) * accountUnit)
	it.bytes = units
}

// add makes an item. The shard is locked.
func (c *Cache) add(s *shard, key string) *item {
	it := &item{key: key, place: uint32(len(s.ring))}
	s.items[key] = it
	s.ring = append(s.ring, it)
	c.resize(it)
	return it
}

// drop forgets an item. The shard is locked, which keeps a later watch of the key behind this unwatch.
func (c *Cache) drop(s *shard, it *item) {
	delete(s.items, it.key)
	last := s.ring[len(s.ring)-1]
	s.ring[it.place] = last
	last.place = it.place
	s.ring[len(s.ring)-1] = nil
	s.ring = s.ring[:len(s.ring)-1]
	c.bytes.Add(-int64(it.bytes) * accountUnit)
	if it.flags&(known|asked) != 0 {
		c.store.Unwatch(c.number, it.key)
	}
}

// pin makes sure that there is an item for a key, and that it stays.
func (c *Cache) pin(key string) *item {
	s := c.shardOf(key)
	s.mu.Lock()
	it := s.items[key]
	if it == nil {
		it = c.add(s, key)
	}
	it.pins++
	s.mu.Unlock()
	return it
}

// unpin is the inverse of pin. An item that the store has not answered for is dropped.
func (c *Cache) unpin(it *item) {
	s := c.shardOf(it.key)
	s.mu.Lock()
	it.pins--
	c.release(s, it)
	s.mu.Unlock()
}

// release drops an item that holds nothing and has no waiter. The shard is locked.
func (c *Cache) release(s *shard, it *item) {
	if it.pins == 0 && len(it.waiters) == 0 && it.flags&(known|asked) == 0 && s.items[it.key] == it {
		c.drop(s, it)
	}
}

// sweepMax bounds the items of one shard that are looked at before the next shard is.
const sweepMax = 256

// evict makes room. In every shard a hand goes round; items that were read since it came by the last time are spared once.
func (c *Cache) evict(s *shard) {
	first := 0
	for i := range c.shards {
		if s == &c.shards[i] {
			first = i
		}
	}
	for round := range 2 * len(c.shards) {
		s := &c.shards[(first+round)%len(c.shards)]
		s.mu.Lock()
		for range min(sweepMax, len(s.ring)) {
			if c.bytes.Load() <= int64(c.cfg.BytesMax) || len(s.ring) == 0 {
				break
			}
			if s.hand++; s.hand >= len(s.ring) {
				s.hand = 0
			}
			it := s.ring[s.hand]
			if it.used.Load() != 0 {
				it.used.Store(0)
				continue
			}
			if it.pins > 0 || len(it.waiters) > 0 || it.flags&known == 0 {
				continue
			}
			c.drop(s, it)
			c.stats.evictions.Add(1)
		}
		s.mu.Unlock()
		if c.bytes.Load() <= int64(c.cfg.BytesMax) {
			return
		}
	}
}
