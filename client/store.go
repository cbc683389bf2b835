package client

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"cloudburst/codec"
	"cloudburst/lattice"
	"cloudburst/wire/pb"
)

// Ack says when a write is acknowledged.
type Ack int

const (
	// AckDurable is after the write is persisted in the log.
	AckDurable Ack = iota
	// AckMemory is after the write is merged in the memory of one master.
	AckMemory
)

func (a Ack) proto() pb.Ack {
	if a == AckMemory {
		return pb.Ack_ACK_MEMORY
	}
	return pb.Ack_ACK_DURABLE
}

// PutOption changes how [Client.Put] writes: a [TTL] or an [Ack].
type PutOption interface{ apply(w *Write, ack *Ack) }

// TTL is how long a value is kept, at least a millisecond.
type TTL time.Duration

func (t TTL) apply(w *Write, _ *Ack) {
	if w.TTL = time.Duration(t); t == 0 {
		w.TTL = -1 // refused, as it is not for ever
	}
}

func (a Ack) apply(_ *Write, ack *Ack) { *ack = a }

// Write is one key of a [Client.PutAll].
type Write struct {
	Key   string
	Value any
	// TTL is how long the value is kept, at least a millisecond; 0 = for ever.
	TTL time.Duration
}

// Get reads a key and stores its value in what out points to. A pointer to any takes whatever there is: nil, bool, int64
// (*big.Int when it does not fit), float64, string, []byte, []any, [Tuple], [Set], [FrozenSet], map[string]any (map[any]any or
// [Pairs] when keys are not all strings), [Array], or [Pickle] for what only Python can read. Other pointers take what fits:
// integers into any integer type that holds them, lists into slices, dictionaries into maps and structs. It fails with
// ErrKeyNotFound when nothing is there, and with what a run failed with when the key is that of its result.
func (c *Client) Get(ctx context.Context, key string, out any) error {
	entries, err := c.fetch(ctx, &pb.Get{Keys: []string{key}})
	if err != nil {
		return err
	}
	if err := entries[0].decode(out); err != nil {
		return fmt.Errorf("get %q: %w", key, err)
	}
	return nil
}

// GetAll reads several keys in one request, and returns what they hold in their order.
func (c *Client) GetAll(ctx context.Context, keys ...string) ([]Entry, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	return c.fetch(ctx, &pb.Get{Keys: keys})
}

func (c *Client) fetch(ctx context.Context, get *pb.Get) ([]Entry, error) {
	r := &request{verb: "get", again: true, header: &pb.Header{Body: &pb.Header_Get{Get: get}}}
	if len(get.Keys) == 1 {
		r.name = get.Keys[0]
	}
	reply, err := c.ask(ctx, r)
	if err != nil {
		return nil, err
	}
	cells := reply.Header.GetCells().GetCells()
	if len(cells) != len(get.Keys) {
		return nil, wrap(r, malformed("%d cells for %d keys", len(cells), len(get.Keys)))
	}
	entries, err := entriesOf(cells, reply.Values)
	return entries, wrap(r, err)
}

// Put writes a key and returns when the write is durable. The last writer wins, except that a [Set] is stored as one: its
// elements join those that are there. It takes nil, booleans, numbers, *big.Int, strings, []byte, slices, arrays, maps and
// structs of these, and [Set], [Array] and [Pickle]. A [Delta] is merged into what is there:
//
//	cloud.Put(ctx, "hits", client.Increment(1))
//	cloud.Put(ctx, "online", client.AddToSet("ada", "grace"))
//
// Options say how long the value is kept, and that a write in memory is enough:
//
//	cloud.Put(ctx, "draft", text, client.TTL(time.Hour), client.AckMemory)
func (c *Client) Put(ctx context.Context, key string, value any, opts ...PutOption) error {
	w, ack := Write{Key: key, Value: value}, AckDurable
	for _, opt := range opts {
		opt.apply(&w, &ack)
	}
	return c.PutAll(ctx, ack, w)
}

// PutAll writes several keys in one request, with an acknowledgement of the caller's choice.
func (c *Client) PutAll(ctx context.Context, ack Ack, writes ...Write) error {
	put := &pb.Put{Ack: ack.proto()}
	r := &request{verb: "put", again: true, header: &pb.Header{Body: &pb.Header_Put{Put: put}}}
	if len(writes) == 1 {
		r.name = writes[0].Key
	}
	for _, w := range writes {
		if w.TTL < 0 || w.TTL > 0 && w.TTL < time.Millisecond {
			return invalid("put %q: a TTL is at least a millisecond", w.Key)
		}
		cell := &pb.Cell{Key: w.Key, Type: pb.LatticeType_LATTICE_TYPE_LWW, TtlMilliseconds: milliseconds(w.TTL)}
		elements := []any{w.Value}
		switch v := w.Value.(type) {
		case Set:
			cell.Type, elements = pb.LatticeType_LATTICE_TYPE_SET, v
		case Delta:
			state, err := v.open()
			if err != nil {
				return fmt.Errorf("put %q: %w", w.Key, err)
			}
			r.add(cell, state)
			r.again = r.again && !v.once
			continue
		}
		cell.Values = uint32(len(elements))
		put.Cells = append(put.Cells, cell)
		for _, element := range elements {
			value, err := codec.Encode(element)
			if err != nil {
				return fmt.Errorf("put %q: %w", w.Key, err)
			}
			r.values = append(r.values, value)
		}
	}
	_, err := c.ask(ctx, r)
	return err
}

// add adds a write of a state to a put.
func (r *request) add(cell *pb.Cell, state *lattice.State) {
	cell.Type, cell.Values = pb.LatticeType_LATTICE_TYPE_UNSPECIFIED, 1
	if state.Lattice != nil {
		cell.Type = pb.LatticeType(state.Lattice.Type())
	}
	put := r.header.GetPut()
	put.Cells = append(put.Cells, cell)
	r.values = append(r.values, codec.EncodeLattice(state))
}

// milliseconds rounds up, since 0 means for ever.
func milliseconds(d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	return uint64((d-1)/time.Millisecond) + 1
}

// Delete removes keys and returns when that is durable. Keys that are not there are no error.
func (c *Client) Delete(ctx context.Context, keys ...string) error {
	r := &request{verb: "delete", again: true, header: &pb.Header{Body: &pb.Header_Delete{Delete: &pb.Delete{Keys: keys, Ack: pb.Ack_ACK_DURABLE}}}}
	if len(keys) == 1 {
		r.name = keys[0]
	}
	_, err := c.ask(ctx, r)
	return err
}

// Keys returns the keys that start with prefix, in order, beginning after the key after; limit bounds them, 0 being 1,000.
// more tells that there are others: the last one is the next call's after.
func (c *Client) Keys(ctx context.Context, prefix, after string, limit int) (keys []string, more bool, err error) {
	if limit < 0 || limit > math.MaxInt32 {
		return nil, false, invalid("list keys: a limit of %d; it is 0 for 1,000, or a positive number", limit)
	}
	list := &pb.ListKeys{Prefix: prefix, After: after, Limit: uint32(limit)}
	r := &request{verb: "list keys", again: true, header: &pb.Header{Body: &pb.Header_ListKeys{ListKeys: list}}}
	reply, err := c.ask(ctx, r)
	if err != nil {
		return nil, false, err
	}
	return reply.Header.GetKeys().GetKeys(), reply.Header.GetKeys().GetMore(), nil
}

// Scan walks over the keys that start with prefix, in order, asking for a thousand at a time. An error comes last.
func (c *Client) Scan(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for after, more := "", true; more; {
			var keys []string
			var err error
			if keys, more, err = c.Keys(ctx, prefix, after, 0); err != nil {
				yield("", err)
				return
			}
			for _, key := range keys {
				if !yield(key, nil) {
					return
				}
				after = key
			}
			more = more && len(keys) > 0
		}
	}
}
