package anna_test

import (
	"fmt"
	"strings"
	"testing"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/lattice"
	"cloudburst/wire/pb"
)

// TestOverview: every node says the same of who has what, and all of them say what they hold.
func TestOverview(t *testing.T) {
	t.Parallel()
	cfg := fewSlots(2)
	cfg.Name = "first"
	first := startNodes(t, cfg, 1)[0]
	cfg.Name = "second"
	second := first.beside(t, cfg)
	cfg.Name, cfg.Guest = "guest", true
	guest := first.beside(t, cfg)
	first.eventuallyRests(t, 3)
	const keys = 50
	for i := range keys {
		guest.put(t, fmt.Sprint("k", i), "value", kernel.Durable)
	}
	for _, n := range []*running{first, second, guest} {
		for i := range keys {
			n.eventually(t, fmt.Sprint("k", i), "value")
		}
	}
	for _, n := range []*running{first, second, guest} {
		n.eventuallyRests(t, 3)
		overview := n.server.Overview(t.Context())
		members := overview.GetMembers()
		if len(members) != 3 || members[0].GetName() != "first" || members[1].GetName() != "guest" || !members[1].GetGuest() {
			t.Fatalf("members: %v", members)
		}
		if leads := members[0].GetLeads() + members[2].GetLeads(); overview.GetMoving() != 0 || leads != 32 || members[1].GetServes() != 0 {
			t.Fatalf("%d slots move, %d are led, %d are a guest's", overview.GetMoving(), leads, members[1].GetServes())
		}
		for _, slot := range overview.GetSlots() {
			if len(slot.GetMasters()) != 2 || len(slot.GetServing()) != 2 {
				t.Fatalf("slot %v", slot)
			}
		}
		writes := uint64(0)
		for _, m := range []*pb.AnnaMember{members[0], members[2]} {
			share, held := m.GetShare(), uint64(0)
			for _, slot := range share.GetSlots() {
				held += slot.GetKeys()
				writes += slot.GetWrites()
			}
			if memory := share.GetTiers()[0]; memory.GetKeys() != keys || held != keys || memory.GetSizeBytes() < keys*5 || len(share.GetStreams()) != 2 {
				t.Fatalf("%s has %v", m.GetName(), share)
			}
		}
		if writes != keys {
			t.Fatalf("%d writes were counted", writes)
		}
	}
	second.crash()
	if overview := first.server.Overview(t.Context()); len(overview.GetMembers()) == 3 && overview.GetMembers()[2].GetShare() != nil {
		t.Fatal("a node that is gone has answered")
	}
}

// TestTiers: what memory has no room for is read through, and counted there.
func TestTiers(t *testing.T) {
	t.Parallel()
	const keys = 300
	s := startServer(t, anna.Config{Kernels: 1, Streams: 2, MemoryBytesMax: 1 << 20}, "")
	value := strings.Repeat("x", 20<<10)
	for i := range keys {
		s.put(t, fmt.Sprint("k", i), value, kernel.Durable)
	}
	for i := range keys {
		if s.get(t, fmt.Sprint("k", i)) != value {
			t.Fatalf("k%d is not there", i)
		}
	}
	m := s.server.Metrics()
	memory, log := m.Tier[0], m.Tier[1]
	if memory.Keys+log.Keys != keys || log.Keys == 0 || log.Keys != m.Cold {
		t.Errorf("%d keys in memory, %d in the log", memory.Keys, log.Keys)
	}
	if memory.Reads+log.Reads != keys || log.Reads == 0 || m.Evictions < uint64(log.Keys) {
		t.Errorf("%d reads from memory, %d from the log, %d evictions", memory.Reads, log.Reads, m.Evictions)
	}
	var held, bytes int
	var writes uint64
	for _, stream := range m.Stream {
		held, bytes, writes = held+stream.Keys, bytes+stream.Bytes, writes+stream.Writes
	}
	if len(m.Stream) != 2 || held != keys || bytes != m.Bytes || writes != keys {
		t.Errorf("%d keys, %d bytes of %d, %d writes in %d streams", held, bytes, m.Bytes, writes, len(m.Stream))
	}
	for i := range keys {
		if _, err := s.write(t, &kernel.Write{Key: fmt.Sprint("k", i), Delete: true}); err != nil {
			t.Fatal(err)
		}
	}
	if m := s.server.Metrics(); m.SlotKeysMax != 0 || m.Members != 1 || m.SlotsServed != m.Slots || m.SlotsLed != m.Slots {
		t.Errorf("after everything was deleted: %+v", m)
	}
}

// TestReadsOfSlots: the sample stands for all reads.
func TestReadsOfSlots(t *testing.T) {
	t.Parallel()
	s := startServer(t, anna.Config{}, "")
	s.put(t, "k", "v", kernel.Memory)
	const reads = 200_000
	for range reads {
		s.server.View("k", func(*lattice.State) {})
	}
	m := s.server.Metrics()
	counted := uint64(0)
	for _, stream := range m.Stream {
		counted += stream.Reads
	}
	// Off by a quarter it would be once in very many lives of the world.
	if m.Reads != reads || counted < reads*3/4 || counted > reads*5/4 {
		t.Fatalf("%d reads, %d estimated", m.Reads, counted)
	}
}
