package kernel

// partition is what a kernel knows of one stream of the log. All records of a key are in one partition, and all kernels of a
// process have different ones.
type partition struct {
	number int
	// applied: every record up to this sequence is merged.
	applied uint64
	// ahead holds the sequences of own acknowledged records after a gap, in which somebody else's record must be.
	ahead sequences
	// behind is set while that gap is there.
	behind bool

	// items is how many keys there are, and needed about how many bytes of the log they need.
	items, needed int
	// Records before target are to be replaced, and those before floor are not needed any more, by any key of the kernel's. Lowest is
	// what floor will be once all keys have been looked at.
	target, floor, lowest uint64

	// urgent and lazy hold the changed keys that wait to be published: durable writes wait for the former.
	urgent, lazy queue[*item]
	// outstanding is how many publishes have not been answered, and large how many of them are of large states.
	outstanding, large int
	// allowance is how many lazy publishes may be made, as of allowedAt, and rate how many a second since the queue was empty.
	allowance, rate float64
	allowedAt       int64
	bursting        bool // lazy publishes are being made since Kernel.burstAt

	// failures counts publishes that failed since the last one that did not; retryAt is when the log is tried again.
	failures int
	retryAt  int64
	err      error
}

// own takes note that a record of this kernel got a sequence. Sequences are given without gaps, so one that skips some tells of
// records that this kernel has not seen.
func (p *partition) own(sequence uint64) {
	if sequence <= p.applied {
		return
	}
	if sequence == p.applied+1 {
		p.advance(sequence)
		return
	}
	p.ahead.push(sequence)
}

// advance takes note that everything up to a sequence is merged.
func (p *partition) advance(sequence uint64) {
	p.applied = max(p.applied, sequence)
	for p.ahead.len() > 0 && p.ahead.min() <= p.applied+1 {
		p.applied = max(p.applied, p.ahead.pop())
	}
	if p.ahead.len() == 0 {
		p.behind = false
	}
}

// sequences is a heap, smallest first.
type sequences []uint64

func (s *sequences) len() int    { return len(*s) }
func (s *sequences) min() uint64 { return (*s)[0] }

func (s *sequences) push(v uint64) {
	*s = append(*s, v)
	h := *s
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if h[parent] <= h[i] {
			break
		}
		h[parent], h[i] = h[i], h[parent]
		i = parent
	}
}

func (s *sequences) pop() uint64 {
	h := *s
	least := h[0]
	n := len(h) - 1
	h[0] = h[n]
	h = h[:n]
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && h[child+1] < h[child] {
			child++
		}
		if h[i] <= h[child] {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	*s = h
	return least
}
