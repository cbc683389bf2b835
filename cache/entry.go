package cache

import (
	"cloudburst/lattice"
	"cloudburst/wire/pb"
)

// Entry is what a key holds, as it was at one moment. Immutable and shared: its values must not be changed.
type Entry struct {
	// Type is LATTICE_TYPE_UNSPECIFIED when nothing is there.
	Type pb.LatticeType
	// Timestamp is the stamp of an LWW; zero for every other type.
	Timestamp lattice.Timestamp
	// Values is the value of an LWW, the members of a set in the order of their bytes, and for every other type one value
	// with codec.KindLattice.
	Values [][]byte
}

// Absent reports whether nothing is stored under the key.
func (e Entry) Absent() bool { return e.Type == pb.LatticeType_LATTICE_TYPE_UNSPECIFIED }

// Cells returns entries as they travel: the cells of keys, and all their values one cell after another.
func Cells(keys []string, entries []Entry) (*pb.Cells, [][]byte) {
	cells := make([]*pb.Cell, len(keys))
	backing := make([]pb.Cell, len(keys))
	count := 0
	for i := range entries {
		count += len(entries[i].Values)
	}
	values := make([][]byte, 0, count)
	for i, key := range keys {
		cell, entry := &backing[i], &entries[i]
		cell.Key = key
		cell.Type = entry.Type
		if !entry.Timestamp.IsZero() {
			cell.Timestamp = &pb.Timestamp{Time: entry.Timestamp.Time, Writer: entry.Timestamp.Writer}
		}
		cell.Values = uint32(len(entry.Values))
		values = append(values, entry.Values...)
		cells[i] = cell
	}
	return &pb.Cells{Cells: cells}, values
}
