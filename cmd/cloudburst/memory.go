package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// memoryInterval is how often it is looked whether there is memory to give back.
	memoryInterval = 2 * time.Second
	// quietBytes is what a quiet process allocates in that time at most.
	quietBytes = 4 << 20
	// slackBytesMin is what must be to gain for all memory to be gone through, and slackShare the part of what is alive.
	slackBytesMin = 32 << 20
	slackShare    = 0.25
)

// slack finds the moment to give memory back to the system. A busy time leaves garbage and free memory, which Go keeps for the
// next one: half as much again as what is alive, for minutes. Once the process is quiet the collector delays no request.
type slack struct {
	allocated uint64 // until the last look
	kept      uint64 // what could not be given back the last time
}

// due takes in how much has been allocated so far, how much is alive and how much is held beyond that, all in bytes, and reports
// whether to give it back now.
func (s *slack) due(allocated, live, held uint64) bool {
	quiet := allocated-s.allocated <= quietBytes
	s.allocated = allocated
	s.kept = min(s.kept, held)
	gain := held - s.kept
	return quiet && gain >= slackBytesMin && float64(gain) >= slackShare*float64(live)
}

// done takes in what is held after it has been given back.
func (s *slack) done(held uint64) { s.kept = held }

// giveBack gives memory back to the system in quiet times, until ctx ends.
func giveBack(ctx context.Context) {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	look := func() (allocated, live, held uint64) {
		metrics.Read(samples)
		allocated, live = samples[0].Value.Uint64(), samples[1].Value.Uint64()
		objects, free := samples[2].Value.Uint64(), samples[3].Value.Uint64()
		return allocated, live, free + max(objects, live) - live
	}
	ticker := time.NewTicker(memoryInterval)
	defer ticker.Stop()
	for s := new(slack); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if s.due(look()) {
			debug.FreeOSMemory()
			_, _, held := look()
			s.done(held)
		}
	}
}
