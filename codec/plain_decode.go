package codec

import (
	"encoding"
	"encoding/binary"
	"math"
	"math/big"
	"reflect"
	"strings"
	"unicode/utf8"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// decoder reads data items. Every length is held against what is left of the data before anything is made from it.
type decoder struct {
	data []byte
	at   int
}

// head is the first part of a data item.
type head struct {
	major byte
	// n is the length or number of a major type below majorSimple.
	n uint64
	// initial is the first byte, which says what kind of simple item it is.
	initial byte
}

// all stores the one data item that the data is.
func (d *decoder) all(target reflect.Value) error {
	if err := d.into(target, 0); err != nil {
		return err
	}
	if d.at != len(d.data) {
		return malformed("%d bytes follow it", len(d.data)-d.at)
	}
	return nil
}

func (d *decoder) left() int { return len(d.data) - d.at }

func (d *decoder) take(n uint64) ([]byte, error) {
	if n > uint64(d.left()) {
		return nil, malformed("it is cut off")
	}
	part := d.data[d.at : d.at+int(n) : d.at+int(n)]
	d.at += int(n)
	return part, nil
}

func (d *decoder) head() (head, error) {
	first, err := d.take(1)
	if err != nil {
		return head{}, err
	}
	h := head{major: first[0] &^ 31, initial: first[0]}
	if h.major == majorSimple {
		return h, nil
	}
	switch low := first[0] & 31; {
	case low < 24:
		h.n = uint64(low)
		return h, nil
	case low <= 27:
		width := 1 << (low - 24)
		body, err := d.take(uint64(width))
		if err != nil {
			return head{}, err
		}
		for _, b := range body {
			h.n = h.n<<8 | uint64(b)
		}
		return h, nil
	}
	return head{}, malformed("an item has an indefinite length or the unknown form 0x%02x", first[0])
}

// collection reads the head of an array or a map of h.n elements, each at least width bytes.
func (d *decoder) collection(h head, width, levels int) (int, error) {
	if levels >= levelsMax {
		return 0, malformed("it is nested more than %d levels deep", levelsMax)
	}
	if h.n > uint64(d.left()/width) {
		return 0, malformed("it is cut off")
	}
	return int(h.n), nil
}

// float reads the rest of a floating-point item.
func (d *decoder) float(initial byte) (float64, error) {
	width := uint64(1) << (initial - simpleFloat16 + 1)
	body, err := d.take(width)
	if err != nil {
		return 0, err
	}
	switch initial {
	case simpleFloat16:
		return float16(binary.BigEndian.Uint16(body)), nil
	case simpleFloat32:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(body))), nil
	}
	return math.Float64frombits(binary.BigEndian.Uint64(body)), nil
}

func float16(bits uint16) float64 {
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(fraction, -24)
	case 31:
		f = math.Inf(1)
		if fraction != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(1024+fraction, exponent-25)
	}
	if bits&0x8000 != 0 {
		return -f
	}
	return f
}

// bigInt reads the byte string of a large integer.
func (d *decoder) bigInt(tag uint64) (*big.Int, error) {
	h, err := d.head()
	if err != nil {
		return nil, err
	}
	if h.major != majorBytes {
		return nil, malformed("a large integer is not written as bytes")
	}
	body, err := d.take(h.n)
	if err != nil {
		return nil, err
	}
	n := new(big.Int).SetBytes(body)
	if tag == tagBigNegative {
		n.Not(n)
	}
	return n, nil
}

func (d *decoder) text(h head) (string, error) {
	body, err := d.take(h.n)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(body) {
		return "", malformed("a string is not UTF-8")
	}
	return string(body), nil
}

// tagged reads the head of the item after a tag that is not one of a large integer.
func (d *decoder) tagged(tag uint64) (head, error) {
	if tag != tagSet && tag != tagTuple && tag != tagFrozenSet {
		return head{}, malformed("an item has the unknown tag %d", tag)
	}
	h, err := d.head()
	if err == nil && h.major != majorArray {
		err = malformed("a tuple or set is not written as an array")
	}
	return h, err
}

// natural returns the next item as what it is in Go.
func (d *decoder) natural(levels int) (any, error) {
	h, err := d.head()
	if err != nil {
		return nil, err
	}
	switch h.major {
	case majorUnsigned, majorNegative:
		if h.n > math.MaxInt64 {
			return integer(h), nil
		}
		if h.major == majorNegative {
			return ^int64(h.n), nil
		}
		return int64(h.n), nil
	case majorBytes:
		return d.take(h.n)
	case majorText:
		return d.text(h)
	case majorArray:
		return d.list(h, levels)
	case majorMap:
		return d.dictionary(h, levels)
	case majorTag:
		if h.n == tagBigPositive || h.n == tagBigNegative {
			n, err := d.bigInt(h.n)
			if err == nil && n.IsInt64() {
				return n.Int64(), nil // written longer than it had to be
			}
			return n, err
		}
		inner, err := d.tagged(h.n)
		if err != nil {
			return nil, err
		}
		list, err := d.list(inner, levels)
		if h.n == tagTuple {
			return list, err
		}
		return Set(list), err
	}
	switch h.initial {
	case simpleFalse, simpleTrue:
		return h.initial == simpleTrue, nil
	case simpleNull:
		return nil, nil
	case simpleFloat16, simpleFloat32, simpleFloat64:
		return d.float(h.initial)
	}
	return nil, malformed("an item has the unknown form 0x%02x", h.initial)
}

// integer returns an integer item of any size.
func integer(h head) *big.Int {
	n := new(big.Int).SetUint64(h.n)
	if h.major == majorNegative {
		n.Not(n)
	}
	return n
}

func (d *decoder) list(h head, levels int) ([]any, error) {
	n, err := d.collection(h, 1, levels)
	if err != nil {
		return nil, err
	}
	list := make([]any, n)
	for i := range list {
		if list[i], err = d.natural(levels + 1); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// dictionary returns a map[string]any, a map[any]any or Pairs, whichever is the simplest that holds the keys.
func (d *decoder) dictionary(h head, levels int) (any, error) {
	n, err := d.collection(h, 2, levels)
	if err != nil {
		return nil, err
	}
	pairs := make(Pairs, n)
	texts, hashable := true, true
	for i := range pairs {
		if pairs[i].Key, err = d.natural(levels + 1); err != nil {
			return nil, err
		}
		if pairs[i].Value, err = d.natural(levels + 1); err != nil {
			return nil, err
		}
		switch pairs[i].Key.(type) {
		case string:
		case bool, int64, float64, nil:
			texts = false
		default:
			texts, hashable = false, false
		}
	}
	if !hashable {
		return pairs, nil
	}
	if !texts {
		m := make(map[any]any, n)
		for _, pair := range pairs {
			m[pair.Key] = pair.Value
		}
		return m, nil
	}
	m := make(map[string]any, n)
	for _, pair := range pairs {
		m[pair.Key.(string)] = pair.Value
	}
	return m, nil
}

// into stores the next item in target, which is settable.
func (d *decoder) into(target reflect.Value, levels int) error {
	if isAny(target) {
		v, err := d.natural(levels)
		if err != nil {
			return err
		}
		if v == nil {
			target.SetZero()
		} else {
			target.Set(reflect.ValueOf(v))
		}
		return nil
	}
	if d.left() > 0 && d.data[d.at] == simpleNull {
		d.at++
		target.SetZero()
		return nil
	}
	switch {
	case target.Type() == reflect.TypeFor[Pairs]():
		return d.pairs(target, levels)
	case target.Type() == reflect.TypeFor[big.Int]():
	case target.Kind() == reflect.Pointer:
		if target.IsNil() {
			target.Set(reflect.New(target.Type().Elem()))
		}
		// The pointer is no level of the data: types cannot go on for ever as values can.
		return d.into(target.Elem(), levels)
	case target.CanAddr() && target.Addr().Type().Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return d.textInto(target)
	}
	h, err := d.head()
	if err != nil {
		return err
	}
	if h.major == majorTag && h.n != tagBigPositive && h.n != tagBigNegative {
		if h, err = d.tagged(h.n); err != nil {
			return err
		}
	}
	switch h.major {
	case majorUnsigned, majorNegative:
		return setInteger(target, integer(h))
	case majorTag:
		n, err := d.bigInt(h.n)
		if err != nil {
			return err
		}
		return setInteger(target, n)
	case majorBytes:
		return d.bytesInto(target, h)
	case majorText:
		s, err := d.text(h)
		if err != nil {
			return err
		}
		if target.Kind() != reflect.String {
			return mismatch("a string", target.Type())
		}
		target.SetString(s)
		return nil
	case majorArray:
		n, err := d.collection(h, 1, levels)
		if err != nil {
			return err
		}
		return fill(target, n, func(_ int, element reflect.Value) error { return d.into(element, levels+1) })
	case majorMap:
		return d.dictionaryInto(target, h, levels)
	}
	return d.simpleInto(target, h.initial)
}

func (d *decoder) simpleInto(target reflect.Value, initial byte) error {
	switch initial {
	case simpleFalse, simpleTrue:
		if target.Kind() != reflect.Bool {
			return mismatch("a boolean", target.Type())
		}
		target.SetBool(initial == simpleTrue)
		return nil
	case simpleFloat16, simpleFloat32, simpleFloat64:
		f, err := d.float(initial)
		if err != nil {
			return err
		}
		if !target.CanFloat() {
			return mismatch("a float", target.Type())
		}
		target.SetFloat(f)
		return nil
	}
	return malformed("an item has the unknown form 0x%02x", initial)
}

func (d *decoder) textInto(target reflect.Value) error {
	h, err := d.head()
	if err != nil {
		return err
	}
	if h.major != majorText {
		return mismatch("a value that is not a string", target.Type())
	}
	s, err := d.text(h)
	if err != nil {
		return err
	}
	if err := target.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "the string %q does not fit into a %v: %v", s, target.Type(), err)
	}
	return nil
}

func setInteger(target reflect.Value, n *big.Int) error {
	switch {
	case target.Type() == reflect.TypeFor[big.Int]():
		target.Set(reflect.ValueOf(n).Elem())
		return nil
	case target.CanInt() && n.IsInt64() && !target.OverflowInt(n.Int64()):
		target.SetInt(n.Int64())
		return nil
	case target.CanUint() && n.IsUint64() && !target.OverflowUint(n.Uint64()):
		target.SetUint(n.Uint64())
		return nil
	case target.CanFloat():
		f, _ := new(big.Float).SetInt(n).Float64()
		target.SetFloat(f)
		return nil
	}
	if n.BitLen() > 64 {
		return mismatch("a large integer", target.Type())
	}
	return mismatch("the integer "+n.String(), target.Type())
}

func (d *decoder) bytesInto(target reflect.Value, h head) error {
	body, err := d.take(h.n)
	if err != nil {
		return err
	}
	if target.Kind() != reflect.Slice || target.Type().Elem().Kind() != reflect.Uint8 {
		return mismatch("bytes", target.Type())
	}
	target.SetBytes(body)
	return nil
}

// pairs stores a dictionary in its order.
func (d *decoder) pairs(target reflect.Value, levels int) error {
	h, err := d.head()
	if err != nil {
		return err
	}
	if h.major != majorMap {
		return mismatch("a value that is not a dictionary", target.Type())
	}
	n, err := d.collection(h, 2, levels)
	if err != nil {
		return err
	}
	pairs := make(Pairs, n)
	for i := range pairs {
		if pairs[i].Key, err = d.natural(levels + 1); err != nil {
			return err
		}
		if pairs[i].Value, err = d.natural(levels + 1); err != nil {
			return err
		}
	}
	target.Set(reflect.ValueOf(pairs))
	return nil
}

func (d *decoder) dictionaryInto(target reflect.Value, h head, levels int) error {
	n, err := d.collection(h, 2, levels)
	if err != nil {
		return err
	}
	switch target.Kind() {
	case reflect.Struct:
		return d.structInto(target, n, levels)
	case reflect.Map:
	default:
		return mismatch("a dictionary", target.Type())
	}
	t := target.Type()
	m := reflect.MakeMapWithSize(t, n)
	for range n {
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		if err := d.into(key, levels+1); err != nil {
			return err
		}
		if !key.Comparable() {
			return mismatch("a dictionary with such keys", t)
		}
		if err := d.into(value, levels+1); err != nil {
			return err
		}
		m.SetMapIndex(key, value)
	}
	target.Set(m)
	return nil
}

// structInto stores the items whose keys are names of fields; a name matches in any case, and others are passed over.
func (d *decoder) structInto(target reflect.Value, n, levels int) error {
	fields := fieldsOf(target.Type())
	for range n {
		key, err := d.natural(levels + 1)
		if err != nil {
			return err
		}
		name, _ := key.(string)
		var place *field
		for i := range fields {
			if fields[i].name == name {
				place = &fields[i]
				break
			}
			if place == nil && strings.EqualFold(fields[i].name, name) {
				place = &fields[i]
			}
		}
		if place == nil {
			if _, err := d.natural(levels + 1); err != nil {
				return err
			}
			continue
		}
		if err := d.into(reach(target, place.index), levels+1); err != nil {
			return err
		}
	}
	return nil
}

// reach returns a field, making the embedded structs on the way to it.
func reach(v reflect.Value, index []int) reflect.Value {
	for i, n := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(n)
	}
	return v
}

// fill stores n elements in a slice, an array of that length, or a map that has keys only.
func fill(target reflect.Value, n int, element func(int, reflect.Value) error) error {
	t := target.Type()
	switch {
	case t.Kind() == reflect.Slice:
		list := reflect.MakeSlice(t, n, n)
		for i := range n {
			if err := element(i, list.Index(i)); err != nil {
				return err
			}
		}
		target.Set(list)
		return nil
	case t.Kind() == reflect.Array && t.Len() == n:
		for i := range n {
			if err := element(i, target.Index(i)); err != nil {
				return err
			}
		}
		return nil
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct && t.Elem().NumField() == 0:
		m := reflect.MakeMapWithSize(t, n)
		for i := range n {
			key := reflect.New(t.Key()).Elem()
			if err := element(i, key); err != nil {
				return err
			}
			if !key.Comparable() {
				return mismatch("a set of such elements", t)
			}
			m.SetMapIndex(key, reflect.Zero(t.Elem()))
		}
		target.Set(m)
		return nil
	}
	return mismatch("a list", t)
}
