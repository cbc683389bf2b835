package wire_test

import (
	"encoding/binary"
	"testing"

	"google.golang.org/protobuf/proto"

	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func BenchmarkState(b *testing.B) {
	stamp := lattice.Timestamp{Time: 1_790_000_000_000_000 << 12, Writer: 1 << 60}
	set := new(lattice.Set)
	for i := range 1000 {
		set.Add(stamp, binary.BigEndian.AppendUint64([]byte("member:"), uint64(i)))
	}
	for name, state := range map[string]*lattice.State{
		"lww100": lattice.Put(stamp, make([]byte, 101)), "set1000": {Lattice: set},
	} {
		encoded := wire.AppendState(nil, state)
		b.Run(name+"/append", func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for range b.N {
				buf = wire.AppendState(buf[:0], state)
			}
		})
		b.Run(name+"/decode", func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if _, err := wire.DecodeState(encoded); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/decode-generated", func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if err := proto.Unmarshal(encoded, new(pb.State)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
