package resp

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"cloudburst/anna/kernel"
)

const (
	// turnBytesMax is how large the replies of one turn grow before they are written, or set aside for a client that does not
	// read yet.
	turnBytesMax = 1 << 20
	// repliesMax is how many replies of a client may wait for something before no further command of it is carried out.
	repliesMax = 4096
	// bufferKeepMax is the largest buffer that a loop or a quiet connection holds on to.
	bufferKeepMax = 256 << 10
	// readGrowMin is the least room that is made for a command that did not fit.
	readGrowMin = 16 << 10
	// freeBytes is what buffers of one connection may take without being counted against Config.BufferBytesMax.
	freeBytes = 64 << 10
)

var (
	errStopped  = errors.New("the node is stopping")
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
	in      []byte  // what has come of the next command, and what is behind it while that may not begin
	backlog backlog // what can be written, the oldest; the client does not read it yet
	out     reply   // what can be written after that
	sent    int     // of out
	w       *reply  // where the next reply is put
	waiting replies
	behind  int // bytes in the replies that wait
	allowed int // bytes that the client may leave unread in this turn
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
	ack           kernel.Ack
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
	c.allowed = c.server.allowed()
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

// halted reports whether no further command may be carried out now. A client that sends without reading is halted late, since
// most send a whole pipeline before they read the first reply of it.
func (c *conn) halted() bool {
	if c.halting || c.closing || c.closed || c.waiting.n >= repliesMax {
		return true
	}
	if c.w != &c.out && len(c.w.buf) > turnBytesMax {
		return true // until what they wait for is there
	}
	return c.unread() > c.allowed
}

// full reports whether the turn has to end for its replies to be written.
func (c *conn) full() bool { return len(c.out.buf) > turnBytesMax }

// unread returns how many bytes of replies the client has not taken, about.
func (c *conn) unread() int {
	n := c.behind + c.backlog.bytes + len(c.out.buf) - c.sent
	if c.w != &c.out {
		n += len(c.w.buf)
	}
	return n
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
	n := cap(c.in) + cap(c.out.buf) + c.behind + c.backlog.bytes
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

// finished takes a pending write whose answers have all come back.
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
		if c.full() {
			c.setAside()
		}
	}
}

// flush writes what the socket takes.
func (c *conn) flush() {
	for chunk := c.backlog.front(); chunk != nil; chunk = c.backlog.front() {
		n, ok := c.write(chunk)
		if c.closed {
			return
		}
		if c.backlog.took(n); !ok {
			break
		}
	}
	if c.backlog.empty() && c.sent < len(c.out.buf) {
		n, _ := c.write(c.out.buf[c.sent:])
		if c.closed {
			return
		}
		c.sent += n
	}
	if c.sent < len(c.out.buf) {
		if c.full() {
			c.setAside()
		}
		return
	}
	if !c.backlog.empty() {
		return
	}
	l := c.loop
	c.progress = l.now
	if buf := c.out.buf[:0]; l.spare == nil && cap(buf) <= bufferKeepMax {
		l.spare = buf
	}
	c.out.buf, c.sent = nil, 0
	if c.closing && c.waiting.n == 0 {
		c.end(io.EOF)
	}
}

// write writes as much of data as the socket takes, and returns whether that is all of it.
func (c *conn) write(data []byte) (sent int, all bool) {
	for c.writable && sent < len(data) {
		n, err := rawWrite(c.fd, data[sent:])
		switch {
		case errors.Is(err, unix.EAGAIN):
			c.writable = false
		case err != nil:
			c.end(err)
			return sent, false
		default:
			sent += n
			c.progress = c.loop.now
			c.loop.stats.written.Add(uint64(n))
		}
	}
	return sent, sent == len(data)
}

// setAside makes room for further replies. What the client has not read stays where it is, so it is never copied again.
func (c *conn) setAside() {
	c.backlog.push(c.out.buf, c.sent)
	c.out.buf, c.sent = nil, 0
}

// tick ends a connection that is overdue.
func (c *conn) tick() {
	cfg := &c.server.cfg
	now := c.loop.now
	switch {
	case (c.sent < len(c.out.buf) || !c.backlog.empty()) && now.Sub(c.progress) > cfg.StallTimeout && now.Sub(c.heard) > cfg.StallTimeout:
		c.end(fmt.Errorf("%d bytes of replies wait, and the client has read none of them and sent nothing for %v (resp.stall_timeout); "+
			"with more than %d (resp.client_buffer_bytes_max) no command is read before it reads", c.unread(), cfg.StallTimeout, c.allowed))
	case !c.client.authenticated && now.Sub(c.since) > cfg.AuthTimeout:
		c.end(errStranger)
	case cfg.IdleTimeout > 0 && c.waiting.n == 0 && now.Sub(c.heard) > cfg.IdleTimeout:
		c.end(errSilent)
	case c.unread() > backlogShareMin:
		c.loop.queue(c) // others may have made room meanwhile
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
	c.in, c.out.buf, c.w, c.behind, c.backlog = nil, nil, nil, 0, backlog{}
	c.account()
	c.discard()
}

// discard closes the socket of a connection that no loop has, or has any more.
func (c *conn) discard() {
	_ = unix.Close(c.fd)
	c.server.gone()
}
