package wire_test

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

var rewrite = flag.Bool("rewrite", false, "write the golden vectors again")

// vector is a golden State: its bytes as Go wrote them once, what they mean as JSON of the schema, and the value that a program
// without lattices sees, which the Python tests check.
type vector struct {
	name    string
	encoded []byte
	message *pb.State
}

// The first bytes of a plain value and of bytes, as package codec, on a floor above, names them.
const (
	kindPlain byte = 1
	kindBytes byte = 4
)

func vectorPath(name string) string { return filepath.Join("testdata", "states", name+".json") }

func readVectors(t testing.TB) []vector {
	t.Helper()
	paths, err := filepath.Glob(vectorPath("*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden vectors: %v", err)
	}
	var vectors []vector
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Hex   string          `json:"hex"`
			State json.RawMessage `json:"state"`
		}
		if err := json.Unmarshal(raw, &file); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		v := vector{name: strings.TrimSuffix(filepath.Base(path), ".json"), message: new(pb.State)}
		if v.encoded, err = hex.DecodeString(file.Hex); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if err := protojson.Unmarshal(file.State, v.message); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		vectors = append(vectors, v)
	}
	return vectors
}

func TestGoldenStates(t *testing.T) {
	t.Parallel()
	if *rewrite {
		writeVectors(t)
	}
	for _, v := range readVectors(t) {
		state, err := wire.DecodeState(v.encoded)
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		if want := fromProto(v.message); !state.Equal(want) {
			t.Errorf("%s: read %v, not %v", v.name, protojson.Format(toProto(state)), protojson.Format(v.message))
		}
		if got := toProto(state); !proto.Equal(got, v.message) {
			t.Errorf("%s: means %v, not %v", v.name, protojson.Format(got), protojson.Format(v.message))
		}
		checkAppend(t, state)
	}
}

func writeVectors(t *testing.T) {
	stamp := func(n uint64) lattice.Timestamp {
		return lattice.Timestamp{Time: 1_790_000_000_000_000<<12 + n, Writer: 7}
	}
	must := func(s *lattice.State, err error) *lattice.State {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	merged := func(states ...*lattice.State) *lattice.State {
		s := new(lattice.State)
		for _, d := range states {
			s.Merge(d)
		}
		return s
	}
	none := new(lattice.State)
	text := func(s string) []byte { return append([]byte{kindBytes}, s...) }
	clock := func(a, b uint64) lattice.VectorClock {
		return lattice.NewVectorClock(lattice.ClockEntry{Writer: "a", Count: a}, lattice.ClockEntry{Writer: "b", Count: b})
	}
	counter := must(lattice.CounterAdd(none, 1, 40))
	counter.Merge(must(lattice.CounterAdd(counter, 1, -8)))
	counter.Merge(must(lattice.CounterAdd(counter, 1<<63, 10)))
	zset := merged(
		must(lattice.OrderedSetAdd(stamp(1), text("late"), 2.5)), must(lattice.OrderedSetAdd(stamp(1), text("early"), -1)),
		must(lattice.OrderedSetAdd(stamp(1), text("also"), 2.5)), lattice.OrderedSetRemove(stamp(2), text("gone")),
	)
	deleted := lattice.Delete(stamp(3))
	for name, v := range map[string]struct {
		state *lattice.State
		value any // what codec.decode gives in Python: bytes as {"bytes": …}, tuples as lists
	}{
		"empty":   {none, nil},
		"lww":     {lattice.Put(stamp(1), []byte{kindPlain, 0x18, 0x2a}), 42},
		"lww_put": {lattice.Put(lattice.Timestamp{}, text("unstamped")), bytesValue("unstamped")},
		"set": {
			merged(lattice.SetAdd(stamp(1), text("x"), text("y"), text("z")), lattice.SetRemove(stamp(2), text("y"))),
			[]any{bytesValue("x"), bytesValue("z")},
		},
		"ordered_set": {zset, []any{
			[]any{bytesValue("early"), -1.0}, []any{bytesValue("also"), 2.5}, []any{bytesValue("late"), 2.5},
		}},
		"counter":  {counter, 42},
		"max":      {lattice.MaxPut(none, 1<<40), 1 << 40},
		"min":      {lattice.MinPut(deleted, -7), -7},
		"priority": {must(lattice.PriorityPut(none, 0.25, text("urgent"))), bytesValue("urgent")},
		"map": {
			merged(
				lattice.MapPut("name", lattice.Put(stamp(1), text("n"))), lattice.MapPut("count", counter.Clone()),
				lattice.MapPut("gone", lattice.Put(stamp(1), text("g"))), lattice.MapPut("gone", lattice.Delete(stamp(2))),
				lattice.MapPut("inner", lattice.MapPut("deep", lattice.MaxPut(none, 3))),
			),
			map[string]any{"name": bytesValue("n"), "count": 42, "inner": map[string]any{"deep": 3}},
		},
		"single_causal": {
			&lattice.State{Lattice: lattice.NewCausal(lattice.Timestamp{},
				lattice.Version{Clock: clock(2, 1), Value: text("second")}, lattice.Version{Clock: clock(1, 2), Value: text("first")})},
			bytesValue("first"),
		},
		"multi_causal": {
			&lattice.State{Lattice: lattice.NewCausal(stamp(1), lattice.Version{
				Clock: clock(1, 0), Value: text("v"),
				Dependencies: lattice.NewDependencies(
					lattice.Dependency{Key: "k", Clock: clock(0, 3)}, lattice.Dependency{Key: "ключ", Clock: clock(1, 1)}),
			})},
			bytesValue("v"),
		},
		"deleted": {deleted, nil},
		"expiring": {
			merged(lattice.Put(stamp(4), text("soon gone")), deleted, lattice.ExpireAt(stamp(4), 1_790_000_060_000)),
			bytesValue("soon gone"),
		},
		"disagreement": {
			merged(lattice.SetAdd(stamp(5), text("member")), lattice.MaxPut(deleted, 9), lattice.Put(stamp(5), text("shown"))),
			bytesValue("shown"),
		},
	} {
		encoded := wire.AppendState(nil, v.state)
		state, err := protojson.Marshal(toProto(v.state))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.MarshalIndent(map[string]any{
			"hex": hex.EncodeToString(encoded), "state": json.RawMessage(state), "value": v.value,
		}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(vectorPath(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorPath(name), append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func bytesValue(s string) map[string]any { return map[string]any{"bytes": s} }
