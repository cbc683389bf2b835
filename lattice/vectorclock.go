package lattice

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"unsafe"
)

// Order is how two versions relate.
type Order int

// The orders.
const (
	Before Order = iota - 1
	Equal
	After
	Concurrent
)

// String returns the order's name in lower case.
func (o Order) String() string {
	switch o {
	case Before:
		return "before"
	case Equal:
		return "equal"
	case After:
		return "after"
	}
	return "concurrent"
}

// VectorClock says of every writer how many of its writes a version has seen. Immutable: it can be copied and shared.
type VectorClock struct {
	entries []ClockEntry // in the order of the writers, no count zero
}

// ClockEntry is one writer's part of a vector clock. The writer without a name stands for those that Causal.Prune has summed
// up.
type ClockEntry struct {
	Writer string
	Count  uint64
}

// NewVectorClock returns the clock with the given entries; of several of one writer the largest holds.
func NewVectorClock(entries ...ClockEntry) VectorClock {
	sorted := slices.Clone(entries)
	// The larger of one writer's first, so that the others are left out as repetitions.
	slices.SortFunc(sorted, func(a, b ClockEntry) int {
		return cmp.Or(cmp.Compare(a.Writer, b.Writer), cmp.Compare(b.Count, a.Count))
	})
	sorted = slices.CompactFunc(sorted, func(a, b ClockEntry) bool { return a.Writer == b.Writer })
	return VectorClock{slices.DeleteFunc(sorted, func(e ClockEntry) bool { return e.Count == 0 })}
}

// Len returns the number of writers.
func (v VectorClock) Len() int { return len(v.entries) }

// Entries walks over the entries in the order of the writers.
func (v VectorClock) Entries() iter.Seq[ClockEntry] { return slices.Values(v.entries) }

// Get returns a writer's count.
func (v VectorClock) Get(writer string) uint64 {
	if at, found := v.search(writer); found {
		return v.entries[at].Count
	}
	return 0
}

func (v VectorClock) search(writer string) (int, bool) {
	return slices.BinarySearchFunc(v.entries, writer, func(e ClockEntry, writer string) int {
		return cmp.Compare(e.Writer, writer)
	})
}

// Increment returns the clock of a writer's next version after v.
func (v VectorClock) Increment(writer string) VectorClock {
	at, found := v.search(writer)
	if found {
		entries := slices.Clone(v.entries)
		entries[at].Count = add(entries[at].Count, 1)
		return VectorClock{entries}
	}
	entries := make([]ClockEntry, 0, len(v.entries)+1)
	entries = append(entries, v.entries[:at]...)
	entries = append(entries, ClockEntry{writer, 1})
	return VectorClock{append(entries, v.entries[at:]...)}
}

// add stops at the largest number there is.
func add(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

// pairs walks over the writers of either clock.
func pairs(a, b VectorClock) iter.Seq2[string, [2]uint64] {
	return func(yield func(string, [2]uint64) bool) {
		i, j := 0, 0
		for i < len(a.entries) || j < len(b.entries) {
			var writer string
			var counts [2]uint64
			order := -1
			switch {
			case i == len(a.entries):
				order = 1
			case j < len(b.entries):
				order = cmp.Compare(a.entries[i].Writer, b.entries[j].Writer)
			}
			if order <= 0 {
				writer, counts[0] = a.entries[i].Writer, a.entries[i].Count
				i++
			}
			if order >= 0 {
				writer, counts[1] = b.entries[j].Writer, b.entries[j].Count
				j++
			}
			if !yield(writer, counts) {
				return
			}
		}
	}
}

// Compare returns how v relates to other: Before if other has seen all that v has, and more.
func (v VectorClock) Compare(other VectorClock) Order {
	less, more := false, false
	for _, counts := range pairs(v, other) {
		less = less || counts[0] < counts[1]
		more = more || counts[0] > counts[1]
		if less && more {
			return Concurrent
		}
	}
	switch {
	case less:
		return Before
	case more:
		return After
	}
	return Equal
}

// Covers reports whether v has seen all that other has.
func (v VectorClock) Covers(other VectorClock) bool {
	order := v.Compare(other)
	return order == After || order == Equal
}

// Merge returns the clock that has seen what either has.
func (v VectorClock) Merge(other VectorClock) VectorClock {
	switch v.Compare(other) {
	case Before:
		return other
	case After, Equal:
		return v
	}
	entries := make([]ClockEntry, 0, max(len(v.entries), len(other.entries))+1)
	for writer, counts := range pairs(v, other) {
		entries = append(entries, ClockEntry{writer, max(counts[0], counts[1])})
	}
	return VectorClock{entries}
}

// Floor returns what all clocks have seen; for Causal.Prune, the clocks being those that every replica has of one key. It is
// zero while they have not all been pruned with the same floors.
func Floor(clocks ...VectorClock) (floor VectorClock) {
	for i, clock := range clocks {
		if i == 0 {
			floor = clock
			continue
		}
		if clock.Get("") != floor.Get("") {
			return VectorClock{}
		}
		var entries []ClockEntry
		for writer, counts := range pairs(floor, clock) {
			if n := min(counts[0], counts[1]); n > 0 {
				entries = append(entries, ClockEntry{writer, n})
			}
		}
		floor = VectorClock{entries}
	}
	return floor
}

// sum returns the number of writes that v has seen.
func (v VectorClock) sum() (n uint64) {
	for _, e := range v.entries {
		n = add(n, e.Count)
	}
	return n
}

// sequence orders clocks in one line, so that what holds several always has them in the same order.
func (v VectorClock) sequence(other VectorClock) int {
	return slices.CompareFunc(v.entries, other.entries, func(a, b ClockEntry) int {
		return cmp.Or(cmp.Compare(a.Writer, b.Writer), cmp.Compare(a.Count, b.Count))
	})
}

func (v VectorClock) bytes() int {
	n := allocated(cap(v.entries) * int(unsafe.Sizeof(ClockEntry{})))
	for _, e := range v.entries {
		n += allocated(len(e.Writer))
	}
	return n
}
