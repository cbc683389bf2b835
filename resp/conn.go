package resp

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"cloudburst/anna"
)

const (
	// backlogPauseBytes is how much may wait for a client that reads slowly before no further command of it is carried out.
	backlogPauseBytes = 1 << 20
	// backlogPauseReplies is how many of its replies may wait for something before that.
	backlogPauseReplies = 4096
	// bufferKeepMax is the largest buffer that a loop or a quiet connection holds on to.
	bufferKeepMax = 256 << 10
	// readGrowMin is the least room that is made for a command that did not fit.
	readGrowMin = 16 << 10
	// freeBytes is what buffers of one connection may take without being counted against Config.BufferBytesMax.
	freeBytes = 64 << 10
)

var (
	errStopped  = errors.New("the node is stopping")
	errSlow     = errors.New("the client does not read its replies")
	errSilent   = errors.New("the client said nothing for too long")
	errStranger = errors.New("the client did not say the password in time")
	errBuffers  = errors.New("the buffers of all clients together are full (resp.buffer_bytes_max)")
)

// conn is a client's connection. Owned by its loop.
type conn struct {
	server *Server
	loop   *loop
	fd     int
	remote netip.AddrPort

	readable, writable bool // as far as is known
	ended              bool // the client sends nothing more, or is gone
	queued             bool // has a turn coming
	held               bool // in begins with a command that has not been looked at
	halting            bool // a command is under way that has to end first
	closing            bool // end once all replies are written
	closed             bool

	request request
	in      []byte // what has come of the next command, and what is behind it while that may not begin
	out     reply  // what can be written
	sent    int    // of out
	w       *reply // where the next reply is put
	waiting replies
	behind  int // bytes in the replies that wait
	charged int // bytes counted against the bound of all buffers

	fetch   *pending // brings keys into memory that the command under way needs
	fetches int      // of the command
	missing error    // why they did not come
	crowded bool     // they do not fit into memory together

	client   client
	since    time.Time // connected
	heard    time.Time // something came
	progress time.Time // something could be written, or began to wait for that
	commands int       // carried out in this turn
}

// client is what a client has said about itself.
type client struct {
	id            int64
	authenticated bool
	refused       bool // a transaction, which is not over yet
	failures      int  // wrong passwords
	ack           anna.Ack
	name          string
	library       string
	version       string
	last          *command
}

// turn does what there is to do, and not more than the input of one read, so that others get their turn.
func (c *conn) turn() {
	if c.closed {
		return
	}
	l := c.loop
	if c.out.buf == nil {
		c.out.buf, l.spare = l.spare, nil
	}
	c.settle()
	if c.held && !c.halted() {
		c.held = false
		c.consume(c.in, true)
	} else if c.readable && !c.halted() {
		c.read()
	}
	if c.commands > 0 {
		l.stats.commands.Add(uint64(c.commands))
		c.commands = 0
	}
	if c.closed {
		return
	}
	c.settle()
	c.flush()
	if c.closed {
		return
	}
	c.account()
	if (c.readable || c.held) && !c.halted() {
		l.queue(c)
	}
}

// halted reports whether no further command may be carried out now.
func (c *conn) halted() bool {
	if c.halting || c.closing || c.closed || c.waiting.n >= backlogPauseReplies {
		return true
	}
	return c.behind+len(c.w.buf)+len(c.out.buf)-c.sent > backlogPauseBytes
}

// read reads once and carries out what has come.
func (c *conn) read() {
	own := c.in
	buf := c.loop.buf
	if len(own) > 0 {
		own = c.grow(own)
		buf = own[len(own):min(cap(own), max(c.request.need, len(own)+readBytes))]
	}
	n, err := rawRead(c.fd, buf)
	switch {
	case errors.Is(err, unix.EAGAIN):
		c.readable = false
		return
	case err != nil:
		c.end(err)
		return
	case n == 0:
		// A client that half-closes still gets the replies to what it has asked.
		c.readable, c.closing = false, true
		if len(own) > 0 {
			c.server.malformed.Add(1)
		}
		return
	}
	// What comes later is told again; what has been told and is not read yet is remembered.
	c.readable = n == len(buf) || c.ended
	c.heard = c.loop.now
	c.loop.stats.read.Add(uint64(n))
	if len(own) == 0 {
		c.consume(buf[:n], false)
		return
	}
	c.consume(own[:len(own)+n], true)
}

// grow makes room for more of a command, not faster than it arrives.
func (c *conn) grow(own []byte) []byte {
	if cap(own)-len(own) >= readGrowMin || cap(own) >= c.request.need && cap(own) > len(own) {
		return own
	}
	c.in = slices.Grow(own, max(readGrowMin, min(c.request.need-len(own), 3*len(own))))
	return c.in
}

// account counts what the connection's buffers take against what those of all connections may take together.
func (c *conn) account() {
	n := cap(c.in) + cap(c.out.buf) + c.behind
	if n <= freeBytes {
		n = 0
	}
	if n == c.charged {
		return
	}
	total := c.server.buffered.Add(int64(n - c.charged))
	grown := n > c.charged
	c.charged = n
	if grown && total > c.server.cfg.BufferBytesMax {
		c.end(errBuffers)
	}
}

// breach ends a connection that breaks the protocol.
func (c *conn) breach(how error) {
	c.server.malformed.Add(1)
	c.server.cfg.Logger.Warn("connection ended for breaking the protocol", "remote", c.remote.String(), "error", how)
	c.refuse("ERR " + how.Error())
}

// refuse answers an error and ends the connection once that is written.
func (c *conn) refuse(text string) {
	c.w.error(text)
	c.in, c.held, c.closing = nil, false, true
}

// await ends what a command has begun: its reply follows now if everything has come back, and otherwise when it has.
func (c *conn) await(p *pending) {
	if p.left.Add(-1) == 0 {
		p.write(c.w)
		p.release(c.loop)
		return
	}
	p.after.three, p.body.three = c.w.three, c.w.three
	if c.w != &c.out {
		c.behind += len(c.w.buf)
	}
	c.waiting.push(p)
	c.w = &p.after
	c.halting = p.halts
}

// finished takes a pending of which everything has come back.
func (c *conn) finished(p *pending) {
	p.known = true
	if p.halts {
		c.halting = false
	}
	if p.again {
		c.missing = p.failure()
	}
	if c.closed || p.again {
		p.release(c.loop)
	}
	c.loop.queue(c)
}

// settle moves the replies that are known, up to the first that is not, to where they are written from.
func (c *conn) settle() {
	for p := c.waiting.front(); p != nil && p.known; p = c.waiting.front() {
		c.waiting.pop()
		p.write(&c.out)
		c.out.buf = append(c.out.buf, p.after.buf...)
		c.out.three = p.after.three
		if c.w == &p.after {
			c.w = &c.out
		} else {
			c.behind -= len(p.after.buf)
		}
		p.release(c.loop)
	}
}

// flush writes what the socket takes.
func (c *conn) flush() {
	l := c.loop
	for c.sent < len(c.out.buf) && c.writable {
		n, err := rawWrite(c.fd, c.out.buf[c.sent:])
		switch {
		case errors.Is(err, unix.EAGAIN):
			c.writable = false
		case err != nil:
			c.end(err)
			return
		default:
			c.sent += n
			c.progress = l.now
			l.stats.written.Add(uint64(n))
		}
	}
	if c.sent < len(c.out.buf) {
		if c.sent > bufferKeepMax && c.sent > len(c.out.buf)/2 {
			c.out.buf = c.out.buf[:copy(c.out.buf, c.out.buf[c.sent:])]
			c.sent = 0
		}
		return
	}
	c.progress = l.now
	if buf := c.out.buf[:0]; l.spare == nil && cap(buf) <= bufferKeepMax {
		l.spare = buf
	}
	c.out.buf, c.sent = nil, 0
	if c.closing && c.waiting.n == 0 {
		c.end(io.EOF)
	}
}

// tick ends a connection that is overdue.
func (c *conn) tick() {
	cfg := &c.server.cfg
	now := c.loop.now
	switch {
	case c.sent < len(c.out.buf) && now.Sub(c.progress) > cfg.StallTimeout:
		c.end(errSlow)
	case !c.client.authenticated && now.Sub(c.since) > cfg.AuthTimeout:
		c.end(errStranger)
	case cfg.IdleTimeout > 0 && c.waiting.n == 0 && now.Sub(c.heard) > cfg.IdleTimeout:
		c.end(errSilent)
	}
}

// end closes the connection at once. What its commands have begun goes on.
func (c *conn) end(why error) {
	if c.closed {
		return
	}
	c.closed = true
	if why != io.EOF && why != errStopped { //nolint:errorlint // compared by identity on purpose: these are ours
		c.server.cfg.Logger.Info("connection ended", "remote", c.remote.String(), "reason", why)
	}
	l := c.loop
	l.conns[c.fd] = nil
	l.open--
	l.stats.connections.Add(-1)
	for p := c.waiting.front(); p != nil; p = c.waiting.front() {
		c.waiting.pop()
		if p.known {
			p.release(l)
		}
	}
	c.in, c.out.buf, c.w, c.behind = nil, nil, nil, 0
	c.account()
	c.discard()
}

// discard closes the socket of a connection that no loop has, or has any more.
func (c *conn) discard() {
	_ = unix.Close(c.fd)
	c.server.gone()
}
