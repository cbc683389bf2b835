package kernel

import "slices"

// partitions are those of a kernel.
type partitions struct {
	own    []*partition
	number []*partition // by number; nil for those of other kernels
	bySlot func(slot uint16) int
}

func newPartitions(cfg *Config) partitions {
	p := partitions{bySlot: cfg.PartitionOf}
	for _, number := range cfg.Partitions {
		for len(p.number) <= number {
			p.number = append(p.number, nil)
		}
		p.number[number] = &partition{number: number}
		p.own = append(p.own, p.number[number])
	}
	return p
}

// of returns the partition of a slot.
func (p *partitions) of(slot uint16) *partition { return p.number[p.bySlot(slot)] }

// partition is what a kernel knows of one stream of the log. All records of a key are in one partition, and no other kernel of the
// process has it.
type partition struct {
	number int
	// applied: every record up to this sequence is merged.
	applied uint64
	// ahead holds the sequences of own acknowledged records that come after a record of another kernel, in order.
	ahead []uint64
	// behind is set while such a record has not been applied.
	behind bool

	// items is how many keys there are, and needed about how many bytes of the log they need.
	items, needed int
	// Records before target are to be replaced. No key of the kernel needs a record before floor, nor will need one before lowest once
	// the pass over all keys ends.
	target, floor, lowest uint64

	// urgent and lazy hold the changed keys that wait to be published. Durable writes wait for those in urgent.
	urgent, lazy queue[*item]
	// outstanding is how many publishes have not been answered, and large how many of them are of large states.
	outstanding, large int
	// allowance is how many keys may be published from lazy as of allowedAt, and rate how many a second since the queue was empty.
	allowance, rate float64
	allowedAt       int64
	bursting        bool // keys are being published from lazy since changeset.burstAt

	// failures counts publishes that failed since the last one that did not; retryAt is when the log is tried again.
	failures int
	retryAt  int64
	err      error
}

// acknowledge takes note of the sequence of a record of this kernel. Sequences are given without gaps, so one that skips some proves
// that there are records that this kernel has not seen.
func (p *partition) acknowledge(sequence uint64) {
	switch {
	case sequence <= p.applied:
	case sequence == p.applied+1:
		p.advance(sequence)
	default:
		at, _ := slices.BinarySearch(p.ahead, sequence) // most are the last
		p.ahead = slices.Insert(p.ahead, at, sequence)
	}
}

// advance takes note that everything up to a sequence is merged.
func (p *partition) advance(sequence uint64) {
	p.applied = max(p.applied, sequence)
	merged := 0
	for merged < len(p.ahead) && p.ahead[merged] <= p.applied+1 {
		p.applied = max(p.applied, p.ahead[merged])
		merged++
	}
	if p.ahead = slices.Delete(p.ahead, 0, merged); len(p.ahead) == 0 {
		p.behind = false
	}
}

// need takes note of from where on the log is needed for a key of the partition, and of about how many bytes of it.
func (p *partition) need(it *item, base uint64, bytes int) {
	logged := uint32(min(bytes, 1<<31))
	p.needed += int(logged) - int(it.logged)
	it.base, it.logged = base, logged
	if base != 0 {
		p.floor, p.lowest = min(p.floor, base), min(p.lowest, base)
	}
}
