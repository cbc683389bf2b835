package executor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// connections is the socket over which functions reach their node as clients, whatever the node's address is. Every worker has the
// far end. A process that wants a connection makes a pair of sockets and sends one of them here: as only the node's workers can do
// that, such a connection needs no token and no TLS.
type connections struct {
	ours   *net.UnixConn
	theirs *os.File
}

func newConnections() (*connections, error) {
	// A datagram each, so that the processes that share the far end do not mix what they send.
	ours, theirs, err := socketPair(syscall.SOCK_DGRAM)
	if err != nil {
		return nil, err
	}
	return &connections{ours, theirs}, nil
}

// serve hands every connection that is sent to accept, until end.
func (c *connections) serve(accept func(*net.UnixConn)) {
	packet, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	for {
		_, n, _, _, err := c.ours.ReadMsgUnix(packet, rights)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // what a function has sent, which only its own process is to suffer from
		}
		if conn, err := received(rights[:n]); err == nil {
			accept(conn)
		}
	}
}

// received returns the one socket that came with a packet.
func received(rights []byte) (*net.UnixConn, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "a function's connection"))
		}
	}
	for _, file := range files {
		defer file.Close()
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("a function sent %d connections at once", len(files))
	}
	conn, err := net.FileConn(files[0])
	if err != nil {
		return nil, err
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("a function sent a %T as its connection", conn)
	}
	return socket, nil
}

// end makes serve return.
func (c *connections) end() { _ = c.ours.Close() }

func (c *connections) close() { _, _ = c.ours.Close(), c.theirs.Close() }
