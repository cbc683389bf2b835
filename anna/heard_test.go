package anna_test

import (
	"fmt"
	"testing"

	"cloudburst/anna/kernel"
	"cloudburst/lattice"
)

// expiring lets a key that is there expire in an hour.
type expiring struct{}

func (expiring) Make(held *lattice.State, _ lattice.Timestamp, now int64) (*lattice.State, int64, error) {
	if held.Live(now) == nil {
		return nil, 0, nil
	}
	return lattice.ExpireAt(lattice.Timestamp{}, now+3600_000), 1, nil
}

// swapping writes a value over whatever is there.
type swapping struct{ value string }

func (m swapping) Make(held *lattice.State, _ lattice.Timestamp, now int64) (*lattice.State, int64, error) {
	if held.Live(now) == nil {
		return nil, 0, nil
	}
	return lattice.Put(lattice.Timestamp{}, []byte(m.value)), 1, nil
}

// TestLocksOfOneNode: a node that is a master of keys, some of which it does not lead, takes one if nobody has it, reads that it has,
// gives it back, and takes it again: what was acknowledged in memory counts for all that comes after it at this node.
func TestLocksOfOneNode(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, fewSlots(3), 3)
	nodes[0].eventuallyRests(t, len(nodes))
	n := nodes[0]
	write := func(want int64, w *kernel.Write) {
		t.Helper()
		w.Ack = kernel.Memory
		if v, err := n.write(t, w); err != nil || v != want {
			t.Fatalf("%s: %d, %v; want %d", w.Key, v, err, want)
		}
	}
	expires := func(n *running, key string) {
		t.Helper()
		n.view(t, key, func(s *lattice.State) {
			if s == nil || s.ExpiresAt() == 0 {
				t.Fatalf("%s does not expire: %v", key, s)
			}
		})
	}
	const locks = 60
	for i := range locks {
		key := fmt.Sprint("lock", i)
		for turn := range 3 {
			me := fmt.Sprint(turn)
			write(1, &kernel.Write{Key: key, Make: onlyOnce{me}, Replace: true})
			if got := n.get(t, key); got != me {
				t.Fatalf("%s holds %q after %q has taken it", key, got, me)
			}
			write(0, &kernel.Write{Key: key, Make: onlyOnce{"another"}})
			write(1, &kernel.Write{Key: key, Make: expiring{}})
			expires(n, key)
			write(1, &kernel.Write{Key: key, Delete: true})
			if got := n.get(t, key); got != "" {
				t.Fatalf("%s holds %q after it was given back", key, got)
			}
		}
		// So does what this node has written without asking anybody, also where it is of another type.
		write(0, &kernel.Write{Key: key, Delta: lattice.Put(lattice.Timestamp{}, []byte("plain"))})
		write(0, &kernel.Write{Key: key, Make: onlyOnce{"another"}})
		write(1, &kernel.Write{Key: key, Make: expiring{}})
		expires(n, key)
		set := fmt.Sprint("set", i)
		write(1, &kernel.Write{Key: set, Delta: lattice.SetAdd(lattice.Timestamp{}, []byte("member"))})
		write(1, &kernel.Write{Key: set, Make: swapping{"value"}, Replace: true})
		if got := n.get(t, set); got != "value" {
			t.Fatalf("%s holds %q after it was swapped", set, got)
		}
	}
	for i, n := range nodes {
		n.eventuallyWritten(t)
		n.put(t, fmt.Sprint("end", i), "here", kernel.Durable)
	}
	for i, n := range nodes {
		for j := range nodes {
			n.eventually(t, fmt.Sprint("end", j), "here") // and so is everything before it in the log
		}
		for j := range locks {
			key, set := fmt.Sprint("lock", j), fmt.Sprint("set", j)
			if got := n.get(t, key); got != "plain" {
				t.Errorf("master %d has %q under %s", i, got, key)
			}
			expires(n, key)
			if got := n.get(t, set); got != "value" {
				t.Errorf("master %d has %q under %s", i, got, set)
			}
		}
	}
}

// TestHeardIsPublishedOnce: what one master has made of a write through another is in the log once.
func TestHeardIsPublishedOnce(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, fewSlots(3), 3)
	nodes[0].eventuallyRests(t, len(nodes))
	const written = 60
	for i := range written {
		w := &kernel.Write{Key: fmt.Sprint("k", i), Make: onlyOnce{"x"}, Ack: kernel.Ack(i % 2)}
		if v, err := nodes[0].write(t, w); err != nil || v != 1 {
			t.Fatal(v, err)
		}
	}
	for _, n := range nodes {
		n.eventuallyWritten(t)
	}
	if got := nodes[0].records(t); got != written {
		t.Fatalf("%d records for %d writes", got, written)
	}
}
