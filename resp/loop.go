package resp

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"cloudburst/anna/kernel"
)

const (
	// readBytes is the buffer that a loop reads into, whichever connection it reads from.
	readBytes = 64 << 10
	// eventsMax is how many connections a loop learns about at a time.
	eventsMax = 256
	// tickInterval is how often a loop looks for connections that are overdue.
	tickInterval = time.Second
	// yieldAfter is how many rounds without a pause a loop makes before it lets other goroutines go on.
	yieldAfter = 64
)

// loop serves the connections that it is given for as long as they last. It is an ordinary goroutine: while none of its
// connections has anything it is parked in Go's poller, which watches the loop's own epoll, and holds no thread; while there
// is work it reads and writes with system calls that do not block, which Go's scheduler need not know of. Everything is
// owned by the goroutine in run but the inbox.
type loop struct {
	server *Server

	epoll  *os.File
	raw    syscall.RawConn
	fd     int
	events [eventsMax]unix.EpollEvent
	armed  time.Time // when Go's poller gives up waiting

	conns    []*conn // by file descriptor
	open     int
	runnable []*conn // have something to do
	running  []*conn
	buf      []byte // lent to whichever connection is read from
	spare    []byte // lent to whichever connection answers
	pendings []*pending
	batch    []asked
	touched  touched
	member   []byte       // that is being looked for
	put      kernel.Write // the one that is being begun
	look     look
	done     []*pending
	now      time.Time
	tickAt   time.Time

	inbox inbox
	stats loopStats
}

// loopStats is what others may know of a loop.
type loopStats struct {
	connections atomic.Int64
	commands    atomic.Uint64
	read        atomic.Uint64
	written     atomic.Uint64
}

// newLoop makes a loop and what it needs of the operating system; free gives it back.
func newLoop(s *Server) (*loop, error) {
	l := &loop{server: s, buf: make([]byte, readBytes)}
	l.inbox.fd = -1
	l.look.into = l.look.take
	if err := l.init(); err != nil {
		l.free()
		return nil, err
	}
	return l, nil
}

func (l *loop) init() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll_create: %w", err)
	}
	// Go's poller only takes files that do not block.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("make epoll non-blocking: %w", err)
	}
	l.fd = fd
	l.epoll = os.NewFile(uintptr(fd), "epoll")
	if l.raw, err = l.epoll.SyscallConn(); err != nil {
		return fmt.Errorf("raw access to epoll: %w", err)
	}
	if err := l.epoll.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("watch epoll: %w", err)
	}
	if l.inbox.fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	return l.watch(l.inbox.fd)
}

func (l *loop) free() {
	if l.epoll != nil {
		_ = l.epoll.Close()
	}
	l.inbox.close()
}

// watch makes the loop learn when there is something to read, and when there is room to write again after there was none.
func (l *loop) watch(fd int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd)}
	if err := unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// run serves until the loop is told to close; it has no connections then.
func (l *loop) run() error {
	defer l.free()
	defer l.endAll()
	l.now = time.Now()
	l.tickAt = l.now.Add(tickInterval)
	for rounds := 0; ; rounds++ {
		n, err := l.wait(len(l.runnable) == 0)
		if err != nil {
			return err
		}
		if l.inbox.closing.Load() {
			return nil
		}
		l.now = time.Now()
		for i := range n {
			l.event(&l.events[i])
		}
		if l.inbox.filled.Load() {
			l.takeIn()
		}
		l.running, l.runnable = l.runnable, l.running[:0]
		for _, c := range l.running {
			c.queued = false
			c.turn()
		}
		clear(l.running)
		if !l.now.Before(l.tickAt) {
			l.tick()
		}
		if rounds%yieldAfter == 0 {
			runtime.Gosched()
		}
	}
}

// wait returns how many events there are. When it may block it returns once there is one, the loop has been woken, or a tick
// is due.
func (l *loop) wait(block bool) (n int, err error) {
	if !block {
		return l.poll(), nil
	}
	due := time.Time{}
	if l.open > 0 {
		due = l.tickAt
	}
	if l.armed != due {
		if err := l.epoll.SetReadDeadline(due); err != nil {
			return 0, fmt.Errorf("watch epoll: %w", err)
		}
		l.armed = due
	}
	if !l.inbox.park() {
		return 0, nil
	}
	err = l.raw.Read(func(uintptr) bool {
		n = l.poll()
		return n > 0
	})
	l.inbox.unpark()
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, fmt.Errorf("wait for connections: %w", err)
	}
	return n, nil
}

// poll returns how many events there are. It never blocks.
func (l *loop) poll() int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.fd), uintptr(unsafe.Pointer(&l.events[0])), eventsMax, 0, 0, 0)
	if errno != 0 {
		return 0 // interrupted: it is asked again
	}
	return int(n)
}

func (l *loop) event(e *unix.EpollEvent) {
	if int(e.Fd) >= len(l.conns) || l.conns[e.Fd] == nil {
		return // the inbox's, or of a connection that ended in this round
	}
	c := l.conns[e.Fd]
	if e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.ended = true
	}
	if e.Events&unix.EPOLLIN != 0 || c.ended {
		c.readable = true
	}
	if e.Events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.writable = true
	}
	l.queue(c)
}

// queue gives a connection a turn.
func (l *loop) queue(c *conn) {
	if !c.queued && !c.closed {
		c.queued = true
		l.runnable = append(l.runnable, c)
	}
}

// takeIn does what others have told the loop.
func (l *loop) takeIn() {
	accepted, done := l.inbox.take(l.done)
	for _, c := range accepted {
		l.add(c)
	}
	for _, p := range done {
		p.conn.finished(p)
	}
	clear(done)
	l.done = done[:0]
	if l.inbox.draining.Load() {
		for _, c := range l.conns {
			if c != nil {
				c.closing = true
				l.queue(c)
			}
		}
	}
}

func (l *loop) add(c *conn) {
	c.loop = l
	c.since, c.progress, c.heard = l.now, l.now, l.now
	for len(l.conns) <= c.fd {
		l.conns = append(l.conns, nil)
	}
	l.conns[c.fd] = c
	l.open++
	l.stats.connections.Add(1)
	if err := l.watch(c.fd); err != nil {
		c.end(err)
	}
}

func (l *loop) tick() {
	l.tickAt = l.now.Add(tickInterval)
	for _, c := range l.conns {
		if c != nil {
			c.tick()
		}
	}
}

func (l *loop) endAll() {
	for _, c := range l.conns {
		if c != nil {
			c.end(errStopped)
		}
	}
}

// begin returns a pending for a command of c. The command is finished with conn.await.
func (l *loop) begin(c *conn) (p *pending) {
	if n := len(l.pendings); n > 0 {
		p, l.pendings = l.pendings[n-1], l.pendings[:n-1]
	} else {
		p = new(pending)
	}
	p.conn = c
	p.left.Store(1)
	return p
}

// rawRead and rawWrite are system calls on sockets that do not block.
func rawRead(fd int, buf []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

func rawWrite(fd int, buf []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}
