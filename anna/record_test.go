package anna

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cloudburst/lattice"
	"cloudburst/wire"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := string(rapid.SliceOfN(rapid.Byte(), 1, KeyBytesMax).Draw(t, "key"))
		subject := string(appendRecordSubject(nil, "prefix.with.dots", 3, 77, key))
		slot, token, ok := parseSubject(subject, "prefix.with.dots")
		if !ok || slot != 77 {
			t.Fatalf("subject %q: slot %d, %v", subject, slot, ok)
		}
		got, ok := keyOf(token)
		if !ok || got == "" != hashedToken(key) || got != "" && got != key {
			t.Fatalf("token %q of %q is that of %q, %v", token, key, got, ok)
		}
		if len(token) > tokenBytesMax {
			t.Fatalf("a token of %d bytes", len(token))
		}
	})
}

func TestRecords(t *testing.T) {
	t.Parallel()
	state := lattice.Put(lattice.Timestamp{Time: 5, Writer: 6}, []byte("value"))
	for _, r := range []record{
		{publisher: 7},
		{publisher: 7, key: "long", whole: true},
		{publisher: 1 << 63, chunked: &chunked{upload: "u", count: 3, bytes: 99, kind: lattice.TypeSet, latest: lattice.Timestamp{Time: 1, Writer: 2}}},
	} {
		data := appendRecord(nil, &r)
		if r.chunked == nil {
			data = appendRecordState(data, state)
			r.state = wire.AppendState(nil, state)
		}
		got, err := decodeRecord(data)
		if err != nil || got.key != r.key || got.publisher != r.publisher || got.whole != r.whole || !bytes.Equal(got.state, r.state) {
			t.Fatalf("%+v, %v; want %+v", got, err, r)
		}
		if r.chunked != nil && *got.chunked != *r.chunked {
			t.Fatalf("%+v; want %+v", got.chunked, r.chunked)
		}
	}
}

func FuzzRecord(f *testing.F) {
	state := lattice.SetAdd(lattice.Timestamp{Time: 5, Writer: 6}, []byte("member"))
	f.Add(appendRecordState(appendRecord(nil, &record{publisher: 7, whole: true, key: "k"}), state))
	f.Add(appendRecord(nil, &record{chunked: &chunked{upload: "u", count: 3, bytes: 99}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil {
			return
		}
		if (r.state == nil) == (r.chunked == nil) {
			t.Fatalf("%+v", r)
		}
		if r.state != nil {
			_, _ = decodeOwnState(r.state) // any error will do
		}
	})
}

func FuzzSubject(f *testing.F) {
	f.Add("p.1.2.k.key")
	f.Add("p.1.2.k.=h00")
	f.Add("p.1.65536.c.x.0")
	f.Fuzz(func(_ *testing.T, subject string) {
		if _, token, ok := parseSubject(subject, "p"); ok {
			_, _ = keyOf(token) // any answer will do
		}
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
