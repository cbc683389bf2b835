package simulation

import (
	"fmt"
	"slices"

	"cloudburst/anna"
	"cloudburst/lattice"
)

// stream is a partition of the log, and behaves as a JetStream stream with a subject per key: sequences without gaps, roll-ups
// that purge their subject, guards on a subject's last sequence.
type stream struct {
	records []record // by sequence less one
	last    map[string]uint64
}

// record is a message of the stream; one without a state has been purged, or is a piece of what an upload names.
type record struct {
	key       string
	slot      uint16
	state     *lattice.State
	upload    string // where the state is, if it is too large for a record
	whole     bool
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
	// unguarded makes roll-ups ignore their guard: one of the defects that the checkers must find.
	unguarded bool
}

func newLog(partitions int) *log {
	l := &log{pieces: map[string]bool{}}
	for range partitions {
		l.streams = append(l.streams, &stream{last: map[string]uint64{}})
	}
	return l
}

// upload stores the pieces of a state and returns the sequence of the last one.
func (l *log) upload(partition int, name string) uint64 {
	l.pieces[name] = true
	s := l.streams[partition]
	s.records = append(s.records, record{})
	return uint64(len(s.records))
}

// append stores a publish and returns its sequence; 0 when its guard does not hold.
func (l *log) append(p *anna.Publish, publisher uint64, upload string) uint64 {
	s := l.streams[p.Partition]
	if p.RollUp {
		if !l.unguarded && p.Guard != s.last[p.Key] {
			return 0
		}
		for i := range s.records {
			if s.records[i].key == p.Key {
				s.records[i].state = nil
			}
		}
	}
	s.records = append(s.records, record{key: p.Key, slot: p.Slot, state: p.State, upload: upload, whole: p.RollUp, publisher: publisher})
	s.last[p.Key] = uint64(len(s.records))
	return uint64(len(s.records))
}

// load merges all records of a key.
func (l *log) load(m anna.Load) *anna.Loaded {
	loaded := &anna.Loaded{Key: m.Key}
	for i, r := range l.streams[m.Partition].records {
		if r.key != m.Key || r.state == nil {
			continue
		}
		if loaded.State == nil {
			loaded.State = new(lattice.State)
		}
		loaded.State.Merge(r.state)
		loaded.Sequence = uint64(i + 1)
	}
	loaded.Sequence = max(loaded.Sequence, m.Sequence)
	return loaded
}

// applied returns the record at a sequence as the message that brings it to a kernel.
func (l *log) applied(partition int, sequence uint64) *anna.Applied {
	r := l.streams[partition].records[sequence-1]
	m := &anna.Applied{Partition: partition, Sequence: sequence}
	if r.state != nil {
		m.Key, m.Slot, m.Publisher, m.Whole, m.Bytes = r.key, r.slot, r.publisher, r.whole, r.state.Bytes()
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

// broken returns a record whose state cannot be read any more.
func (l *log) broken() error {
	for partition, s := range l.streams {
		for i, r := range s.records {
			if r.state != nil && r.upload != "" && !l.pieces[r.upload] {
				return fmt.Errorf("record %d of partition %d, of %s, names pieces that were removed", i+1, partition, r.key)
			}
		}
	}
	return nil
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
