package anna

import (
	"bytes"
	"strings"
	"testing"

	"cloudburst/lattice"
	"cloudburst/wire"
)

func TestRecords(t *testing.T) {
	t.Parallel()
	state := lattice.Put(lattice.Timestamp{Time: 5, Writer: 6}, []byte("value"))
	inPieces := &chunked{upload: "u", count: 3, bytes: 99, kind: lattice.TypeSet, latest: lattice.Timestamp{Time: 1, Writer: 2}}
	entries := []Entry{
		{Key: "first", State: state},
		{Key: string([]byte{0, '.', 0xff}), Whole: true, State: new(lattice.State)},
		{Key: strings.Repeat("k", 4<<10), Whole: true},
	}
	data := appendRecord(nil, record{publisher: 1 << 63, since: 7})
	for i := range entries {
		if e := &entries[i]; e.State != nil {
			data = appendEntry(data, e, nil)
		} else {
			data = appendEntry(data, e, inPieces)
		}
	}
	var got []entry
	r, err := decodeRecord(data, func(e *entry) error { got = append(got, *e); return nil })
	if err != nil || r != (record{publisher: 1 << 63, since: 7}) || len(got) != len(entries) {
		t.Fatalf("%+v, %d entries, %v", r, len(got), err)
	}
	for i, want := range entries {
		e := got[i]
		if e.key != want.Key || e.whole != want.Whole {
			t.Errorf("entry %d is %+v; want %+v", i, e, want)
		}
		switch {
		case want.State == nil:
			if e.state != nil || *e.chunked != *inPieces {
				t.Errorf("entry %d is in pieces %+v; want %+v", i, e.chunked, inPieces)
			}
		case e.chunked != nil || !bytes.Equal(e.state, wire.AppendState(nil, want.State)):
			t.Errorf("entry %d has state %x", i, e.state)
		}
		if _, found, err := entryOf(data, want.Key); err != nil || found == nil || !bytes.Equal(found.state, e.state) {
			t.Errorf("entry %d is not found: %+v, %v", i, found, err)
		}
	}
	if _, found, err := entryOf(data, "another"); err != nil || found != nil {
		t.Errorf("found %+v, %v", found, err)
	}
}

func FuzzRecord(f *testing.F) {
	state := lattice.SetAdd(lattice.Timestamp{Time: 5, Writer: 6}, []byte("member"))
	head := appendRecord(nil, record{publisher: 7, since: 9})
	f.Add(appendEntry(bytes.Clone(head), &Entry{Key: "k", Whole: true, State: state}, nil))
	f.Add(appendEntry(appendEntry(bytes.Clone(head), &Entry{Key: "k"}, &chunked{upload: "u", count: 3, bytes: 99}), &Entry{Key: "l", State: state}, nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = decodeRecord(data, func(e *entry) error {
			if len(e.key) == 0 || (e.state == nil) == (e.chunked == nil) {
				t.Fatalf("%+v", e)
			}
			if e.state != nil {
				_, _ = decodeOwnState(e.state) // any error will do
			}
			return nil
		})
	})
}
