package cache

import (
	"bytes"
	"fmt"
	"time"

	"cloudburst/anna"
	"cloudburst/codec"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// KeyBytesMax bounds a key.
const KeyBytesMax = anna.KeyBytesMax

// CheckKey returns an error when nothing can be stored under a key.
func CheckKey(key string) error { return anna.CheckKey(key) }

// codecLattice begins a value that is a state.
const codecLattice = codec.KindLattice

// Write is one write of one key. The values belong to the store from then on: the caller must not change them.
type Write struct {
	Key string
	// Type of the lattice that the values are merged into.
	Type pb.LatticeType
	// Timestamp of an LWW; zero = stamped by the store, later than everything that the store knows.
	Timestamp lattice.Timestamp
	// Values is the value of an LWW, members to add to a set, or for every other type one delta with codec.KindLattice.
	Values [][]byte
	// TTL is how long the key lives; zero = for ever.
	TTL time.Duration
	// Volatile keeps the write out of the log: it lives as long as the process that holds the key.
	Volatile bool
}

// ttlMillisecondsMax keeps a moment that is a TTL away within what a time.Duration can say.
const ttlMillisecondsMax = uint64(1<<63-1) / uint64(time.Millisecond)

// Check returns an error when the write can never succeed as it is.
func (w *Write) Check() error {
	if err := anna.CheckKey(w.Key); err != nil {
		return err
	}
	switch w.Type {
	case pb.LatticeType_LATTICE_TYPE_UNSPECIFIED:
		if !w.state() {
			return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "put %.64q: no lattice type given", w.Key)
		}
	case pb.LatticeType_LATTICE_TYPE_SET:
	default:
		if len(w.Values) != 1 {
			return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "put %.64q: a lattice of type %v is one value, not %d", w.Key, w.Type, len(w.Values))
		}
	}
	if w.Type != pb.LatticeType_LATTICE_TYPE_LWW && !w.Timestamp.IsZero() {
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "put %.64q: only a last-writer-wins value has a timestamp", w.Key)
	}
	if w.TTL < 0 {
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "put %.64q: its time to live is %v; it must not be negative", w.Key, w.TTL)
	}
	for i, value := range w.Values {
		if err := wire.CheckValue("value", value); err != nil {
			return fmt.Errorf("put %.64q, value %d: %w", w.Key, i, err)
		}
	}
	return nil
}

// Writes returns the writes that cells and their values ask for. It fails with an error that says which cell is at fault when
// one of them can never succeed, or when values are left over or missing. Values that share a buffer with others many times as
// large are copied out of it, for it would be kept as long as any of them is.
func Writes(cells []*pb.Cell, values [][]byte) ([]Write, error) {
	if len(cells) == 0 {
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a put without a key")
	}
	total := 0
	for _, v := range values {
		total += len(v)
	}
	writes := make([]Write, len(cells))
	for i, cell := range cells {
		n := cell.GetValues()
		if uint64(n) > uint64(len(values)) {
			return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "put %.64q: it announces %d values, and %d are left of the message's", cell.GetKey(), n, len(values))
		}
		if cell.GetTtlMilliseconds() > ttlMillisecondsMax {
			return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "put %.64q: a time to live of %d ms; the limit is %d", cell.GetKey(), cell.GetTtlMilliseconds(), ttlMillisecondsMax)
		}
		w := &writes[i]
		w.Key, w.Type, w.Values = cell.GetKey(), cell.GetType(), values[:n:n]
		w.TTL = time.Duration(cell.GetTtlMilliseconds()) * time.Millisecond
		if t := cell.GetTimestamp(); t != nil {
			w.Timestamp = lattice.Timestamp{Time: t.GetTime(), Writer: t.GetWriter()}
		}
		if n == 1 && len(values[0]) < total/2 {
			w.Values = [][]byte{bytes.Clone(values[0])}
		}
		values = values[n:]
		if err := w.Check(); err != nil {
			return nil, err
		}
	}
	if len(values) != 0 {
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a put whose last %d values belong to no key", len(values))
	}
	return writes, nil
}

// state reports whether the write's value is a state, which says itself what its stamps are.
func (w *Write) state() bool {
	return len(w.Values) == 1 && len(w.Values[0]) > 0 && w.Values[0][0] == codecLattice
}

// delta returns the write as a delta. What its writer left open is completed by the store.
func (w *Write) delta() (*lattice.State, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	var delta *lattice.State
	switch {
	case w.state():
		var err error
		if delta, err = w.decode(); err != nil {
			return nil, err
		}
	case w.Type == pb.LatticeType_LATTICE_TYPE_LWW:
		delta = lattice.Put(w.Timestamp, w.Values[0])
	case w.Type == pb.LatticeType_LATTICE_TYPE_SET:
		delta = lattice.SetAdd(lattice.Timestamp{}, w.Values...)
	default:
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "put %.64q: a lattice of type %v is a value with codec %d, not %d", w.Key, w.Type, codecLattice, w.Values[0][0])
	}
	if w.TTL > 0 {
		if _, ok := addition(delta); ok {
			return nil, wire.Errorf(pb.Code_CODE_UNSUPPORTED, "put %.64q: an addition that the store counts has no time to live; give the key one with another write", w.Key)
		}
		at := time.Now().Add(w.TTL).UnixMilli()
		delta.Merge(lattice.ExpireAt(w.Timestamp, at))
	}
	return delta, nil
}

// decode returns the delta of a lattice that travels as a state. One without content is a deletion, or sets an expiry.
func (w *Write) decode() (*lattice.State, error) {
	delta, err := codec.DecodeLattice(w.Values[0])
	if err != nil {
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "put %.64q: its value is not a state: %v", w.Key, err)
	}
	held := pb.LatticeType_LATTICE_TYPE_UNSPECIFIED
	if delta.Lattice != nil {
		held = pb.LatticeType(delta.Lattice.Type())
	}
	if held != w.Type || len(delta.Others()) > 0 {
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "put %.64q: its value is a state of another type than %v", w.Key, w.Type)
	}
	if !delta.Deleted().IsZero() && w.Type == pb.LatticeType_LATTICE_TYPE_UNSPECIFIED || delta.Lattice != nil {
		return delta, nil
	}
	return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "put %.64q: its state has neither content nor a tombstone", w.Key)
}

// addition returns what a delta adds to a counter without saying who adds it: a count of the writer 0, which the master that
// takes it counts as its own.
func addition(delta *lattice.State) (n int64, ok bool) {
	c, isCounter := delta.Lattice.(*lattice.Counter)
	if !isCounter {
		return 0, false
	}
	for count := range c.Counts() {
		if count.Writer != 0 || ok {
			return 0, false
		}
		n, ok = int64(count.Up-count.Down), true
	}
	return n, ok && n != 0
}
