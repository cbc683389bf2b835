package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// What JSON cannot say is an object whose only key is one of these. A dictionary that looks like such an object is written with
// $dict, so that every text means one value.
const (
	jsonBytes     = "$bytes"     // base64
	jsonPickle    = "$pickle"    // base64
	jsonArray     = "$array"     // an object: dtype, shape, order, data in base64
	jsonFloat     = "$float"     // "nan", "inf" or "-inf"
	jsonTuple     = "$tuple"     // a list
	jsonSet       = "$set"       // a list
	jsonFrozenSet = "$frozenset" // a list
	jsonDict      = "$dict"      // a list of pairs of a key and a value
)

var jsonNotations = []string{jsonBytes, jsonPickle, jsonArray, jsonFloat, jsonTuple, jsonSet, jsonFrozenSet, jsonDict}

// jsonArrayHead is an [Array] in JSON.
type jsonArrayHead struct {
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
	Order string `json:"order"`
	Data  []byte `json:"data"`
}

// FormatJSON returns a value, as Decode stores it in an any or an [Ordered], as one line of JSON that [ParseJSON] reads back as
// the same value. Dictionaries keep their order where they have one.
func FormatJSON(v any) (string, error) {
	var b strings.Builder
	err := writeJSON(&b, v)
	return b.String(), err
}

func writeJSON(b *strings.Builder, v any) error {
	switch v := v.(type) {
	case nil, bool, int64, string, *big.Int:
		return writeJSONText(b, v)
	case float64:
		return writeJSONFloat(b, v)
	case []byte:
		return writeJSONNotation(b, jsonBytes, func() error { return writeJSONText(b, v) })
	case Pickle:
		return writeJSONNotation(b, jsonPickle, func() error { return writeJSONText(b, []byte(v)) })
	case Array:
		head := jsonArrayHead{v.DType, append([]int{}, v.Shape...), v.Order, append([]byte{}, v.Data...)}
		return writeJSONNotation(b, jsonArray, func() error { return writeJSONText(b, head) })
	case []any:
		return writeJSONList(b, v)
	case Tuple:
		return writeJSONNotation(b, jsonTuple, func() error { return writeJSONList(b, v) })
	case Set:
		return writeJSONNotation(b, jsonSet, func() error { return writeJSONList(b, v) })
	case FrozenSet:
		return writeJSONNotation(b, jsonFrozenSet, func() error { return writeJSONList(b, v) })
	case Ordered:
		return writeJSON(b, v.Value)
	case map[string]any:
		pairs := make(Pairs, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			pairs = append(pairs, Pair{key, v[key]})
		}
		return writeJSON(b, pairs)
	case map[any]any:
		pairs := make(Pairs, 0, len(v))
		for key, value := range v {
			pairs = append(pairs, Pair{key, value})
		}
		slices.SortFunc(pairs, func(a, b Pair) int { return strings.Compare(fmt.Sprint(a.Key), fmt.Sprint(b.Key)) })
		return writeJSON(b, pairs)
	case Pairs:
		return writeJSONPairs(b, v)
	}
	return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a %T cannot be written as JSON", v)
}

func writeJSONText(b *strings.Builder, v any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	b.Write(bytes.TrimSuffix(text.Bytes(), []byte("\n")))
	return nil
}

// writeJSONFloat writes a float so that it is not taken for an integer.
func writeJSONFloat(b *strings.Builder, f float64) error {
	switch {
	case math.IsNaN(f):
		b.WriteString(`{"$float":"nan"}`)
		return nil
	case math.IsInf(f, 0):
		fmt.Fprintf(b, `{"$float":%q}`, strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(f, 'g', -1, 64)), "+"))
		return nil
	}
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if size := math.Abs(f); size >= 1e-6 && size < 1e21 {
		text = strconv.FormatFloat(f, 'f', -1, 64)
	}
	b.WriteString(text)
	if !strings.ContainsAny(text, ".e") {
		b.WriteString(".0")
	}
	return nil
}

func writeJSONNotation(b *strings.Builder, notation string, content func() error) error {
	fmt.Fprintf(b, `{%q:`, notation)
	if err := content(); err != nil {
		return err
	}
	b.WriteByte('}')
	return nil
}

func writeJSONList(b *strings.Builder, list []any) error {
	b.WriteByte('[')
	for i, element := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := writeJSON(b, element); err != nil {
			return err
		}
	}
	b.WriteByte(']')
	return nil
}

func writeJSONPairs(b *strings.Builder, pairs Pairs) error {
	if slices.ContainsFunc(pairs, func(p Pair) bool { _, ok := p.Key.(string); return !ok }) ||
		len(pairs) == 1 && slices.Contains(jsonNotations, pairs[0].Key.(string)) {
		return writeJSONNotation(b, jsonDict, func() error {
			list := make([]any, len(pairs))
			for i, pair := range pairs {
				list[i] = []any{pair.Key, pair.Value}
			}
			return writeJSONList(b, list)
		})
	}
	b.WriteByte('{')
	for i, pair := range pairs {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := writeJSONText(b, pair.Key); err != nil {
			return err
		}
		b.WriteByte(':')
		if err := writeJSON(b, pair.Value); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// ParseJSON returns the value that a JSON text stands for: integers with all their digits, dictionaries as Pairs in their order,
// and what JSON cannot say in the notation of [FormatJSON]. It fails where encoding/json would change a value silently: on
// strings that are not Unicode, on a key that occurs twice, and on numbers out of range.
func ParseJSON(text string) (any, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("it is not UTF-8")
	}
	if escape := loneSurrogate(text); escape != "" {
		return nil, fmt.Errorf("%s is half of a surrogate pair, which is not a character", escape)
	}
	p := jsonParser{json.NewDecoder(strings.NewReader(text))}
	p.decoder.UseNumber()
	v, err := p.value(0)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if _, err := p.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more follows after the value")
	}
	return v, nil
}

// loneSurrogate returns the first escape in a JSON text that is half of a surrogate pair without the other half, or "".
func loneSurrogate(text string) string {
	unit := func(at int) rune { // the UTF-16 code unit that is escaped there; 0 if none is
		if at+6 > len(text) || text[at] != '\\' || text[at+1] != 'u' {
			return 0
		}
		n, _ := strconv.ParseUint(text[at+2:at+6], 16, 16)
		return rune(n)
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		first, second := unit(i), unit(i+6)
		switch {
		case first < 0xd800 || first > 0xdfff:
			i++ // what is escaped, which may be another backslash
		case first < 0xdc00 && second >= 0xdc00 && second <= 0xdfff:
			i += 11
		default:
			return text[i : i+6]
		}
	}
	return ""
}

type jsonParser struct{ decoder *json.Decoder }

func (p jsonParser) value(levels int) (any, error) {
	token, err := p.decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Number:
		return jsonNumber(token.String())
	case json.Delim:
		if levels >= levelsMax {
			return nil, tooDeep()
		}
		if token == '[' {
			return p.list(levels + 1)
		}
		return p.object(levels + 1)
	}
	return token, nil
}

func jsonNumber(text string) (any, error) {
	if strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is out of the range of a float", text)
		}
		return f, nil
	}
	n, ok := new(big.Int).SetString(text, 10)
	switch {
	case !ok:
		return nil, fmt.Errorf("%s is not a number", text)
	case n.IsInt64():
		return n.Int64(), nil
	}
	return n, nil
}

func (p jsonParser) list(levels int) ([]any, error) {
	list := []any{}
	for p.decoder.More() {
		v, err := p.value(levels)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := p.decoder.Token() // the closing bracket
	return list, err
}

func (p jsonParser) object(levels int) (any, error) {
	pairs, seen := Pairs{}, map[string]bool{}
	for p.decoder.More() {
		token, err := p.decoder.Token()
		if err != nil {
			return nil, err
		}
		key, ok := token.(string)
		if !ok {
			return nil, fmt.Errorf("the key %v is not a string", token)
		}
		if seen[key] {
			return nil, fmt.Errorf("the key %q occurs twice", key)
		}
		seen[key] = true
		v, err := p.value(levels)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, Pair{key, v})
	}
	if _, err := p.decoder.Token(); err != nil { // the closing brace
		return nil, err
	}
	if len(pairs) == 1 {
		if notation := pairs[0].Key.(string); slices.Contains(jsonNotations, notation) {
			v, err := noted(notation, pairs[0].Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", notation, err)
			}
			return v, nil
		}
	}
	return pairs, nil
}

// noted returns the value that a notation stands for.
func noted(notation string, content any) (any, error) {
	switch notation {
	case jsonBytes, jsonPickle:
		content, err := fromBase64(content)
		if notation == jsonPickle {
			return Pickle(content), err
		}
		return content, err
	case jsonFloat:
		switch content {
		case "nan":
			return math.NaN(), nil
		case "inf":
			return math.Inf(1), nil
		case "-inf":
			return math.Inf(-1), nil
		}
		return nil, fmt.Errorf(`it is followed by "nan", "inf" or "-inf", not by %v`, content)
	case jsonArray:
		return notedArray(content)
	}
	list, ok := content.([]any)
	if !ok {
		return nil, fmt.Errorf("it is followed by a list, not by %v", content)
	}
	switch notation {
	case jsonTuple:
		return Tuple(list), nil
	case jsonSet:
		return Set(list), nil
	case jsonFrozenSet:
		return FrozenSet(list), nil
	}
	pairs := make(Pairs, len(list))
	for i, element := range list {
		pair, ok := element.([]any)
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("it is followed by a list of pairs, and element %d is not a pair", i)
		}
		pairs[i] = Pair{pair[0], pair[1]}
	}
	return pairs, nil
}

func fromBase64(content any) ([]byte, error) {
	text, ok := content.(string)
	if !ok {
		return nil, fmt.Errorf("it is followed by a string in base64, not by %v", content)
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not base64: %w", text, err)
	}
	return decoded, nil
}

func notedArray(content any) (any, error) {
	pairs, _ := content.(Pairs)
	a := Array{}
	for _, pair := range pairs {
		var fits bool
		switch pair.Key {
		case "dtype":
			a.DType, fits = pair.Value.(string)
		case "order":
			a.Order, fits = pair.Value.(string)
		case "shape":
			var list []any
			list, fits = pair.Value.([]any)
			for _, length := range list {
				n, ok := length.(int64)
				fits = fits && ok && n >= 0
				a.Shape = append(a.Shape, int(n))
			}
		case "data":
			var err error
			if a.Data, err = fromBase64(pair.Value); err != nil {
				return nil, err
			}
			fits = true
		}
		if !fits {
			return nil, fmt.Errorf("%q is not a part of an array, or has a value of the wrong type", pair.Key)
		}
	}
	if a.DType == "" || a.Shape == nil && len(pairs) < 3 {
		return nil, errors.New(`it is followed by an object such as {"dtype":"<f8","shape":[2],"order":"C","data":"…"}`)
	}
	return a, nil
}
