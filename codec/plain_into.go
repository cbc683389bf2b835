package codec

import (
	"encoding"
	"math/big"
	"reflect"
	"strings"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// into stores the next item in target, which is settable.
func (d *decoder) into(target reflect.Value, levels int) error {
	if holdsAny(target) {
		inner := decoder{d.data, d.at, d.ordered || target.Type() == ordered}
		v, err := inner.natural(levels)
		if err == nil {
			d.at = inner.at
			setAny(target, v)
		}
		return err
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
		// The pointer is not a level of the data: types cannot go on for ever as values can.
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
		if pairs[i].Key, err = d.key(levels + 1); err != nil {
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
