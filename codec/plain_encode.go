package codec

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Plain values are CBOR (RFC 8949) as docs/internals/protocol.md restricts it: definite lengths, the shortest form of integers and
// lengths, floats always of 64 bits, the elements of sets in the order of their bytes. So equal values have equal bytes in
// every language, which a set lattice relies on.
const (
	majorUnsigned byte = 0 << 5
	majorNegative byte = 1 << 5
	majorBytes    byte = 2 << 5
	majorText     byte = 3 << 5
	majorArray    byte = 4 << 5
	majorMap      byte = 5 << 5
	majorTag      byte = 6 << 5
	majorSimple   byte = 7 << 5

	simpleFalse   byte = 0xf4
	simpleTrue    byte = 0xf5
	simpleNull    byte = 0xf6
	simpleFloat16 byte = 0xf9
	simpleFloat32 byte = 0xfa
	simpleFloat64 byte = 0xfb

	tagBigPositive = 2
	tagBigNegative = 3
	tagSet         = 258
	tagTuple       = 50000
	tagFrozenSet   = 50001

	// levelsMax is how deep lists, dictionaries and sets may be nested in one another.
	levelsMax = 128
)

// appendHead appends the head of a data item in its shortest form.
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

// AppendText appends a plain string, without its first byte; s is UTF-8.
func AppendText[T string | []byte](b []byte, s T) []byte {
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

// AppendInt appends a plain integer, without its first byte.
func AppendInt(b []byte, n int64) []byte {
	if n < 0 {
		return appendHead(b, majorNegative, uint64(^n))
	}
	return appendHead(b, majorUnsigned, uint64(n))
}

func appendBig(b []byte, n *big.Int) []byte {
	major, tag := majorUnsigned, uint64(tagBigPositive)
	if n.Sign() < 0 {
		// CBOR writes -1-n.
		major, tag = majorNegative, tagBigNegative
		n = new(big.Int).Not(n)
	}
	if n.IsUint64() {
		return appendHead(b, major, n.Uint64())
	}
	magnitude := n.Bytes()
	b = appendHead(b, majorTag, tag)
	return append(appendHead(b, majorBytes, uint64(len(magnitude))), magnitude...)
}

// appendPlain appends one data item; levels is how deep it is nested.
func appendPlain(b []byte, v reflect.Value, levels int) ([]byte, error) {
	if !v.IsValid() {
		return append(b, simpleNull), nil
	}
	if encoded, ok, err := appendSpecial(b, v, levels); ok || err != nil {
		return encoded, err
	}
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(b, simpleTrue), nil
		}
		return append(b, simpleFalse), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return AppendInt(b, v.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return appendHead(b, majorUnsigned, v.Uint()), nil
	case reflect.Float32, reflect.Float64:
		return binary.BigEndian.AppendUint64(append(b, simpleFloat64), math.Float64bits(v.Float())), nil
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a string that is not UTF-8 cannot travel; send it as []byte")
		}
		return AppendText(b, v.String()), nil
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return append(b, simpleNull), nil
		}
		if v.Kind() == reflect.Interface {
			return appendPlain(b, v.Elem(), levels)
		}
		// Pointers count as levels as well, so that data that refers to itself comes to an end.
		if levels >= levelsMax {
			return nil, tooDeep()
		}
		return appendPlain(b, v.Elem(), levels+1)
	case reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
		if levels >= levelsMax {
			return nil, tooDeep()
		}
		return appendContainer(b, v, levels+1)
	}
	return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT,
		"a %v cannot travel; use nil, booleans, numbers, strings, []byte, slices, maps and structs of these, Set, FrozenSet, Tuple, Pairs, Array or Pickle", v.Type())
}

func tooDeep() error {
	return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a value nested more than %d levels deep cannot travel", levelsMax)
}

// appendSpecial appends values whose type and not whose kind says how.
func appendSpecial(b []byte, v reflect.Value, levels int) ([]byte, bool, error) {
	if !v.CanInterface() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, false, nil
	}
	switch x := v.Interface().(type) {
	case *big.Int:
		return appendBig(b, x), true, nil
	case big.Int:
		return appendBig(b, &x), true, nil
	case Set, FrozenSet, Tuple, Pairs:
		if levels >= levelsMax {
			return nil, true, tooDeep()
		}
	}
	switch x := v.Interface().(type) {
	case Ordered:
		encoded, err := appendPlain(b, reflect.ValueOf(x.Value), levels)
		return encoded, true, err
	case Set:
		encoded, err := appendSet(b, tagSet, len(x), func(i int) reflect.Value { return reflect.ValueOf(x[i]) }, levels+1)
		return encoded, true, err
	case FrozenSet:
		encoded, err := appendSet(b, tagFrozenSet, len(x), func(i int) reflect.Value { return reflect.ValueOf(x[i]) }, levels+1)
		return encoded, true, err
	case Tuple:
		encoded, err := appendList(appendHead(b, majorTag, tagTuple), reflect.ValueOf([]any(x)), levels+1)
		return encoded, true, err
	case Pairs:
		b = appendHead(b, majorMap, uint64(len(x)))
		for _, pair := range x {
			var err error
			if b, err = appendKey(b, reflect.ValueOf(pair.Key), levels+1); err != nil {
				return nil, true, err
			}
			if b, err = appendPlain(b, reflect.ValueOf(pair.Value), levels+1); err != nil {
				return nil, true, err
			}
		}
		return b, true, nil
	case Array, Pickle, Ref:
		return nil, false, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a %T can be a value or an argument, but not lie inside of another one", x)
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		if err != nil {
			return nil, true, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a %T cannot travel: %v", x, err)
		}
		return AppendText(b, string(text)), true, nil
	}
	return nil, false, nil
}

func appendContainer(b []byte, v reflect.Value, levels int) ([]byte, error) {
	switch v.Kind() {
	case reflect.Map:
		return appendMap(b, v, levels)
	case reflect.Struct:
		return appendStruct(b, v, levels)
	}
	n := v.Len()
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b = appendHead(b, majorBytes, uint64(n))
		if v.Kind() == reflect.Slice {
			return append(b, v.Bytes()...), nil
		}
		for i := range n {
			b = append(b, byte(v.Index(i).Uint()))
		}
		return b, nil
	}
	return appendList(b, v, levels)
}

func appendList(b []byte, v reflect.Value, levels int) ([]byte, error) {
	b = appendHead(b, majorArray, uint64(v.Len()))
	for i := range v.Len() {
		var err error
		if b, err = appendPlain(b, v.Index(i), levels); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// appendMap appends a dictionary, or a set when the map has keys only. Go's maps have no order, so that of the bytes is taken.
func appendMap(b []byte, v reflect.Value, levels int) ([]byte, error) {
	keys := v.MapKeys()
	if element := v.Type().Elem(); element.Kind() == reflect.Struct && element.NumField() == 0 {
		return appendSet(b, tagSet, len(keys), func(i int) reflect.Value { return keys[i] }, levels)
	}
	type item struct {
		key   []byte
		value reflect.Value
	}
	items := make([]item, len(keys))
	for i, key := range keys {
		encoded, err := appendKey(nil, key, levels)
		if err != nil {
			return nil, err
		}
		items[i] = item{encoded, v.MapIndex(key)}
	}
	slices.SortFunc(items, func(a, b item) int { return bytes.Compare(a.key, b.key) })
	b = appendHead(b, majorMap, uint64(len(items)))
	for _, item := range items {
		var err error
		if b, err = appendPlain(append(b, item.key...), item.value, levels); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func appendSet(b []byte, tag uint64, n int, element func(int) reflect.Value, levels int) ([]byte, error) {
	elements := make([][]byte, n)
	for i := range n {
		var err error
		if elements[i], err = appendKey(nil, element(i), levels); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(elements, bytes.Compare)
	elements = slices.CompactFunc(elements, bytes.Equal)
	b = appendHead(b, majorTag, tag)
	b = appendHead(b, majorArray, uint64(len(elements)))
	return append(b, bytes.Join(elements, nil)...), nil
}

// appendKey appends a key of a dictionary or an element of a set. There Python has only what does not change: slices and arrays
// travel as tuples, and sets as frozen ones.
func appendKey(b []byte, v reflect.Value, levels int) ([]byte, error) {
	for v.IsValid() && (v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer) && !v.IsNil() {
		if _, text := reflect.TypeAssert[encoding.TextMarshaler](v); text {
			return appendPlain(b, v, levels)
		}
		v = v.Elem()
	}
	if !v.IsValid() || !v.CanInterface() {
		return appendPlain(b, v, levels)
	}
	if levels >= levelsMax {
		return nil, tooDeep()
	}
	switch x := v.Interface().(type) {
	case encoding.TextMarshaler, big.Int:
		return appendPlain(b, v, levels)
	case Set:
		return appendSet(b, tagFrozenSet, len(x), func(i int) reflect.Value { return reflect.ValueOf(x[i]) }, levels+1)
	case FrozenSet:
		return appendSet(b, tagFrozenSet, len(x), func(i int) reflect.Value { return reflect.ValueOf(x[i]) }, levels+1)
	case Ordered:
		return appendKey(b, reflect.ValueOf(x.Value), levels)
	case Pairs:
		return nil, notHashable(v)
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return appendPlain(b, v, levels)
		}
		b = appendHead(appendHead(b, majorTag, tagTuple), majorArray, uint64(v.Len()))
		for i := range v.Len() {
			var err error
			if b, err = appendKey(b, v.Index(i), levels+1); err != nil {
				return nil, err
			}
		}
		return b, nil
	case reflect.Map:
		if element := v.Type().Elem(); element.Kind() == reflect.Struct && element.NumField() == 0 {
			keys := v.MapKeys()
			return appendSet(b, tagFrozenSet, len(keys), func(i int) reflect.Value { return keys[i] }, levels+1)
		}
		return nil, notHashable(v)
	case reflect.Struct:
		return nil, notHashable(v)
	}
	return appendPlain(b, v, levels)
}

func notHashable(v reflect.Value) error {
	return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a %v cannot be a key or an element of a set: Python has no dictionaries there", v.Type())
}

// appendStruct appends a struct as a dictionary of its exported fields, named as encoding/json names them.
func appendStruct(b []byte, v reflect.Value, levels int) ([]byte, error) {
	fields := fieldsOf(v.Type())
	if len(fields) == 0 && v.NumField() > 0 {
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a %v cannot travel inside of a value: it has no exported fields", v.Type())
	}
	present := fields[:0]
	for _, f := range fields {
		if value, err := v.FieldByIndexErr(f.index); err == nil && (!f.omitEmpty || !value.IsZero()) {
			present = append(present, f)
		}
	}
	b = appendHead(b, majorMap, uint64(len(present)))
	for _, f := range present {
		var err error
		if b, err = appendPlain(AppendText(b, f.name), v.FieldByIndex(f.index), levels); err != nil {
			return nil, fmt.Errorf("field %s: %w", f.name, err)
		}
	}
	return b, nil
}

// field is a field of a struct that travels.
type field struct {
	name      string
	index     []int
	omitEmpty bool
}

// fieldsOf returns the exported fields of a struct, those of embedded structs included.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for _, f := range reflect.VisibleFields(t) {
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || f.Anonymous && name == "" || !reachable(t, f.Index) {
			continue
		}
		if name == "" {
			name = f.Name
		}
		fields = append(fields, field{name, f.Index, strings.Contains(rest, "omitempty") || strings.Contains(rest, "omitzero")})
	}
	return fields
}

// reachable reports whether a field can be set: not when it lies in an embedded struct that cannot be made.
func reachable(t reflect.Type, index []int) bool {
	for i := range len(index) - 1 {
		if f := t.FieldByIndex(index[:i+1]); f.Type.Kind() == reflect.Pointer && !f.IsExported() {
			return false
		}
	}
	return true
}
