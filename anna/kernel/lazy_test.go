package kernel

import (
	"fmt"
	"testing"

	"cloudburst/lattice"
)

// TestLazyWritesAreGathered writes the same keys over and over with memory acknowledgements and counts what reaches the log.
func TestLazyWritesAreGathered(t *testing.T) {
	t.Parallel()
	k := oneKernel()
	k.cfg.LazyRate, k.cfg.LazyInterval, k.cfg.PublishesMax, k.cfg.ChangesetBytesMax = 1000, 10e6, 1<<20, 1<<30
	const keys, second = 20_000, 1_000_000
	now, published := int64(1e15), 0
	var out Effects
	land := func() {
		for len(out.Publishes) > 0 {
			m := out.Publishes
			out = Effects{}
			for i := range m {
				published++
				k.Step(Moment{now, now}, &Acknowledged{Publish: m[i].ID, Partition: 0, Sequence: uint64(published)}, &out)
			}
		}
		out.Reset()
	}
	// A few keys reach the log at once.
	for i := range 50 {
		k.Step(Moment{now, now}, &Write{Key: fmt.Sprint(i), Delta: lattice.Put(lattice.Timestamp{}, []byte("v")), Ack: Memory}, &out)
	}
	land()
	if published != 50 || k.Stats().ChangesetBytes != 0 {
		t.Fatalf("of 50 writes %d were published", published)
	}
	// Of a million in two seconds, on twenty thousand keys, what is allowed does.
	published = 0
	for i := range 1_000_000 {
		k.Step(Moment{now, now}, &Write{Key: fmt.Sprint(i % keys), Delta: lattice.Put(lattice.Timestamp{}, []byte("v")), Ack: Memory}, &out)
		land()
		now += 2
	}
	if published < 2000 || published > 2*keys/10+1000 {
		t.Fatalf("%d were published", published)
	}
	// All of them do in the interval, without another write.
	for end := now + 11*second; now < end && k.Stats().ChangesetBytes > 0; now = min(end, max(now+1, k.Wake(Moment{now, now}))) {
		k.Step(Moment{now, now}, &Tick{}, &out)
		land()
	}
	if left := k.Stats().ChangesetBytes; left != 0 {
		t.Fatalf("%d bytes are not in the log after the interval", left)
	}
	// When the node is about to end, everything goes at once.
	for i := range keys {
		k.Step(Moment{now, now}, &Write{Key: fmt.Sprint(i), Delta: lattice.Put(lattice.Timestamp{}, []byte("w")), Ack: Memory}, &out)
	}
	k.Step(Moment{now, now}, &Tick{Hurry: true}, &out)
	land()
	if left := k.Stats().ChangesetBytes; left != 0 {
		t.Fatalf("%d bytes are not in the log at the end", left)
	}
}

// TestFewLazyWrites: however low the rate, what nobody waits for reaches the log in the interval.
func TestFewLazyWrites(t *testing.T) {
	t.Parallel()
	const second = 1_000_000
	for rate := 1; rate <= 20; rate++ {
		k := oneKernel()
		k.cfg.LazyRate, k.cfg.LazyInterval = rate, 10*second
		now, published := int64(1e15), 0
		var out Effects
		for i := range 3 {
			k.Step(Moment{now, now}, &Write{Key: fmt.Sprint(i), Delta: lattice.Put(lattice.Timestamp{}, []byte("v")), Ack: Memory}, &out)
		}
		for end := now + 11*second; now < end; now = min(end, max(now+1, k.Wake(Moment{now, now}))) {
			k.Step(Moment{now, now}, &Tick{}, &out)
			for _, m := range out.Publishes {
				published++
				k.Step(Moment{now, now}, &Acknowledged{Publish: m.ID, Sequence: uint64(published)}, &out)
			}
			out.Reset()
		}
		if left := k.Stats().ChangesetBytes; left != 0 {
			t.Fatalf("rate %d: %d bytes are not in the log after the interval", rate, left)
		}
	}
}

// TestWritesOfTheOnlyMasterAreGathered: where no other master reads the log, writes that come one after another go there together; one
// that comes alone goes at once.
func TestWritesOfTheOnlyMasterAreGathered(t *testing.T) {
	t.Parallel()
	k := oneKernel()
	k.cfg.LazyRate, k.cfg.LazyInterval = 10_000, 10e6
	k.Step(Moment{1e15, 1e15}, &Company{}, &Effects{})
	now, published, bursts := int64(1e15), 0, 0
	step := func(m Message) {
		var out Effects
		k.Step(Moment{now, now}, m, &out)
		if len(out.Publishes) > 0 {
			bursts++
		}
		for len(out.Publishes) > 0 {
			landed := out.Publishes
			out.Publishes = nil
			for _, m := range landed {
				published++
				k.Step(Moment{now, now}, &Acknowledged{Publish: m.ID, Sequence: uint64(published)}, &out)
			}
		}
	}
	for i := range 1000 { // a second
		now += 1000
		if k.Wake(Moment{now, now}) <= now {
			step(&Tick{})
		}
		step(&Write{Key: fmt.Sprint(i), Delta: lattice.Put(lattice.Timestamp{}, []byte("v")), Ack: Memory})
		if i == 0 && published != 1 {
			t.Fatal("the first has to wait")
		}
	}
	if bursts < 10 || bursts > 45 {
		t.Fatalf("%d bursts for %d writes", bursts, published)
	}
	for k.Stats().ChangesetBytes > 0 {
		now = k.Wake(Moment{now, now})
		step(&Tick{})
	}
	if published != 1000 {
		t.Fatalf("%d of 1000 writes are in the log", published)
	}
}
