package wire_test

import (
	"bytes"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// deadlineConn remembers the write deadline that it was last given.
type deadlineConn struct {
	*net.TCPConn
	deadline atomic.Pointer[time.Time]
}

func (c *deadlineConn) SetWriteDeadline(t time.Time) error {
	c.deadline.Store(&t)
	return c.TCPConn.SetWriteDeadline(t)
}

func tcpPair(t *testing.T) (ours, theirs *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialled, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = dialled.Close(), accepted.Close() })
	return accepted.(*net.TCPConn), dialled.(*net.TCPConn)
}

func body() *pb.Header { return &pb.Header{Id: 1, Body: &pb.Header_Done{Done: &pb.Done{}}} }

// read takes n frames and checks that each carries value.
func read(t *testing.T, conn net.Conn, n int, value []byte) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	frames := wire.NewFrameReader(conn)
	for i := range n {
		frame, err := frames.Read()
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if len(frame.Values) != 1 || !bytes.Equal(frame.Values[0], value) {
			t.Fatalf("frame %d is another one", i)
		}
	}
}

// A peer that reads late gets everything in order, and the connection is as good as before: no deadline is left behind that
// would fail a Send long after.
func TestSenderOutlivesABacklog(t *testing.T) {
	t.Parallel()
	accepted, theirs := tcpPair(t)
	ours := &deadlineConn{TCPConn: accepted}
	sender, err := wire.NewSender(ours)
	if err != nil {
		t.Fatal(err)
	}
	value := bytes.Repeat([]byte{kindBytes}, 4<<20)
	const frames = 8
	for range frames {
		if err := sender.Send(body(), [][]byte{value}); err != nil {
			t.Fatal(err)
		}
	}
	if sender.Waiting() == 0 {
		t.Fatal("32 MiB went out at once; nothing is tested")
	}
	read(t, theirs, frames, value)
	if err := sender.Flush(); err != nil || sender.Waiting() != 0 {
		t.Fatalf("flush: %v, %d bytes wait", err, sender.Waiting())
	}
	if deadline := ours.deadline.Load(); deadline == nil || !deadline.IsZero() {
		t.Errorf("the write deadline is still %v", deadline)
	}
	if err := sender.Send(body(), [][]byte{{kindBytes}}); err != nil {
		t.Error(err)
	}
	read(t, theirs, 1, []byte{kindBytes})
}

// A connection that hides its socket, as TLS does, is written to as well, without blocking the one who sends.
func TestSenderWithoutASocket(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	defer ours.Close()
	sender, err := wire.NewSender(ours)
	if err != nil {
		t.Fatal(err)
	}
	value := bytes.Repeat([]byte{kindBytes}, 100<<10)
	for range 10 { // before the peer reads
		if err := sender.Send(body(), [][]byte{value}); err != nil {
			t.Fatal(err)
		}
	}
	read(t, theirs, 10, value)
	if err := sender.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := sender.Send(body(), [][]byte{value[:1]}); err != nil {
			t.Fatal(err)
		}
	}
	read(t, theirs, 10, value[:1])
}
