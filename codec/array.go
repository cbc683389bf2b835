package codec

import (
	"encoding/binary"
	"math"
	"math/bits"
	"regexp"
	"strconv"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// arrayAlignment is the multiple at which the elements begin, counted from the codec byte.
	arrayAlignment    = 64
	arrayHeadBytesMax = 4096
	arrayPrefixBytes  = 5
)

// Array is a NumPy array: its elements as they lie in memory. Data may share memory with other results and is not to be
// changed.
type Array struct {
	// DType is NumPy's name of the element type, such as "<f8" for little-endian float64.
	DType string
	Shape []int
	// Order is "C" when the last index varies fastest, "F" when the first does. Empty is "C".
	Order string
	Data  []byte
}

func (a Array) encode() ([]byte, error) {
	order := a.Order
	if order == "" {
		order = "C"
	}
	if a.DType == "" || order != "C" && order != "F" {
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "an array with dtype %q and order %q: give a NumPy dtype such as \"<f8\", and C or F", a.DType, a.Order)
	}
	item, ok := itemBytes(a.DType)
	if !ok {
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "an array with dtype %q; give a simple NumPy dtype such as \"<f8\"", a.DType)
	}
	want := uint64(item)
	for _, n := range a.Shape {
		if n < 0 {
			return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "an array with a negative length, %d", n)
		}
		high, low := bits.Mul64(want, uint64(n))
		if want = low; high > 0 {
			want = math.MaxUint64
		}
	}
	if want != uint64(len(a.Data)) {
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "an array with %d bytes of elements; its shape %v and dtype %q want %d", len(a.Data), a.Shape, a.DType, want)
	}
	head := []byte{0xa3}
	head = AppendText(AppendText(head, "dtype"), a.DType)
	head = appendHead(AppendText(head, "shape"), majorArray, uint64(len(a.Shape)))
	for _, n := range a.Shape {
		head = appendHead(head, majorUnsigned, uint64(n))
	}
	head = AppendText(AppendText(head, "order"), order)
	if len(head) > arrayHeadBytesMax {
		return nil, wire.Errorf(pb.Code_CODE_TOO_LARGE, "an array of %d dimensions; its head of %d bytes is over the limit of %d", len(a.Shape), len(head), arrayHeadBytesMax)
	}
	start := alignUp(arrayPrefixBytes + len(head))
	value := make([]byte, start, start+len(a.Data))
	value[0] = KindArray
	binary.LittleEndian.PutUint32(value[1:], uint32(len(head)))
	copy(value[arrayPrefixBytes:], head)
	return append(value, a.Data...), nil
}

var simpleDType = regexp.MustCompile(`^[<>|=][biufcmMSUV](\d{1,9})(\[[^\]]*\])?$`)

// itemBytes returns the size of an element, as the name of a simple dtype says it.
func itemBytes(dtype string) (int, bool) {
	match := simpleDType.FindStringSubmatch(dtype)
	if match == nil {
		return 0, false
	}
	n, _ := strconv.Atoi(match[1])
	if dtype[1] == 'U' {
		n *= 4 // characters of 32 bits
	}
	return n, n > 0
}

func alignUp(n int) int { return (n + arrayAlignment - 1) / arrayAlignment * arrayAlignment }

// decodeArray returns the array that a value holds, over the value's own bytes.
func decodeArray(value []byte) (Array, error) {
	if len(value) < arrayPrefixBytes {
		return Array{}, malformed("the array is cut off")
	}
	n := int(binary.LittleEndian.Uint32(value[1:]))
	if n > arrayHeadBytesMax || n > len(value)-arrayPrefixBytes {
		return Array{}, malformed("the head of the array has %d bytes", n)
	}
	var head struct {
		DType string `json:"dtype"`
		Shape []int  `json:"shape"`
		Order string `json:"order"`
	}
	encoded := append([]byte{KindPlain}, value[arrayPrefixBytes:arrayPrefixBytes+n]...)
	if err := Decode(encoded, &head); err != nil {
		return Array{}, malformed("the head of the array: %v", err)
	}
	if head.DType == "" || head.Order != "C" && head.Order != "F" {
		return Array{}, malformed("the array has dtype %q and order %q", head.DType, head.Order)
	}
	start := min(alignUp(arrayPrefixBytes+n), len(value))
	return Array{DType: head.DType, Shape: head.Shape, Order: head.Order, Data: value[start:]}, nil
}
