package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strings"

	"cloudburst/client"
)

// parseJSON returns the value that a JSON text stands for. Integers keep all their digits.
func parseJSON(text string) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more follows after the value")
	}
	return exact(v)
}

// exact replaces the numbers in a decoded value by integers of any size and floats.
func exact(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		if n, ok := new(big.Int).SetString(v.String(), 10); ok {
			return n, nil
		}
		f, err := v.Float64()
		if err != nil {
			return nil, fmt.Errorf("%s is out of the range of a float", v)
		}
		return f, nil
	case []any:
		for i := range v {
			var err error
			if v[i], err = exact(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range v {
			var err error
			if v[key], err = exact(v[key]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// show writes a value: with -o json as JSON, otherwise texts and bytes as they are and the rest as JSON on one line.
func (c *cli) show(v any) error {
	if c.output == "json" {
		return c.json(jsonable(v))
	}
	switch v := v.(type) {
	case string:
		return c.say("%s", v)
	case []byte:
		return c.write(v)
	case client.Pickle:
		return c.say("a Python object of %s, pickled; only Python can read it", bytesText(uint64(len(v))))
	case client.Array:
		return c.say("an array %s of shape %v, %s", v.DType, v.Shape, bytesText(uint64(len(v.Data))))
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(jsonable(v)); err != nil {
		return err
	}
	return c.write(b.Bytes())
}

// jsonable returns a value as JSON can have it. What JSON has no word for becomes an object with a $ in its key.
func jsonable(v any) any {
	switch v := v.(type) {
	case []byte:
		return map[string]any{"$bytes": base64.StdEncoding.EncodeToString(v)}
	case client.Pickle:
		return map[string]any{"$pickle": base64.StdEncoding.EncodeToString(v)}
	case client.Array:
		return map[string]any{"$array": map[string]any{
			"dtype": v.DType, "shape": v.Shape, "order": v.Order, "data": base64.StdEncoding.EncodeToString(v.Data),
		}}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return map[string]any{"$float": fmt.Sprint(v)}
		}
	case client.Set:
		return map[string]any{"$set": jsonable([]any(v))}
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = jsonable(v[i])
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for key, element := range v {
			object[key] = jsonable(element)
		}
		return object
	case map[any]any:
		pairs := make(client.Pairs, 0, len(v))
		for key, element := range v {
			pairs = append(pairs, client.Pair{Key: key, Value: element})
		}
		return jsonable(pairs)
	case client.Pairs:
		pairs := make([]any, len(v))
		for i, pair := range v {
			pairs[i] = []any{jsonable(pair.Key), jsonable(pair.Value)}
		}
		return map[string]any{"$dict": pairs}
	}
	return v
}
