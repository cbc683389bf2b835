package anna

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"cloudburst/anna/hot"
)

const (
	// sampleOf is how many reads one stands for that is looked at: readers share nothing on account of the others.
	sampleOf = 64
	// sketchKeys is how many keys of a kernel the most frequent ones are found among.
	sketchKeys = 256
	// rateLeast is what is left of one read after so long that it does not matter.
	rateLeast = 1.0 / 64
)

// heat is how often clients of this node read the keys of one kernel, from a sample; those too that other nodes hold. Safe for
// concurrent use.
type heat struct {
	mu     sync.Mutex
	sketch *hot.Sketch
	reads  []uint64 // by slot, of the sample
}

func newHeat(slots int) *heat {
	return &heat{sketch: hot.NewSketch(sketchKeys), reads: make([]uint64, slots)}
}

// read counts a read of a key, which is only lent, if it falls into the sample.
func (h *heat) read(key string, slot uint16) {
	if rand.Uint32()%sampleOf != 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads[slot]++
	h.sketch.Add(key, slot)
}

// rates returns how often the keys that are read most are read, in reads a second, as Count, when it is called again after some
// time. What was read longer ago counts less: half after each call.
func (h *heat) rates(passed time.Duration) []hot.Frequency {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := h.sketch.Frequent(rateLeast)
	h.sketch.Decay()
	perSecond := sampleOf / 2 / max(passed, time.Millisecond).Seconds()
	for i := range found {
		found[i].Count = found[i].Least() * perSecond
	}
	return found
}

// slots returns about how many reads there have been in every slot.
func (h *heat) slots() []uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	reads := slices.Clone(h.reads)
	for slot := range reads {
		reads[slot] *= sampleOf
	}
	return reads
}
