package lattice

import (
	"cmp"
	"errors"
	"fmt"
)

// Timestamp is a reading of a hybrid logical clock. Equal times are ordered by writer; the zero value is before all others and
// stands for "none".
type Timestamp struct {
	Time   uint64 // Unix time in microseconds << 12 | counter
	Writer uint64
}

const counterBits = 12

// Compare returns -1, 0 or 1.
func (t Timestamp) Compare(other Timestamp) int {
	if t.Time != other.Time {
		return cmp.Compare(t.Time, other.Time)
	}
	return cmp.Compare(t.Writer, other.Writer)
}

// Less reports whether t is before other.
func (t Timestamp) Less(other Timestamp) bool {
	return t.Time < other.Time || t.Time == other.Time && t.Writer < other.Writer
}

// IsZero reports whether t is the zero value.
func (t Timestamp) IsZero() bool { return t == Timestamp{} }

// UnixMicro returns the clock's part of t, in microseconds.
func (t Timestamp) UnixMicro() int64 { return int64(t.Time >> counterBits) }

// String returns t as seconds.microseconds+counter@writer.
func (t Timestamp) String() string {
	micros := t.Time >> counterBits
	return fmt.Sprintf("%d.%06d+%d@%x", micros/1e6, micros%1e6, t.Time&(1<<counterBits-1), t.Writer)
}

// ClockAheadMicrosMax is how far a stamp from elsewhere may lie in the future: a day. It is far more than clocks are ever
// apart on purpose: a stamp within it pulls every clock that sees it forward, so that later writes win over it; one beyond it
// must be refused, since what carries it could not be overwritten before that day.
const ClockAheadMicrosMax = 24 * 3600 * 1_000_000

// ErrClockAhead says that a stamp is further in the future than ClockAheadMicrosMax: the clock of the machine that made it is
// wrong.
var ErrClockAhead = errors.New("timestamp too far in the future")

// Clock is a hybrid logical clock: its stamps are strictly increasing and later than every stamp it has observed, and follow
// physical time where that allows. Time is passed in. Not safe for concurrent use.
type Clock struct {
	writer uint64
	last   uint64
}

// NewClock returns the clock of a writer. Two clocks that are alive at the same time must not have the same writer.
func NewClock(writer uint64) *Clock { return &Clock{writer: writer} }

// Writer returns the writer of the clock's stamps.
func (c *Clock) Writer() uint64 { return c.writer }

// Now returns the next stamp.
func (c *Clock) Now(unixMicro int64) Timestamp {
	c.last = max(c.last+1, physical(unixMicro))
	return Timestamp{Time: c.last, Writer: c.writer}
}

// Observe makes all further stamps later than t. It returns an error wrapping ErrClockAhead, and leaves the clock alone, for a
// stamp that is too far in the future; the write that brings it must then be refused.
func (c *Clock) Observe(t Timestamp, unixMicro int64) error {
	if t.Time <= c.last {
		return nil
	}
	if t.Time > physical(unixMicro)+ClockAheadMicrosMax<<counterBits {
		return fmt.Errorf("%w: %v is more than a day after this machine's time; set the clock of writer %x, or of this machine",
			ErrClockAhead, t, t.Writer)
	}
	c.last = t.Time
	return nil
}

// Follow makes all further stamps later than a Timestamp's Time, however far that is ahead: it is for what another clock of the same
// process has reached.
func (c *Clock) Follow(time uint64) { c.last = max(c.last, time) }

// Reached returns the Time that no stamp so far is later than. It is that of unixMicro at least; 0 leaves physical time out.
func (c *Clock) Reached(unixMicro int64) uint64 { return max(c.last, physical(unixMicro)) }

func physical(unixMicro int64) uint64 { return uint64(max(unixMicro, 0)) << counterBits }
