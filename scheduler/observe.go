package scheduler

import (
	"slices"

	"cloudburst/wire"
)

// WhenEnded calls a function once the run of an id has ended; at once when no such run is under way. It must not block. stop makes
// that it is not called any more, unless it has been.
func (s *Scheduler) WhenEnded(id wire.RunID, ended func()) (stop func()) {
	r := s.table.find(id)
	if r == nil || !r.observe(&ended) {
		ended()
		return func() {}
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.observers = slices.DeleteFunc(r.observers, func(other *func()) bool { return other == &ended })
	}
}

// observe has a function called when the run has ended, unless it has.
func (r *run) observe(ended *func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.delivered {
		r.observers = append(r.observers, ended)
	}
	return !r.delivered
}

// Origin says of a run that is under way whose call it is, and which run has called it: a zero id when none has.
func (s *Scheduler) Origin(id wire.RunID) (client uint64, parent wire.RunID, found bool) {
	r := s.table.find(id)
	if r == nil {
		return 0, wire.RunID{}, false
	}
	return r.client, r.parent, true
}
