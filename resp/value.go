package resp

import (
	"math"
	"math/big"
	"strconv"

	"cloudburst/codec"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// encode returns what the store keeps for bytes that a client sends: a value of the codec bytes, which Python reads as bytes.
func encode(content []byte) []byte {
	return appendEncoded(make([]byte, 0, 1+len(content)), content)
}

func appendEncoded(to, content []byte) []byte { return append(append(to, codec.KindBytes), content...) }

// textForm appends a value as Redis clients get it: bytes as they are, plain text and numbers as text. Other values have no
// such form.
func textForm(to, value []byte) ([]byte, error) {
	if len(value) > 0 && value[0] == codec.KindBytes {
		return append(to, value[1:]...), nil
	}
	if len(value) < 2 || value[0] != codec.KindPlain {
		return to, noTextForm(value)
	}
	// The first bits of a CBOR item say what it is; lists and maps are not even read.
	switch kind := value[1] >> 5; {
	case kind == 4 || kind == 5 || kind == 6 && value[1] != 0xc2 && value[1] != 0xc3:
		return to, noTextForm(value)
	}
	var item any
	if err := codec.Decode(value, &item); err != nil {
		return to, noTextForm(value)
	}
	switch item := item.(type) {
	case string:
		return append(to, item...), nil
	case []byte:
		return append(to, item...), nil
	case int64:
		return strconv.AppendInt(to, item, 10), nil
	case *big.Int:
		return item.Append(to, 10), nil
	case float64:
		if math.IsNaN(item) {
			return append(to, "nan"...), nil
		}
		return appendFloat(to, item), nil
	case bool:
		return strconv.AppendBool(to, item), nil
	}
	return to, noTextForm(value)
}

func noTextForm(value []byte) error {
	what := "a value"
	if len(value) > 0 {
		switch value[0] {
		case codec.KindPlain:
			what = "a list, a dictionary or the like"
		case codec.KindArray:
			what = "an array"
		case codec.KindPickle:
			what = "a Python object"
		case codec.KindFailure:
			what = "the error of a run"
		}
	}
	return wire.Errorf(pb.Code_CODE_LATTICE_MISMATCH, "the key holds %s that has no text form; read it with a client of Cloudburst", what)
}

// memberForms is how many values a member that a client names may be: bytes, as a Redis client writes it, and what Python
// writes for the same text or number.
const memberForms = 3

// formOf returns one of these values for a member that is given as bytes, nil when there is none. It is put into to.
func formOf(to, member []byte, form int) []byte {
	content := member[1:]
	switch form {
	case 0:
		return member
	case 1:
		return codec.AppendText(append(to, codec.KindPlain), content)
	}
	if n, ok := parseInt(content); ok {
		return codec.AppendInt(append(to, codec.KindPlain), n)
	}
	return nil
}

// typeName returns what TYPE says of a lattice.
func typeName(l lattice.Lattice) string {
	if l == nil {
		return "none"
	}
	switch l.Type() {
	case lattice.TypeLWW, lattice.TypeCounter, lattice.TypeMax, lattice.TypeMin:
		return "string"
	case lattice.TypeOrderedSet:
		return "zset"
	}
	return l.Type().String()
}

// wrongType is what a command answers whose key holds something that it does not work on.
func wrongType(l lattice.Lattice) error {
	if l.Type() == lattice.TypeLWW {
		return wire.Errorf(pb.Code_CODE_LATTICE_MISMATCH, "it holds a single value")
	}
	return wire.Errorf(pb.Code_CODE_LATTICE_MISMATCH, "it holds a lattice of type %v", l.Type())
}

// look is what a read has found under a key. It is filled in under the store's lock and used after that.
type look struct {
	kind    lattice.Type
	value   []byte // of a last-writer-wins value; immutable
	number  int64  // of a counter
	expires int64
	err     error

	into func(*lattice.State) // bound once, so that a read allocates nothing
	now  int64                // Unix milliseconds
}

// take reads a key of any type that has a text form.
func (k *look) take(held *lattice.State) {
	k.kind, k.value, k.err, k.expires = lattice.TypeNone, nil, nil, 0
	if held == nil {
		return
	}
	live := held.Live(k.now)
	if live == nil {
		return
	}
	k.kind = live.Type()
	k.expires = held.ExpiresAt()
	switch l := live.(type) {
	case *lattice.LWW:
		k.value = l.Value
	case *lattice.Counter:
		k.number = l.Value()
	case *lattice.Max:
		k.number = l.Value
	case *lattice.Min:
		k.number = l.Value
	default:
		k.err = wrongType(live)
	}
}

// plainBytes reports whether what was found is bytes as a Redis client writes them.
func (k *look) plainBytes() bool {
	return k.kind == lattice.TypeLWW && len(k.value) > 0 && k.value[0] == codec.KindBytes
}

// appendText appends what was found as text.
func (k *look) appendText(to []byte) ([]byte, error) {
	switch k.kind {
	case lattice.TypeLWW:
		return textForm(to, k.value)
	case lattice.TypeCounter, lattice.TypeMax, lattice.TypeMin:
		return strconv.AppendInt(to, k.number, 10), nil
	}
	return to, k.err
}

// integerOf returns the number that a live lattice shows, for INCR.
func integerOf(live lattice.Lattice) (int64, error) {
	switch l := live.(type) {
	case nil:
		return 0, nil
	case *lattice.Counter:
		return l.Value(), nil
	case *lattice.LWW:
		text, err := textForm(nil, l.Value)
		if err != nil {
			return 0, err
		}
		n, ok := parseInt(text)
		if !ok {
			return 0, errNotInteger
		}
		return n, nil
	}
	return 0, wrongType(live)
}

var (
	errNotInteger = wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "value is not an integer or out of range")
	errOverflow   = wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "increment or decrement would overflow")
	errNotFloat   = wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "value is not a valid float")
	errExpiry     = wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "invalid expire time in script")
	errNotNumber  = wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "resulting score is not a number (NaN)")
)
