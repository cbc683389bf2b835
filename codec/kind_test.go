package codec

import (
	"errors"
	"testing"

	"cloudburst/lattice"
	"cloudburst/wire"
)

func TestLatticeValue(t *testing.T) {
	t.Parallel()
	state := lattice.MaxPut(new(lattice.State), 3)
	value := EncodeLattice(state)
	if got, err := DecodeLattice(value); err != nil || !got.Equal(state) || wire.CheckValue("it", value) != nil {
		t.Errorf("read back %v, %v", got, err)
	}
	for _, value := range [][]byte{nil, {KindPlain, 1}, {KindLattice, 0xff}} {
		if _, err := DecodeLattice(value); !errors.Is(err, wire.ErrInvalidArgument) {
			t.Errorf("%x: %v", value, err)
		}
	}
}
