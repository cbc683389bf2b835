package anna

import (
	"bytes"
	"strings"
	"testing"
	"time"

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
		{Key: strings.Repeat("k", KeyBytesMax), Whole: true},
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
		if string(e.key) != want.Key || e.whole != want.Whole {
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

func TestParts(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, partBytes, partBytes + 1, 3*partBytes + 5} {
		data := bytes.Repeat([]byte{'x'}, size)
		var messages [][]byte
		if err := cutParts(9, data, func(m []byte) error { messages = append(messages, m); return nil }); err != nil {
			t.Fatal(err)
		}
		var a assemblies
		for i := range messages {
			// Any order will do.
			id, got, err := a.add("sender", messages[len(messages)-1-i], time.Now())
			switch last := i == len(messages)-1; {
			case err != nil || id != 9 || last != (got != nil):
				t.Fatalf("size %d, message %d of %d: id %d, %d bytes, %v", size, i, len(messages), id, len(got), err)
			case last && !bytes.Equal(got, data):
				t.Fatalf("size %d: %d bytes", size, len(got))
			}
		}
	}
	var a assemblies
	now := time.Now()
	two := make([]byte, 2*partBytes)
	var first []byte
	_ = cutParts(1, two, func(m []byte) error {
		if first == nil {
			first = m
		}
		return nil
	})
	if _, _, err := a.add("s", first, now); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.add("s", first, now); err == nil {
		t.Error("a part that came twice was taken")
	}
	for range assembliesMax + 10 {
		first[0]++
		first[1]++
		_, _, _ = a.add("s", bytes.Clone(first), now) // beyond the bound it is refused
	}
	if len(a.open) > assembliesMax {
		t.Errorf("%d are being put together", len(a.open))
	}
	a.sweep(now.Add(2 * assemblyTimeout))
	if len(a.open) != 0 {
		t.Errorf("%d are not given up", len(a.open))
	}
}

func FuzzParts(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 'x'})
	f.Fuzz(func(_ *testing.T, message []byte) {
		var a assemblies
		_, _, _ = a.add("s", message, time.Now()) // any answer will do
		_, _, _ = a.add("s", message, time.Now())
	})
}
