package client

import (
	"fmt"

	"cloudburst/codec"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Entry is what a key held when it was read.
type Entry struct {
	Key    string
	kind   pb.LatticeType
	values [][]byte // as cells have them
}

// entriesOf cuts the values of an answer into the entries of its cells.
func entriesOf(cells []*pb.Cell, values [][]byte) ([]Entry, error) {
	entries := make([]Entry, len(cells))
	for i, cell := range cells {
		n := int(cell.GetValues())
		if n < 0 || n > len(values) {
			return nil, malformed("%d values for key %.64q, and %d are left", n, cell.GetKey(), len(values))
		}
		entries[i] = Entry{cell.GetKey(), cell.GetType(), values[:n:n]}
		values = values[n:]
	}
	if len(values) > 0 {
		return nil, malformed("%d values that belong to no key", len(values))
	}
	return entries, nil
}

// String shows the key and its value as JSON, in the notation of docs/command-line.md.
func (e Entry) String() string {
	var v Ordered
	text := ""
	err := e.decode(&v)
	if err == nil {
		text, err = codec.FormatJSON(v)
	}
	if err != nil {
		text = err.Error()
	}
	return fmt.Sprintf("%q: %s", e.Key, text)
}

// Exists reports whether anything is stored under the key.
func (e Entry) Exists() bool { return e.kind != pb.LatticeType_LATTICE_TYPE_UNSPECIFIED }

// Decode stores the value in what out points to, as [Client.Get] does; ErrKeyNotFound when nothing is there.
func (e Entry) Decode(out any) error {
	if err := e.decode(out); err != nil {
		return fmt.Errorf("key %q: %w", e.Key, err)
	}
	return nil
}

func (e Entry) decode(out any) error {
	switch e.kind {
	case pb.LatticeType_LATTICE_TYPE_UNSPECIFIED:
		return wire.Errorf(pb.Code_CODE_KEY_NOT_FOUND, "nothing is stored there")
	case pb.LatticeType_LATTICE_TYPE_SET:
		return codec.DecodeSet(e.values, out)
	}
	if len(e.values) != 1 {
		return malformed("%d values for one key", len(e.values))
	}
	return codec.Decode(e.values[0], out)
}

// Lattice returns the lattice that the key holds, nil for nothing. The members of a set have no stamps, and of an LWW only the
// value is known: the store keeps these to itself unless it is asked for them. Values are encoded.
func (e Entry) Lattice() (lattice.Lattice, error) {
	switch e.kind {
	case pb.LatticeType_LATTICE_TYPE_UNSPECIFIED:
		return nil, nil
	case pb.LatticeType_LATTICE_TYPE_SET:
		return lattice.SetAdd(lattice.Timestamp{}, e.values...).Lattice, nil
	}
	if len(e.values) != 1 {
		return nil, malformed("%d values for one key", len(e.values))
	}
	if e.kind == pb.LatticeType_LATTICE_TYPE_LWW {
		return &lattice.LWW{Value: e.values[0]}, nil
	}
	state, err := codec.DecodeLattice(e.values[0])
	if err != nil {
		return nil, malformed("a malformed lattice for key %.64q: %v", e.Key, err)
	}
	return state.Lattice, nil
}

// Concurrent returns the values of a key that were written concurrently, in the order of their bytes; of a key that is not
// causal the one that it has, and of an absent one none.
func Concurrent[T any](e Entry) ([]T, error) {
	if !e.Exists() {
		return nil, nil
	}
	held, err := e.Lattice()
	if err != nil {
		return nil, err
	}
	versions, ok := held.(*lattice.Causal)
	if !ok {
		values := make([]T, 1)
		return values, e.Decode(&values[0])
	}
	encoded := versions.Values()
	values := make([]T, len(encoded))
	for i, value := range encoded {
		if err := codec.Decode(value, &values[i]); err != nil {
			return nil, fmt.Errorf("key %q: %w", e.Key, err)
		}
	}
	return values, nil
}
