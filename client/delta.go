package client

import (
	"fmt"
	"math/rand/v2"

	"cloudburst/codec"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Delta is a change of a lattice: put under a key, it is merged into what is there. It costs what it changes, whatever the size
// of what it changes.
type Delta struct {
	kind lattice.Type
	// reads is whether the change belongs to a generation, so that the one that stamps it has to know what is held.
	reads bool
	// once is whether the change, left to the store to complete, must not be sent twice.
	once bool
	// make returns the change as a state. A zero stamp or writer is left to the store to fill in; held is never nil.
	make func(held *lattice.State, stamp lattice.Timestamp, writer uint64) (*lattice.State, error)
}

// open returns the change as the store completes it.
func (d Delta) open() (*lattice.State, error) {
	if d.make == nil {
		return nil, invalid("an empty Delta; make one with AddToSet, Increment and the like")
	}
	return d.make(new(lattice.State), lattice.Timestamp{}, 0)
}

func encodeAll(values []any) ([][]byte, error) {
	encoded := make([][]byte, len(values))
	for i, value := range values {
		var err error
		if encoded[i], err = codec.Encode(value); err != nil {
			return nil, fmt.Errorf("member %d: %w", i, err)
		}
	}
	return encoded, nil
}

// AddToSet adds members to a set.
func AddToSet(members ...any) Delta {
	return ofSet(members, lattice.SetAdd)
}

// RemoveFromSet removes members, which need not be there, from a set.
func RemoveFromSet(members ...any) Delta {
	return ofSet(members, lattice.SetRemove)
}

func ofSet(members []any, change func(lattice.Timestamp, ...[]byte) *lattice.State) Delta {
	return Delta{kind: lattice.TypeSet, make: func(_ *lattice.State, stamp lattice.Timestamp, _ uint64) (*lattice.State, error) {
		encoded, err := encodeAll(members)
		if err != nil {
			return nil, err
		}
		return change(stamp, encoded...), nil
	}}
}

// Scored is a member of an ordered set.
type Scored struct {
	Member any
	Score  float64
}

// AddScored adds members to an ordered set, or gives them other scores.
func AddScored(members ...Scored) Delta {
	return Delta{kind: lattice.TypeOrderedSet, make: func(_ *lattice.State, stamp lattice.Timestamp, _ uint64) (*lattice.State, error) {
		all := new(lattice.State)
		for i, m := range members {
			member, err := codec.Encode(m.Member)
			if err != nil {
				return nil, fmt.Errorf("member %d: %w", i, err)
			}
			one, err := lattice.OrderedSetAdd(stamp, member, m.Score)
			if err != nil {
				return nil, invalid("member %d: %v", i, err)
			}
			all.Merge(one)
		}
		return all, nil
	}}
}

// RemoveScored removes members, which need not be there, from an ordered set.
func RemoveScored(members ...any) Delta {
	return Delta{kind: lattice.TypeOrderedSet, make: func(_ *lattice.State, stamp lattice.Timestamp, _ uint64) (*lattice.State, error) {
		encoded, err := encodeAll(members)
		if err != nil {
			return nil, err
		}
		return lattice.OrderedSetRemove(stamp, encoded...), nil
	}}
}

// Increment adds to a counter, or takes away from it. It is not sent a second time when the connection breaks before the
// answer: the error says that it may or may not have been done. In a session, which counts itself, it is.
func Increment(n int64) Delta {
	return Delta{kind: lattice.TypeCounter, reads: true, once: true, make: func(held *lattice.State, _ lattice.Timestamp, writer uint64) (*lattice.State, error) {
		delta, err := lattice.CounterAdd(held, writer, n)
		if err != nil {
			return nil, invalid("%v", err)
		}
		return delta, nil
	}}
}

// Max raises the largest integer written, if n is larger.
func Max(n int64) Delta {
	return Delta{kind: lattice.TypeMax, reads: true, make: func(held *lattice.State, _ lattice.Timestamp, _ uint64) (*lattice.State, error) {
		return lattice.MaxPut(held, n), nil
	}}
}

// Min lowers the smallest integer written, if n is smaller.
func Min(n int64) Delta {
	return Delta{kind: lattice.TypeMin, reads: true, make: func(held *lattice.State, _ lattice.Timestamp, _ uint64) (*lattice.State, error) {
		return lattice.MinPut(held, n), nil
	}}
}

// Prioritized puts a value with a priority: the value of the lowest is kept.
func Prioritized(priority float64, value any) Delta {
	return Delta{kind: lattice.TypePriority, reads: true, make: func(held *lattice.State, _ lattice.Timestamp, _ uint64) (*lattice.State, error) {
		encoded, err := codec.Encode(value)
		if err != nil {
			return nil, err
		}
		delta, err := lattice.PriorityPut(held, priority, encoded)
		if err != nil {
			return nil, invalid("%v", err)
		}
		return delta, nil
	}}
}

// Fields changes fields of a map, each a lattice of its own. A value that is no Delta is the last written of its field. An
// Increment of a field outside of a session is the count of a new writer each time; count under a key of its own what is
// counted often.
func Fields(fields map[string]any) Delta {
	d := Delta{kind: lattice.TypeMap, reads: true}
	d.make = func(held *lattice.State, stamp lattice.Timestamp, writer uint64) (*lattice.State, error) {
		if writer == 0 {
			writer = rand.Uint64() | 1
		}
		all := new(lattice.State)
		for _, name := range sortedKeys(fields) {
			change := deltaOf(fields[name])
			if change.make == nil {
				return nil, invalid("field %q: an empty Delta", name)
			}
			delta, err := change.make(held.Field(name), stamp, writer)
			if err != nil {
				return nil, fmt.Errorf("field %q: %w", name, err)
			}
			all.Merge(lattice.MapPut(name, delta))
		}
		return all, nil
	}
	return d
}

// Version puts a version of a causal value. A writer increments its own count in the clock of all that it has read. A session
// with [Causal] does this by itself.
func Version(clock lattice.VectorClock, dependencies lattice.Dependencies, value any) Delta {
	return Delta{kind: lattice.TypeCausal, reads: true, make: func(held *lattice.State, _ lattice.Timestamp, _ uint64) (*lattice.State, error) {
		encoded, err := codec.Encode(value)
		if err != nil {
			return nil, err
		}
		delta, err := lattice.CausalPut(held, lattice.Version{Clock: clock, Dependencies: dependencies, Value: encoded})
		if err != nil {
			return nil, invalid("%v", err)
		}
		return delta, nil
	}}
}

// deltaOf returns what putting a value changes.
func deltaOf(value any) Delta {
	switch v := value.(type) {
	case Delta:
		return v
	case Set:
		return AddToSet(v...)
	}
	return Delta{kind: lattice.TypeLWW, make: func(_ *lattice.State, stamp lattice.Timestamp, _ uint64) (*lattice.State, error) {
		encoded, err := codec.Encode(value)
		if err != nil {
			return nil, err
		}
		return lattice.Put(stamp, encoded), nil
	}}
}

func invalid(format string, args ...any) *Error {
	return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, format, args...)
}
