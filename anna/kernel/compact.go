package kernel

import "cloudburst/anna/slots"

// The log of a partition only grows at its end, and only shrinks at its beginning. A record that holds a key's whole state makes
// those superfluous that are merged in it (item.base). So before the beginning of the log is cut off, what is still needed of it is
// written again, at the end: as in a log-structured file system, what that costs depends on how much of the beginning is still
// needed, and the place to cut at is chosen such that it is little.
//
// A record says which records are merged in it. Of several masters, each publishes what it has merged, and a record of another master
// that it has not merged may lie before its own.
//
//	cut off │ superfluous, or written again │ kept
//	        first                       target                 end
const (
	// sweepPause is between two looks at some keys, in microseconds; sweepKeys bounds how many keys one looks at, and sweepRewrites how
	// many of them are written again.
	sweepPause    = 5000
	sweepKeys     = 4096
	sweepRewrites = 128
	// sweepLoads bounds those that are not in memory, and sweepBacklog what may wait to be published before the pass goes on.
	sweepLoads   = 8
	sweepBacklog = 4096
)

// compaction is a pass over all keys. In it the kernel finds out from where on the log is needed, and publishes again what must not be
// lost with the beginning of the log.
type compaction struct {
	active bool
	hand   int   // keys from here on have been looked at
	next   int64 // when the pass goes on, in elapsed time
}

// Floor returns a sequence before which no record of a partition is needed by any key that the kernel holds; 0 when that is not
// known. Once true of a slot it remains so, whichever nodes are its masters. Several goroutines may call it at once.
func (k *Kernel) Floor(partition int) uint64 { return k.partitions.number[partition].floor }

// Items returns how many keys the kernel knows of in a partition, deleted keys among them. Several goroutines may call it at once.
func (k *Kernel) Items(partition int) int { return k.partitions.number[partition].items }

// Needed returns about how many bytes of a partition's log are needed by the keys that the kernel holds. Several goroutines may call
// it at once.
func (k *Kernel) Needed(partition int) int { return k.partitions.number[partition].needed }

func (k *Kernel) compact(at Moment, m *Compact) {
	p := k.partitions.number[m.Partition]
	p.target = max(p.target, min(m.Target, p.applied+1))
	if k.compaction.active || p.floor >= p.target {
		return
	}
	k.compaction = compaction{active: true, hand: len(k.keys.ring), next: at.Elapsed}
	for _, p := range k.partitions.own {
		// What is published from now on lies after this.
		p.lowest = p.applied + 1
	}
}

// sweep goes on with the pass over all keys.
func (k *Kernel) sweep(at Moment, out *Effects) {
	c := &k.compaction
	if !c.active || c.next > at.Elapsed {
		return
	}
	c.next = at.Elapsed + sweepPause
	c.hand = min(c.hand, len(k.keys.ring))
	rewrites, loads := 0, 0
	for range sweepKeys {
		if c.hand == 0 {
			c.active = false
			for _, p := range k.partitions.own {
				p.floor = max(p.floor, p.lowest)
			}
			break
		}
		if rewrites >= sweepRewrites || loads >= sweepLoads {
			break
		}
		// From the end, since a key that is forgotten leaves its place to the last.
		c.hand--
		it := k.keys.ring[c.hand]
		p := k.partitions.of(it.slot)
		if b := it.busy; b != nil && b.flight != nil {
			p.lowest = min(p.lowest, b.flight.publication.since+1)
		}
		if it.base == 0 {
			continue
		}
		p.lowest = min(p.lowest, it.base)
		if it.base < p.target && k.tenures.of(it.slot) == slots.Leading { // other masters wait for the one that leads
			if p.lazy.count >= sweepBacklog {
				c.hand++
				break
			}
			if it.flags.has(cold) {
				loads++
			}
			k.rewrite(it, out)
			rewrites++
		}
	}
	k.changes.pumpAll(at, out)
}

// rewrite has the whole state of a key published again, so that no earlier record of it is needed.
func (k *Kernel) rewrite(it *item, out *Effects) {
	if it.flags.has(cold) {
		it.flags |= rewrite
		k.loads.ask(it, out)
		return
	}
	k.changes.rewrite(it)
}
