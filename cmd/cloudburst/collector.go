package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// gcPercent is how much a large heap grows between two collections, in percent of what is live. It trades a little work of
	// the collector for a smaller process.
	gcPercent = 50
	// gcHeadroom is how much a heap grows at least: while a small heap is collected, calls take longer, and with gcPercent alone a
	// node that does little else would collect several times a second.
	gcHeadroom = 64 << 20
)

// collectSeldom sets how much the heap grows between two collections, after each of them. GOGC overrides it.
func collectSeldom() {
	if os.Getenv("GOGC") == "" {
		percent := percentFor(liveBytes())
		debug.SetGCPercent(percent)
		paceNext(&pacer{&percent})
	}
}

// pacer is dropped and made again, and is thus met by each collection.
type pacer struct{ percent *int }

// paceNext sets the growth again after the next collection.
func paceNext(p *pacer) {
	runtime.SetFinalizer(p, func(p *pacer) {
		if percent := percentFor(liveBytes()); percent != *p.percent {
			debug.SetGCPercent(percent) // stops all goroutines for a moment, so small changes are not made
			*p.percent = percent
		}
		paceNext(&pacer{p.percent})
	})
}

// percentFor returns the growth in percent for a heap with so many live bytes, in steps.
func percentFor(live uint64) int {
	const step = 50
	percent := gcHeadroom * 100 / max(live, 1<<20)
	return int(max(gcPercent, percent/step*step))
}

func liveBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
