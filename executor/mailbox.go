package executor

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// message is what one running function sends another.
type message struct {
	from uint64
	body []byte
}

// mailbox holds the messages for what runs in one slot of a worker, for as long as it runs. Safe for concurrent use.
type mailbox struct {
	used     atomic.Bool // spares the invocations without messages the lock
	mu       sync.Mutex
	messages []message
	bytes    int
	waiters  waiters // in the order in which they came; bounded by hostCallsMax
}

// waiter is a recv that waits for a first message.
type waiter struct {
	deliver func([]message)
	timer   *time.Timer
}

// waiters are those of an invocation that has ended.
type waiters []*waiter

// answer gives them nothing. No lock is held.
func (ws waiters) answer() {
	for _, w := range ws {
		w.timer.Stop()
		w.deliver(nil)
	}
}

// clear empties the mailbox of an invocation that has ended, and returns the recvs that still wait on threads of it.
func (m *mailbox) clear() waiters {
	if !m.used.Load() {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	cut := m.waiters
	m.messages, m.bytes, m.waiters = nil, 0, nil
	m.used.Store(false)
	return cut
}

// deliver puts a message into the mailbox, or hands it to the recv that has waited longest.
func (m *mailbox) deliver(msg message) error {
	m.mu.Lock()
	if len(m.messages) >= mailboxMessagesMax || m.bytes+len(msg.body) > mailboxBytesMax {
		m.mu.Unlock()
		return wire.Errorf(pb.Code_CODE_NO_RESOURCES, "%d messages of %d bytes wait for the function already; the limits are %d and %d: let it call recv more often",
			len(m.messages), m.bytes, mailboxMessagesMax, mailboxBytesMax)
	}
	m.used.Store(true)
	if len(m.waiters) == 0 {
		m.messages = append(m.messages, msg)
		m.bytes += len(msg.body)
		m.mu.Unlock()
		return nil
	}
	w := m.waiters[0]
	m.waiters = slices.Delete(m.waiters, 0, 1)
	m.mu.Unlock()
	w.timer.Stop()
	w.deliver([]message{msg})
	return nil
}

// receive hands over what lies in the mailbox, waiting up to wait for a first message: at most limit messages, and no more
// than one reply takes. deliver is called exactly once, on any goroutine.
func (m *mailbox) receive(limit int, wait time.Duration, deliver func([]message)) {
	m.mu.Lock()
	if len(m.messages) == 0 && wait > 0 {
		w := &waiter{deliver: deliver}
		w.timer = time.AfterFunc(wait, func() { m.expire(w) })
		m.waiters = append(m.waiters, w)
		m.used.Store(true)
		m.mu.Unlock()
		return
	}
	n, size := 0, 0
	for n < len(m.messages) && (limit == 0 || n < limit) {
		size += len(m.messages[n].body)
		if n > 0 && size > wire.PayloadBytesMax {
			break
		}
		m.bytes -= len(m.messages[n].body)
		n++
	}
	taken := m.messages[:n:n]
	m.messages = m.messages[n:]
	m.mu.Unlock()
	deliver(taken)
}

// expire ends the wait of a recv.
func (m *mailbox) expire(w *waiter) {
	m.mu.Lock()
	at := slices.Index(m.waiters, w)
	if at >= 0 {
		m.waiters = slices.Delete(m.waiters, at, at+1)
	}
	m.mu.Unlock()
	if at >= 0 {
		w.deliver(nil)
	}
}
