// Package codec writes the values of functions and keys as bytes, and reads them back: the first byte says which kind of value
// follows, as docs/protocol.md tells. The Python package of the same name does it in the same way.
package codec

import (
	"errors"
	"fmt"
	"reflect"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Set is a set of distinct values. Put stores one as a set lattice, whose elements join those that are there.
type Set []any

// FrozenSet is a set that is a key or an element of another set. What is put into a Set or a key as a Set travels as one.
type FrozenSet []any

// Tuple is a list that is not changed, as Python's tuple. Slices and arrays that are keys or elements of sets travel as tuples.
type Tuple []any

// Pair is one item of a dictionary.
type Pair struct{ Key, Value any }

// Pairs is a dictionary with keys that a Go map cannot have, such as tuples, in its order.
type Pairs []Pair

// Ref stands for the value of a key as an argument of a call: the function gets the value. It may also stand inside a slice.
type Ref struct {
	Key string
	// Raw gives the function the stored bytes instead of the value.
	Raw bool
}

// Ordered holds any value, with all dictionaries in it as Pairs, in their order. As the target of Decode it takes whatever there is.
type Ordered struct{ Value any }

// Pickle is a value that only Python can read: a pickled object. It can be put back, or given to a function, as it is.
type Pickle []byte

func malformed(format string, args ...any) *wire.Error {
	return wire.Errorf(pb.Code_CODE_INTERNAL, "the value is malformed: "+format, args...)
}

// Encode returns v as a value.
func Encode(v any) ([]byte, error) {
	var value []byte
	switch v := v.(type) {
	case []byte:
		value = append(append(make([]byte, 0, 1+len(v)), KindBytes), v...)
	case Ordered:
		return Encode(v.Value)
	case Pickle:
		value = append(append(make([]byte, 0, 1+len(v)), KindPickle), v...)
	case Array:
		var err error
		if value, err = v.encode(); err != nil {
			return nil, err
		}
	default:
		var err error
		if value, err = appendPlain([]byte{KindPlain}, reflect.ValueOf(v), 0); err != nil {
			return nil, err
		}
	}
	return value, wire.CheckValue("the value", value)
}

// Decode stores a value in what out points to.
func Decode(value []byte, out any) error {
	target := reflect.ValueOf(out)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "the result goes to a pointer, not to a %T", out)
	}
	return decodeTo(value, target.Elem())
}

// DecodeSet stores the elements of a set lattice in what out points to.
func DecodeSet(values [][]byte, out any) error {
	target := reflect.ValueOf(out)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "the result goes to a pointer, not to a %T", out)
	}
	target = target.Elem()
	if holdsAny(target) {
		set := make(Set, len(values))
		for i, value := range values {
			var err error
			if set[i], err = decodeAny(value, target.Type() == ordered); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
		setAny(target, set)
		return nil
	}
	return fill(target, len(values), func(i int, element reflect.Value) error { return decodeTo(values[i], element) })
}

func decodeTo(value []byte, target reflect.Value) error {
	if holdsAny(target) {
		v, err := decodeAny(value, target.Type() == ordered)
		if err == nil {
			setAny(target, v)
		}
		return err
	}
	if len(value) == 0 {
		return malformed("it is empty")
	}
	switch value[0] {
	case KindPlain:
		d := decoder{data: value[1:]}
		return d.all(target)
	case KindBytes:
		return assign(target, value[1:], "bytes")
	case KindPickle:
		return assign(target, Pickle(value[1:]), "a pickled object, which only Python can read,")
	case KindArray:
		array, err := decodeArray(value)
		if err != nil {
			return err
		}
		return assign(target, array, "an array")
	case KindLattice:
		return decodeLattice(value, target)
	}
	_, err := decodeAny(value, false)
	return err
}

// decodeAny returns a value as what it is in Go; with inOrder, dictionaries as Pairs.
func decodeAny(value []byte, inOrder bool) (any, error) {
	if len(value) == 0 {
		return nil, malformed("it is empty")
	}
	switch value[0] {
	case KindPlain:
		d := decoder{data: value[1:], ordered: inOrder}
		v, err := d.natural(0)
		if err != nil {
			return nil, err
		}
		return v, d.end()
	case KindBytes:
		return value[1:], nil
	case KindPickle:
		return Pickle(value[1:]), nil
	case KindArray:
		return decodeArray(value)
	case KindLattice:
		state, err := DecodeLattice(value)
		if err != nil {
			return nil, malformed("its lattice: %v", err)
		}
		return shown(state, inOrder)
	case KindFailure:
		return nil, DecodeFailure(value)
	}
	return nil, malformed("it begins with %d, which is not a kind of value", value[0])
}

// assign stores v as it is, if the target can take it.
func assign[T any](target reflect.Value, v T, what string) error {
	from := reflect.ValueOf(v)
	switch {
	case from.Type().AssignableTo(target.Type()):
		target.Set(from)
	case target.Kind() == reflect.Pointer && from.Type().AssignableTo(target.Type().Elem()):
		target.Set(reflect.New(target.Type().Elem()))
		target.Elem().Set(from)
	default:
		return mismatch(what, target.Type())
	}
	return nil
}

var errMismatch = errors.New("value does not fit")

// mismatch says that a value does not fit where it is to go.
func mismatch(what string, t reflect.Type) error {
	return fmt.Errorf("%w: %w", wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "%s does not fit into a %v", what, t), errMismatch)
}

var ordered = reflect.TypeFor[Ordered]()

// holdsAny reports whether a target takes whatever there is.
func holdsAny(target reflect.Value) bool {
	return target.Type() == ordered || target.Kind() == reflect.Interface && target.NumMethod() == 0
}

// setAny stores v in a target that takes whatever there is.
func setAny(target reflect.Value, v any) {
	switch {
	case target.Type() == ordered:
		target.Set(reflect.ValueOf(Ordered{v}))
	case v == nil:
		target.SetZero()
	default:
		target.Set(reflect.ValueOf(v))
	}
}
