package wire

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"cloudburst/wire/pb"
)

// check holds what is parsed by hand against what the generated code makes of the same bytes.
func check(t interface{ Fatalf(string, ...any) }, raw []byte) (hot bool) {
	want := new(pb.Header)
	err := proto.Unmarshal(raw, want)
	got := decodeHot(raw)
	if got == nil {
		return false
	}
	if err != nil {
		t.Fatalf("%x was accepted: %v", raw, err)
	}
	if !proto.Equal(got, want) {
		t.Fatalf("%x\n got %v\nwant %v", raw, got, want)
	}
	if call := got.GetCall(); call != nil && len(call.GetRunId()) != len(RunID{}) && call.RunId != nil {
		t.Fatalf("run id of %d bytes", len(call.GetRunId()))
	}
	return true
}

func drawCall(t *rapid.T) *pb.Call {
	call := &pb.Call{
		RunId:               rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "run id"),
		Level:               pb.Level(rapid.Int32Range(-1, 5).Draw(t, "level")),
		TimeoutMilliseconds: rapid.Uint64().Draw(t, "timeout"),
		Store:               rapid.Bool().Draw(t, "store"),
		OutputKey:           rapid.String().Draw(t, "output key"),
	}
	if rapid.Bool().Draw(t, "dag") {
		call.Target = &pb.Call_Dag{Dag: rapid.String().Draw(t, "name")}
	} else {
		call.Target = &pb.Call_Function{Function: rapid.String().Draw(t, "name")}
	}
	for range rapid.IntRange(0, 3).Draw(t, "functions") {
		call.Arguments = append(call.Arguments, &pb.Arguments{
			Function:   rapid.String().Draw(t, "function"),
			Positional: rapid.Uint32().Draw(t, "positional"),
			Keywords:   rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "keywords"),
		})
	}
	return call
}

// Every call and every answer is read by hand, and means the same as to the generated code.
func TestHotHeaders(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		header := &pb.Header{Id: rapid.Uint64().Draw(t, "id"), Sizes: rapid.SliceOfN(rapid.Uint32(), 0, 8).Draw(t, "sizes")}
		if rapid.Bool().Draw(t, "answer") {
			header.Body = &pb.Header_Done{Done: &pb.Done{}}
		} else {
			header.Body = &pb.Header_Call{Call: drawCall(t)}
		}
		raw, err := appendHeader(nil, header)
		if err != nil {
			t.Fatal(err)
		}
		generated := new(pb.Header)
		if err := proto.Unmarshal(raw, generated); err != nil || !proto.Equal(generated, header) {
			t.Fatalf("%v was written as %v (%v)", header, generated, err)
		}
		if !check(t, raw) {
			t.Fatalf("not read by hand: %v", header)
		}
	})
}

// What is unusual is left to the generated code.
func TestUnusualHeaders(t *testing.T) {
	t.Parallel()
	marshal := func(header *pb.Header) []byte {
		raw, err := proto.Marshal(header)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	call := func(c *pb.Call) []byte { return marshal(&pb.Header{Id: 1, Body: &pb.Header_Call{Call: c}}) }
	one := call(&pb.Call{RunId: make([]byte, 16)})
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1)
	for name, raw := range map[string][]byte{
		"a get":               marshal(&pb.Header{Id: 1, Body: &pb.Header_Get{Get: &pb.Get{Keys: []string{"k"}}}}),
		"nothing":             {},
		"a short run id":      call(&pb.Call{RunId: make([]byte, 3)}),
		"a continuation":      call(&pb.Call{Continuation: &pb.Call{}}),
		"two bodies":          append(slices.Clip(one), one...),
		"an unknown field":    append(slices.Clip(one), unknown...),
		"no UTF-8":            append(one[:2:2], 0x52, 3, 0x12, 1, 0xff),
		"a cut tag":           append(slices.Clip(one), 0x80),
		"a cut body":          one[:len(one)-1],
		"sizes not packed":    append(slices.Clip(one), 0x10, 1),
		"a fixed-width id":    {0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x22, 0},
		"an answer with more": {0x22, 2, 0x08, 1},
	} {
		if check(t, raw) {
			t.Errorf("%s was read by hand", name)
		}
	}
}

func FuzzHotHeader(f *testing.F) {
	header := &pb.Header{Id: 300, Sizes: []uint32{1, 1000}, Body: &pb.Header_Call{Call: &pb.Call{
		RunId: make([]byte, 16), Target: &pb.Call_Dag{Dag: "d"}, Store: true, OutputKey: "k", TimeoutMilliseconds: 1 << 40, Level: 1,
		Arguments: []*pb.Arguments{{Function: "f", Positional: 1, Keywords: []string{"a"}}, {Function: "g"}},
	}}}
	raw, err := proto.Marshal(header)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	header.Body = &pb.Header_Done{}
	if raw, err = appendHeader(nil, header); err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) { check(t, raw) })
}

func BenchmarkDecodeCall(b *testing.B) {
	raw, err := proto.Marshal(&pb.Header{Id: 300, Sizes: []uint32{9}, Body: &pb.Header_Call{Call: &pb.Call{
		RunId: make([]byte, 16), Target: &pb.Call_Dag{Dag: "composition"}, Store: true, TimeoutMilliseconds: 300000,
		Arguments: []*pb.Arguments{{Function: "incr", Positional: 1}},
	}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("by hand", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if decodeHot(raw) == nil {
				b.Fatal("not read by hand")
			}
		}
	})
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if err := proto.Unmarshal(raw, new(pb.Header)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
