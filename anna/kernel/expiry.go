package kernel

import (
	"container/heap"

	"cloudburst/anna/slots"
	"cloudburst/lattice"
	"cloudburst/wire"
)

// expiries is a heap of the items whose content expires, soonest first.
type expiries []*item

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].busy.at < e[j].busy.at }

func (e expiries) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].busy.place, e[j].busy.place = i+1, j+1
}

// Push implements heap.Interface.
func (e *expiries) Push(x any) {
	it := x.(*item)
	*e = append(*e, it)
	it.busy.place = len(*e)
}

// Pop implements heap.Interface.
func (e *expiries) Pop() any {
	last := len(*e) - 1
	it := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	it.busy.place, it.busy.at = 0, 0
	return it
}

// secondMillis is how long a master that does not lead lets a key be past its time before it makes a tombstone itself.
const secondMillis = 10_000

// schedule keeps the heap true to when an item's content expires.
func (k *Kernel) schedule(it *item) {
	at := it.state.ExpiresAt()
	if at != 0 && k.Tenure(it.slot) == slots.Serving {
		at += secondMillis
	}
	switch {
	case at == 0:
		k.unexpire(it)
	case it.busy == nil || it.busy.place == 0:
		k.more(it).at = at
		heap.Push(&k.expiries, it)
		k.countExpiring(it, 1)
	case it.busy.at != at:
		it.busy.at = at
		heap.Fix(&k.expiries, it.busy.place-1)
	}
}

// countExpiring counts a key that expires in, or out; not those that are Cloudburst's own.
func (k *Kernel) countExpiring(it *item, by int) {
	if !wire.Reserved(it.key) {
		k.stats.Expiring += by
	}
}

func (k *Kernel) unexpire(it *item) {
	if it.busy != nil && it.busy.place != 0 {
		heap.Remove(&k.expiries, it.busy.place-1)
		k.countExpiring(it, -1)
		k.settleDown(it)
	}
}

// expiredPerTick bounds the keys that one tick removes, so that a kernel is not held up by a million that expire together.
const expiredPerTick = 1024

func (k *Kernel) expireDue(now int64, out *Effects) {
	for range expiredPerTick {
		if len(k.expiries) == 0 || k.expiries[0].busy.at > now/1000 {
			return
		}
		k.expire(now, k.expiries[0], out)
	}
}

// expire makes a tombstone of what has expired. It covers just what is known here: if another master has put off the expiry or
// written anew, what it has written stays.
func (k *Kernel) expire(now int64, it *item, out *Effects) {
	k.unexpire(it)
	if it.flags.has(cold) {
		k.load(it, out) // and then it will be due again
		return
	}
	delta := lattice.Delete(it.state.Latest())
	logged := it.inLog()
	if !it.state.Merge(delta) {
		return
	}
	k.stats.Expired++
	k.merged(now, it, delta, !logged, out)
	if !logged {
		k.vanish(it)
		return
	}
	p := k.partition(it.slot)
	k.enqueue(p, it, false)
	k.pump(now, p, out)
}

// fade is when a tombstone is collected.
type fade struct {
	it *item
	at int64
}

// fade lets a tombstone be collected after the grace.
func (k *Kernel) fade(now int64, it *item) {
	if it.flags.has(fading) {
		return
	}
	it.flags |= fading
	k.stats.Tombstones++
	k.fading.push(fade{it, k.elapsed + k.cfg.TombstoneGrace})
}

// collectDue forgets tombstones. What they delete is in the log for some time after that, always before them: so one that is not
// the key's last record is first written again.
func (k *Kernel) collectDue(now int64, out *Effects) {
	for range expiredPerTick {
		f, ok := k.fading.peek()
		if !ok || f.at > k.elapsed {
			return
		}
		k.fading.pop()
		it := f.it
		it.flags &^= fading
		k.stats.Tombstones--
		if !tombstone(&it.state) || it.dirty() || it.flags.has(cold|loading) || k.items[it.key] != it {
			continue
		}
		if it.base != it.sequence {
			k.rewrite(it, out)
			k.pump(now, k.partition(it.slot), out)
			continue
		}
		if it.watched() {
			k.fade(now, it)
			continue
		}
		k.stats.Collected++
		k.settleDown(it)
		k.forget(it)
	}
}
