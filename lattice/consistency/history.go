package consistency

import (
	"fmt"
	"maps"

	"cloudburst/lattice"
)

// Kind is what an event was.
type Kind uint8

// The kinds of events.
const (
	DidRead  Kind = iota // a key: State is what was shown
	DidWrite             // a key: State is the delta, which the store has or will have
	DidAbort             // a write of a key: State is a delta that the store must never show
	DidEnd               // a transaction
)

// Event is something that one session did. Events of a session are in its order.
type Event struct {
	Session int
	Kind    Kind
	Key     string
	State   *lattice.State
}

// History is what sessions did, as a test of a client records it. Its Check knows nothing of how promises are kept: of two states,
// the one that changes nothing when it is merged into the other is the older one.
type History []Event

// Seen reports whether a state has seen another: merging it changes nothing.
func Seen(by, s *lattice.State) bool { return !by.Clone().Merge(s) }

// shows reports whether a state shows a write itself, and not only one that came later: a stamp of it, which no other has.
func shows(s, write *lattice.State) bool {
	switch w := write.Lattice.(type) {
	case *lattice.LWW:
		l, ok := s.Of(lattice.TypeLWW).(*lattice.LWW)
		return ok && l.Timestamp == w.Timestamp
	case *lattice.Set:
		set, ok := s.Of(lattice.TypeSet).(*lattice.Set)
		if !ok {
			return false
		}
		written := maps.Collect(w.Marks())
		for member, mark := range set.Marks() {
			if own, ok := written[member]; ok && own == mark {
				return true
			}
		}
		return false
	}
	return write.Lattice != nil && Seen(s, write)
}

// Check returns what breaks the promises of a level.
func (h History) Check(level Level) (faults []error) {
	fault := func(promise string, e Event, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: session %d, key %s: %s", promise, e.Session, e.Key, fmt.Sprintf(format, args...)))
	}
	type place struct {
		session int
		key     string
	}
	read, wrote, cut := map[place]*lattice.State{}, map[place]*lattice.State{}, map[place]*lattice.State{}
	type order struct{ before, after Event }
	var orders []order // who sees after has to see before
	required := map[place]lattice.VectorClock{}
	join := func(m map[place]*lattice.State, at place, s *lattice.State) {
		if m[at] == nil {
			m[at] = new(lattice.State)
		}
		m[at].Merge(s)
	}
	for _, e := range h {
		at := place{e.Session, e.Key}
		switch e.Kind {
		case DidRead:
			if level.Has(ReadYourWrites) && wrote[at] != nil && !Seen(e.State, wrote[at]) {
				fault("read your writes", e, "own writes are missing")
			}
			if level.Has(MonotonicReads) && read[at] != nil && !Seen(e.State, read[at]) {
				fault("monotonic reads", e, "it was newer before")
			}
			if level.Has(ItemCut) {
				if held := cut[at]; held != nil && !(Seen(e.State, held) && Seen(held, e.State)) {
					fault("item cut", e, "it was different in the same transaction")
				}
				cut[at] = e.State.Clone()
			}
			if c, ok := e.State.Of(lattice.TypeCausal).(*lattice.Causal); level.Has(Causal) {
				if needs, depends := required[at]; depends && !(ok && c.Clock().Covers(needs)) {
					fault("causal", e, "older than what was read depends on")
				}
				if ok {
					required[at] = required[at].Merge(c.Clock())
					for d := range c.Dependencies().Entries() {
						on := place{e.Session, d.Key}
						required[on] = required[on].Merge(d.Clock)
					}
				}
			}
			join(read, at, e.State)
		case DidWrite:
			if level.Has(MonotonicWrites) && wrote[at] != nil {
				orders = append(orders, order{Event{e.Session, DidWrite, e.Key, wrote[at].Clone()}, e})
			}
			if level.Has(WritesFollowReads) && read[at] != nil {
				orders = append(orders, order{Event{e.Session, DidRead, e.Key, read[at].Clone()}, e})
			}
			if held := cut[at]; held != nil {
				held.Merge(e.State)
			}
			if c, ok := e.State.Of(lattice.TypeCausal).(*lattice.Causal); ok {
				required[at] = required[at].Merge(c.Clock())
			}
			join(wrote, at, e.State)
		case DidEnd:
			for at := range cut {
				if at.session == e.Session {
					delete(cut, at)
				}
			}
		case DidAbort:
		}
	}
	for _, e := range h {
		if e.Kind != DidRead {
			continue
		}
		for _, o := range orders {
			if o.after.Key == e.Key && shows(e.State, o.after.State) && !Seen(e.State, o.before.State) {
				promise := "monotonic writes"
				if o.before.Kind == DidRead {
					promise = "writes follow reads"
				}
				fault(promise, e, "shows a write of session %d without what came before it", o.after.Session)
			}
		}
	}
	if level.Has(ReadCommitted) {
		h.dirty(fault)
	}
	return faults
}

// dirty finds reads of last-writer-wins values that were never committed.
func (h History) dirty(fault func(promise string, e Event, format string, args ...any)) {
	aborted := map[string]bool{}
	name := func(e Event) (string, bool) {
		if e.Kind == DidEnd {
			return "", false
		}
		l, ok := e.State.Of(lattice.TypeLWW).(*lattice.LWW)
		if !ok {
			return "", false
		}
		return e.Key + "\x00" + string(l.Value), true
	}
	for _, e := range h {
		if value, ok := name(e); ok && e.Kind == DidAbort {
			aborted[value] = true
		}
	}
	for _, e := range h {
		if value, ok := name(e); ok && e.Kind == DidRead && aborted[value] {
			fault("read committed", e, "shows a value that was never committed")
		}
	}
}
