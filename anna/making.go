package anna

import (
	"sync"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// makingMax bounds the writes that wait in all queues of making.
const makingMax = 1 << 16

var errMakingMax = wire.Errorf(pb.Code_CODE_NO_RESOURCES, "%d writes that depend on what their keys hold wait for each other already; try again", makingMax)

// making lets one write of a key that depends on what the key holds be made after the other. Each such write fails when the key is
// changed between its read and its write, so many at once would mostly fail each other; in turn they meet only those of other nodes.
// Its zero value is ready to use. Safe for concurrent use.
type making struct {
	mu sync.Mutex
	// queues has the writes that wait, in the order in which they came, for each key that a write is under way to.
	queues  map[string][]func()
	waiting int // in all queues
}

// enter runs write, at once if no write of the key is being made, else when its turn comes. It fails when makingMax writes wait.
func (m *making) enter(key string, write func()) error {
	m.mu.Lock()
	queue, busy := m.queues[key]
	switch {
	case busy && m.waiting >= makingMax:
		m.mu.Unlock()
		return errMakingMax
	case busy:
		m.queues[key] = append(queue, write)
		m.waiting++
	default:
		if m.queues == nil {
			m.queues = map[string][]func(){}
		}
		m.queues[key] = nil
	}
	m.mu.Unlock()
	if !busy {
		write()
	}
	return nil
}

// leaving returns a completion that ends the turn of a write of the key before it completes done.
func (m *making) leaving(key string, done Completion) Completion {
	return CompletionFunc(func(value int64, err error) {
		m.leave(key)
		done.Complete(value, err)
	})
}

// leave ends the turn of a write of the key, and begins the next one's.
func (m *making) leave(key string) {
	m.mu.Lock()
	var next func()
	if queue := m.queues[key]; len(queue) > 0 {
		next, queue[0] = queue[0], nil
		m.queues[key] = queue[1:]
		m.waiting--
	} else {
		delete(m.queues, key)
	}
	m.mu.Unlock()
	if next != nil {
		go next() // not here: a write that fails at once would begin the next one within itself, as deep as the queue is long
	}
}
