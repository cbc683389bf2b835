package wire

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever the client grants and however the worker sends, no item comes without credit, none is lost or comes twice, and the worker is told
// of all the credit that there is, up to the bound.
func TestItems(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var got []byte
		first := rapid.Uint32Range(1, 8).Draw(t, "credit")
		items := NewItems(first, func(value []byte) { got = append(got, value...) })
		room, sent := uint32(0), 0
		credit := items.Connect(func(n uint32) { room += n })
		if credit != first {
			t.Fatalf("connected with %d", credit)
		}
		room += credit
		for range rapid.IntRange(0, 50).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "grant") {
				items.Grant(rapid.Uint32Range(1, 2*ItemsAheadMax).Draw(t, "n"))
				if room > ItemsAheadMax {
					t.Fatalf("credit for %d items", room)
				}
				continue
			}
			err := items.Item([]byte{byte(sent)})
			if (err == nil) != (room > 0) {
				t.Fatalf("with room for %d: %v", room, err)
			}
			if err == nil {
				room--
				sent++
			}
		}
		want := make([]byte, sent)
		for i := range want {
			want[i] = byte(i)
		}
		if !slices.Equal(got, want) || items.Sent() != uint64(sent) {
			t.Fatalf("got %v, sent %d", got, sent)
		}
	})
}

func TestItemsAreClosed(t *testing.T) {
	t.Parallel()
	var got int
	var told []uint32
	items := NewItems(2, func([]byte) { got++ })
	items.Connect(func(n uint32) { told = append(told, n) })
	items.Close()
	items.Grant(1)
	if err := items.Item([]byte{1}); err != nil || got != 0 {
		t.Errorf("an item that crosses the end: %v, %d were passed on", err, got)
	}
	if len(told) > 0 {
		t.Errorf("the worker was told %v", told)
	}
	items.Disconnect()
	items.Grant(1)
}
