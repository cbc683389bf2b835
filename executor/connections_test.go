package executor

import (
	"net"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestConnectionsThatFunctionsSend(t *testing.T) {
	t.Parallel()
	c, err := newConnections()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	accepted, ended := make(chan *net.UnixConn, 8), make(chan struct{})
	go func() {
		c.serve(func(conn *net.UnixConn) { accepted <- conn })
		close(ended)
	}()
	send := func(fds ...int) {
		t.Helper()
		var rights []byte
		if len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		if err := unix.Sendmsg(int(c.theirs.Fd()), []byte("c"), rights, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	// What is not one socket is passed over, and closed.
	ours, theirs, err := socketPair(syscall.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	pipe, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	send()
	send(int(in.Fd()))
	_ = in.Close()
	send(int(theirs.Fd()), int(theirs.Fd()))
	_ = theirs.Close()
	for name, end := range map[string]interface{ Read([]byte) (int, error) }{"pipe": pipe, "two sockets": ours} {
		if _, err := end.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: it is not closed", name)
		}
	}
	ours, theirs, err = socketPair(syscall.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	send(int(theirs.Fd()))
	_ = theirs.Close()
	conn := within(t, accepted, "the connection")
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	hello := make([]byte, 5)
	if n, err := ours.Read(hello); err != nil || string(hello[:n]) != "hello" {
		t.Errorf("%q %v", hello[:n], err)
	}
	equal(t, len(accepted), 0)
	c.end()
	within(t, ended, "the end")
}
