package codec

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func bigInt(text string) *big.Int {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		panic(text)
	}
	return n
}

// equal compares values; integers of any size by what they are.
func equal(a, b any) string {
	return cmp.Diff(a, b, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 }), cmp.Comparer(func(a, b float64) bool {
		return math.Float64bits(a) == math.Float64bits(b)
	}))
}

// The bytes are those that the Python codec writes for the same values.
var golden = []struct {
	name    string
	bytes   string
	value   any // what it decodes to
	encodes any // what encodes to it as well
}{
	{name: "null", bytes: "01f6", value: nil},
	{name: "true", bytes: "01f5", value: true},
	{name: "false", bytes: "01f4", value: false},
	{name: "0", bytes: "0100", value: int64(0)},
	{name: "-1", bytes: "0120", value: int64(-1)},
	{name: "255", bytes: "0118ff", value: int64(255), encodes: uint8(255)},
	{name: "2**31", bytes: "011a80000000", value: int64(1) << 31},
	{name: "-2**31-1", bytes: "013a80000000", value: -int64(1)<<31 - 1},
	{name: "2**63-1", bytes: "011b7fffffffffffffff", value: int64(math.MaxInt64)},
	{name: "-2**63", bytes: "013b7fffffffffffffff", value: int64(math.MinInt64)},
	{name: "2**64-1", bytes: "011bffffffffffffffff", value: bigInt("18446744073709551615"), encodes: uint64(math.MaxUint64)},
	{name: "2**64", bytes: "01c249010000000000000000", value: bigInt("18446744073709551616")},
	{name: "-2**64", bytes: "013bffffffffffffffff", value: bigInt("-18446744073709551616")},
	{name: "-2**64-1", bytes: "01c349010000000000000000", value: bigInt("-18446744073709551617")},
	{name: "10**30", bytes: "01c24d0c9f2c9cd04674edea40000000", value: bigInt("1" + strings.Repeat("0", 30))},
	{name: "1.5", bytes: "01fb3ff8000000000000", value: 1.5, encodes: float32(1.5)},
	{name: "inf", bytes: "01fb7ff0000000000000", value: math.Inf(1)},
	{name: "empty text", bytes: "0160", value: ""},
	{name: "text", bytes: "01666772c3bcc39f", value: "grüß"},
	{name: "no bytes", bytes: "04", value: []byte{}},
	{name: "bytes", bytes: "04616263", value: []byte("abc")},
	{name: "empty list", bytes: "0180", value: []any{}},
	{name: "list", bytes: "01820183026178f6", value: []any{int64(1), []any{int64(2), "x", nil}}},
	{name: "bytes in a list", bytes: "01814178", value: []any{[]byte("x")}},
	{name: "tuple", bytes: "01d9c350820102", value: Tuple{int64(1), int64(2)}},
	{name: "dictionary", bytes: "01a2616101616281f5", value: map[string]any{"a": int64(1), "b": []any{true}}},
	{name: "dictionary of integers", bytes: "01a10102", value: map[any]any{int64(1): int64(2)}, encodes: map[int]int{1: 2}},
	{name: "dictionary of tuples", bytes: "01a1d9c3508201026178", value: Pairs{{Tuple{int64(1), int64(2)}, "x"}}},
	{name: "set", bytes: "01d9010283010203", value: Set{int64(1), int64(2), int64(3)}, encodes: map[int]struct{}{3: {}, 1: {}, 2: {}}},
	{name: "frozen set", bytes: "01d9c351816161", value: FrozenSet{"a"}},
	{name: "set of large integers", bytes: "01d901028224c249400000000000000000", value: Set{int64(-5), new(big.Int).Lsh(big.NewInt(1), 70)}},
	{name: "pickle", bytes: "0380054b012e", value: Pickle("\x80\x05K\x01.")},
	{
		name: "array", bytes: "021c000000a3656474797065633c6932657368617065820202656f726465726146" + strings.Repeat("00", 31) + "0000020001000300",
		value: Array{DType: "<i2", Shape: []int{2, 2}, Order: "F", Data: []byte{0, 0, 2, 0, 1, 0, 3, 0}},
	},
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	encoded, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func TestGoldenValues(t *testing.T) {
	t.Parallel()
	for _, test := range golden {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			encoded := unhex(t, test.bytes)
			var got any
			if err := Decode(encoded, &got); err != nil {
				t.Fatal(err)
			}
			if diff := equal(test.value, got); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			for _, v := range []any{test.value, test.encodes} {
				if v == nil && test.value != nil {
					continue
				}
				back, err := Encode(v)
				if err != nil || !bytes.Equal(back, encoded) {
					t.Errorf("%T encoded to %x, %v, want %s", v, back, err, test.bytes)
				}
			}
		})
	}
}

type inner struct {
	City string `json:"city"`
}

type person struct {
	inner
	Name    string    `json:"name"`
	Age     uint8     `json:"age,omitempty"`
	Scores  []float64 `json:"scores"`
	Tags    map[string]struct{}
	Best    *person           `json:"best,omitempty"`
	Born    time.Time         `json:"born"`
	Notes   map[string]string `json:"notes,omitempty"`
	Pair    [2]int            `json:"pair"`
	Large   big.Int           `json:"large"`
	Free    any               `json:"free"`
	Skipped int               `json:"-"`
	hidden  int
}

func TestStructsRoundTrip(t *testing.T) {
	t.Parallel()
	want := person{
		inner: inner{City: "London"},
		Name:  "Ada", Age: 36, Scores: []float64{1, 2.5}, Tags: map[string]struct{}{"x": {}},
		Best: &person{Name: "Charles", Large: *big.NewInt(1)}, Born: time.Date(1815, 12, 10, 0, 0, 0, 0, time.UTC),
		Pair: [2]int{3, -4}, Large: *bigInt("-1" + strings.Repeat("0", 40)), Free: []any{int64(1), "two"},
	}
	want.Skipped, want.hidden = 7, 8
	value, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	var got person
	if err := Decode(value, &got); err != nil {
		t.Fatal(err)
	}
	want.Skipped, want.hidden = 0, 0
	options := cmp.Options{
		cmp.AllowUnexported(person{}), cmp.Comparer(func(a, b big.Int) bool { return a.Cmp(&b) == 0 }),
		cmp.Transformer("empty", func(s []float64) []float64 { return append([]float64{}, s...) }),
		cmp.Transformer("none", func(m map[string]struct{}) int { return len(m) }),
	}
	if diff := cmp.Diff(want, got, options); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var natural map[string]any
	if err := Decode(value, &natural); err != nil {
		t.Fatal(err)
	}
	if natural["city"] != "London" || natural["name"] != "Ada" || natural["age"] != int64(36) {
		t.Errorf("as a dictionary: %v", natural)
	}
}

func TestTypedResults(t *testing.T) {
	t.Parallel()
	list, err := Encode([]int{1, 2, 300})
	if err != nil {
		t.Fatal(err)
	}
	var floats []float64
	if err := Decode(list, &floats); err != nil || !reflect.DeepEqual(floats, []float64{1, 2, 300}) {
		t.Errorf("got %v, %v", floats, err)
	}
	var pointer *[]int64
	if err := Decode(list, &pointer); err != nil || !reflect.DeepEqual(*pointer, []int64{1, 2, 300}) {
		t.Errorf("got %v, %v", pointer, err)
	}
	var set map[int]struct{}
	if err := Decode(list, &set); err != nil || len(set) != 3 {
		t.Errorf("got %v, %v", set, err)
	}
	elements := [][]byte{{KindPlain, 1}, {KindPlain, 2}}
	var members []int
	if err := DecodeSet(elements, &members); err != nil || !reflect.DeepEqual(members, []int{1, 2}) {
		t.Errorf("got %v, %v", members, err)
	}
	var anything any
	if err := DecodeSet(elements, &anything); err != nil || equal(anything, Set{int64(1), int64(2)}) != "" {
		t.Errorf("got %v, %v", anything, err)
	}
}

func TestWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	encode := func(v any) []byte {
		value, err := Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	tests := []struct {
		name  string
		value []byte
		out   any
		want  string
	}{
		{"too large", encode(300), new(uint8), "the integer 300 does not fit into a uint8"},
		{"negative", encode(-1), new(uint), "the integer -1 does not fit into a uint"},
		{"very large", encode(bigInt("1" + strings.Repeat("0", 400))), new(int), "a large integer does not fit into a int"},
		{"text", encode("x"), new(int), "a string does not fit into a int"},
		{"float", encode(1.5), new(int), "a float does not fit into a int"},
		{"list", encode([]int{1}), new(string), "a list does not fit into a string"},
		{"wrong length", encode([]int{1}), new([2]int), "a list does not fit into a [2]int"},
		{"dictionary", encode(map[string]int{"a": 1}), new([]int), "a dictionary does not fit into a []int"},
		{"bytes", encode([]byte("x")), new(string), "bytes does not fit into a string"},
		{"pickle", encode(Pickle("x")), new(string), "only Python can read"},
		{"inside", encode(map[string]any{"a": []any{"x"}}), new(map[string][]int), "a string does not fit into a int"},
		{"no pointer", encode(1), 1, "goes to a pointer"},
		{"nil pointer", encode(1), (*int)(nil), "goes to a pointer"},
		{"no pointer at all", encode(1), nil, "goes to a pointer"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := Decode(test.value, test.out)
			if err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, wire.ErrInvalidArgument) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestWhatCannotTravel(t *testing.T) {
	t.Parallel()
	deep := any(1)
	for range levelsMax + 1 {
		deep = []any{deep}
	}
	type loop struct{ Next *loop }
	round := &loop{}
	round.Next = round
	tests := []struct {
		name  string
		value any
		want  string
	}{
		{"function", func() {}, "a func() cannot travel"},
		{"channel inside", map[string]any{"x": make(chan int)}, "a chan int cannot travel"},
		{"deep", deep, "more than 128 levels"},
		{"endless", round, "more than 128 levels"},
		{"not UTF-8", "\xff", "send it as []byte"},
		{"array inside", []any{Array{DType: "<f8"}}, "not lie inside"},
		{"array without dtype", Array{}, "dtype"},
		{"array of objects", Array{DType: "|O8", Data: make([]byte, 8), Shape: []int{1}}, "simple NumPy dtype"},
		{"array that is cut off", Array{DType: "<f8", Data: make([]byte, 8), Shape: []int{2}}, "want 16"},
		{"array of no size", Array{DType: "<f8", Shape: []int{-1}}, "negative length"},
		{"array that is too large", Array{DType: "<f8", Shape: []int{1 << 40, 1 << 40}}, "shape"},
		{"too large", bytes.Repeat([]byte{1}, wire.ValueBytesMax+wire.ValueOverheadMax+1), "64 MiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := Encode(test.value)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	within := any(1)
	for range levelsMax {
		within = []any{within}
	}
	value, err := Encode(within)
	if err != nil {
		t.Fatal(err)
	}
	var back any
	if err := Decode(value, &back); err != nil || !reflect.DeepEqual(back, deepest(within)) {
		t.Errorf("128 levels: %v", err)
	}
}

func deepest(v any) any {
	if list, ok := v.([]any); ok {
		return []any{deepest(list[0])}
	}
	return int64(1)
}

func TestFailureIsAnError(t *testing.T) {
	t.Parallel()
	value, err := EncodeFailure(&wire.Error{Code: pb.Code_CODE_EXECUTION, Exception: &pb.RemoteException{Type: "ValueError", Message: "no", Traceback: "Traceback"}})
	if err != nil {
		t.Fatal(err)
	}
	var out any
	err = Decode(value, &out)
	if e, ok := errors.AsType[*wire.Error](err); !ok || !errors.Is(err, wire.ErrExecution) || e.Exception.GetTraceback() != "Traceback" {
		t.Errorf("got %v", err)
	}
}

// anyValue draws values that come back as they were.
func anyValue(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Int64().AsAny(), rapid.Float64().AsAny(), rapid.String().AsAny(),
		rapid.Custom(func(t *rapid.T) any {
			n := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 9, 20).Draw(t, "magnitude"))
			n.SetBit(n, 80, 1)
			if rapid.Bool().Draw(t, "negative") {
				n.Neg(n)
			}
			return n
		}),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	below := anyValue(depth - 1)
	return rapid.OneOf(append(scalars,
		rapid.SliceOfN(below, 0, 5).AsAny(),
		rapid.MapOfN(rapid.String(), below, 0, 5).AsAny(),
		rapid.SliceOfN(rapid.Byte(), 0, 300).AsAny(),
	)...)
}

func TestValuesRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anyValue(3).Draw(t, "value")
		value, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		var got any
		if err := Decode(value, &got); err != nil {
			t.Fatal(err)
		}
		if diff := equal(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		again, err := Encode(got)
		if err != nil || !bytes.Equal(value, again) {
			t.Fatalf("%x and then %x, %v", value, again, err)
		}
	})
}

// FuzzDecode feeds hostile bytes: every target takes them or fails, and what is taken as any can be encoded again, always to
// the same bytes.
func FuzzDecode(f *testing.F) {
	for _, test := range golden {
		f.Add(unhex(f, test.bytes))
	}
	f.Add([]byte{1, 0xfa, 0x3f, 0x80, 0, 0})
	f.Add([]byte{1, 0xf9, 0x3c, 0})
	f.Add([]byte{1, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, value []byte) {
		for _, out := range []any{
			new(person), new([]int), new(map[string]any), new(map[any]string), new(string),
			new(Array), new(Pairs), new(Set), new(*float32),
		} {
			_ = Decode(value, out)
		}
		var v any
		if err := Decode(value, &v); err != nil || value[0] == KindLattice {
			return // what lattices show can hold what only stands alone
		}
		again, err := Encode(v)
		if err != nil {
			t.Fatalf("%x decodes to %#v, which cannot be encoded: %v", value, v, err)
		}
		// What was written carelessly, such as a set with an element twice, is written properly from then on.
		var back any
		if err := Decode(again, &back); err != nil {
			t.Fatalf("%x decodes to %#v, which is encoded as %x: %v", value, v, again, err)
		}
		if stable, err := Encode(back); err != nil || !bytes.Equal(again, stable) {
			t.Fatalf("%x is encoded as %x, and after decoding as %x, %v", value, again, stable, err)
		}
	})
}
