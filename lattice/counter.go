package lattice

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"slices"
	"unsafe"
)

// ErrOverflow says that a counter would leave the range of a 64-bit integer.
var ErrOverflow = errors.New("counter overflow")

// Counter is the sum of what every writer has added less what it has taken away; one that is never decremented only grows. A
// writer changes its own count only, so it must not be alive twice, and one that has forgotten its count must become another.
//
// Counts have no stamps. They carry the tombstone that their writers knew, their Generation: those of a higher generation
// replace those of a lower, so that a counter that was deleted starts again from nothing everywhere.
type Counter struct {
	Generation Timestamp
	counts     []Count // in the order of the writers
}

// Count is what one writer has added and taken away.
type Count struct {
	Writer   uint64
	Up, Down uint64
}

// NewCounter returns a counter with counts, which it takes over; of several by one writer the largest hold.
func NewCounter(generation Timestamp, counts []Count) *Counter {
	slices.SortFunc(counts, func(a, b Count) int { return cmp.Compare(a.Writer, b.Writer) })
	kept := counts[:0]
	for _, c := range counts {
		if n := len(kept); n > 0 && kept[n-1].Writer == c.Writer {
			kept[n-1].merge(c)
		} else {
			kept = append(kept, c)
		}
	}
	return &Counter{Generation: generation, counts: kept}
}

// CounterAdd returns the delta of a writer adding n, which may be negative, to the counter that is held. It returns an error
// wrapping ErrOverflow when the sum, or all that the writer has ever added or taken away, leaves the range. Additions at
// several masters at once are each checked against what that master knows.
func CounterAdd(held *State, writer uint64, n int64) (*State, error) {
	own, sum := Count{Writer: writer}, int64(0)
	if c, ok := held.Of(TypeCounter).(*Counter); ok {
		if at, found := c.search(writer); found {
			own = c.counts[at]
		}
		sum = c.Value()
	}
	if n > 0 && sum > math.MaxInt64-n || n < 0 && sum < math.MinInt64-n {
		return nil, fmt.Errorf("%w: %d and %d is outside of 64 bits", ErrOverflow, sum, n)
	}
	side, magnitude := &own.Up, uint64(n)
	if n < 0 {
		side, magnitude = &own.Down, -magnitude
	}
	if *side > math.MaxUint64-magnitude {
		return nil, fmt.Errorf("%w: writer %x has changed it by more than 64 bits hold; delete it and start again", ErrOverflow, writer)
	}
	*side += magnitude
	return &State{Lattice: &Counter{Generation: held.Generation(TypeCounter), counts: []Count{own}}}, nil
}

// count adds to what a writer has counted. It returns false when that is nothing yet, or the sum would leave the range.
func (c *Counter) count(writer uint64, n int64) (sum int64, ok bool) {
	at, ok := c.search(writer)
	sum = c.Value()
	if !ok || n > 0 && sum > math.MaxInt64-n || n < 0 && sum < math.MinInt64-n {
		return 0, false
	}
	side, magnitude := &c.counts[at].Up, uint64(n)
	if n < 0 {
		side, magnitude = &c.counts[at].Down, -magnitude
	}
	if *side > math.MaxUint64-magnitude {
		return 0, false
	}
	*side += magnitude
	return sum + n, true
}

// Len returns how many writers have counted.
func (c *Counter) Len() int { return len(c.counts) }

// Type implements Lattice.
func (c *Counter) Type() Type { return TypeCounter }

// Value returns the sum. Where additions at several masters have left the range of 64 bits together it is the nearest there is.
func (c *Counter) Value() int64 {
	var up, down, upHigh, downHigh, carry uint64
	for _, n := range c.counts {
		up, carry = bits.Add64(up, n.Up, 0)
		upHigh += carry
		down, carry = bits.Add64(down, n.Down, 0)
		downHigh += carry
	}
	low, borrow := bits.Sub64(up, down, 0)
	switch high, _ := bits.Sub64(upHigh, downHigh, borrow); {
	case high == 0 && low <= math.MaxInt64, high == math.MaxUint64 && low > math.MaxInt64:
		return int64(low)
	case int64(high) < 0:
		return math.MinInt64
	}
	return math.MaxInt64
}

// Counts walks over the counts in the order of the writers.
func (c *Counter) Counts() iter.Seq[Count] { return slices.Values(c.counts) }

func (c *Counter) search(writer uint64) (int, bool) {
	return slices.BinarySearchFunc(c.counts, writer, func(n Count, writer uint64) int { return cmp.Compare(n.Writer, writer) })
}

func (n *Count) merge(other Count) (changed bool) {
	changed = n.Up < other.Up || n.Down < other.Down
	n.Up, n.Down = max(n.Up, other.Up), max(n.Down, other.Down)
	return changed
}

// Merge implements Lattice.
func (c *Counter) Merge(other Lattice) bool { return c.mergeAfter(other, Timestamp{}) }

func (c *Counter) mergeAfter(other Lattice, deleted Timestamp) (changed bool) {
	o := other.(*Counter)
	if superseded(o.Generation, deleted) {
		return false
	}
	switch newer := o.Generation.Compare(c.Generation); {
	case newer > 0:
		*c = Counter{Generation: o.Generation, counts: slices.Clone(o.counts)}
		return true
	case newer < 0:
		return false
	}
	for _, n := range o.counts {
		at, found := c.search(n.Writer)
		if found {
			changed = c.counts[at].merge(n) || changed
			continue
		}
		c.counts = slices.Insert(c.counts, at, n)
		changed = true
	}
	return changed
}

// Clone implements Lattice.
func (c *Counter) Clone() Lattice {
	return &Counter{Generation: c.Generation, counts: slices.Clone(c.counts)}
}

// Equal implements Lattice.
func (c *Counter) Equal(other Lattice) bool {
	o := other.(*Counter)
	return c.Generation == o.Generation && slices.Equal(c.counts, o.counts)
}

// Empty implements Lattice.
func (c *Counter) Empty() bool { return len(c.counts) == 0 }

func (c *Counter) bottom() bool { return len(c.counts) == 0 && c.Generation.IsZero() }

// Drop implements Lattice.
func (c *Counter) Drop(deleted Timestamp) bool {
	if !superseded(c.Generation, deleted) || c.bottom() {
		return false
	}
	*c = Counter{}
	return true
}

// Bytes implements Lattice.
func (c *Counter) Bytes() int {
	return allocated(int(unsafe.Sizeof(*c))) + allocated(cap(c.counts)*int(unsafe.Sizeof(Count{})))
}

func (c *Counter) collect(Timestamp) bool { return false }

func (c *Counter) generation() Timestamp { return c.Generation }

func (c *Counter) complete(_, generation Timestamp, _ Lattice) {
	if c.Generation.IsZero() {
		c.Generation = generation
	}
}
