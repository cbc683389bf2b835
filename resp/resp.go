// Package resp is the endpoint for the clients and tools of Redis: Anna, spoken to in the Redis protocol.
//
// Replies come in the order of a connection's commands, whatever each of them waits for, and no connection waits for another.
package resp

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/descriptors"
	"cloudburst/lattice"
)

// Store is what the endpoint speaks for: Anna.
type Store interface {
	Write(w *kernel.Write, done anna.Completion)
	View(key string, read func(*lattice.State)) bool
	Fetch(key string, done anna.Completion)
	Touch(keys, members []string)
	Scan(ctx context.Context, prefix, after string, limit int) (keys []string, more bool, err error)
	Stats() anna.Stats
}

// Server is the endpoint. Safe for concurrent use.
type Server struct {
	cfg     Config
	store   Store
	ack     kernel.Ack
	token   [sha256.Size]byte
	started time.Time

	listener *os.File // the socket, in Go's poller
	address  string
	mu       sync.Mutex
	loops    []*loop

	tasks    tasks
	cursors  *cursors
	scripts  scripts
	list     []command
	commands map[string]*command
	refusals map[string]string

	lastID      atomic.Int64
	connections atomic.Int64
	draining    atomic.Bool
	quiet       chan struct{} // signalled when there is no connection while draining
	buffered    atomic.Int64

	accepted  atomic.Uint64
	refused   atomic.Uint64
	denied    atomic.Uint64
	malformed atomic.Uint64
}

// New returns an endpoint of a store; Listen binds its port and Run serves it.
func New(cfg Config, store Store) (*Server, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg:      cfg,
		store:    store,
		token:    sha256.Sum256([]byte(cfg.Token)),
		tasks:    tasks{max: cfg.BackgroundMax, timeout: cfg.CommandTimeout},
		cursors:  newCursors(),
		scripts:  scripts{named: make(map[string]*script)},
		list:     commandList(),
		commands: make(map[string]*command),
		refusals: refusals(),
		quiet:    make(chan struct{}, 1),
	}
	for i := range s.list {
		s.commands[s.list[i].name] = &s.list[i]
	}
	if cfg.Ack == AckMemory {
		s.ack = kernel.Memory
	}
	return s, nil
}

// Listen binds the port, so that an address that cannot be had is known before anything else is started.
func (s *Server) Listen() error {
	listener, err := net.Listen("tcp", s.cfg.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: the address is in use by another process; stop that one or choose another address (--resp)", s.cfg.Listen)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s: this machine does not have that address; choose one that it has (--resp)", s.cfg.Listen)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen on %s: not allowed; choose a port above 1023 (--resp)", s.cfg.Listen)
	case err != nil:
		return fmt.Errorf("listen on %s: %w", s.cfg.Listen, err)
	}
	defer listener.Close()
	// Connections are accepted past the net package, which would put each into Go's poller.
	if s.listener, err = listener.(*net.TCPListener).File(); err != nil {
		return fmt.Errorf("listen on %s: %w", s.cfg.Listen, err)
	}
	s.address = listener.Addr().String()
	return nil
}

// Address returns the address that Listen has bound: with port 0, the port that was found.
func (s *Server) Address() string { return s.address }

// Run serves the port until ctx ends; then it closes every connection, so drain first.
func (s *Server) Run(ctx context.Context) error {
	if s.listener == nil {
		return errors.New("the RESP endpoint does not listen")
	}
	if err := s.makeLoops(); err != nil {
		_ = s.listener.Close()
		return fmt.Errorf("serve %s: %w", s.address, err)
	}
	group, inner := errgroup.WithContext(ctx)
	s.tasks.open(inner)
	defer s.tasks.close()
	loops := s.running()
	for _, l := range loops {
		group.Go(l.run)
	}
	group.Go(func() error { return s.accept(inner) })
	stop := context.AfterFunc(inner, func() {
		_ = s.listener.Close()
		for _, l := range loops {
			l.inbox.stop()
		}
	})
	defer stop()
	if err := group.Wait(); err != nil {
		return fmt.Errorf("serve %s: %w", s.address, err)
	}
	return nil
}

func (s *Server) makeLoops() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = time.Now()
	for range s.cfg.Loops {
		l, err := newLoop(s)
		if err != nil {
			for _, made := range s.loops {
				made.free()
			}
			s.loops = nil
			return err
		}
		s.loops = append(s.loops, l)
	}
	return nil
}

// running returns the loops; none before Run.
func (s *Server) running() []*loop {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loops
}

// accept hands connections to the loops until the listener is closed.
func (s *Server) accept(ctx context.Context) error {
	loops := s.running()
	raw, err := s.listener.SyscallConn()
	if err != nil {
		return fmt.Errorf("raw access to the listener: %w", err)
	}
	refusals := &descriptors.Refusals{Logger: s.cfg.Logger, Port: s.Address()}
	for next := 0; ; next++ {
		var fd int
		var from unix.Sockaddr
		var failure error
		err := raw.Read(func(listener uintptr) bool {
			fd, from, failure = unix.Accept4(int(listener), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			return !errors.Is(failure, unix.EAGAIN)
		})
		switch {
		case err != nil:
			return nil //nolint:nilerr // closed: this is how the server ends
		case errors.Is(failure, unix.ECONNABORTED), errors.Is(failure, unix.EINTR):
			continue
		case failure != nil:
			refusals.Failed(ctx, failure)
			continue // a listener that is closed says so
		}
		c := s.connect(fd, from)
		if n, scarce := s.connections.Add(1), descriptors.Reserved(fd); scarce || n > int64(s.cfg.ConnectionsMax) {
			s.refused.Add(1)
			reason, attributes := "there are too many (resp.connections_max)", []any{"max", s.cfg.ConnectionsMax}
			if scarce {
				reason, attributes = descriptors.Scarce()
			}
			refusals.Refused(reason, append(attributes, "remote", c.remote.String())...)
			_, _ = rawWrite(fd, []byte("-ERR max number of clients reached\r\n"))
			c.discard()
			continue
		}
		refusals.Accepted()
		s.accepted.Add(1)
		if !loops[next%len(loops)].inbox.accept(c) {
			c.discard()
		}
	}
}

// keepAlive is how long a connection may be silent before the system asks whether the client is still there, and how long it
// waits between its three questions; unacknowledgedMax is how long the client's system may leave what was sent to it
// unacknowledged.
const (
	keepAlive         = 30 * time.Second
	keepAliveProbes   = 3
	unacknowledgedMax = 30 * time.Second
)

func (s *Server) connect(fd int, from unix.Sockaddr) *conn {
	for _, option := range []struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAlive / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAlive / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveProbes},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledgedMax / time.Millisecond)},
	} {
		_ = unix.SetsockoptInt(fd, option.level, option.name, option.value) // of a connection that is gone already
	}
	c := &conn{server: s, fd: fd, remote: addressOf(from), writable: true}
	c.w = &c.out
	c.client = client{id: s.lastID.Add(1), authenticated: s.cfg.Token == "", ack: s.ack}
	c.request.bound = !c.client.authenticated
	return c
}

func addressOf(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// gone counts a connection out.
func (s *Server) gone() {
	if s.connections.Add(-1) == 0 && s.draining.Load() {
		select {
		case s.quiet <- struct{}{}:
		default:
		}
	}
}

// Drain takes no new connections and commands and waits until the commands under way have been answered and the answers are
// written, or until ctx ends. It returns an error that says how many connections have not had all their answers.
func (s *Server) Drain(ctx context.Context) error {
	s.draining.Store(true)
	_ = s.listener.Close()
	for _, l := range s.running() {
		l.inbox.drain()
	}
	for {
		n := s.connections.Load()
		if n == 0 {
			return nil
		}
		select {
		case <-s.quiet:
		case <-ctx.Done():
			return fmt.Errorf("%d Redis clients have not had all their answers: %w", n, ctx.Err())
		}
	}
}

// Stats counts what the endpoint has done since it began, and what it holds.
type Stats struct {
	// Connections that are open.
	Connections int64
	// BufferBytes that their buffers take, beyond what every connection may.
	BufferBytes int64
	// Background commands that wait for something.
	Background int
	// Accepted connections; Refused ones beyond the bound.
	Accepted, Refused uint64
	// Denied passwords; Malformed requests, each of which has ended a connection.
	Denied, Malformed uint64
	// Commands carried out; BytesRead and BytesWritten of all connections.
	Commands, BytesRead, BytesWritten uint64
}

// Stats returns the endpoint's counters.
func (s *Server) Stats() Stats {
	stats := Stats{
		Connections: s.connections.Load(), BufferBytes: s.buffered.Load(), Background: s.tasks.under(),
		Accepted: s.accepted.Load(), Refused: s.refused.Load(), Denied: s.denied.Load(), Malformed: s.malformed.Load(),
	}
	for _, l := range s.running() {
		stats.Commands += l.stats.commands.Load()
		stats.BytesRead += l.stats.read.Load()
		stats.BytesWritten += l.stats.written.Load()
	}
	return stats
}
