package gateway

import (
	"context"
	"net"
	"sync"
)

// handedMax bounds the connections that wait to be served.
const handedMax = 64

// Accept takes a connection that a function of this node has made over its worker's socket. It needs no token: nothing else has a
// way to make one. A connection that finds no room is closed.
func (g *Gateway) Accept(conn *net.UnixConn) { g.workers.hand(fromWorker{conn}) }

// fromWorker is such a connection.
type fromWorker struct{ *net.UnixConn }

type trustedKey struct{}

// trusting marks the requests of connections that have proved by their existence who they are from.
func trusting(ctx context.Context, conn net.Conn) context.Context {
	if _, ok := conn.(fromWorker); ok {
		return context.WithValue(ctx, trustedKey{}, true)
	}
	return ctx
}

func trusted(ctx context.Context) bool { return ctx.Value(trustedKey{}) != nil }

// handed is a listener whose connections come from this process. Safe for concurrent use.
type handed struct {
	conns chan net.Conn
	ended chan struct{}

	mu     sync.Mutex // of what comes in against the end
	closed bool
}

func newHanded() *handed {
	return &handed{conns: make(chan net.Conn, handedMax), ended: make(chan struct{})}
}

func (h *handed) hand(conn net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		select {
		case h.conns <- conn:
			return
		default:
		}
	}
	_ = conn.Close()
}

// Accept implements net.Listener.
func (h *handed) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.ended:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Connections that were not accepted are closed.
func (h *handed) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	close(h.ended)
	for {
		select {
		case conn := <-h.conns:
			_ = conn.Close()
		default:
			return nil
		}
	}
}

// Addr implements net.Listener.
func (h *handed) Addr() net.Addr { return &net.UnixAddr{Name: "a worker", Net: "unix"} }
