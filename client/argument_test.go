package client

import (
	"reflect"
	"strings"
	"testing"

	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func TestArguments(t *testing.T) {
	t.Parallel()
	future := &Future{id: wire.RunID{1}}
	a := &pb.Arguments{Function: "f"}
	values, err := appendArguments(nil, a, []any{1, Ref{Key: "k", Raw: true}, []any{Ref{Key: "x"}, 2}, future, Keywords{"b": 1, "a": Ref{Key: "y"}}})
	if err != nil {
		t.Fatal(err)
	}
	if a.Positional != 4 || !reflect.DeepEqual(a.Keywords, []string{"a", "b"}) || len(values) != 6 {
		t.Fatalf("%v, %d values", a, len(values))
	}
	if r, err := codec.DecodeReference(values[1]); err != nil || r.Key != "k" || !r.Raw {
		t.Errorf("%+v, %v", r, err)
	}
	elements, err := codec.SplitSequence(values[2])
	if err != nil || len(elements) != 2 || elements[0][0] != codec.KindReference || elements[1][0] != codec.KindPlain {
		t.Errorf("%x, %v", elements, err)
	}
	if r, err := codec.DecodeReference(values[3]); err != nil || r.Key != future.Key() || r.Raw {
		t.Errorf("%+v, %v", r, err)
	}
	if values[4][0] != codec.KindReference || values[5][0] != codec.KindPlain {
		t.Errorf("keywords: %x %x", values[4], values[5])
	}
	if _, err := appendArguments(nil, a, []any{1, func() {}}); err == nil || !strings.Contains(err.Error(), "argument 2 of \"f\"") {
		t.Errorf("got %v", err)
	}
}
