package gateway

import (
	"testing"

	"cloudburst/wire/pb"
)

// BenchmarkCall is a call over TCP and back, of a function that returns at once: what a client, the gateway and the scheduler
// take together.
func BenchmarkCall(b *testing.B) {
	h := open(b, Config{})
	c := h.dial(b)
	header, value := call("echo", 1), number(1)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		id := header.GetCall().GetRunId()
		id[0], id[1], id[2], id[3] = byte(i), byte(i>>8), byte(i>>16), byte(i>>24)
		c.do(b, header, value)
	}
}

// BenchmarkGet is a key that is in memory.
func BenchmarkGet(b *testing.B) {
	h := open(b, Config{})
	c := h.dial(b)
	cell := &pb.Cell{Key: "k", Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: 1}
	c.do(b, &pb.Header{Body: &pb.Header_Put{Put: &pb.Put{Cells: []*pb.Cell{cell}}}}, number(1))
	header := &pb.Header{Body: &pb.Header_Get{Get: &pb.Get{Keys: []string{"k"}}}}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		c.do(b, header)
	}
}
