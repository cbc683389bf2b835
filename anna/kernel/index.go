package kernel

import (
	"cmp"
	"slices"
	"strings"

	"github.com/google/btree"
)

const (
	indexDegree = 64
	// settlePerTick bounds the new keys that one tick takes into the index, and freshMax those that wait for it.
	settlePerTick = 4096
	freshMax      = 16384
)

// index knows the order of the keys that can be listed. New keys enter it only when a scan needs them or when many wait: most keys are
// never scanned for, and a sorted batch of a thousand costs half of a thousand single insertions.
type index struct {
	tree  *btree.BTreeG[*item]
	fresh []*item
}

func newIndex() index {
	return index{tree: btree.NewG(indexDegree, func(a, b *item) bool { return a.key < b.key })}
}

// unsettled reports whether so many new keys wait that a scan would take too long.
func (x *index) unsettled() bool { return len(x.fresh) > freshMax }

// add takes a key in. The caller keeps the flag indexed.
func (x *index) add(it *item) { x.fresh = append(x.fresh, it) }

// settle takes up to limit new keys in for good.
func (x *index) settle(limit int) {
	if len(x.fresh) == 0 {
		return
	}
	rest := max(0, len(x.fresh)-limit)
	batch := x.fresh[rest:]
	slices.SortFunc(batch, func(a, b *item) int { return cmp.Compare(a.key, b.key) })
	for _, it := range batch {
		if it.flags.has(listed) {
			x.tree.ReplaceOrInsert(it)
		} else {
			it.flags &^= indexed
		}
	}
	clear(batch)
	if x.fresh = x.fresh[:rest]; rest == 0 {
		x.fresh = nil
	}
}

// remove takes a key out of the index. It reports false for a key that is still fresh; settle leaves that one out.
func (x *index) remove(it *item) bool {
	_, ok := x.tree.Delete(it)
	return ok
}

// Scan returns up to limit keys in order that have a prefix, come after a key and are of some slots (nil = all), and whether there are
// more. It may be called by one goroutine at a time, and not during a Step.
func (k *Kernel) Scan(now int64, prefix, after string, limit int, in func(slot uint16) bool) (keys []string, more bool) {
	k.keys.index.settle(len(k.keys.index.fresh))
	from := &item{key: prefix}
	if after >= prefix {
		from.key = after + "\x00"
	}
	k.keys.index.tree.AscendGreaterOrEqual(from, func(it *item) bool {
		if !strings.HasPrefix(it.key, prefix) {
			return false
		}
		if !it.flags.has(cold) && it.state.Live(now/1000) == nil {
			return true // expired
		}
		if in != nil && !in(it.slot) {
			return true
		}
		if len(keys) == limit {
			more = true
			return false
		}
		keys = append(keys, it.key)
		return true
	})
	return keys, more
}
