package cloudburst

import (
	"context"
	"fmt"
	"time"

	"cloudburst/wire"
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

// Write is one key of a [Client.PutAll].
type Write struct {
	Key   string
	Value any
	// TTL is how long the value is kept; 0 = for ever.
	TTL time.Duration
}

// Get reads a key and stores its value in what out points to. A pointer to any takes whatever there is: nil, bool, int64
// (*big.Int when it does not fit), float64, string, []byte, []any for lists and tuples, [Set], map[string]any (map[any]any or
// [Pairs] when keys are not all text), [Array], or [Pickle] for what only Python can read. Other pointers take what fits:
// integers into any integer type that holds them, lists into slices, dictionaries into maps and structs. It fails with
// ErrKeyNotFound when nothing is there, and with what a run failed with when the key is that of its result.
func (c *Client) Get(ctx context.Context, key string, out any) error {
	r := &request{verb: "get", name: key, again: true, header: &pb.Header{Body: &pb.Header_Get{Get: &pb.Get{Keys: []string{key}}}}}
	reply, err := c.ask(ctx, r)
	if err != nil {
		return err
	}
	cells := reply.Header.GetCells().GetCells()
	if len(cells) != 1 || int(cells[0].GetValues()) != len(reply.Values) {
		return fmt.Errorf("%v: %w", r, malformed("%d cells for one key", len(cells)))
	}
	switch cells[0].GetType() {
	case pb.LatticeType_LATTICE_TYPE_UNSPECIFIED:
		return wire.Errorf(pb.Code_CODE_KEY_NOT_FOUND, "%v: nothing is stored there", r)
	case pb.LatticeType_LATTICE_TYPE_SET:
		return wrap(r, decodeSetInto(reply.Values, out))
	}
	if len(reply.Values) != 1 {
		return fmt.Errorf("%v: %w", r, malformed("%d values for one key", len(reply.Values)))
	}
	return wrap(r, decodeInto(reply.Values[0], out))
}

// Put writes a key and returns when the write is durable. The last writer wins, except that a [Set] is stored as one: its
// elements join those that are there. It takes nil, booleans, numbers, *big.Int, strings, []byte, slices, arrays, maps and
// structs of these, and [Set], [Array] and [Pickle].
func (c *Client) Put(ctx context.Context, key string, value any) error {
	return c.PutAll(ctx, AckDurable, Write{Key: key, Value: value})
}

// PutAll writes several keys in one request, with an acknowledgement of the caller's choice.
func (c *Client) PutAll(ctx context.Context, ack Ack, writes ...Write) error {
	put := &pb.Put{Ack: ack.proto()}
	r := &request{verb: "put", again: true, header: &pb.Header{Body: &pb.Header_Put{Put: put}}}
	if len(writes) == 1 {
		r.name = writes[0].Key
	}
	for _, w := range writes {
		cell := &pb.Cell{Key: w.Key, Type: pb.LatticeType_LATTICE_TYPE_LWW, TtlMilliseconds: milliseconds(w.TTL)}
		elements := []any{w.Value}
		if set, ok := w.Value.(Set); ok {
			cell.Type, elements = pb.LatticeType_LATTICE_TYPE_SET, set
		}
		cell.Values = uint32(len(elements))
		put.Cells = append(put.Cells, cell)
		for _, element := range elements {
			value, err := encodeValue(element)
			if err != nil {
				return fmt.Errorf("put %q: %w", w.Key, err)
			}
			r.values = append(r.values, value)
		}
	}
	_, err := c.ask(ctx, r)
	return err
}

// milliseconds rounds up, since 0 means for ever.
func milliseconds(d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	return uint64((d + time.Millisecond - 1) / time.Millisecond)
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
	list := &pb.ListKeys{Prefix: prefix, After: after, Limit: uint32(max(limit, 0))}
	r := &request{verb: "list keys", again: true, header: &pb.Header{Body: &pb.Header_ListKeys{ListKeys: list}}}
	reply, err := c.ask(ctx, r)
	if err != nil {
		return nil, false, err
	}
	return reply.Header.GetKeys().GetKeys(), reply.Header.GetKeys().GetMore(), nil
}
