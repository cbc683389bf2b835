package simulation

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this one seed, and trace it with -v")
	firstFlag = flag.Uint64("first", 1, "the first seed to run")
	seedsFlag = flag.Uint64("seeds", 2000, "how many seeds to run")
)

// TestSimulation runs many seeds: whatever happens while slots move, all masters of a key agree in the end, with one another, with their
// caches and with the log, nobody else keeps it, and nothing is missing that was acknowledged as durable, or in memory by a process
// that has not ended before it could write it to the log. Who serves a key shows all that the log held before it was taken over, and a
// replica of a hot key shows in the end what the key's masters show.
func TestSimulation(t *testing.T) {
	t.Parallel()
	if *seedFlag != 0 {
		if err := newWorld(*seedFlag, sound, t.Logf).run(); err != nil {
			t.Fatalf("seed %d: %v", *seedFlag, err)
		}
		return
	}
	if seed, err := search(sound, *firstFlag, *seedsFlag); err != nil {
		t.Fatalf("seed %d: %v\nreplay it with: go test ./anna/simulation -run TestSimulation -seed %d -v", seed, err, seed)
	}
}

// TestDefectsAreFound puts in defects, each of which the checkers must find: they are what the other test is worth.
func TestDefectsAreFound(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]variant{
		"merge in order of arrival":       mergeByArrival,
		"whole without a guard":           unguardedWhole,
		"cut off without asking":          cutAlone,
		"cut off before it was replaced":  cutUnread,
		"acknowledged before it is there": ackBeforePublish,
		"served before the log was read":  servedUnread,
		"served before it has settled":    servedUnsettled,
		"given up before it was written":  partedUnwritten,
		"a change missed without notice":  missedUnnoticed,
		"a write that its node misses":    ownWriteUnseen,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed, err := search(v, 1, 2000)
			if err == nil {
				t.Fatal("2000 seeds did not show it")
			}
			t.Logf("seed %d: %v", seed, err)
		})
	}
}

// TestSameSeedSameWorld checks that a seed decides everything.
func TestSameSeedSameWorld(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		var traces [2]strings.Builder
		for i := range traces {
			w := newWorld(seed, sound, func(format string, args ...any) { fmt.Fprintf(&traces[i], format+"\n", args...) })
			if err := w.run(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if traces[0].String() != traces[1].String() || traces[0].Len() == 0 {
			t.Fatalf("seed %d made two different worlds", seed)
		}
	}
}

// search runs seeds until one fails and returns that one, the lowest of those found.
func search(v variant, first, seeds uint64) (failed uint64, err error) {
	var next atomic.Uint64
	next.Store(first - 1)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := next.Add(1); seed < first+seeds; seed = next.Add(1) {
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
