package simulation

import (
	"slices"

	"cloudburst/anna"
	"cloudburst/lattice"
)

// stream is a partition of the log, and behaves as a JetStream stream with a subject per key: sequences without gaps, of which the
// first can be cut off.
type stream struct {
	records []record // by sequence less one
	first   uint64   // sequence of the first that is not cut off
}

// record is a message of the stream; one without a state has been cut off, or is a piece of what an upload names.
type record struct {
	key       string
	slot      uint16
	state     *lattice.State
	upload    string // where the state is, if it is too large for a record
	piece     string // of what it is one
	whole     bool
	since     uint64
	publisher uint64
}

// logState is how the log is at present.
type logState uint8

const (
	healthy logState = iota
	slow             // its disk takes long
	full             // it refuses everything
)

type log struct {
	streams []*stream
	pieces  map[string]bool // the uploads whose pieces are there
	state   logState
	// unguarded makes whole states count for all records before them: one of the defects that the checkers must find.
	unguarded bool
}

func newLog(partitions int) *log {
	l := &log{pieces: map[string]bool{}}
	for range partitions {
		l.streams = append(l.streams, &stream{first: 1})
	}
	return l
}

// upload stores the pieces of a state and returns the sequence of the last one.
func (l *log) upload(partition int, name string) uint64 {
	l.pieces[name] = true
	s := l.streams[partition]
	s.records = append(s.records, record{piece: name})
	return uint64(len(s.records))
}

// append stores a publish and returns its sequence.
func (l *log) append(p *anna.Publish, publisher uint64, upload string) uint64 {
	s := l.streams[p.Partition]
	r := record{key: p.Key, slot: p.Slot, state: p.State, upload: upload, whole: p.Whole, since: p.Since, publisher: publisher}
	if l.unguarded {
		r.since = uint64(len(s.records))
	}
	s.records = append(s.records, r)
	return uint64(len(s.records))
}

// truncate cuts off what lies before a sequence.
func (l *log) truncate(partition int, sequence uint64) {
	s := l.streams[partition]
	for ; s.first < sequence && s.first <= uint64(len(s.records)); s.first++ {
		r := &s.records[s.first-1]
		delete(l.pieces, r.piece)
		r.state, r.piece = nil, ""
	}
}

// load merges all records of a key that matter, and whose pieces are there (streams.read).
func (l *log) load(m anna.Load) *anna.Loaded {
	loaded := &anna.Loaded{Key: m.Key}
	s := l.streams[m.Partition]
	for i, r := range s.records {
		sequence := uint64(i + 1)
		if r.key != m.Key || r.state == nil || sequence < m.Base || r.upload != "" && !l.pieces[r.upload] {
			continue
		}
		if loaded.State == nil || r.whole && loaded.Sequence <= r.since {
			loaded.State = new(lattice.State)
		}
		loaded.State.Merge(r.state.Clone())
		loaded.Sequence = sequence
	}
	loaded.Sequence = max(loaded.Sequence, m.Sequence)
	return loaded
}

// applied returns the record at a sequence as the message that brings it to a kernel.
func (l *log) applied(partition int, sequence uint64) *anna.Applied {
	r := l.streams[partition].records[sequence-1]
	m := &anna.Applied{Partition: partition, Sequence: sequence}
	if r.state != nil {
		m.Key, m.Slot, m.Publisher, m.Bytes = r.key, r.slot, r.publisher, r.state.Bytes()
		m.Whole, m.Since = r.whole, r.since
		if r.upload == "" {
			m.State = r.state.Clone()
			return m
		}
		m.Upload, m.Latest = r.upload, latest(r.state)
		if r.state.Lattice != nil {
			m.Type = r.state.Lattice.Type()
		}
	}
	return m
}

// latest returns the latest stamp in a state.
func latest(s *lattice.State) lattice.Timestamp {
	stamps := []lattice.Timestamp{s.Deleted(), s.Expiry().Timestamp}
	switch l := s.Lattice.(type) {
	case *lattice.LWW:
		stamps = append(stamps, l.Timestamp)
	case *lattice.Set:
		for _, mark := range l.Marks() {
			stamps = append(stamps, mark.Stamp)
		}
	}
	return slices.MaxFunc(stamps, lattice.Timestamp.Compare)
}

// holds returns what the log holds of the keys of some slots.
func (l *log) holds(which []uint16) map[string]*lattice.State {
	held := map[string]*lattice.State{}
	for _, key := range keys {
		if slot := slotOf(key); slices.Contains(which, slot) {
			held[key] = l.load(anna.Load{Key: key, Partition: int(slot) % partitions}).State
		}
	}
	return held
}
