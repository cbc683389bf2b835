package record

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
	chunks := &Chunks{Upload: "u", Count: 3, Bytes: 99, Type: lattice.TypeSet, Latest: lattice.Timestamp{Time: 1, Writer: 2}}
	entries := []struct {
		key   string
		whole bool
		state *lattice.State // nil = in chunks
	}{
		{"first", false, state},
		{string([]byte{0, '.', 0xff}), true, new(lattice.State)},
		{strings.Repeat("k", 4<<10), true, nil},
		{"last", false, nil},
	}
	head := Head{Publisher: 1 << 63, Since: 7}
	data := AppendHead(nil, head)
	for _, e := range entries {
		if e.state != nil {
			data = AppendEntry(data, e.key, e.whole, e.state)
		} else {
			data = AppendChunked(data, e.key, e.whole, chunks)
		}
	}
	var got []Entry
	h, err := Decode(data, func(e *Entry) error { got = append(got, *e); return nil })
	if err != nil || h != head || len(got) != len(entries) {
		t.Fatalf("%+v, %d entries, %v", h, len(got), err)
	}
	for i, want := range entries {
		e := got[i]
		if e.Key != want.key || e.Whole != want.whole {
			t.Errorf("entry %d is %+v; want %+v", i, e, want)
		}
		switch {
		case want.state == nil:
			if e.State != nil || *e.Chunks != *chunks {
				t.Errorf("entry %d is in chunks %+v; want %+v", i, e.Chunks, chunks)
			}
		case e.Chunks != nil || !bytes.Equal(e.State, wire.AppendState(nil, want.state)):
			t.Errorf("entry %d has state %x", i, e.State)
		}
		if _, found, err := Find(data, want.key); err != nil || found == nil || !bytes.Equal(found.State, e.State) {
			t.Errorf("entry %d is not found: %+v, %v", i, found, err)
		}
	}
	if _, found, err := Find(data, "another"); err != nil || found != nil {
		t.Errorf("found %+v, %v", found, err)
	}
}

func FuzzRecord(f *testing.F) {
	state := lattice.SetAdd(lattice.Timestamp{Time: 5, Writer: 6}, []byte("member"))
	head := AppendHead(nil, Head{Publisher: 7, Since: 9})
	f.Add(AppendEntry(bytes.Clone(head), "k", true, state))
	f.Add(AppendEntry(AppendChunked(bytes.Clone(head), "k", false, &Chunks{Upload: "u", Count: 3, Bytes: 99}), "l", false, state))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = Decode(data, func(e *Entry) error {
			if len(e.Key) == 0 || (e.State == nil) == (e.Chunks == nil) {
				t.Fatalf("%+v", e)
			}
			if e.State != nil {
				_, _ = DecodeState(e.State) // any error will do
			}
			return nil
		})
	})
}
