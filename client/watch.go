package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Bounds of the changes that wait for the loop over a watch. Beyond them only the last one of each key is kept.
const (
	inboxChangesMax = 1024
	inboxBytesMax   = 16 << 20
)

// watchForever is the deadline of a request that has none.
const watchForever = 100 * 365 * 24 * time.Hour

// Change is what a key holds after it has changed.
type Change struct {
	Entry
	// Lagged is set when changes of the key before this one may be missing, because the loop or the connection was too slow or
	// the connection was made again.
	Lagged bool
}

// Watch walks over the changes of keys: first what each of them holds now, and then what each holds after every change, for
// ever, until the loop is left or ctx ends. A key never goes back to something older. Changes are pushed by the store. A loop
// that is slower than they come misses some, and never the last; nothing is missed without [Change.Lagged] saying so. An error
// comes last.
//
//	for change, err := range cloud.Watch(ctx, "price") {
//		if err != nil {
//			return err
//		}
//		…
//	}
func (c *Client) Watch(ctx context.Context, keys ...string) iter.Seq2[Change, error] {
	if len(keys) == 0 {
		return func(yield func(Change, error) bool) { yield(Change{}, invalid("watch: name a key, or several")) }
	}
	return c.watch(ctx, &pb.Watch{Keys: keys})
}

func (c *Client) watch(ctx context.Context, watch *pb.Watch) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		r := &request{
			verb: "watch", again: true, deadline: time.Now().Add(watchForever),
			header:  &pb.Header{Body: &pb.Header_Watch{Watch: watch}},
			changes: &inbox{arrived: make(chan struct{}, 1), seen: make(map[string]bool)},
		}
		if len(watch.Keys) == 1 {
			r.name = watch.Keys[0]
		}
		if err := c.start(r); err != nil {
			yield(Change{}, err)
			return
		}
		defer c.unwatch(r)
		for {
			for _, change := range r.changes.take() {
				if !yield(change, nil) {
					return
				}
			}
			select {
			case <-r.changes.arrived:
			case <-r.done:
				err := r.err
				if err == nil {
					err = fmt.Errorf("%v: %w", r, malformed("the end of a watch that goes on"))
				}
				yield(Change{}, err)
				return
			case <-ctx.Done():
				yield(Change{}, watchEnded(r, ctx.Err()))
				return
			}
		}
	}
}

func watchEnded(r *request, cause error) error {
	code := pb.Code_CODE_DEADLINE_EXCEEDED
	if errors.Is(cause, context.Canceled) {
		code = pb.Code_CODE_CANCELLED
	}
	return fmt.Errorf("%w: %w", wire.Errorf(code, "%v: its context ended", r), cause)
}

// unwatch gives a watch up and tells the node, unless it knows.
func (c *Client) unwatch(r *request) {
	if c.take(r.header.Id) != nil {
		c.sayUnwatch(r.header.Id)
	}
}

func (c *Client) sayUnwatch(id uint64) {
	c.mu.Lock()
	s := c.stream
	c.mu.Unlock()
	if s != nil {
		// Id 0: no reply is wanted. A connection that fails ends the watch as well.
		_ = s.sender.Send(&pb.Header{Body: &pb.Header_Unwatch{Unwatch: &pb.Unwatch{Id: id}}}, nil)
	}
}

// changed takes in a reply to a watch.
func (c *Client) changed(id uint64, changed *pb.Changed, values [][]byte) {
	c.mu.Lock()
	r := c.pending[id]
	c.mu.Unlock()
	if r == nil || r.changes == nil {
		c.sayUnwatch(id) // it was given up while it was on its way
		return
	}
	entries, err := entriesOf(changed.GetCells(), values)
	if err != nil {
		c.finish(id, wire.Frame{}, wrap(r, err))
		return
	}
	r.changes.put(entries, changed.GetWhole())
}

// inbox holds the changes that a loop has not taken yet.
type inbox struct {
	arrived chan struct{} // holds one token

	mu      sync.Mutex
	changes []Change
	bytes   int
	seen    map[string]bool // keys that were reported
}

func (b *inbox) put(entries []Entry, whole bool) {
	b.mu.Lock()
	for _, e := range entries {
		b.changes = append(b.changes, Change{e, whole && b.seen[e.Key]})
		b.bytes += e.size()
		b.seen[e.Key] = true
	}
	if len(b.changes) > inboxChangesMax || b.bytes > inboxBytesMax {
		b.compact()
	}
	b.mu.Unlock()
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

// compact keeps the last change of every key.
func (b *inbox) compact() {
	last := make(map[string]int, len(b.seen))
	kept := b.changes[:0:0]
	b.bytes = 0
	for _, change := range slices.Backward(b.changes) {
		if at, ok := last[change.Key]; ok {
			kept[at].Lagged = true
			continue
		}
		last[change.Key] = len(kept)
		kept = append(kept, change)
		b.bytes += change.size()
	}
	slices.Reverse(kept)
	b.changes = kept
}

func (b *inbox) take() []Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	changes := b.changes
	b.changes, b.bytes = nil, 0
	return changes
}

func (e Entry) size() (n int) {
	for _, value := range e.values {
		n += len(value)
	}
	return n
}
