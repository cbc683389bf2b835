package main

import (
	"bytes"
	"encoding/json"

	"cloudburst/client"
	"cloudburst/codec"
)

// notation is what help texts say about values.
const notation = `Values are JSON. What JSON cannot say is an object with one key:

  {"$bytes": "aGk="}              bytes, in base64
  {"$float": "nan"}               also "inf" and "-inf"
  {"$tuple": [1, 2]}              a tuple; likewise $set and $frozenset
  {"$dict": [[1, "one"]]}         a dictionary whose keys are not all strings
  {"$array": {"dtype": "<f8", "shape": [1], "order": "C", "data": "AAAAAAAA8D8="}}
  {"$pickle": "gAVLAS4="}         an object of Python, as pickle writes it

1 is an integer and 1.0 a float. With -o json every value is printed so that it can be given back unchanged.`

// show writes a value: with -o json as JSON, otherwise strings and bytes as they are and the rest as JSON on one line.
func (c *cli) show(v any) error {
	if c.output == "json" {
		text, err := codec.FormatJSON(v)
		if err != nil {
			return err
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, []byte(text), "", "  "); err != nil {
			return err
		}
		return c.say("%s", indented.String())
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
	text, err := codec.FormatJSON(readable(v))
	if err != nil {
		return err
	}
	return c.say("%s", text)
}

// readable returns a value with its tuples as lists, which read better where nothing is to be given back.
func readable(v any) any {
	switch v := v.(type) {
	case client.Tuple:
		return readable([]any(v))
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = readable(v[i])
		}
		return list
	case client.Pairs:
		pairs := make(client.Pairs, len(v))
		for i, pair := range v {
			pairs[i] = client.Pair{Key: pair.Key, Value: readable(pair.Value)}
		}
		return pairs
	}
	return v
}
