package wire_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// fromProto and toProto go through the generated code only, so that the hand-written one has something to be held against.

func fromProto(s *pb.State) *lattice.State {
	var content []lattice.Lattice
	if l := s.GetLww(); l != nil {
		content = append(content, &lattice.LWW{Timestamp: stampOf(l.GetTimestamp()), Value: append([]byte{}, l.GetValue()...)})
	}
	if s.GetSet() != nil {
		l := new(lattice.Set)
		for _, m := range s.GetSet().GetMembers() {
			if m.GetRemoved() {
				l.Remove(stampOf(m.GetTimestamp()), m.GetValue())
			} else {
				l.Add(stampOf(m.GetTimestamp()), m.GetValue())
			}
		}
		content = append(content, l)
	}
	if s.GetOrderedSet() != nil {
		l := new(lattice.OrderedSet)
		for _, m := range s.GetOrderedSet().GetMembers() {
			if m.GetRemoved() {
				l.Remove(stampOf(m.GetTimestamp()), m.GetValue())
			} else if _, err := l.Add(stampOf(m.GetTimestamp()), m.GetValue(), m.GetScore()); err != nil {
				panic(err)
			}
		}
		content = append(content, l)
	}
	if l := s.GetCounter(); l != nil {
		var counts []lattice.Count
		for _, c := range l.GetCounts() {
			counts = append(counts, lattice.Count{Writer: c.GetWriter(), Up: c.GetUp(), Down: c.GetDown()})
		}
		content = append(content, lattice.NewCounter(stampOf(l.GetGeneration()), counts))
	}
	if l := s.GetMax(); l != nil {
		content = append(content, &lattice.Max{Generation: stampOf(l.GetGeneration()), Value: l.GetValue()})
	}
	if l := s.GetMin(); l != nil {
		content = append(content, &lattice.Min{Generation: stampOf(l.GetGeneration()), Value: l.GetValue()})
	}
	if l := s.GetPriority(); l != nil {
		content = append(content, &lattice.Priority{
			Generation: stampOf(l.GetGeneration()), Priority: l.GetPriority() + 0, Value: l.GetValue(),
		})
	}
	if s.GetMap() != nil {
		l := new(lattice.Map)
		for _, f := range s.GetMap().GetFields() {
			l.Put(string(f.GetName()), fromProto(f.GetState()))
		}
		content = append(content, l)
	}
	if l := s.GetCausal(); l != nil {
		var versions []lattice.Version
		for _, v := range l.GetVersions() {
			var dependencies []lattice.Dependency
			for _, d := range v.GetDependencies() {
				dependencies = append(dependencies, lattice.Dependency{Key: string(d.GetKey()), Clock: clockOf(d.GetClock())})
			}
			versions = append(versions, lattice.Version{
				Clock: clockOf(v.GetClock()), Dependencies: lattice.NewDependencies(dependencies...), Value: v.GetValue(),
			})
		}
		content = append(content, lattice.NewCausal(stampOf(l.GetGeneration()), versions...))
	}
	expiry := lattice.Expiry{Timestamp: stampOf(s.GetExpiry().GetTimestamp()), At: s.GetExpiry().GetAtMilliseconds()}
	return lattice.NewState(stampOf(s.GetDeleted()), expiry, content...)
}

func stampOf(t *pb.Timestamp) lattice.Timestamp {
	return lattice.Timestamp{Time: t.GetTime(), Writer: t.GetWriter()}
}

func clockOf(c *pb.VectorClock) lattice.VectorClock {
	var entries []lattice.ClockEntry
	for _, e := range c.GetEntries() {
		entries = append(entries, lattice.ClockEntry{Writer: string(e.GetWriter()), Count: e.GetCount()})
	}
	return lattice.NewVectorClock(entries...)
}

func toProto(s *lattice.State) *pb.State {
	p := &pb.State{Deleted: protoStamp(s.Deleted())}
	if e := s.Expiry(); e != (lattice.Expiry{}) {
		p.Expiry = &pb.Expiry{Timestamp: protoStamp(e.Timestamp), AtMilliseconds: e.At}
	}
	for _, l := range append([]lattice.Lattice{s.Lattice}, s.Others()...) {
		switch l := l.(type) {
		case *lattice.LWW:
			p.Lww = &pb.LWW{Timestamp: protoStamp(l.Timestamp), Value: l.Value}
		case *lattice.Set:
			p.Set = new(pb.Set)
			for member, mark := range l.Marks() {
				p.Set.Members = append(p.Set.Members, &pb.Member{
					Value: []byte(member), Timestamp: protoStamp(mark.Stamp), Removed: mark.Removed,
				})
			}
		case *lattice.OrderedSet:
			p.OrderedSet = new(pb.OrderedSet)
			for member, mark := range l.Marks() {
				p.OrderedSet.Members = append(p.OrderedSet.Members, &pb.ScoredMember{
					Value: []byte(member), Score: mark.Score, Timestamp: protoStamp(mark.Stamp), Removed: mark.Removed,
				})
			}
		case *lattice.Counter:
			p.Counter = &pb.Counter{Generation: protoStamp(l.Generation)}
			for c := range l.Counts() {
				p.Counter.Counts = append(p.Counter.Counts, &pb.Count{Writer: c.Writer, Up: c.Up, Down: c.Down})
			}
		case *lattice.Max:
			p.Max = &pb.Extreme{Generation: protoStamp(l.Generation), Value: l.Value}
		case *lattice.Min:
			p.Min = &pb.Extreme{Generation: protoStamp(l.Generation), Value: l.Value}
		case *lattice.Priority:
			p.Priority = &pb.Priority{Generation: protoStamp(l.Generation), Priority: l.Priority, Value: l.Value}
		case *lattice.Map:
			p.Map = new(pb.Map)
			for name, field := range l.Fields() {
				p.Map.Fields = append(p.Map.Fields, &pb.Field{Name: []byte(name), State: toProto(field)})
			}
		case *lattice.Causal:
			p.Causal = &pb.Causal{Generation: protoStamp(l.Generation)}
			for v := range l.Versions() {
				version := &pb.Version{Clock: protoClock(v.Clock), Value: v.Value}
				for d := range v.Dependencies.Entries() {
					version.Dependencies = append(version.Dependencies, &pb.Dependency{Key: []byte(d.Key), Clock: protoClock(d.Clock)})
				}
				p.Causal.Versions = append(p.Causal.Versions, version)
			}
		}
	}
	return p
}

func protoStamp(t lattice.Timestamp) *pb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return &pb.Timestamp{Time: t.Time, Writer: t.Writer}
}

func protoClock(c lattice.VectorClock) *pb.VectorClock {
	p := new(pb.VectorClock)
	for e := range c.Entries() {
		p.Entries = append(p.Entries, &pb.ClockEntry{Writer: []byte(e.Writer), Count: e.Count})
	}
	return p
}

// Any message of the schema, within what a state can be: small domains, so that stamps, members and writers meet.
var (
	protoStamps = rapid.Custom(func(t *rapid.T) *pb.Timestamp {
		if rapid.IntRange(0, 3).Draw(t, "none") == 0 {
			return nil
		}
		times := rapid.OneOf(rapid.Uint64Range(0, 4), rapid.Uint64())
		return &pb.Timestamp{Time: times.Draw(t, "time"), Writer: times.Draw(t, "writer")}
	})
	protoBytes  = rapid.SampledFrom([][]byte{nil, []byte("a"), []byte("b"), bytes.Repeat([]byte("long"), 100), {0xff, 0}})
	protoScores = rapid.SampledFrom([]float64{math.Inf(-1), -1, math.Copysign(0, -1), 0, 0.5, math.Inf(1)})
	protoClocks = rapid.Custom(func(t *rapid.T) *pb.VectorClock {
		return &pb.VectorClock{Entries: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *pb.ClockEntry {
			return &pb.ClockEntry{Writer: protoBytes.Draw(t, "writer"), Count: rapid.Uint64Range(0, 300).Draw(t, "count")}
		}), 0, 4).Draw(t, "entries")}
	})
)

func drawProto(t *rapid.T, level int) *pb.State {
	some := func() bool { return rapid.IntRange(0, 2).Draw(t, "some") == 0 }
	s := new(pb.State)
	if some() {
		s.Lww = &pb.LWW{Timestamp: protoStamps.Draw(t, "stamp"), Value: protoBytes.Draw(t, "value")}
	}
	if some() {
		s.Set = &pb.Set{Members: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *pb.Member {
			return &pb.Member{
				Value: protoBytes.Draw(t, "value"), Timestamp: protoStamps.Draw(t, "stamp"), Removed: rapid.Bool().Draw(t, "removed"),
			}
		}), 0, 6).Draw(t, "members")}
	}
	if some() {
		s.OrderedSet = &pb.OrderedSet{Members: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *pb.ScoredMember {
			return &pb.ScoredMember{
				Value: protoBytes.Draw(t, "value"), Score: protoScores.Draw(t, "score"),
				Timestamp: protoStamps.Draw(t, "stamp"), Removed: rapid.Bool().Draw(t, "removed"),
			}
		}), 0, 6).Draw(t, "members")}
	}
	if some() {
		s.Counter = &pb.Counter{Generation: protoStamps.Draw(t, "generation")}
		for range rapid.IntRange(0, 3).Draw(t, "counts") {
			s.Counter.Counts = append(s.Counter.Counts, &pb.Count{
				Writer: rapid.Uint64Range(0, 2).Draw(t, "writer"), Up: rapid.Uint64().Draw(t, "up"), Down: rapid.Uint64().Draw(t, "down"),
			})
		}
	}
	if some() {
		s.Max = &pb.Extreme{Generation: protoStamps.Draw(t, "generation"), Value: rapid.Int64().Draw(t, "value")}
	}
	if some() {
		s.Min = &pb.Extreme{Generation: protoStamps.Draw(t, "generation"), Value: rapid.Int64().Draw(t, "value")}
	}
	if some() {
		s.Priority = &pb.Priority{
			Generation: protoStamps.Draw(t, "generation"), Priority: protoScores.Draw(t, "priority"), Value: protoBytes.Draw(t, "value"),
		}
	}
	if level > 0 && some() {
		s.Map = new(pb.Map)
		for range rapid.IntRange(0, 3).Draw(t, "fields") {
			s.Map.Fields = append(s.Map.Fields, &pb.Field{Name: protoBytes.Draw(t, "name"), State: drawProto(t, level-1)})
		}
	}
	if some() {
		s.Causal = &pb.Causal{Generation: protoStamps.Draw(t, "generation")}
		for range rapid.IntRange(0, 3).Draw(t, "versions") {
			s.Causal.Versions = append(s.Causal.Versions, &pb.Version{
				Clock: protoClocks.Draw(t, "clock"), Value: protoBytes.Draw(t, "value"),
				Dependencies: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *pb.Dependency {
					return &pb.Dependency{Key: protoBytes.Draw(t, "key"), Clock: protoClocks.Draw(t, "clock")}
				}), 0, 2).Draw(t, "dependencies"),
			})
		}
	}
	if some() {
		s.Deleted = protoStamps.Draw(t, "deleted")
	}
	if some() {
		s.Expiry = &pb.Expiry{Timestamp: protoStamps.Draw(t, "expiry"), AtMilliseconds: rapid.Int64().Draw(t, "at")}
	}
	return s
}

// TestStateIsWhatTheGeneratedCodeReadsAndWrites holds the hand-written code against the generated one in both directions.
func TestStateIsWhatTheGeneratedCodeReadsAndWrites(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		message := drawProto(t, 2)
		encoded, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		state, err := wire.DecodeState(encoded)
		if err != nil {
			t.Fatal(err)
		}
		if want := fromProto(message); !state.Equal(want) {
			t.Fatalf("read %v, not %v", protojson.Format(toProto(state)), protojson.Format(toProto(want)))
		}
		checkAppend(t, state)
	})
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func checkAppend(t fataler, state *lattice.State) {
	t.Helper()
	encoded := wire.AppendState([]byte("head"), state)[4:]
	want, err := proto.Marshal(toProto(state))
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	if !bytes.Equal(encoded, want) {
		t.Fatalf("wrote %x, not %x", encoded, want)
	}
	if n := wire.StateSize(state); n != len(encoded) {
		t.Fatalf("%d bytes, not the %d announced", len(encoded), n)
	}
	again, err := wire.DecodeState(encoded)
	if err != nil || !again.Equal(state) {
		t.Fatalf("read back %v, %v", again, err)
	}
}

// FuzzDecodeState checks that bytes are read exactly as the generated code reads them, or refused for a reason of their own.
func FuzzDecodeState(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(v.encoded)
	}
	f.Add([]byte{0x0b, 0x0c})                               // a group in place of a value
	f.Add([]byte("\xa5\xb4\xfb\xdf00000"))                  // a field number that does not exist
	f.Add([]byte{0x0a, 0x02, 0x12, 0x00, 0x0a, 0x02, 0x0a}) // in pieces, and cut off
	f.Fuzz(func(t *testing.T, data []byte) {
		state, err := wire.DecodeState(data)
		message := new(pb.State)
		protoErr := proto.Unmarshal(data, message)
		if err != nil {
			if !errors.Is(err, wire.ErrInvalidArgument) && !errors.Is(err, wire.ErrTooLarge) {
				t.Fatalf("untyped error %v", err)
			}
			if protoErr == nil && !strings.Contains(err.Error(), "not a number") && !errors.Is(err, wire.ErrTooLarge) {
				t.Fatalf("refused what the generated code reads: %v", err)
			}
			return
		}
		if protoErr != nil {
			t.Fatalf("read what the generated code refuses: %v", protoErr)
		}
		if want := fromProto(message); !state.Equal(want) {
			t.Fatalf("read %v, not %v", protojson.Format(toProto(state)), protojson.Format(toProto(want)))
		}
		checkAppend(t, state)
	})
}

func TestDecodeStateIsBounded(t *testing.T) {
	t.Parallel()
	nested := lattice.Put(lattice.Timestamp{Time: 1}, []byte("v"))
	for range 16 {
		nested = lattice.MapPut("f", nested)
	}
	if _, err := wire.DecodeState(wire.AppendState(nil, nested)); err != nil {
		t.Fatalf("16 levels of maps: %v", err)
	}
	if _, err := wire.DecodeState(wire.AppendState(nil, lattice.MapPut("f", nested))); !errors.Is(err, wire.ErrTooLarge) {
		t.Fatalf("17 levels of maps: %v", err)
	}

	versions := &pb.Causal{}
	for i := range 32*lattice.CausalVersionsMax + 1 {
		versions.Versions = append(versions.Versions, &pb.Version{Value: []byte{byte(i), byte(i >> 8)}})
	}
	encoded, err := proto.Marshal(&pb.State{Causal: versions})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.DecodeState(encoded); !errors.Is(err, wire.ErrTooLarge) {
		t.Fatalf("too many versions: %v", err)
	}

	for name, message := range map[string]*pb.State{
		"score":    {OrderedSet: &pb.OrderedSet{Members: []*pb.ScoredMember{{Score: math.NaN()}}}},
		"priority": {Priority: &pb.Priority{Priority: math.NaN()}},
	} {
		encoded, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wire.DecodeState(encoded); !errors.Is(err, wire.ErrInvalidArgument) {
			t.Fatalf("%s that is not a number: %v", name, err)
		}
	}
}
