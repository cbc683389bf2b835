package gateway

import (
	"context"
	"errors"

	"cloudburst/cache"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// watch follows keys on a goroutine of its own, until the client unwatches them or leaves, or the node drains.
func (q *request) watch(ctx context.Context, watch *pb.Watch) {
	keys, seen := make([]string, 0, len(watch.GetKeys())), make(map[string]bool, len(watch.GetKeys()))
	for _, key := range watch.GetKeys() {
		if err := checkKey(key); err != nil {
			q.fail(err)
			return
		}
		if !seen[key] {
			keys, seen[key] = append(keys, key), true
		}
	}
	if len(keys) > watchKeysMax {
		q.fail(wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "watch: %d keys; one watch follows at most %d, use several", len(keys), watchKeysMax))
		return
	}
	ctx, cancel, err := q.follow(ctx)
	if err != nil {
		q.fail(err)
		return
	}
	q.stream.background.Go(func() {
		defer cancel()
		err := q.store().Watch(ctx, keys, watch.GetStates(), q.changed)
		q.stream.unwatch(q.id)
		switch {
		case drained(ctx):
			q.id = 0 // the connection ends soon, and the client goes on with the next
			q.reply(nil)
		case ctx.Err() != nil:
			q.reply(nil)
		default:
			q.fail(err)
		}
	})
}

// changed sends changes in frames of a bounded size, and waits while the client is behind.
func (q *request) changed(keys []string, entries []cache.Entry, whole bool) error {
	for len(keys) > 0 {
		n, bytes := 0, 0
		for n < len(keys) {
			for _, value := range entries[n].Values {
				bytes += len(value)
			}
			if bytes += len(keys[n]); n > 0 && bytes > watchFrameBytesMax {
				break
			}
			n++
		}
		cells, values := cache.Cells(keys[:n], entries[:n])
		header := &pb.Header{Id: q.id, Body: &pb.Header_Changed{Changed: &pb.Changed{Cells: cells.Cells, Whole: whole}}}
		sender := q.stream.sender
		if err := sender.Send(header, values); err != nil {
			return err
		}
		if sender.Waiting() > watchPauseBytes {
			if err := sender.Flush(); err != nil {
				return err
			}
		}
		keys, entries = keys[n:], entries[n:]
	}
	return nil
}

// follow returns a context for a request that is answered again and again. It ends with cancel, when the client unwatches the request or
// leaves, and when the node drains, which drained tells apart.
func (q *request) follow(ctx context.Context) (followed context.Context, cancel func(), err error) {
	s := q.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case q.id == 0:
		return nil, nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "%s: a request without an id gets no replies", q.kind)
	case s.watches[q.id] != nil:
		return nil, nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "%s: the request %d of this connection is followed already", q.kind, q.id)
	case len(s.watches) >= watchesMax:
		return nil, nil, wire.Errorf(pb.Code_CODE_NO_RESOURCES, "%s: %d requests of this connection are followed already, the limit; end some of them", q.kind, watchesMax)
	}
	followed, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.gateway.drains, func() { end(errDrains) })
	cancel = func() {
		stop()
		end(nil)
	}
	if s.watches == nil {
		s.watches = make(map[uint64]context.CancelFunc)
	}
	s.watches[q.id] = cancel
	return followed, cancel, nil
}

var errDrains = errors.New("the node drains")

// drained reports whether what is followed has ended because the node drains.
func drained(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errDrains) }

// unwatch ends a watch, if there is one of that id.
func (s *stream) unwatch(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.watches[id]; cancel != nil {
		cancel()
		delete(s.watches, id)
	}
}
