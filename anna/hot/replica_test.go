package hot

import (
	"errors"
	"testing"

	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// heardAt is a source that was heard of at some time.
type heardAt int64

func (h heardAt) Heard() int64 { return int64(h) }

func put(time uint64, value string) *lattice.State {
	return lattice.Put(lattice.Timestamp{Time: time}, []byte(value))
}

// TestReplica: when a replica asks a master, when it answers, and what it shows.
func TestReplica(t *testing.T) {
	t.Parallel()
	var r Replica
	answers := func(now int64, want string) {
		t.Helper()
		if r.Answers(now) != (want != "") {
			t.Fatalf("at %d it answers: %v", now, r.Answers(now))
		}
		if lww, ok := r.State().Lattice.(*lattice.LWW); want != "" && (!ok || string(lww.Value) != want) {
			t.Fatalf("at %d it shows %v, want %s", now, r.State().Lattice, want)
		}
	}
	wants := func(now int64, want bool) {
		t.Helper()
		if r.Wants(now) != want {
			t.Fatalf("at %d it wants to be told: %v", now, !want)
		}
	}
	wants(1, true)
	wants(1+patience-1, false) // it has been asked for
	wants(1+patience, true)
	answers(1, "")
	r.Changed(put(9, "lost")) // before it is known what the key holds
	source := heardAt(10)
	r.Whole(put(1, "a"), source)
	wants(2*patience, false)
	answers(10, "a")
	answers(10+LagMax, "a")
	answers(10+LagMax+1, "") // its master has been silent for too long
	r.Changed(put(2, "b"))
	answers(10, "b")

	// Until a master has shown what was written through the node it does not answer.
	if !r.Written() || r.Written() {
		t.Fatal("a master is to be asked once")
	}
	answers(10, "")
	if !r.Checked(1, put(3, "c"), nil) {
		t.Fatal("a write has come since the question")
	}
	answers(10, "")
	if r.Checked(r.Doubts(), put(4, "d"), nil) {
		t.Fatal("no write has come since the question")
	}
	answers(10, "d")

	// A master that does not say makes it ask for everything.
	r.Written()
	r.Checked(r.Doubts(), nil, errors.New("away"))
	answers(10, "")
	wants(10+2*patience, true)
	r.Whole(put(5, "e"), source)
	answers(10, "e")
	r.Lost()
	answers(10, "")
	wants(11+2*patience, true) // at once

	// What it held before is not merged with what comes then: all others may have forgotten it.
	r.Whole(put(1, "older"), source)
	answers(10, "older")
	r.Refuse()
	answers(10, "")
	wants(100*patience, false)
	r.Whole(put(6, "f"), source)
	answers(10, "")
}

// TestTable: a key is hot where the member says so that leads its slot; a member holds those of slots that it does not serve.
func TestTable(t *testing.T) {
	t.Parallel()
	slotOf := func(key string) uint16 { return uint16(key[0] - '0') }
	placing := Placing{SlotOf: slotOf, Masters: func(uint16) []string { return []string{"a"} }}
	members := []Member{
		{ID: "a", Master: true, Leads: []byte{1}, Hot: []Key{{"0", 5, []string{"b", "c"}}, {"1", 5, []string{"b"}}}},
		{ID: "b", Master: true, Holds: []uint64{slots.Hash("0")}, Warm: []Warmth{{"0", 2, false}}},
		{ID: "c", Master: true, Warm: []Warmth{{"0", 3, true}, {"1", 9, true}}},
		{ID: "guest", Warm: []Warmth{{"0", 4, true}}},
	}
	table := NewTable(members, placing)
	if r := table["0"]; len(table) != 1 || len(r.Members) != 2 || len(r.Serving) != 1 || r.Serving[0] != "b" {
		t.Fatalf("%+v", table)
	}
	serves := func(uint16) bool { return false }
	if held := table.Held("c", serves, 10); len(held) != 1 || held[0] != "0" {
		t.Fatal(held)
	}
	if held := table.Held("c", func(uint16) bool { return true }, 10); len(held) != 0 {
		t.Fatal("a master holds a replica of", held)
	}
	if held := table.Held("c", serves, 0); len(held) != 0 {
		t.Fatal("more than the bound:", held)
	}
	demands := Demands("a", members, []string{"0"}, placing)
	if d := demands[0]; len(demands) != 1 || d.Rate != 9 || d.Masters != 1 || len(d.Candidates) != 2 || d.Candidates[0] != "c" {
		t.Fatalf("%+v", demands)
	}
	if demands := Demands("c", members, nil, placing); len(demands) != 0 {
		t.Fatalf("a member that leads nothing decides about %+v", demands)
	}
}
