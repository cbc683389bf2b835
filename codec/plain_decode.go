package codec

import (
	"encoding/binary"
	"math"
	"math/big"
	"reflect"
	"unicode/utf8"
)

// decoder reads data items. Every length is held against what is left of the data before anything is made from it.
type decoder struct {
	data    []byte
	at      int
	ordered bool // dictionaries are Pairs
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
	return d.end()
}

// end fails unless all of the data has been read.
func (d *decoder) end() error {
	if d.left() > 0 {
		return malformed("%d bytes follow it", d.left())
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
		return d.taggedList(h.n, inner, levels)
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

func (d *decoder) taggedList(tag uint64, h head, levels int) (any, error) {
	list, err := d.list(h, levels)
	if err != nil || tag == tagTuple {
		return Tuple(list), err
	}
	for i := range list {
		if list[i], err = hashable(list[i]); err != nil {
			return nil, err
		}
	}
	if tag == tagFrozenSet {
		return FrozenSet(list), nil
	}
	return Set(list), nil
}

// hashable returns a value as a key or as an element of a set, where Python has tuples for lists and frozen sets for sets.
func hashable(v any) (any, error) {
	switch v := v.(type) {
	case []any:
		return hashable(Tuple(v))
	case Tuple:
		for i := range v {
			var err error
			if v[i], err = hashable(v[i]); err != nil {
				return nil, err
			}
		}
	case Set:
		return FrozenSet(v), nil
	case map[string]any, map[any]any, Pairs:
		return nil, malformed("a dictionary is a key or an element of a set")
	}
	return v, nil
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

// key returns the next item as a key of a dictionary.
func (d *decoder) key(levels int) (any, error) {
	v, err := d.natural(levels)
	if err != nil {
		return nil, err
	}
	return hashable(v)
}

// dictionary returns a map[string]any, a map[any]any or Pairs, whichever is the simplest that holds the keys.
func (d *decoder) dictionary(h head, levels int) (any, error) {
	n, err := d.collection(h, 2, levels)
	if err != nil {
		return nil, err
	}
	pairs := make(Pairs, n)
	texts, hashes := true, true
	for i := range pairs {
		if pairs[i].Key, err = d.key(levels + 1); err != nil {
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
			texts, hashes = false, false
		}
	}
	if !hashes || d.ordered {
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
