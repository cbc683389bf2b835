package client

import (
	"fmt"

	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// encodeArgument returns v as an argument of a call: a value, a reference, or a sequence when a slice holds references.
func encodeArgument(v any) ([]byte, error) {
	if ref, ok := asRef(v); ok {
		if ref.Key == "" {
			return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a reference without a key")
		}
		return codec.EncodeReference(ref), nil
	}
	var list []any
	switch v := v.(type) {
	case []any:
		list = v
	case []Ref:
		for _, ref := range v {
			list = append(list, ref)
		}
	case []*Future:
		for _, f := range v {
			list = append(list, f)
		}
	}
	for _, element := range list {
		if _, ok := asRef(element); ok {
			return encodeSequence(list)
		}
	}
	return codec.Encode(v)
}

func asRef(v any) (Ref, bool) {
	switch v := v.(type) {
	case Ref:
		return v, true
	case *Future:
		if v != nil {
			return v.Ref(), true
		}
	}
	return Ref{}, false
}

func encodeSequence(list []any) ([]byte, error) {
	elements := make([][]byte, len(list))
	for i, element := range list {
		var err error
		if elements[i], err = encodeArgument(element); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	value := codec.JoinSequence(elements)
	return value, wire.CheckValue("the list", value)
}
