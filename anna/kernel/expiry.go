package kernel

import (
	"container/heap"

	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// expiries knows when the content of items expires.
type expiries struct {
	keys    *keys
	tenures *tenures
	soonest expiryHeap

	reserved func(key string) bool
	expiring int // keys that are not reserved
}

// expireDelayMillis is how long a master that does not lead lets a key be past its time before it makes a tombstone itself.
const expireDelayMillis = 10_000

// schedule takes note of when an item's content expires, if it does.
func (e *expiries) schedule(it *item) {
	at := it.state.ExpiresAt()
	if at != 0 && e.tenures.of(it.slot) == slots.Serving {
		at += expireDelayMillis
	}
	switch {
	case at == 0:
		e.remove(it)
	case it.busy == nil || it.busy.place == 0:
		e.keys.busy(it).at = at
		heap.Push(&e.soonest, it)
		e.count(it, 1)
	case it.busy.at != at:
		it.busy.at = at
		heap.Fix(&e.soonest, it.busy.place-1)
	}
}

func (e *expiries) remove(it *item) {
	if it.busy != nil && it.busy.place != 0 {
		heap.Remove(&e.soonest, it.busy.place-1)
		e.count(it, -1)
		e.keys.release(it)
	}
}

func (e *expiries) count(it *item, by int) {
	if !e.reserved(it.key) {
		e.expiring += by
	}
}

// next returns the item that expires first, and when it does, in Unix milliseconds; nil = there is none.
func (e *expiries) next() (*item, int64) {
	if len(e.soonest) == 0 {
		return nil, 0
	}
	return e.soonest[0], e.soonest[0].busy.at
}

// expiryHeap holds the items whose content expires, soonest first.
type expiryHeap []*item

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].busy.at < h[j].busy.at }

func (h expiryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].busy.place, h[j].busy.place = i+1, j+1
}

// Push implements heap.Interface.
func (h *expiryHeap) Push(x any) {
	it := x.(*item)
	*h = append(*h, it)
	it.busy.place = len(*h)
}

// Pop implements heap.Interface.
func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	it := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	it.busy.place, it.busy.at = 0, 0
	return it
}

// expiredPerTick bounds the keys that one tick removes, so that a million that expire together do not hold up a kernel.
const expiredPerTick = 1024

func (k *Kernel) expireDue(at Moment, out *Effects) {
	for range expiredPerTick {
		it, due := k.expiries.next()
		if it == nil || due > at.Wall/1000 {
			return
		}
		k.expire(at, it, out)
	}
}

// expire makes a tombstone of what has expired. It covers just what is known here: if another master has put off the expiry or
// written something, that stays.
func (k *Kernel) expire(at Moment, it *item, out *Effects) {
	k.expiries.remove(it)
	if it.flags.has(cold) {
		k.loads.ask(it, out) // and then it will be due again
		return
	}
	delta := lattice.Delete(it.state.Latest())
	logged := it.inLog()
	if !it.state.Merge(delta) {
		return
	}
	k.expired++
	k.merged(at, it, delta, !logged, out)
	if !logged {
		k.dropVolatile(it)
		return
	}
	k.changes.enqueue(k.partitions.of(it.slot), it, false)
	k.changes.pumpKey(at, it, out)
}

// tombstones are kept for a grace, and collected then.
type tombstones struct {
	grace   int64
	waiting queue[tombstoneDue]
}

type tombstoneDue struct {
	it *item
	at int64
}

// add lets a tombstone be collected after the grace.
func (t *tombstones) add(at Moment, it *item) {
	if it.flags.has(collecting) {
		return
	}
	it.flags |= collecting
	t.waiting.push(tombstoneDue{it, at.Elapsed + t.grace})
}

// due takes a tombstone out of the queue whose grace is over.
func (t *tombstones) due(at Moment) (*item, bool) {
	next, ok := t.waiting.peek()
	if !ok || next.at > at.Elapsed {
		return nil, false
	}
	t.waiting.pop()
	next.it.flags &^= collecting
	return next.it, true
}

// collectDue forgets tombstones. The log holds what they delete for some time after that, always before them: so one that is not
// the key's last record is written again first.
func (k *Kernel) collectDue(at Moment, out *Effects) {
	for range expiredPerTick {
		it, ok := k.tombstones.due(at)
		switch {
		case !ok:
			return
		case !tombstone(&it.state) || it.dirty() || it.flags.has(cold|loading) || k.keys.items[it.key] != it:
		case it.base != it.sequence:
			k.rewrite(it, out)
			k.changes.pumpKey(at, it, out)
		case it.watched():
			k.tombstones.add(at, it)
		default:
			k.collected++
			k.keys.release(it)
			k.forget(it)
		}
	}
}
