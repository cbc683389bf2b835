package simulation

import (
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

// record is a message of the stream; one without a state has been purged.
type record struct {
	key       string
	slot      uint16
	state     *lattice.State
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
	state   logState
	// unguarded makes roll-ups ignore their guard: one of the defects that the checkers must find.
	unguarded bool
}

func newLog(partitions int) *log {
	l := &log{}
	for range partitions {
		l.streams = append(l.streams, &stream{last: map[string]uint64{}})
	}
	return l
}

// append stores a publish and returns its sequence; 0 when its guard does not hold.
func (l *log) append(p *anna.Publish, publisher uint64) uint64 {
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
	s.records = append(s.records, record{key: p.Key, slot: p.Slot, state: p.State, whole: p.RollUp, publisher: publisher})
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
		m.Key, m.Slot, m.State, m.Publisher, m.Whole, m.Bytes = r.key, r.slot, r.state.Clone(), r.publisher, r.whole, r.state.Bytes()
	}
	return m
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
