package wire

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cloudburst/wire/pb"
)

// Limits of a Sender.
const (
	// SenderBacklogBytesMax bounds what waits for a peer that reads slowly; a peer that is further behind is cut off.
	SenderBacklogBytesMax = 512 << 20
	// senderStallMax is how long a peer may take nothing at all while something waits for it.
	senderStallMax = 30 * time.Second
	// senderBufferKeepMax is the largest buffer that a quiet connection holds on to.
	senderBufferKeepMax = 256 << 10
)

// ErrPeerSlow is returned for a connection that was closed because its peer did not read.
var ErrPeerSlow = errors.New("peer does not read")

// SocketConn is what a Sender writes to: a TCP or Unix connection, or one that hides its socket, such as TLS.
type SocketConn interface {
	io.WriteCloser
	SetWriteDeadline(time.Time) error
}

// Sender writes frames to a socket and never blocks its caller: what the socket does not take at once is written by a
// goroutine that lives only as long as there is a backlog. So the goroutine that has just read a result can hand it to a
// client directly, without a hop, and a client that does not read delays no other. Safe for concurrent use.
type Sender struct {
	conn SocketConn
	raw  syscall.RawConn // nil when the conn hides its socket; then everything is queued

	mu      sync.Mutex
	buf     []byte
	vector  frameVector
	backlog [][]byte
	waiting int
	err     error
	idle    sync.Cond // signalled when the backlog's goroutine ends

	// The arguments and results of tryWrite, which is bound once so that a write allocates nothing.
	out      []byte
	written  int
	writeErr error
	tryWrite func(fd uintptr) bool
}

// NewSender returns a Sender on conn. Close the conn to end it.
func NewSender(conn SocketConn) (*Sender, error) {
	s := &Sender{conn: conn}
	s.idle.L = &s.mu
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return s, nil
	}
	var err error
	if s.raw, err = socket.SyscallConn(); err != nil {
		return nil, fmt.Errorf("raw access to the socket: %w", err)
	}
	s.tryWrite = func(fd uintptr) bool {
		s.written, s.writeErr = 0, nil
		for s.written < len(s.out) {
			n, err := unix.Write(int(fd), s.out[s.written:])
			if n > 0 {
				s.written += n
			}
			switch {
			case err == nil:
			case errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.EAGAIN):
				return true
			default:
				s.writeErr = err
				return true
			}
		}
		return true
	}
	return s, nil
}

// Send writes a frame, or queues what the socket does not take. header is not used after Send returns; values are kept
// until they are written and must not change. After an error of the connection every Send returns it; an error wrapping
// ErrTooLarge or ErrInvalidArgument, which says that the frame cannot be written, leaves the connection as it was.
func (s *Sender) Send(header *pb.Header, values [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	vector, err := s.encode(header, values)
	if err != nil {
		return err
	}
	if s.waiting > 0 || s.raw == nil {
		return s.queue(vector, 0)
	}
	for i, part := range vector {
		s.out = part
		if err := s.raw.Write(s.tryWrite); err != nil {
			return s.fail(err)
		}
		s.out = nil
		if s.writeErr != nil {
			return s.fail(s.writeErr)
		}
		if s.written < len(part) {
			return s.queue(vector[i:], s.written)
		}
	}
	return nil
}

// Err returns what ended the connection, or nil.
func (s *Sender) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Waiting returns how many bytes are queued.
func (s *Sender) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

// Flush waits until nothing is queued, or the connection has failed, and returns its error. It is bounded by the stall
// limit of the connection.
func (s *Sender) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.waiting > 0 && s.err == nil {
		s.idle.Wait()
	}
	return s.err
}

// encode returns the frame as one slice, or as several when its values are large.
func (s *Sender) encode(header *pb.Header, values [][]byte) ([][]byte, error) {
	s.vector.parts = s.vector.parts[:0]
	buf, err := WriteFrame(&s.vector, s.buf, header, values)
	s.buf = buf
	if cap(s.buf) > senderBufferKeepMax {
		s.buf = nil
	}
	return s.vector.parts, err
}

// queue keeps what is left of a frame for the backlog's goroutine, and with it the buffer that the frame lies in.
func (s *Sender) queue(vector [][]byte, skip int) error {
	s.buf = nil
	for i, part := range vector {
		if i == 0 {
			part = part[skip:]
		}
		s.waiting += len(part)
		s.backlog = append(s.backlog, part)
	}
	if s.waiting > SenderBacklogBytesMax {
		return s.fail(fmt.Errorf("%w: %d bytes wait, the limit is %d", ErrPeerSlow, s.waiting, SenderBacklogBytesMax))
	}
	if len(s.backlog) == len(vector) {
		go s.drain()
	}
	return nil
}

// drain writes the backlog and ends with it, or with the connection.
func (s *Sender) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.idle.Broadcast()
	for len(s.backlog) > 0 && s.err == nil {
		part := s.backlog[0]
		s.mu.Unlock()
		err := s.conn.SetWriteDeadline(time.Now().Add(senderStallMax + time.Duration(len(part)/(1<<20))*time.Second))
		if err == nil {
			_, err = s.conn.Write(part)
		}
		s.mu.Lock()
		if err != nil {
			_ = s.fail(err)
			return
		}
		s.backlog[0] = nil
		s.backlog = s.backlog[1:]
		s.waiting -= len(part)
	}
	s.backlog = nil
	// Send looks at the deadline as well, and must not fail for one of long ago.
	_ = s.conn.SetWriteDeadline(time.Time{})
}

// fail ends the connection: its reader sees it closed.
func (s *Sender) fail(err error) error {
	s.out = nil
	if s.err == nil {
		s.err = err
		s.backlog, s.waiting = nil, 0
		_ = s.conn.Close()
		s.idle.Broadcast()
	}
	return s.err
}

// frameVector collects what WriteFrame writes.
type frameVector struct{ parts [][]byte }

func (v *frameVector) Write(p []byte) (int, error) {
	v.parts = append(v.parts, p)
	return len(p), nil
}
