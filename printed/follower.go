package printed

import (
	"cmp"
	"context"
	"slices"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Bounds of what waits for one follower. Beyond them the oldest lines are dropped and counted.
const (
	followerLinesMax = 8192
	followerBytesMax = 4 << 20
)

// Query says which lines are meant: those that all of its fields fit. The zero value means all lines.
type Query struct {
	// Run means the lines of a run and of the runs below it.
	Run wire.RunID
	// Function and Version mean the lines of a function; version 0 means all versions.
	Function string
	Version  uint64
	// Client means the lines of the runs that a client has called, and of the runs below them.
	Client uint64
}

// matches reports whether a line is meant, apart from the run.
func (q *Query) matches(e *entry) bool {
	return (q.Function == "" || q.Function == e.line.Function) && (q.Version == 0 || q.Version == e.line.Version) &&
		(q.Client == 0 || q.Client == e.run.client)
}

// Follower gets the lines that a query asks for: those that are there, and those that come until it is closed. One goroutine uses it.
type Follower struct {
	store   *Store
	query   Query
	arrived chan struct{} // holds one token

	past []*entry // the lines that were there, not in order

	// Guarded by store.mu.
	lines   []*entry
	bytes   int
	dropped uint64
	closed  bool
}

// Follow returns a follower. The first lines that it gets are the latest of those that are there, at most limit.
func (s *Store) Follow(q Query, limit int) *Follower {
	f := &Follower{store: s, query: q, arrived: make(chan struct{}, 1)}
	f.arrived <- struct{}{}
	s.mu.Lock()
	f.past, f.dropped = s.latest(q, limit)
	switch {
	case q.Run != (wire.RunID{}):
		r := s.runOf(q.Run)
		r.followers = append(r.followers, f)
	case q.Function != "":
		function := s.functionOf(q.Function)
		function.followers = append(function.followers, f)
	default:
		s.followers = append(s.followers, f)
	}
	s.stats.Followers++
	s.mu.Unlock()
	slices.SortFunc(f.past, func(a, b *entry) int { return cmp.Compare(a.number, b.number) })
	f.past = f.past[max(0, len(f.past)-limit):]
	return f
}

// Next waits for lines, and returns them with the number of those before them that were dropped. When ctx ends it returns what is there
// without waiting, and in the end nothing. The lines must not be changed.
func (f *Follower) Next(ctx context.Context) (lines []*pb.LogLine, dropped uint64) {
	for {
		lines, dropped = f.take()
		if len(lines) > 0 || dropped > 0 {
			return lines, dropped
		}
		select {
		case <-f.arrived:
		default:
			select {
			case <-f.arrived:
			case <-ctx.Done():
				return f.take()
			}
		}
	}
}

func (f *Follower) take() (lines []*pb.LogLine, dropped uint64) {
	f.store.mu.Lock()
	arrived := f.lines
	dropped, f.dropped = f.dropped, 0
	f.lines, f.bytes = nil, 0
	f.store.mu.Unlock()
	lines = make([]*pb.LogLine, 0, len(f.past)+len(arrived))
	for _, entries := range [][]*entry{f.past, arrived} {
		for _, e := range entries {
			lines = append(lines, &e.line)
		}
	}
	f.past = nil
	return lines, dropped
}

// Close ends the follower. A second call does nothing.
func (f *Follower) Close() {
	s := f.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	s.stats.Followers--
	gone := func(other *Follower) bool { return other == f }
	switch {
	case f.query.Run != (wire.RunID{}):
		r := s.runOf(f.query.Run)
		r.followers = slices.DeleteFunc(r.followers, gone)
		s.release(r)
	case f.query.Function != "":
		function := s.functionOf(f.query.Function)
		function.followers = slices.DeleteFunc(function.followers, gone)
		s.releaseFunction(function)
	default:
		s.followers = slices.DeleteFunc(s.followers, gone)
	}
}

// hand gives a line to those who follow it. s.mu is held.
func (s *Store) hand(e *entry) {
	if s.stats.Followers == 0 {
		return
	}
	for r := e.run; r != nil; r = r.parent {
		s.handTo(r.followers, e)
	}
	if e.function != nil {
		s.handTo(e.function.followers, e)
	}
	s.handTo(s.followers, e)
}

func (s *Store) handTo(followers []*Follower, e *entry) {
	for _, f := range followers {
		if !f.query.matches(e) {
			continue
		}
		f.lines = append(f.lines, e)
		f.bytes += e.bytes
		for len(f.lines) > followerLinesMax || f.bytes > followerBytesMax && len(f.lines) > 1 {
			f.bytes -= f.lines[0].bytes
			f.lines[0] = nil
			f.lines = f.lines[1:]
			f.dropped++
			s.stats.Missed++
		}
		select {
		case f.arrived <- struct{}{}:
		default:
		}
	}
}
