package anna

import (
	"bytes"
	"testing"
	"time"
)

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
