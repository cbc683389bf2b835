// Package gateway is the node's one port: the stream that clients speak, and what operators ask over HTTP.
//
// One goroutine reads a connection's requests and hands them on itself; the goroutine that has a reply writes it. So a call
// passes through without a hop, and a client that does not read its replies delays no other.
package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"

	"cloudburst/descriptors"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Gateway serves one port. Safe for concurrent use.
type Gateway struct {
	cfg      Config
	backend  Backend
	token    [sha256.Size]byte
	tls      *tls.Config
	listener net.Listener
	workers  *handed // connections that functions of this node have made
	server   *http.Server
	metrics  *metrics
	slots    chan struct{} // one for each request that waits in the background

	draining      atomic.Bool
	drains        context.Context // ends when the gateway drains: waits for keys to appear end with it
	drain         context.CancelFunc
	connections   atomic.Int64
	streamNumbers atomic.Uint64
	outstanding   atomic.Int64
	quiet         chan struct{} // signalled when nothing is outstanding while draining

	mu      sync.Mutex
	streams map[*stream]struct{}
	closed  bool
	serving sync.WaitGroup // the goroutines of streams
}

// New returns a gateway; Listen binds its port and Run serves it.
func New(cfg Config, backend Backend) (*Gateway, error) {
	cfg = cfg.WithDefaults()
	if err := errors.Join(cfg.validate(), backend.validate()); err != nil {
		return nil, err
	}
	secured, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		cfg:     cfg,
		backend: backend,
		token:   sha256.Sum256([]byte(cfg.Token)),
		tls:     secured,
		slots:   make(chan struct{}, cfg.BackgroundMax),
		quiet:   make(chan struct{}, 1),
		workers: newHanded(),
		streams: make(map[*stream]struct{}),
	}
	g.drains, g.drain = context.WithCancel(context.Background())
	g.metrics = newMetrics(g)
	g.server = &http.Server{
		Handler:           g.routes(),
		ReadHeaderTimeout: cfg.HeaderTimeout,
		ReadTimeout:       cfg.HeaderTimeout,
		WriteTimeout:      httpWriteTimeout,
		IdleTimeout:       httpIdleTimeout,
		MaxHeaderBytes:    httpHeaderBytesMax,
		ConnState:         g.connState,
		ConnContext:       trusting,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn),
	}
	return g, nil
}

// Listen binds the port, so that an address that cannot be had is known before anything else is started.
func (g *Gateway) Listen() error {
	listener, err := net.Listen("tcp", g.cfg.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: the address is in use by another process; stop that one or choose another address (--listen)", g.cfg.Listen)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s: this machine does not have that address; choose one that it has (--listen)", g.cfg.Listen)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen on %s: not allowed; choose a port above 1023 (--listen)", g.cfg.Listen)
	case err != nil:
		return fmt.Errorf("listen on %s: %w", g.cfg.Listen, err)
	}
	g.listener = listener
	return nil
}

// Address returns the address that Listen has bound; where port 0 was asked for, with the port that was found.
func (g *Gateway) Address() string { return g.listener.Addr().String() }

// Run serves the port until ctx ends; then it closes every connection, so drain first.
func (g *Gateway) Run(ctx context.Context) error {
	if g.listener == nil {
		return errors.New("the gateway does not listen")
	}
	stop := context.AfterFunc(ctx, g.close)
	defer stop()
	refusals := &descriptors.Refusals{Logger: g.cfg.Logger, Port: g.Address()}
	var listener net.Listener = &boundedListener{Listener: g.listener, gateway: g, refusals: refusals}
	if g.tls != nil {
		listener = tls.NewListener(listener, g.tls)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = g.server.Serve(&boundedListener{Listener: g.workers, gateway: g, refusals: refusals}) // which ends with the other one
	}()
	err := g.server.Serve(listener)
	g.close()
	<-served
	g.serving.Wait()
	if errors.Is(err, http.ErrServerClosed) || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve %s: %w", g.cfg.Listen, err)
}

// close ends the listener and every connection.
func (g *Gateway) close() {
	g.drain()
	_ = g.server.Close()
	_ = g.workers.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for s := range g.streams {
		s.close()
	}
}

// Drain takes no new connections and requests and waits until those that are under way have been answered and the answers
// are on their way, or until ctx ends. Then it closes the port. It returns an error that says how many had no answer.
func (g *Gateway) Drain(ctx context.Context) error {
	g.draining.Store(true)
	g.drain()
	defer g.close()
	for {
		n := g.outstanding.Load()
		if n == 0 {
			break
		}
		select {
		case <-g.quiet:
		case <-ctx.Done():
			return fmt.Errorf("%d requests have not been answered: %w", n, ctx.Err())
		}
	}
	stop := context.AfterFunc(ctx, g.close)
	defer stop()
	g.mu.Lock()
	streams := make([]*stream, 0, len(g.streams))
	for s := range g.streams {
		streams = append(streams, s)
	}
	g.mu.Unlock()
	for _, s := range streams {
		_ = s.sender.Flush() // a client that has gone is not waited for
	}
	return ctx.Err()
}

// closes reports whether the gateway closes its connections.
func (g *Gateway) closes() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// add takes a stream in, unless the gateway is closed.
func (g *Gateway) add(s *stream) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.streams[s] = struct{}{}
	g.serving.Add(1)
	return true
}

func (g *Gateway) remove(s *stream) {
	g.mu.Lock()
	delete(g.streams, s)
	g.mu.Unlock()
	g.serving.Done()
}

// errDraining is what new requests get while the node drains.
func errDraining() *wire.Error {
	return wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the node is draining: it answers what is under way and takes no new requests")
}

// connState counts the connections that are not streams out again.
func (g *Gateway) connState(_ net.Conn, state http.ConnState) {
	if state == http.StateClosed {
		g.connections.Add(-1)
	}
}

// boundedListener refuses connections beyond the bound, and those for which a descriptor would have to be taken that is kept for the
// log.
type boundedListener struct {
	net.Listener
	gateway  *Gateway
	refusals *descriptors.Refusals
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if descriptors.Exhausted(err) {
			l.refusals.Failed(l.gateway.drains, err)
			continue // a listener that is closed says so
		}
		if err != nil {
			return nil, err
		}
		reason, attributes := l.refuse(conn)
		if reason == "" {
			l.refusals.Accepted()
			return conn, nil
		}
		l.gateway.metrics.connectionsRefused.Add(1)
		l.refusals.Refused(reason, append(attributes, "remote", conn.RemoteAddr().String())...)
		_ = conn.Close()
	}
}

// refuse counts a connection, or says why it is refused.
func (l *boundedListener) refuse(conn net.Conn) (reason string, attributes []any) {
	if descriptor, ok := descriptorOf(conn); ok && descriptors.Reserved(descriptor) {
		return descriptors.Scarce()
	}
	if n, most := l.gateway.connections.Add(1), l.gateway.cfg.ConnectionsMax; n > int64(most) {
		l.gateway.connections.Add(-1)
		return "there are too many (gateway.connections_max)", []any{"max", most}
	}
	return "", nil
}

// descriptorOf returns the number of a connection's descriptor.
func descriptorOf(conn net.Conn) (descriptor int, ok bool) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) { descriptor = int(fd) })
	return descriptor, err == nil
}
