package kernel

import "cloudburst/lattice"

// publications are the publishes that have not been answered, by id.
type publications struct {
	entries []publicationEntry
	free    []uint32 // in entries
	spare   []*publication
	flights []*flight // unused
	// deadlines are in their order; those of publishes that were answered may be among them.
	deadlines queue[publishDeadline]
}

type publicationEntry struct {
	publication *publication // nil when it was answered
	generation  uint32
}

// publication is a publish that has not been answered.
type publication struct {
	id    uint64  // the index in entries, and its generation
	items []*item // each has a flight with it
	since uint64  // the record and its chunks come after it
	large bool    // one that takes long, and does not count
	alive int64   // when it last got on, if it takes long; 0 = it does not
}

// flight is what a publish that has not been answered says of an item.
type flight struct {
	publication *publication
	delta       *lattice.State // nil when it was the whole state
	bytes       int
	whole       bool // it was the whole state, in which every record of the key up to publication.since is merged
	waiters     []*waiter
}

// publishDeadline is when a publish must have been answered.
type publishDeadline struct {
	id uint64
	at int64
}

// open begins a publish.
func (p *publications) open(of *partition, large bool, deadline int64) *publication {
	var r *publication
	if n := len(p.spare); n > 0 {
		r, p.spare = p.spare[n-1], p.spare[:n-1]
	} else {
		r = new(publication)
	}
	var at uint32
	if n := len(p.free); n > 0 {
		at, p.free = p.free[n-1], p.free[:n-1]
	} else {
		at = uint32(len(p.entries))
		p.entries = append(p.entries, publicationEntry{})
	}
	e := &p.entries[at]
	e.publication = r
	e.generation++
	r.id, r.since, r.large = uint64(e.generation)<<32|uint64(at), of.applied, large
	of.outstanding++
	if large {
		of.large++
	}
	p.deadlines.push(publishDeadline{r.id, deadline})
	return r
}

func (r *publication) add(it *item) {
	it.busy.flight.publication = r
	r.items = append(r.items, it)
}

// find returns the publish that has an id; nil when it has been answered before, or given up.
func (p *publications) find(id uint64) *publication {
	at := uint32(id)
	if id == 0 || int(at) >= len(p.entries) || p.entries[at].generation != uint32(id>>32) {
		return nil
	}
	return p.entries[at].publication
}

// close takes a publish of a partition out of the table.
func (p *publications) close(r *publication, of *partition) {
	at := uint32(r.id)
	p.entries[at].publication = nil
	p.free = append(p.free, at)
	of.outstanding--
	if r.large {
		of.large--
	}
}

// recycle keeps the struct of a publish that is closed.
func (p *publications) recycle(r *publication) {
	clear(r.items)
	*r = publication{items: r.items[:0]}
	if len(p.spare) < spareMax {
		p.spare = append(p.spare, r)
	}
}

// dropAnswered forgets the deadlines of publishes that were answered, so that the queue is no longer than what is outstanding.
func (p *publications) dropAnswered() {
	for d, ok := p.deadlines.peek(); ok && p.find(d.id) == nil; d, ok = p.deadlines.peek() {
		p.deadlines.pop()
	}
}

func (p *publications) newFlight() *flight {
	if n := len(p.flights); n > 0 {
		f := p.flights[n-1]
		p.flights = p.flights[:n-1]
		return f
	}
	return new(flight)
}

func (p *publications) recycleFlight(f *flight) {
	clear(f.waiters)
	*f = flight{waiters: f.waiters[:0]}
	if len(p.flights) < spareMax {
		p.flights = append(p.flights, f)
	}
}
