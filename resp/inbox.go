package resp

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// inbox is what others tell a loop, from any goroutine and without waiting.
type inbox struct {
	mu       sync.Mutex
	fd       int // an eventfd that ends the loop's wait; -1 once the loop is gone
	accepted []*conn
	done     []*pending

	filled   atomic.Bool // there is something to take
	parked   atomic.Bool // the loop waits, and must be woken
	draining atomic.Bool // connections end as soon as they have their replies
	closing  atomic.Bool // connections end
}

// accept gives the loop a connection. It reports false when the loop takes none any more.
func (b *inbox) accept(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fd < 0 || b.draining.Load() || b.closing.Load() {
		return false
	}
	b.accepted = append(b.accepted, c)
	b.wake()
	return true
}

// complete gives back a pending write whose answers have all come back.
func (b *inbox) complete(p *pending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fd < 0 {
		return // the loop has ended, and its connections with it
	}
	b.done = append(b.done, p)
	b.wake()
}

func (b *inbox) drain() { b.set(&b.draining) }
func (b *inbox) stop()  { b.set(&b.closing) }

func (b *inbox) set(flag *atomic.Bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	flag.Store(true)
	b.wake()
}

// wake makes the loop look. The caller holds mu, so the eventfd cannot be closed meanwhile.
func (b *inbox) wake() {
	b.filled.Store(true)
	if b.parked.Swap(false) && b.fd >= 0 {
		one := [8]byte{1}
		_, _ = rawWrite(b.fd, one[:])
	}
}

// park says that the loop is going to wait, unless there is something to take.
func (b *inbox) park() bool {
	b.parked.Store(true)
	if b.filled.Load() {
		b.parked.Store(false)
		return false
	}
	return true
}

// unpark says that the loop does not wait any more.
func (b *inbox) unpark() {
	if b.parked.Swap(false) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var count [8]byte
	_, _ = rawRead(b.fd, count[:])
}

// take returns what has come, and gets an empty slice for what comes next.
func (b *inbox) take(spare []*pending) ([]*conn, []*pending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	accepted, done := b.accepted, b.done
	b.accepted, b.done = nil, spare
	b.filled.Store(false)
	return accepted, done
}

// close ends the inbox: connections that the loop has not taken are closed, and completions are not kept any more.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.accepted {
		c.discard()
	}
	b.accepted, b.done = nil, nil
	if b.fd >= 0 {
		_ = unix.Close(b.fd)
		b.fd = -1
	}
}
