package cloudburst

import (
	"errors"
	"fmt"
	"reflect"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Set is a set of distinct values. Put stores one as a set lattice, whose elements join those that are there.
type Set []any

// Pair is one item of a dictionary.
type Pair struct{ Key, Value any }

// Pairs is a dictionary with keys that a Go map cannot have, such as tuples, in its order.
type Pairs []Pair

// Pickle is a value that only Python can read: a pickled object. It can be put back, or given to a function, as it is.
type Pickle []byte

// wrap says in an error what was asked. nil stays nil.
func wrap(r *request, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%v: %w", r, err)
}

func malformed(format string, args ...any) *Error {
	return wire.Errorf(pb.Code_CODE_INTERNAL, "the node sent "+format, args...)
}

// encodeArgument returns v as an argument of a call: a value, a reference, or a sequence when a slice holds references.
func encodeArgument(v any) ([]byte, error) {
	if ref, ok := asRef(v); ok {
		if ref.Key == "" {
			return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a reference without a key")
		}
		return wire.EncodeReference(wire.Reference{Key: ref.Key, Deserialize: !ref.Raw})
	}
	var list []any
	switch v := v.(type) {
	case []any:
		list = v
	case []Ref:
		for _, ref := range v {
			list = append(list, ref)
		}
	case []*Future:
		for _, f := range v {
			list = append(list, f)
		}
	}
	for _, element := range list {
		if _, ok := asRef(element); ok {
			return encodeSequence(list)
		}
	}
	return encodeValue(v)
}

func asRef(v any) (Ref, bool) {
	switch v := v.(type) {
	case Ref:
		return v, true
	case *Future:
		if v != nil {
			return v.Ref(), true
		}
	}
	return Ref{}, false
}

func encodeSequence(list []any) ([]byte, error) {
	elements := make([][]byte, len(list))
	for i, element := range list {
		var err error
		if elements[i], err = encodeArgument(element); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	value := wire.JoinSequence(elements)
	return value, wire.CheckValue("the list", value)
}

// encodeValue returns v with its codec.
func encodeValue(v any) ([]byte, error) {
	var value []byte
	switch v := v.(type) {
	case []byte:
		value = append(append(make([]byte, 0, 1+len(v)), wire.CodecBytes), v...)
	case Pickle:
		value = append(append(make([]byte, 0, 1+len(v)), wire.CodecPickle), v...)
	case Array:
		var err error
		if value, err = v.encode(); err != nil {
			return nil, err
		}
	default:
		var err error
		if value, err = appendPlain([]byte{wire.CodecPlain}, reflect.ValueOf(v), 0); err != nil {
			return nil, err
		}
	}
	return value, wire.CheckValue("the value", value)
}

// decodeInto stores a value in what out points to.
func decodeInto(value []byte, out any) error {
	target := reflect.ValueOf(out)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "the result goes to a pointer, not to a %T", out)
	}
	return decodeTo(value, target.Elem())
}

// decodeSetInto stores the elements of a set lattice in what out points to.
func decodeSetInto(values [][]byte, out any) error {
	target := reflect.ValueOf(out)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "the result goes to a pointer, not to a %T", out)
	}
	target = target.Elem()
	if isAny(target) {
		set := reflect.ValueOf(make(Set, len(values)))
		for i, value := range values {
			if err := decodeTo(value, set.Index(i)); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
		target.Set(set)
		return nil
	}
	return fill(target, len(values), func(i int, element reflect.Value) error { return decodeTo(values[i], element) })
}

func decodeTo(value []byte, target reflect.Value) error {
	if len(value) == 0 {
		return malformed("a value without a codec")
	}
	switch value[0] {
	case wire.CodecPlain:
		d := decoder{data: value[1:]}
		return d.all(target)
	case wire.CodecBytes:
		return assign(target, value[1:], "bytes")
	case wire.CodecPickle:
		return assign(target, Pickle(value[1:]), "a pickled object, which only Python can read,")
	case wire.CodecArray:
		array, err := decodeArray(value)
		if err != nil {
			return err
		}
		return assign(target, array, "an array")
	case wire.CodecLattice:
		return decodeLattice(value, target)
	case wire.CodecFailure:
		return wire.DecodeFailure(value)
	}
	return malformed("a value with the unknown codec %d", value[0])
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

func isAny(v reflect.Value) bool { return v.Kind() == reflect.Interface && v.NumMethod() == 0 }
