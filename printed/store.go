package printed

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// BytesDefault is what the lines of a node may take unless it is set up otherwise.
	BytesDefault = 16 << 20
	// LinesOfRunMax bounds the lines that are kept of one run.
	LinesOfRunMax = 10_000
	// LineBytesMax cuts a line that is longer into several.
	LineBytesMax = 64 << 10

	// runShare is the part of the bytes that one run may take.
	runShare = 4
	// What a line, a run and a function take beyond their strings, about.
	lineBytes = 240
	runBytes  = 200
)

// Config says how much is kept. The zero value works.
type Config struct {
	// Bytes bounds the memory that the lines take. Default 16 MiB.
	Bytes int
	// Origin says of a run that is under way whose call it is and which run has called it; a zero id if none has. Default: nothing
	// is known of any run.
	Origin func(wire.RunID) (client uint64, parent wire.RunID, found bool)
}

// Source says what printed.
type Source struct {
	Run      wire.RunID
	Function string // empty when it is not known which function of the run it was
	Version  uint64
	Worker   uint64
	Stream   pb.Stream
}

// Store keeps lines. Safe for concurrent use.
type Store struct {
	cfg Config

	mu        sync.Mutex
	all       list
	runs      map[wire.RunID]*run
	functions map[string]*function
	bytes     int
	last      uint64 // number of the latest line

	// Followers that follow neither a run nor a function.
	followers []*Follower
	stats     Stats
}

// entry is a line that is kept.
type entry struct {
	line     pb.LogLine // immutable
	number   uint64     // in the order in which they came
	bytes    int
	run      *run
	function *function // nil when it is not known
	links    [orders]link
}

// run has the lines of one run. It is there while it has lines, followers, or runs below it that are there.
type run struct {
	id        wire.RunID
	known     bool // client and parent are known
	client    uint64
	parent    *run
	children  map[*run]struct{}
	lines     list
	bytes     int
	dropped   uint64
	followers []*Follower
}

// function has the lines of all versions of one function. It is there while it has lines or followers.
type function struct {
	name      string
	lines     list
	followers []*Follower
}

// Stats is a reading of a store's gauges and counters.
type Stats struct {
	Lines     int    // that are kept
	Bytes     int    // that they take, as accounted
	Followers int    // readers that get lines as they come
	Taken     uint64 // lines that functions have printed
	Dropped   uint64 // lines that made room for others
	Missed    uint64 // lines that followers were too slow for
}

// New returns an empty store.
func New(cfg Config) *Store {
	cfg.Bytes = cmp.Or(cfg.Bytes, BytesDefault)
	if cfg.Origin == nil {
		cfg.Origin = func(wire.RunID) (uint64, wire.RunID, bool) { return 0, wire.RunID{}, false }
	}
	s := &Store{cfg: cfg, runs: make(map[wire.RunID]*run), functions: make(map[string]*function)}
	s.all.order = ofAll
	return s
}

// Stats returns a reading.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	reading := s.stats
	reading.Lines, reading.Bytes = s.all.n, s.bytes
	return reading
}

// Add takes lines that have been printed. The end of the last one may be missing.
func (s *Store) Add(from Source, text string) {
	at := time.Now().UnixMicro()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.runOf(from.Run)
	s.trace(r)
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		line = strings.TrimSuffix(line, "\r")
		for len(line) > LineBytesMax {
			end := LineBytesMax
			for end > 0 && !utf8.RuneStart(line[end]) {
				end--
			}
			if end == 0 {
				end = LineBytesMax // it is not UTF-8
			}
			s.add(r, at, from, line[:end])
			line = line[end:]
		}
		s.add(r, at, from, line)
	}
	for s.bytes > s.cfg.Bytes && s.all.first != nil {
		s.drop(s.all.first)
	}
	s.release(r)
}

// add takes one line. s.mu is held.
func (s *Store) add(r *run, at int64, from Source, text string) {
	s.last++
	s.stats.Taken++
	e := &entry{number: s.last, bytes: lineBytes + len(text), run: r}
	// The text is often a part of a larger one, which it must not keep.
	e.line.AtMicroseconds, e.line.RunId, e.line.Text = at, r.id[:], strings.ToValidUTF8(strings.Clone(text), "\uFFFD")
	e.line.Function, e.line.Version, e.line.Stream, e.line.Worker = from.Function, from.Version, from.Stream, from.Worker
	if from.Function != "" {
		e.function = s.functionOf(from.Function)
		e.line.Function = e.function.name
		e.function.lines.push(e)
	}
	s.all.push(e)
	r.lines.push(e)
	s.bytes += e.bytes
	r.bytes += e.bytes
	s.hand(e)
	for r.lines.n > LinesOfRunMax || r.bytes > s.cfg.Bytes/runShare && r.lines.n > 1 {
		s.drop(r.lines.first)
	}
}

// drop forgets a line. s.mu is held.
func (s *Store) drop(e *entry) {
	s.all.remove(e)
	e.run.lines.remove(e)
	s.bytes -= e.bytes
	e.run.bytes -= e.bytes
	e.run.dropped++
	s.stats.Dropped++
	s.release(e.run)
	if e.function != nil {
		e.function.lines.remove(e)
		s.releaseFunction(e.function)
	}
}

// runOf returns the run of an id. s.mu is held.
func (s *Store) runOf(id wire.RunID) *run {
	r := s.runs[id]
	if r == nil {
		r = &run{id: id}
		r.lines.order = ofRun
		s.runs[id] = r
		s.bytes += runBytes
	}
	return r
}

// trace finds out to which runs a run belongs, as far as that is not known yet. s.mu is held.
func (s *Store) trace(r *run) {
	for !r.known {
		client, parent, found := s.cfg.Origin(r.id)
		if !found {
			return
		}
		r.known, r.client = true, client
		if parent == (wire.RunID{}) || s.runs[parent].below(r) {
			return // a parent is what the caller says, so it might be a run below this one
		}
		r.parent = s.runOf(parent)
		if r.parent.children == nil {
			r.parent.children = make(map[*run]struct{})
		}
		r.parent.children[r] = struct{}{}
		r = r.parent
	}
}

// below reports whether a run is another one, or below it.
func (r *run) below(other *run) bool {
	for ; r != nil; r = r.parent {
		if r == other {
			return true
		}
	}
	return false
}

// release forgets a run, and those above it, that nothing needs any more. s.mu is held.
func (s *Store) release(r *run) {
	for r != nil && r.lines.n == 0 && len(r.children) == 0 && len(r.followers) == 0 && s.runs[r.id] == r {
		delete(s.runs, r.id)
		s.bytes -= runBytes
		if r.parent != nil {
			delete(r.parent.children, r)
		}
		r = r.parent
	}
}

// Runs returns the runs whose ids begin with hexadecimal digits, and of which there are lines; two at most, since more do not matter to
// a caller who looks for one.
func (s *Store) Runs(prefix string) (found []wire.RunID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.runs {
		if strings.HasPrefix(id.String(), prefix) {
			if found = append(found, id); len(found) == 2 {
				break
			}
		}
	}
	return found
}

// functionOf returns the function of a name. s.mu is held.
func (s *Store) functionOf(name string) *function {
	f := s.functions[name]
	if f == nil {
		f = &function{name: strings.Clone(name)}
		f.lines.order = ofFunction
		s.functions[f.name] = f
	}
	return f
}

// releaseFunction forgets a function that nothing needs any more. s.mu is held.
func (s *Store) releaseFunction(f *function) {
	if f.lines.n == 0 && len(f.followers) == 0 {
		delete(s.functions, f.name)
	}
}

// latest returns the last lines that a query asks for, the oldest first, and how many of them were forgotten, as far as that is known.
// s.mu is held; the entries may be read without it.
func (s *Store) latest(q Query, limit int) (found []*entry, dropped uint64) {
	if q.Run == (wire.RunID{}) {
		lines := &s.all
		if q.Function != "" {
			lines = &s.functionOf(q.Function).lines
		}
		for e := lines.last; e != nil && len(found) < limit; e = e.links[lines.order].before {
			if q.matches(e) {
				found = append(found, e)
			}
		}
		slices.Reverse(found)
		return found, 0
	}
	below := []*run{s.runOf(q.Run)}
	for len(below) > 0 {
		r := below[len(below)-1]
		below = below[:len(below)-1]
		for child := range r.children {
			below = append(below, child)
		}
		dropped += r.dropped
		for e := r.lines.first; e != nil; e = e.links[ofRun].after {
			if q.matches(e) {
				found = append(found, e)
			}
		}
	}
	return found, dropped
}
