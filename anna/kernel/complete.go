package kernel

import (
	"math"
	"slices"

	"cloudburst/lattice"
)

// Complete completes the delta of a write from what its key holds. All that the key holds must have stamps earlier than the given one. It
// returns nil when there is nothing to do.
func (w *Write) Complete(delta, held *lattice.State, nowMillis int64, stamp lattice.Timestamp) (*lattice.State, error) {
	var replaced *lattice.State
	switch {
	case delta.Lattice == nil && delta.Deleted().IsZero() && held.Live(nowMillis) == nil:
		return nil, nil // an expiry for nothing
	case delta.Lattice == nil || w.Expect != 0 && !w.Replace: // it was made complete from what it expects
	default:
		if err := mismatch(held, w.Key, delta.Lattice.Type(), nowMillis); err != nil {
			if !w.Replace {
				return nil, err
			}
			replaced = lattice.Delete(lattice.Timestamp{Time: stamp.Time - 1, Writer: math.MaxUint64})
			held = replaced
		}
	}
	delta.Complete(stamp, held)
	if replaced != nil {
		replaced.Merge(delta)
		return replaced, nil
	}
	return delta, nil
}

// overtaken reports whether a key holds something that is later than the stamp of a write, so that what is written would lose to it.
func overtaken(w *Write, held *lattice.State) bool {
	switch {
	case w.Delete:
		return w.Stamp.Less(held.Latest())
	case w.Persist:
		return w.Stamp.Less(held.Deleted()) || w.Stamp.Less(held.Expiry().Timestamp)
	case w.Delta == nil:
		return false
	case w.Replace && w.Delta.Lattice != nil && held.Lattice != nil && held.Lattice.Type() != w.Delta.Lattice.Type():
		return w.Stamp.Time <= held.Latest().Time
	}
	return overtakes(held, w.Delta, w.Stamp)
}

// overtakes reports whether a state is later than a stamp in something that a delta is still to be stamped in.
func overtakes(held, delta *lattice.State, stamp lattice.Timestamp) bool {
	if held == nil {
		return false
	}
	if e := delta.Expiry(); e.At != 0 && e.Timestamp.IsZero() && stamp.Less(held.Expiry().Timestamp) || stamp.Less(held.Deleted()) {
		return true
	}
	if delta.Lattice == nil {
		return false
	}
	content := func(l lattice.Lattice) bool { return overtakesIn(held.Of(l.Type()), l, stamp) }
	return content(delta.Lattice) || slices.ContainsFunc(delta.Others(), content)
}

func overtakesIn(held, delta lattice.Lattice, stamp lattice.Timestamp) bool {
	switch h := held.(type) {
	case *lattice.LWW:
		return delta.(*lattice.LWW).Timestamp.IsZero() && stamp.Less(h.Timestamp)
	case *lattice.Set:
		for member, mark := range delta.(*lattice.Set).Marks() {
			if mark.Stamp.IsZero() && stamp.Less(h.Mark(member).Stamp) {
				return true
			}
		}
	case *lattice.OrderedSet:
		for member, mark := range delta.(*lattice.OrderedSet).Marks() {
			if mark.Stamp.IsZero() && stamp.Less(h.Mark(member).Stamp) {
				return true
			}
		}
	case *lattice.Map:
		for field, state := range delta.(*lattice.Map).Fields() {
			if overtakes(h.Get(field), state, stamp) {
				return true
			}
		}
	}
	return false
}

// mismatch returns an error when a key shows a lattice of another type.
func mismatch(held *lattice.State, key string, t lattice.Type, nowMillis int64) error {
	live := held.Live(nowMillis)
	if live == nil || live.Type() == t {
		return nil
	}
	return errorf(Mismatch, "%s", lattice.Mismatch(key, live.Type(), t))
}
