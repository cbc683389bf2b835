package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// pendingMax bounds the requests of one client that wait for an answer; one more fails with ErrNoResources.
	pendingMax = 1 << 16

	reconnectDelayMin = 20 * time.Millisecond
	reconnectDelayMax = time.Second
	reconnectTimeout  = 5 * time.Second
)

// request is a frame on its way to the node and the answer to it.
type request struct {
	// verb and name say for people what is asked: `call "sq"`.
	verb, name string
	deadline   time.Time
	// again is whether the request may be sent a second time when the connection breaks before its answer.
	again bool

	stream *stream // that it was sent on; guarded by Client.mu
	resent bool    // it has been sent on another stream before; owned by run

	sending sync.Mutex // guards header and values while they are sent
	header  *pb.Header
	values  [][]byte

	changes *inbox     // of a watch
	lines   *lineInbox // of a request for lines

	done  chan struct{} // closed when reply or err is there
	reply wire.Frame
	err   error
}

func (r *request) String() string {
	if r.name == "" {
		return r.verb
	}
	return fmt.Sprintf("%s %q", r.verb, r.name)
}

// wrap says in an error what was asked. nil stays nil.
func wrap(r *request, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%v: %w", r, err)
}

func malformed(format string, args ...any) *Error {
	return wire.Errorf(pb.Code_CODE_INTERNAL, "the node sent "+format, args...)
}

// ask sends a request and waits for its answer.
func (c *Client) ask(ctx context.Context, r *request) (wire.Frame, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(c.options.requestTimeout)
	}
	r.deadline = deadline
	if err := c.start(r); err != nil {
		return wire.Frame{}, err
	}
	if err := c.await(ctx, r); err != nil {
		c.take(r.header.Id)
		return wire.Frame{}, err
	}
	return r.reply, r.err
}

// start makes a request pending and sends it if there is a connection; otherwise it goes out with the next one.
func (c *Client) start(r *request) error {
	r.done = make(chan struct{})
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return fmt.Errorf("%v: %w", r, errClosed())
	}
	if len(c.pending) >= pendingMax {
		c.mu.Unlock()
		return wire.Errorf(pb.Code_CODE_NO_RESOURCES, "%v: %d requests of this client wait for an answer already, the limit; wait for some of them first", r, pendingMax)
	}
	c.last++
	r.header.Id = c.last
	c.pending[c.last] = r
	s := c.stream
	r.stream = s
	c.mu.Unlock()
	if s != nil {
		c.send(s, r)
	}
	return nil
}

func errClosed() error { return wire.Errorf(pb.Code_CODE_CANCELLED, "the client is closed") }

// send writes a request. An error of the connection is left to its reader, which sees it as well.
func (c *Client) send(s *stream, r *request) {
	r.sending.Lock()
	err := s.sender.Send(r.header, r.values)
	r.sending.Unlock()
	if errors.Is(err, wire.ErrTooLarge) || errors.Is(err, wire.ErrInvalidArgument) {
		c.finish(r.header.Id, wire.Frame{}, fmt.Errorf("%v: %w", r, err))
	}
}

// await waits for an answer, no longer than ctx and the request's deadline allow.
func (c *Client) await(ctx context.Context, r *request) error {
	select {
	case <-r.done:
		return nil
	default:
	}
	timer := time.NewTimer(time.Until(r.deadline))
	defer timer.Stop()
	var cause error
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		cause = ctx.Err()
	case <-timer.C:
		cause = context.DeadlineExceeded
	}
	c.mu.Lock()
	down := c.down
	c.mu.Unlock()
	switch {
	case errors.Is(cause, context.Canceled):
		return fmt.Errorf("%w: %w", wire.Errorf(pb.Code_CODE_CANCELLED, "%v: gave up waiting for the answer", r), cause)
	case down != nil:
		return fmt.Errorf("%v: %w: %w", r, down, cause)
	}
	return fmt.Errorf("%w: %w", wire.Errorf(pb.Code_CODE_DEADLINE_EXCEEDED, "%v: no answer in time", r), cause)
}

// take removes a request from the pending ones; nil when it has been answered or given up already.
func (c *Client) take(id uint64) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.pending[id]
	delete(c.pending, id)
	return r
}

func (c *Client) finish(id uint64, reply wire.Frame, err error) {
	if r := c.take(id); r != nil {
		r.reply, r.err = reply, err
		// A future may be kept for long after its answer; its arguments need not be.
		if r.sending.TryLock() {
			r.values = nil
			r.sending.Unlock()
		}
		close(r.done)
	}
}

// run reads answers, and connects again when the connection breaks, until ctx ends.
func (c *Client) run(ctx context.Context, s *stream) {
	for s != nil {
		stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() })
		err := c.read(s)
		stop()
		_ = s.conn.Close()
		if ctx.Err() == nil {
			c.logger.Warn("connection to the node lost; reconnecting", "node", s.conn.RemoteAddr().String(), "error", err)
		}
		c.lost(s, err)
		s = c.reconnect(ctx)
	}
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.failPending(errClosed(), func(*request) bool { return true })
}

// read hands out answers until the stream ends.
func (c *Client) read(s *stream) error {
	for {
		frame, err := s.reader.Read()
		if err != nil {
			return err
		}
		if changed := frame.Header.GetChanged(); changed != nil {
			c.changed(frame.Header.GetId(), changed, frame.Values)
			continue
		}
		if lines := frame.Header.GetLogLines(); lines != nil {
			c.logLines(frame.Header.GetId(), lines)
			continue
		}
		if e := wire.ErrorFromFrame(frame); e != nil {
			c.finish(frame.Header.GetId(), wire.Frame{}, e)
			continue
		}
		c.finish(frame.Header.GetId(), frame, nil)
	}
}

// lost fails what was sent on a stream and must not be sent again.
func (c *Client) lost(s *stream, cause error) {
	c.mu.Lock()
	c.stream = nil
	c.down = wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the connection to the node was lost: %v", cause)
	c.mu.Unlock()
	c.failPending(
		wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the connection to the node was lost before the answer, so it may or may not have been done; look, and try again"),
		func(r *request) bool { return r.stream == s && !r.again },
	)
}

// failPending fails those pending requests that which, called with Client.mu held, selects.
func (c *Client) failPending(err error, which func(*request) bool) {
	c.mu.Lock()
	var failed []uint64
	for id, r := range c.pending {
		if which(r) {
			failed = append(failed, id)
		}
	}
	c.mu.Unlock()
	for _, id := range failed {
		c.mu.Lock()
		r := c.pending[id]
		c.mu.Unlock()
		if r != nil {
			c.finish(id, wire.Frame{}, fmt.Errorf("%v: %w", r, err))
		}
	}
}

// reconnect tries until there is a stream again, and sends what waits for it; nil when ctx ended first.
func (c *Client) reconnect(ctx context.Context) *stream {
	for delay := reconnectDelayMin; ctx.Err() == nil; delay = min(2*delay, reconnectDelayMax) {
		attempt, cancel := context.WithTimeout(ctx, reconnectTimeout)
		s, err := dial(attempt, c.options)
		cancel()
		if err == nil {
			c.resume(s)
			return s
		}
		c.mu.Lock()
		c.down = err
		c.mu.Unlock()
		now := time.Now()
		refusal := errors.Is(err, wire.ErrUnauthenticated) || errors.Is(err, wire.ErrIncompatible)
		c.failPending(err, func(r *request) bool { return refusal || now.After(r.deadline) })
		timer := time.NewTimer(delay/2 + rand.N(delay/2))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// resume makes s the stream of the client and sends what has waited for one, in its order.
func (c *Client) resume(s *stream) {
	c.mu.Lock()
	c.stream, c.down = s, nil
	var waiting []*request
	for _, r := range c.pending {
		r.resent = r.resent || r.stream != nil
		r.stream = s
		waiting = append(waiting, r)
	}
	c.mu.Unlock()
	c.logger.Info("connected to the node again", "node", s.conn.RemoteAddr().String(), "requests", len(waiting))
	slices.SortFunc(waiting, func(a, b *request) int { return cmp.Compare(a.header.Id, b.header.Id) })
	now := time.Now()
	for _, r := range waiting {
		left := r.deadline.Sub(now).Milliseconds()
		if left <= 0 {
			c.finish(r.header.Id, wire.Frame{}, wire.Errorf(pb.Code_CODE_DEADLINE_EXCEEDED, "%v: its deadline passed while there was no connection to the node", r))
			continue
		}
		if call := r.header.GetCall(); call != nil {
			r.sending.Lock()
			call.TimeoutMilliseconds, call.Resent = uint64(left), r.resent
			r.sending.Unlock()
		}
		c.send(s, r)
	}
}
