package scheduler

import (
	"slices"
	"testing"

	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// slot is an executor whose cache holds some keys. It answers when it is told to.
type slot struct {
	keys    []string
	invoked []*wire.Invocation
}

func (s *slot) Invoke(inv *wire.Invocation) { s.invoked = append(s.invoked, inv) }
func (s *slot) Cancel([]*wire.Invocation)   {}
func (s *slot) Holds(key string) bool       { return slices.Contains(s.keys, key) }

func reference(key string) []byte { return codec.EncodeReference(codec.Ref{Key: key}) }

func TestLocality(t *testing.T) {
	t.Parallel()
	registry := newFakeRegistry()
	registry.register(&pb.Function{Name: "f"})
	slots := []*slot{{keys: []string{"x"}}, {keys: []string{"x", "y"}}, {}}
	s := start(t, Config{}, registry, newFakeStore(), slots[0], slots[1], slots[2])
	for i, test := range []struct {
		values [][]byte
		want   int
	}{
		{[][]byte{reference("y")}, 1},                                                               // the one that holds it
		{[][]byte{reference("x")}, 0},                                                               // of two that hold it, the one with less to do
		{[][]byte{tuple(text("1"), reference("x"), reference("y"))}, 1},                             // references in a list count as well
		{[][]byte{codec.JoinElements(codec.KindComposed, [][]byte{text("1"), reference("y")})}, 1},  // and those within another value
		{[][]byte{text("1")}, 2},                                                                    // nothing to hold: the least load
		{[][]byte{reference("nowhere")}, 0},                                                         // no executor holds it
		{[][]byte{append([]byte{codec.KindReference}, "malformed"...), {codec.KindSequence, 1}}, 2}, // left to the executor to refuse
	} {
		before := len(slots[test.want].invoked)
		s.Call(1, callFunction(runID(i+1), "f", len(test.values)), test.values, nil, func(wire.Result) bool { return true })
		if len(slots[test.want].invoked) != before+1 {
			t.Errorf("call %d was not placed on executor %d", i+1, test.want)
		}
	}
	for _, inv := range slots[0].invoked {
		inv.Done(wire.Result{Value: text("done")})
	}
	if load := s.candidates[0].Load(); load != 0 {
		t.Errorf("load %d of an executor that has answered everything", load)
	}
}

// Functions that must share a node do, whatever the policy thinks.
func TestColocated(t *testing.T) {
	t.Parallel()
	registry := newFakeRegistry()
	for _, name := range []string{"a", "b", "c", "d"} {
		registry.register(&pb.Function{Name: name})
	}
	links := []*pb.Link{{Source: "a", Sink: "b"}, {Source: "a", Sink: "c"}, {Source: "b", Sink: "d"}, {Source: "c", Sink: "d"}}
	err := registry.registerDAG(&pb.Dag{Name: "d", Functions: []string{"a", "b", "c", "d"}, Links: links, Colocated: []string{"b", "c", "d"}})
	if err != nil {
		t.Fatal(err)
	}
	slots := []*slot{{}, {}}
	s := start(t, Config{}, registry, newFakeStore(), slots[0], slots[1])
	id := runID(1)
	done := false
	s.Call(1, &pb.Call{RunId: id[:], Target: &pb.Call_Dag{Dag: "d"}}, nil, nil, func(wire.Result) bool { done = true; return true })
	var placed [2][]string
	for !done {
		progress := false
		for i, sl := range slots {
			for _, inv := range sl.invoked {
				placed[i] = append(placed[i], inv.Steps[0].Function.GetName())
				sl.invoked = sl.invoked[1:]
				inv.Done(wire.Result{Value: evaluate(inv)})
				progress = true
			}
		}
		if !progress {
			t.Fatal("nothing runs")
		}
	}
	for _, names := range placed {
		if n := len(slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "a" })); n != 0 && n != 3 {
			t.Errorf("placed %v", placed)
		}
	}
}
