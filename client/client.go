// Package client is the Go client of a Cloudburst node: it calls functions and DAGs that are registered there, and reads
// and writes the state that they share.
//
// Every wait has a deadline, that of the context or the client's own. A client reconnects by itself: a call that is under way
// when the connection breaks is taken up again under the same run id, so that it is neither lost nor run twice.
package client

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Client is a connection to a node. It is safe for concurrent use, and one is enough for a program: requests share it without
// waiting for each other.
type Client struct {
	options options
	logger  *slog.Logger
	stop    context.CancelFunc
	ended   sync.WaitGroup

	mu      sync.Mutex
	stream  *stream             // nil while there is no connection
	pending map[uint64]*request // sent or waiting to be, not answered yet
	last    uint64              // id of the last request
	down    error               // why there is no stream
	closed  bool
}

// Connect connects to a node. Without options that is the one that CLOUDBURST_ADDRESS or CLOUDBURST_CONTEXT names, or else the node of
// the current context (`cloudburst context ls`); the client stays with it, whatever becomes current. It fails with ErrUnavailable when no node answers, and with
// ErrUnauthenticated when the node refuses the token; later the client reconnects for as long as it is open. ctx bounds
// Connect only.
func Connect(ctx context.Context, opts ...Option) (*Client, error) {
	o := defaultOptions()
	for _, opt := range opts {
		opt(&o)
	}
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	o, err := o.settled()
	if err != nil {
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "connect: %v", err)
	}
	attempt, cancel := context.WithTimeout(ctx, o.requestTimeout)
	defer cancel()
	s, err := dial(attempt, o)
	if err != nil {
		return nil, err
	}
	live, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &Client{options: o, logger: o.logger, stop: stop, stream: s, pending: make(map[uint64]*request)}
	c.ended.Go(func() { c.run(live, s) })
	return c, nil
}

// String names the node that the client is connected to.
func (c *Client) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream == nil {
		return "client without a connection"
	}
	return "client of the node at " + c.stream.conn.RemoteAddr().String()
}

// Close ends the connection and fails what still waits with ErrCancelled. Runs under way are not stopped. A second call does
// nothing. It always returns nil, and is an io.Closer's for the sake of those that want one.
func (c *Client) Close() error {
	c.stop()
	c.ended.Wait()
	return nil
}
