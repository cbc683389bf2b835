package registry

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"cloudburst/wire/pb"
)

func TestEncodedNamesAreTokensOfTheirOwn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.String().Draw(t, "a"), rapid.String().Draw(t, "b")
		x, y := encodeName(a), encodeName(b)
		if (a == b) != (x == y) {
			t.Fatalf("%q → %s, %q → %s", a, x, b, y)
		}
		if strings.ContainsAny(x, ".*> \t\r\n$") || a != "" && x == "" {
			t.Fatalf("%q → %q, which is not one token", a, x)
		}
	})
}

func TestSplitRef(t *testing.T) {
	t.Parallel()
	tests := []struct {
		ref, name string
		version   uint64
		ok        bool
	}{
		{"sq", "sq", 0, true},
		{"sq@3", "sq", 3, true},
		{"sq@18446744073709551615", "sq", 1<<64 - 1, true},
		{"", "", 0, true},
		{"sq@", "sq", 0, false},
		{"sq@0", "sq", 0, false},
		{"sq@-1", "sq", 0, false},
		{"sq@x", "sq", 0, false},
		{"a@b@2", "a@b", 2, true},
		{"sq@18446744073709551616", "sq", 1<<64 - 1, false},
	}
	for _, test := range tests {
		if name, version, ok := splitRef(test.ref); name != test.name || version != test.version || ok != test.ok {
			t.Errorf("%q: %q, %d, %v", test.ref, name, version, ok)
		}
	}
}

// Whatever is registered and deleted, in whatever order: a state built from all entries equals one built from those that a
// bucket with a history of one, swept or not, still has.
func TestStateFromTheRestOfTheLog(t *testing.T) {
	t.Parallel()
	type entry struct {
		rec      record
		revision uint64
	}
	rapid.Check(t, func(t *rapid.T) {
		full := newState()
		var log []entry
		revision := uint64(0)
		add := func(rec record) {
			revision += rapid.Uint64Range(1, 3).Draw(t, "step")
			log = append(log, entry{rec, revision})
			garbage := full.apply(rec, revision)
			if len(garbage) > 0 && rapid.Bool().Draw(t, "swept") {
				log = slices.DeleteFunc(log, func(e entry) bool {
					return strings.HasPrefix(e.rec.key, functionPrefix+encodeName(rec.function.GetName())+".") && e.revision < revision
				})
			}
			if !full.holds(rec) {
				t.Fatalf("%s was applied and is not held", rec.key)
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "changes") {
			name := rapid.SampledFrom([]string{"a", "a.b", "c"}).Draw(t, "name")
			known := full.functions[name]
			switch rapid.SampledFrom([]string{"register", "register", "delete", "compose", "decompose"}).Draw(t, "change") {
			case "register":
				last := uint64(0)
				if known != nil {
					last = known.last
				}
				add(functionRecord(&pb.Function{Name: name, Version: last + 1}))
				if full.function(name).GetVersion() != last+1 {
					t.Fatalf("the latest %s is %v, not %d", name, full.function(name), last+1)
				}
			case "delete":
				if known.latest() == nil {
					continue
				}
				add(deletedRecord(name, known.last))
				if full.function(name) != nil {
					t.Fatalf("%s was deleted and is there", name)
				}
			case "compose":
				d := &pb.Dag{Name: name, Functions: []string{"x"}}
				graph, err := newGraph(d)
				if err != nil {
					t.Fatal(err)
				}
				add(dagRecord(&DAG{Dag: d, Graph: graph}))
			case "decompose":
				add(dagRecord(&DAG{Dag: &pb.Dag{Name: name}}))
			}
		}

		rest := newState()
		for i, e := range log {
			if slices.ContainsFunc(log[i+1:], func(later entry) bool { return later.rec.key == e.rec.key }) {
				continue
			}
			value, err := e.rec.encode()
			if err != nil {
				t.Fatal(err)
			}
			rec, err := decode(e.rec.key, value)
			if err != nil {
				t.Fatal(err)
			}
			rest.apply(rec, e.revision)
		}
		if rest.functionsLive != full.functionsLive || len(rest.dags) != len(full.dags) || rest.applied != full.applied {
			t.Fatalf("%d functions, %d dags at %d; want %d, %d at %d", rest.functionsLive, len(rest.dags), rest.applied, full.functionsLive, len(full.dags), full.applied)
		}
		for name, v := range full.functions {
			same := func(a, b *pb.Function) bool { return proto.Equal(a, b) }
			if got := rest.functions[name]; got.last != v.last || !slices.EqualFunc(got.live, v.live, same) {
				t.Fatalf("%s: %v up to %d, want %v up to %d", name, got.live, got.last, v.live, v.last)
			}
		}
	})
}

func TestDefinitionCacheIsBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := newDefinitionCache(100)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			key := rapid.StringMatching("[a-f]").Draw(t, "key")
			switch rapid.SampledFrom([]string{"put", "get", "drop"}).Draw(t, "step") {
			case "put":
				c.put(key, make([]byte, rapid.IntRange(0, 40).Draw(t, "size")))
			case "get":
				c.get(key)
			case "drop":
				c.drop(key)
				if _, ok := c.get(key); ok {
					t.Fatalf("%s is there after it was dropped", key)
				}
			}
			sum := 0
			for _, element := range c.entries {
				sum += len(element.Value.(*definition).value)
			}
			if c.bytes != sum || sum > 100 || c.order.Len() != len(c.entries) {
				t.Fatalf("counts %d bytes, holds %d in %d entries (%d in order)", c.bytes, sum, len(c.entries), c.order.Len())
			}
		}
	})
}

// FuzzDecode feeds entries that another program wrote.
func FuzzDecode(f *testing.F) {
	for _, rec := range []record{
		functionRecord(&pb.Function{Name: "sq", Version: 1}),
		deletedRecord("sq", 3),
		dagRecord(&DAG{Dag: &pb.Dag{Name: "f", Functions: []string{"incr", "sq"}, Links: []*pb.Link{{Source: "incr", Sink: "sq"}}}}),
	} {
		value, err := rec.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(rec.key, value)
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		rec, err := decode(key, value)
		if err != nil {
			return
		}
		s := newState()
		s.apply(rec, 1)
		if !s.holds(rec) {
			t.Fatalf("%s was applied and is not held", key)
		}
	})
}
