package gateway

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// FuzzStream sends arbitrary bytes over an upgraded connection. Whatever they are, the gateway closes the connection in the end
// and serves others.
func FuzzStream(f *testing.F) {
	frame := func(header *pb.Header, values ...[]byte) []byte {
		var b bytes.Buffer
		if _, err := wire.WriteFrame(&b, nil, header, values); err != nil {
			f.Fatal(err)
		}
		return b.Bytes()
	}
	function, composition := call("echo", 1), call("add", 2)
	function.Id, composition.Id = 1, 2
	composition.GetCall().Continuation = call("echo", 0).GetCall()
	composition.GetCall().Store = true
	cell := []*pb.Cell{{Key: "k", Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: 1, Timestamp: &pb.Timestamp{Time: 1}, TtlMilliseconds: 5}}
	seeds := [][]byte{
		frame(function, number(1)),
		frame(composition, number(1), number(2)),
		frame(&pb.Header{Id: 3, Body: &pb.Header_Get{Get: &pb.Get{Keys: []string{"k", ""}, WaitMilliseconds: 1 << 40}}}),
		frame(&pb.Header{Id: 4, Body: &pb.Header_Put{Put: &pb.Put{Cells: cell}}}, number(1)),
		frame(&pb.Header{Id: 5, Body: &pb.Header_Delete{Delete: &pb.Delete{Keys: []string{"k"}, Ack: 7}}}),
		frame(&pb.Header{Id: 6, Body: &pb.Header_ListKeys{ListKeys: &pb.ListKeys{Limit: 3}}}),
		frame(&pb.Header{Id: 7, Body: &pb.Header_RegisterFunction{RegisterFunction: &pb.RegisterFunction{Function: &pb.Function{Name: "f"}}}}, number(1)),
		frame(&pb.Header{Id: 8, Body: &pb.Header_RegisterDag{RegisterDag: &pb.RegisterDag{Dag: &pb.Dag{Name: "d", Functions: []string{"echo"}}}}}),
		frame(&pb.Header{Id: 9, Body: &pb.Header_RegisterDag{}}),
		frame(&pb.Header{Id: 10, Body: &pb.Header_Call{Call: &pb.Call{RunId: make([]byte, 16), Target: &pb.Call_Dag{Dag: "d"}}}}),
		frame(&pb.Header{Id: 11, Body: &pb.Header_GetStatus{}}),
		frame(&pb.Header{Id: 12, Body: &pb.Header_GetAnnaStatus{}}),
		frame(&pb.Header{Id: 12, Body: &pb.Header_Cells{Cells: &pb.Cells{Cells: cell}}}),
		frame(&pb.Header{Id: 13, Body: &pb.Header_Call{}}),
		{0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0},
		[]byte("GET / HTTP/1.1\r\n\r\n"),
	}
	for i, seed := range seeds {
		f.Add(seed)
		f.Add(bytes.Join(seeds[:i], nil))
		f.Add(seed[:len(seed)/2])
	}
	h := open(f, Config{})
	f.Fuzz(func(t *testing.T, sent []byte) {
		c := h.dial(t)
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write(sent); err != nil && !gone(err) {
			t.Fatal(err)
		}
		if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil && !gone(err) {
			t.Logf("close: %v", err)
		}
		if _, err := io.Copy(io.Discard, c.Conn); err != nil && !gone(err) {
			t.Fatalf("the connection was not closed: %v", err)
		}
		_ = c.Close()
	})
}
