package simulation

import (
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this one seed, and trace it with -v")
	seedsFlag = flag.Uint64("seeds", 2000, "how many seeds to run")
)

// TestSimulation runs many seeds: whatever happens, all masters agree in the end, with one another, with their caches and with
// the log, and nothing that was acknowledged as durable is missing.
func TestSimulation(t *testing.T) {
	t.Parallel()
	if *seedFlag != 0 {
		if err := newWorld(*seedFlag, sound, t.Logf).run(); err != nil {
			t.Fatalf("seed %d: %v", *seedFlag, err)
		}
		return
	}
	if seed, err := search(sound, *seedsFlag); err != nil {
		t.Fatalf("seed %d: %v\nreplay it with: go test ./anna/simulation -run TestSimulation -seed %d -v", seed, err, seed)
	}
}

// TestDefectsAreFound puts in defects, each of which the checkers must find: they are what the other test is worth.
func TestDefectsAreFound(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]variant{
		"merge in order of arrival":       mergeByArrival,
		"roll-up without a guard":         unguardedRollUp,
		"acknowledged before it is there": ackBeforePublish,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed, err := search(v, 500)
			if err == nil {
				t.Fatal("500 seeds did not show it")
			}
			t.Logf("seed %d: %v", seed, err)
		})
	}
}

// TestSameSeedSameWorld checks that a seed decides everything.
func TestSameSeedSameWorld(t *testing.T) {
	t.Parallel()
	var traces [2]string
	for i := range traces {
		w := newWorld(7, sound, func(format string, args ...any) { traces[i] += fmt.Sprintf(format, args...) + "\n" })
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
	}
	if traces[0] != traces[1] || traces[0] == "" {
		t.Fatal("the same seed made two different worlds")
	}
}

// search runs seeds until one fails and returns that one, the lowest of those found.
func search(v variant, seeds uint64) (failed uint64, err error) {
	var next atomic.Uint64
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := next.Add(1); seed <= seeds; seed = next.Add(1) {
				e := newWorld(seed, v, nil).run()
				mu.Lock()
				if e != nil && (err == nil || seed < failed) {
					failed, err = seed, e
				}
				stop := err != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	workers.Wait()
	return failed, err
}
