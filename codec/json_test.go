package codec

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// hashableValue draws keys and elements of sets.
func hashableValue(depth int) *rapid.Generator[any] {
	kinds := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Int64().AsAny(), rapid.Float64().AsAny(), rapid.String().AsAny(),
		rapid.SliceOfN(rapid.Byte(), 0, 20).AsAny(),
	}
	if depth > 0 {
		list := rapid.SliceOfN(hashableValue(depth-1), 0, 3)
		kinds = append(
			kinds, rapid.Map(list, func(l []any) any { return Tuple(l) }), rapid.Map(list, func(l []any) any { return FrozenSet(l) }),
		)
	}
	return rapid.OneOf(kinds...)
}

// pythonValue draws whatever a plain value can be, dictionaries in an order of their own included.
func pythonValue(depth int) *rapid.Generator[any] {
	kinds := []*rapid.Generator[any]{
		anyValue(0), hashableValue(2), rapid.SampledFrom([]any{
			math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 1.0, 1e20, 1e21, 1e-7, math.MaxFloat64, "$bytes", "\u2028<&>\x00", "",
		}),
	}
	if depth > 0 {
		below := pythonValue(depth - 1)
		pairs := func(key *rapid.Generator[any]) *rapid.Generator[any] {
			return rapid.Custom(func(t *rapid.T) any {
				pairs, seen := Pairs{}, map[string]bool{}
				for range rapid.IntRange(0, 4).Draw(t, "items") {
					k := key.Draw(t, "key")
					encoded, err := Encode(k)
					if err != nil {
						t.Fatal(err)
					}
					if !seen[string(encoded)] {
						seen[string(encoded)] = true
						pairs = append(pairs, Pair{k, below.Draw(t, "value")})
					}
				}
				return pairs
			})
		}
		notations := rapid.Map(rapid.SampledFrom(jsonNotations), func(s string) any { return s })
		kinds = append(
			kinds,
			rapid.SliceOfN(below, 0, 4).AsAny(),
			rapid.Map(rapid.SliceOfN(below, 0, 3), func(l []any) any { return Tuple(l) }),
			rapid.Map(rapid.SliceOfN(hashableValue(1), 0, 4), func(l []any) any { return Set(l) }),
			pairs(rapid.String().AsAny()), pairs(hashableValue(1)), pairs(notations),
		)
	}
	return rapid.OneOf(kinds...)
}

// TestJSONSaysEveryValue: a value that is written as JSON and read back has the same bytes, with the order of its dictionaries.
func TestJSONSaysEveryValue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		encoded, err := Encode(pythonValue(3).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		sameThroughJSON(t, encoded)
	})
}

func TestJSONSaysGoldenValues(t *testing.T) {
	t.Parallel()
	for _, test := range golden {
		sameThroughJSON(t, unhex(t, test.bytes))
	}
}

func sameThroughJSON(t rapid.TB, encoded []byte) {
	t.Helper()
	var v Ordered
	if err := Decode(encoded, &v); err != nil {
		t.Fatal(err)
	}
	text, err := FormatJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseJSON(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if again, err := Encode(back); err != nil || !bytes.Equal(again, encoded) {
		t.Fatalf("%s: %x became %x, %v", text, encoded, again, err)
	}
}

func TestJSONNotation(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]any{
		`{"$bytes":"aGk="}`:              []byte("hi"),
		`{"$pickle":"aGk="}`:             Pickle("hi"),
		`{"$float":"nan"}`:               math.NaN(),
		`{"$float":"-inf"}`:              math.Inf(-1),
		`1.0`:                            1.0,
		`-0.0`:                           math.Copysign(0, -1),
		`1e+21`:                          1e21,
		`100000000000000000000.0`:        1e20,
		`{"$tuple":[1,{"$set":[2]}]}`:    Tuple{int64(1), Set{int64(2)}},
		`{"$dict":[[1,"x"],["a",null]]}`: Pairs{{int64(1), "x"}, {"a", nil}},
		`{"$dict":[["$bytes","x"]]}`:     Pairs{{"$bytes", "x"}},
		`{"$ref":"x"}`:                   Pairs{{"$ref", "x"}},
		`{"$bytes":"x","b":[]}`:          Pairs{{"$bytes", "x"}, {"b", []any{}}},
		`{"b":1,"a":"<&>"}`:              Pairs{{"b", int64(1)}, {"a", "<&>"}},
		`{"a":1,"b":2}`:                  map[string]any{"b": int64(2), "a": int64(1)},
		`{"$frozenset":["ü"]}`:           FrozenSet{"ü"},
		`123456789012345678901234567890`: bigInt("123456789012345678901234567890"),
		`{"$array":{"dtype":"<i2","shape":[1],"order":"C","data":"AQI="}}`: Array{"<i2", []int{1}, "C", []byte{1, 2}},
	} {
		if got, err := FormatJSON(v); err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func TestJSONThatIsRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                           "unexpected EOF",
		`[1`:                         "unexpected EOF",
		`hello`:                      "invalid character",
		`1 2`:                        "more follows",
		`1e400`:                      "out of the range",
		"\"\xff\"":                   "not UTF-8",
		`"\ud800"`:                   `\ud800 is half of a surrogate pair`,
		`"\ude00\ud83d"`:             `\ude00 is half of a surrogate pair`,
		`{"a":1,"a":2}`:              `the key "a" occurs twice`,
		`{"$bytes":1}`:               "string in base64",
		`{"$bytes":"a"}`:             "is not base64",
		`{"$float":"NaN"}`:           `"nan"`,
		`{"$tuple":1}`:               "followed by a list",
		`{"$dict":[[1]]}`:            "element 0 is not a pair",
		`{"$array":{"dtype":1}}`:     `"dtype" is not a part`,
		`{"$array":{}}`:              "such as",
		strings.Repeat("[", 200):     "more than 128 levels",
		strings.Repeat(`{"a":`, 200): "more than 128 levels",
	} {
		if v, err := ParseJSON(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: got %v, %v, want %q", text, v, err, want)
		}
	}
	for _, text := range []string{`"\ud83d\ude00"`, `"\\ud800"`, `"\\\ud83d\ude00"`, `"\u00fc"`} {
		if _, err := ParseJSON(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestKeysAndElementsDoNotChange(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ value, want any }{
		{map[[2]int]string{{1, 2}: "x"}, Pairs{{Tuple{int64(1), int64(2)}, "x"}}},
		{Pairs{{[]any{1, []int{2}}, nil}}, Pairs{{Tuple{int64(1), Tuple{int64(2)}}, nil}}},
		{Set{Set{1}}, Set{FrozenSet{int64(1)}}},
		{Set{map[int]struct{}{1: {}}}, Set{FrozenSet{int64(1)}}},
	} {
		encoded, err := Encode(test.value)
		if err != nil {
			t.Errorf("%v: %v", test.value, err)
			continue
		}
		var got any
		if err := Decode(encoded, &got); err != nil || equal(test.want, got) != "" {
			t.Errorf("%v became %#v, %v", test.value, got, err)
		}
	}
	type point struct{ X int }
	for _, value := range []any{Set{map[string]int{}}, Pairs{{Pairs{}, 1}}, map[point]int{{1}: 1}, Set{Tuple{map[string]any{}}}} {
		if _, err := Encode(value); err == nil || !strings.Contains(err.Error(), "cannot be a key") {
			t.Errorf("%v: %v", value, err)
		}
	}
}
