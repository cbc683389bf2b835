package lattice

import (
	"slices"
	"unsafe"
)

// rankNodeMax is the most items or children of one node. 64 items of 16 bytes are a kilobyte: few cache misses to search,
// little to move on an insertion.
const rankNodeMax = 64

// ranking is the order of the members of an ordered set: a B+ tree that counts what is below each node, so that a member's
// rank, the members of a range of ranks, and the ranks of a range of scores take logarithmic time. A sorted slice moves half
// of itself on every insertion (docs/internals/lattices.md has the figures); a skip list is a chain of pointers, and needs randomness.
type ranking struct {
	root *rankNode
}

// ranked is a member by its position in the set's table. Without pointers, so that the garbage collector skips it.
type ranked struct {
	score    float64
	position uint32
}

// rankNode is a leaf with items, or has children; the nth child holds nothing below firsts[n] unless n = 0. A first need
// not be there any more: it only says where to go.
type rankNode struct {
	items    []ranked
	firsts   []ranked
	children []*rankNode
	count    int
}

// place is one in the order. Most are found by their score alone, so only what is equal in that is compared by tie, which says
// whether the place is before (less than 0), at (0) or behind an item with the same score.
type place struct {
	score float64
	tie   func(position uint32) int
}

// compare returns whether the place is before, at or behind an item.
func (p *place) compare(item *ranked) int {
	switch {
	case p.score < item.score:
		return -1
	case p.score > item.score:
		return 1
	}
	return p.tie(item.position)
}

// search returns where in items, which are in their order, a place is.
func (p *place) search(items []ranked) (at int, found bool) {
	from, to := 0, len(items)
	for from < to {
		at := (from + to) / 2
		switch c := p.compare(&items[at]); {
		case c > 0:
			from = at + 1
		case c < 0:
			to = at
		default:
			return at, true
		}
	}
	return from, false
}

func (r *ranking) len() int {
	if r.root == nil {
		return 0
	}
	return r.root.count
}

// load replaces everything by items that are in their order.
func (r *ranking) load(items []ranked) {
	r.root = nil
	if len(items) == 0 {
		return
	}
	const fill = rankNodeMax * 3 / 4
	level := make([]*rankNode, 0, len(items)/fill+1)
	for part := range slices.Chunk(items, fill) {
		level = append(level, &rankNode{items: slices.Clone(part), count: len(part)})
	}
	for len(level) > 1 {
		above := make([]*rankNode, 0, len(level)/fill+1)
		for part := range slices.Chunk(level, fill) {
			n := &rankNode{children: slices.Clone(part)}
			for _, child := range part {
				n.firsts = append(n.firsts, child.first())
				n.count += child.count
			}
			above = append(above, n)
		}
		level = above
	}
	r.root = level[0]
}

// insert adds an item that is not there.
func (r *ranking) insert(item ranked, p *place) {
	if r.root == nil {
		r.root = new(rankNode)
	}
	if right := r.root.insert(item, p); right != nil {
		left := r.root
		r.root = &rankNode{
			firsts:   []ranked{left.first(), right.first()},
			children: []*rankNode{left, right},
			count:    left.count + right.count,
		}
	}
}

// remove takes an item away that is there.
func (r *ranking) remove(p *place) {
	r.root.remove(p)
	switch {
	case r.root.count == 0:
		r.root = nil
	case len(r.root.children) == 1:
		r.root = r.root.children[0]
	}
}

// rank returns how many items are before a place.
func (r *ranking) rank(p *place) int {
	before := 0
	for n := r.root; n != nil; {
		if n.children == nil {
			at, _ := p.search(n.items)
			return before + at
		}
		at := n.child(p)
		for _, left := range n.children[:at] {
			before += left.count
		}
		n = n.children[at]
	}
	return before
}

// walk calls yield with the items from a rank on, until it returns false.
func (r *ranking) walk(from int, yield func(ranked) bool) {
	if r.root != nil {
		r.root.walk(from, yield)
	}
}

// bytes estimates the memory held.
func (r *ranking) bytes() int {
	// A leaf is a node and its items, between half full and full; the nodes above add a part in a hundred.
	var node rankNode
	var item ranked
	n := r.len()
	leaf := allocated(int(unsafe.Sizeof(node))) + rankNodeMax*int(unsafe.Sizeof(item))
	return min(n*leaf/(rankNodeMax*2/3), leaf*(n/16+1))
}

func (n *rankNode) first() ranked {
	for n.children != nil {
		n = n.children[0]
	}
	return n.items[0]
}

// child returns which child a place is in.
func (n *rankNode) child(p *place) int {
	at, found := p.search(n.firsts[1:])
	if found {
		return at + 1
	}
	return at
}

// insert returns the right half of the node if it had to be split.
func (n *rankNode) insert(item ranked, p *place) (right *rankNode) {
	n.count++
	if n.children == nil {
		at, _ := p.search(n.items)
		if len(n.items) < rankNodeMax {
			n.items = slices.Insert(n.items, at, item)
			return nil
		}
		// Members that arrive in their order leave full nodes behind them.
		half := rankNodeMax / 2
		if at == rankNodeMax {
			half = at
		}
		right = &rankNode{items: append(make([]ranked, 0, rankNodeMax), n.items[half:]...)}
		n.items = n.items[:half]
		if at > half || half == rankNodeMax {
			right.items = slices.Insert(right.items, at-half, item)
		} else {
			n.items = slices.Insert(n.items, at, item)
		}
		n.count, right.count = len(n.items), len(right.items)
		return right
	}
	at := n.child(p)
	added := n.children[at].insert(item, p)
	if added == nil {
		return nil
	}
	n.firsts = slices.Insert(n.firsts, at+1, added.first())
	n.children = slices.Insert(n.children, at+1, added)
	if len(n.children) <= rankNodeMax {
		return nil
	}
	half := len(n.children) / 2
	right = &rankNode{firsts: slices.Clone(n.firsts[half:]), children: slices.Clone(n.children[half:])}
	clear(n.children[half:])
	n.firsts, n.children = n.firsts[:half], n.children[:half]
	for _, child := range right.children {
		right.count += child.count
	}
	n.count -= right.count
	return right
}

func (n *rankNode) remove(p *place) {
	n.count--
	if n.children == nil {
		at, _ := p.search(n.items)
		n.items = slices.Delete(n.items, at, at+1)
		return
	}
	at := n.child(p)
	n.children[at].remove(p)
	if n.children[at].size() < rankNodeMax/4 && len(n.children) > 1 {
		n.join(max(at-1, 0))
	}
}

func (n *rankNode) size() int { return len(n.items) + len(n.children) }

// join makes one of two neighbours if that is not too large; so an empty one always goes.
func (n *rankNode) join(at int) {
	left, right := n.children[at], n.children[at+1]
	if left.size()+right.size() > rankNodeMax {
		return
	}
	left.items = append(left.items, right.items...)
	if right.children != nil {
		left.firsts = append(left.firsts, n.firsts[at+1])
		left.firsts = append(left.firsts, right.firsts[1:]...)
		left.children = append(left.children, right.children...)
	}
	left.count += right.count
	n.firsts = slices.Delete(n.firsts, at+1, at+2)
	n.children = slices.Delete(n.children, at+1, at+2)
}

func (n *rankNode) walk(from int, yield func(ranked) bool) bool {
	if n.children == nil {
		for _, item := range n.items[min(from, len(n.items)):] {
			if !yield(item) {
				return false
			}
		}
		return true
	}
	for _, child := range n.children {
		if from >= child.count {
			from -= child.count
			continue
		}
		if !child.walk(from, yield) {
			return false
		}
		from = 0
	}
	return true
}
