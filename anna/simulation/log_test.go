package simulation

import (
	"slices"

	"cloudburst/anna/kernel"
	"cloudburst/lattice"
)

// stream is a partition of the log, and behaves as a JetStream stream: sequences without gaps, of which the first can be cut off.
type stream struct {
	records []record // by sequence less one
	first   uint64   // sequence of the first that is not cut off
}

// record is a message of the stream; one without entries has been cut off, or is a chunk of what an upload names.
type record struct {
	entries   []kernel.Entry
	upload    string // where the state of its only entry is, if it is too large for a record
	chunk     string // of what it is one
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

// end returns the sequence of the last message that there has been.
func (s *stream) end() uint64 { return uint64(len(s.records)) }

// bytes returns what the messages that are there take.
func (s *stream) bytes() (total uint64) {
	for at := s.first; at <= s.end(); at++ {
		total += recordBytes
		for _, e := range s.records[at-1].entries {
			total += uint64(e.State.Bytes())
		}
	}
	return total
}

// lastRecord returns the sequence of the last record that is there, 0 without any.
func (s *stream) lastRecord() uint64 {
	for at := s.end(); at >= s.first; at-- {
		if s.records[at-1].entries != nil {
			return at
		}
	}
	return 0
}

type log struct {
	streams []*stream
	chunks  map[string]bool // the uploads whose chunks are there
	state   logState
	// unguarded makes whole states count for all records before them: one of the defects that the checkers must find.
	unguarded bool
}

func newLog(partitions int) *log {
	l := &log{chunks: map[string]bool{}}
	for range partitions {
		l.streams = append(l.streams, &stream{first: 1})
	}
	return l
}

// upload stores the chunks of a state and returns the sequence of the last one.
func (l *log) upload(partition int, name string) uint64 {
	l.chunks[name] = true
	s := l.streams[partition]
	s.records = append(s.records, record{chunk: name})
	return uint64(len(s.records))
}

// append stores a publish and returns its sequence.
func (l *log) append(p *kernel.Publish, publisher uint64, upload string) uint64 {
	s := l.streams[p.Partition]
	r := record{entries: p.Entries, upload: upload, since: p.Since, publisher: publisher}
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
		delete(l.chunks, r.chunk)
		r.entries, r.chunk = nil, ""
	}
}

// load reads what is asked for. It fails if a record that matters has lost its chunks (streams.read).
func (l *log) load(m kernel.Load) *kernel.Loaded {
	state, err := l.read(m)
	if err != nil {
		state = nil
	}
	return &kernel.Loaded{Key: m.Key, State: state, Sequences: m.Sequences, Err: err}
}

// read merges those of some records of a key whose chunks are there.
func (l *log) read(m kernel.Load) (state *lattice.State, err error) {
	s := l.streams[m.Partition]
	last, lost, lostSince := uint64(0), uint64(0), uint64(0)
	for _, sequence := range m.Sequences {
		r := &s.records[sequence-1]
		e := r.entry(m.Key)
		switch {
		case e == nil:
			continue
		case r.upload != "" && !l.chunks[r.upload]:
			lost, lostSince = sequence, max(lostSince, r.since)
			last = sequence
			continue
		case e.Whole && last <= r.since:
			state = e.State.Clone()
		case state == nil:
			state = e.State.Clone()
		default:
			state.Merge(e.State.Clone())
		}
		if last = sequence; e.Whole && lost <= r.since {
			lost, lostSince = 0, 0
		}
	}
	if lost != 0 && s.first <= lostSince+1 {
		err = errChunksLost
	}
	return state, err
}

// entry returns what a record says of a key; nil = nothing.
func (r *record) entry(key string) *kernel.Entry {
	for i := range r.entries {
		if r.entries[i].Key == key {
			return &r.entries[i]
		}
	}
	return nil
}

// applied returns the record at a sequence as the message that brings it to a kernel, with the entries of some slots.
func (l *log) applied(partition int, sequence uint64, wanted func(slot uint16) bool) *kernel.Applied {
	r := &l.streams[partition].records[sequence-1]
	m := &kernel.Applied{Partition: partition, Sequence: sequence, Publisher: r.publisher, Since: r.since}
	for _, e := range r.entries {
		if !wanted(e.Slot) {
			continue
		}
		a := kernel.Applying{Entry: e, Bytes: e.State.Bytes()}
		if r.upload == "" {
			a.State = e.State.Clone()
		} else {
			a.State, a.Upload, a.Latest = nil, r.upload, e.State.Latest()
			if e.State.Lattice != nil {
				a.Type = e.State.Lattice.Type()
			}
		}
		m.Entries = append(m.Entries, a)
	}
	return m
}

// all wants every slot.
func all(uint16) bool { return true }

// holds returns what the log holds of the keys of some slots.
func (l *log) holds(which []uint16) map[string]*lattice.State {
	held := map[string]*lattice.State{}
	for _, key := range keys {
		if slot := slotOf(key); slices.Contains(which, slot) {
			m := kernel.Load{Key: key, Partition: int(slot) % partitions}
			for i := range l.streams[m.Partition].records {
				m.Sequences = append(m.Sequences, uint64(i+1))
			}
			held[key], _ = l.read(m) // without what is not there any more
		}
	}
	return held
}
