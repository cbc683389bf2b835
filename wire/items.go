package wire

import (
	"sync"

	"cloudburst/wire/pb"
)

// ItemsAheadMax bounds how many items of one run a client may let come before it has taken any of them.
const ItemsAheadMax = 1024

// Items is the way of a result that is streamed: items go from the worker to the client, and the client's credit comes back. The
// side of the client makes it, the run carries it, and the executor that runs the function connects it to its worker. Safe for
// concurrent use.
type Items struct {
	send func(value []byte)

	mu      sync.Mutex
	granted uint64             // items that may come in all
	sent    uint64             // that have come
	closed  bool               // the client takes no more
	credit  func(items uint32) // tells the worker; nil before Connect
}

// NewItems returns the way of items to send, which must not block, with so much credit to begin with: at least 1, at most ItemsAheadMax.
func NewItems(credit uint32, send func(value []byte)) *Items {
	return &Items{send: send, granted: uint64(min(credit, ItemsAheadMax))}
}

// Connect has credit told to the worker that runs the function from now on, and returns how much there is.
func (i *Items) Connect(credit func(items uint32)) (items uint32) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.credit = credit
	return uint32(i.granted - i.sent)
}

// Disconnect has credit told to no worker any more: the one that ran the function has answered.
func (i *Items) Disconnect() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.credit = nil
}

// Grant lets so many more items come.
func (i *Items) Grant(items uint32) {
	i.mu.Lock()
	defer i.mu.Unlock()
	items = uint32(min(uint64(items), ItemsAheadMax-(i.granted-i.sent)))
	if items == 0 || i.closed {
		return
	}
	i.granted += uint64(items)
	if i.credit != nil {
		i.credit(items)
	}
}

// Close says that the client takes no more items: those that still come are dropped. To end the function, cancel its run.
func (i *Items) Close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
}

// Item passes an item on. It returns an error wrapping ErrFrame for one that there is no credit for.
func (i *Items) Item(value []byte) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.sent == i.granted {
		return Errorf(pb.Code_CODE_INTERNAL, "an item came without credit for it, after %d", i.sent)
	}
	i.sent++
	if !i.closed {
		i.send(value)
	}
	return nil
}

// Sent returns how many items have come.
func (i *Items) Sent() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.sent
}
