package anna_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloudburst/anna"
	"cloudburst/lattice"
)

// TestClocksAreSet: the clocks of nodes jump by an hour, forth and back, while all of them write. Nothing that was acknowledged is
// lost, whoever wrote a key last has written it, all hold the same, and nobody has to wait for the hour to pass.
func TestClocksAreSet(t *testing.T) {
	t.Parallel()
	cluster := startNATSCluster(t)
	cfg := fewSlots(1)
	cfg.Replicas, cfg.PublishTimeout = 3, time.Second
	nodes := make([]*running, 3)
	skews := make([]atomic.Int64, len(nodes))
	for i := range nodes {
		nodes[i] = startBy(t, cfg, cluster.connect(i), func() time.Time { return time.Now().Add(time.Duration(skews[i].Load())) })
	}
	nodes[0].eventuallyRests(t, len(nodes))
	var stop atomic.Bool
	var wg sync.WaitGroup
	acknowledged := make([]atomic.Int64, 6)
	for w := range acknowledged {
		wg.Go(func() {
			for i := int64(1); !stop.Load(); i++ {
				for _, write := range []*anna.Write{
					{Key: fmt.Sprint("w", w), Delta: lattice.Put(lattice.Timestamp{}, fmt.Append(nil, i))},
					{Key: fmt.Sprint("w", w, "-", i), Delta: lattice.Put(lattice.Timestamp{}, fmt.Append(nil, i))},
					{Key: fmt.Sprint("n", w), Add: 1},
				} {
					if _, err := nodes[w%3].write(t, write); err != nil {
						t.Errorf("write %d to %s: %v", i, write.Key, err)
						return
					}
				}
				acknowledged[w].Store(i)
			}
		})
	}
	progress := func(what string) {
		t.Helper()
		began := time.Now()
		for w := range acknowledged {
			from := acknowledged[w].Load()
			for acknowledged[w].Load() < from+3 {
				if time.Since(began) > patience || t.Failed() {
					t.Fatalf("%s: writer %d gets no further", what, w)
				}
				time.Sleep(time.Millisecond)
			}
		}
		t.Logf("%s: every writer got on within %v", what, time.Since(began).Round(time.Millisecond))
	}
	progress("clocks agree")
	for i := range nodes {
		for _, skew := range []time.Duration{time.Hour, -time.Hour, 0} {
			skews[i].Store(int64(skew))
			progress(fmt.Sprintf("clock %d set to %v", i, skew))
		}
	}
	stop.Store(true)
	wg.Wait()
	for w := range acknowledged {
		last := acknowledged[w].Load()
		for _, n := range nodes {
			n.eventually(t, fmt.Sprint("w", w), fmt.Sprint(last))
			n.eventuallyHolds(t, fmt.Sprint("n", w), fmt.Sprint(last))
			for i := range last {
				n.eventually(t, fmt.Sprint("w", w, "-", i+1), fmt.Sprint(i+1))
			}
		}
	}
}
