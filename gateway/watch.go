package gateway

import (
	"context"

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
	switch {
	case q.id == 0:
		q.fail(wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "watch: a request without an id gets no replies"))
		return
	case len(keys) > watchKeysMax:
		q.fail(wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "watch: %d keys; one watch follows at most %d, use several", len(keys), watchKeysMax))
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	if err := q.stream.addWatch(q.id, cancel); err != nil {
		cancel()
		q.fail(err)
		return
	}
	stop := context.AfterFunc(q.stream.gateway.drains, cancel)
	q.stream.background.Go(func() {
		defer cancel()
		defer stop()
		err := q.store().Watch(ctx, keys, watch.GetStates(), q.changed)
		q.stream.unwatch(q.id)
		switch {
		case q.stream.gateway.draining.Load():
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

func (s *stream) addWatch(id uint64, cancel context.CancelFunc) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watches[id] != nil {
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "watch: the request %d of this connection watches already", id)
	}
	if len(s.watches) >= watchesMax {
		return wire.Errorf(pb.Code_CODE_NO_RESOURCES, "watch: %d watches on this connection, the limit; watch several keys at once", watchesMax)
	}
	if s.watches == nil {
		s.watches = make(map[uint64]context.CancelFunc)
	}
	s.watches[id] = cancel
	return nil
}

// unwatch ends a watch, if there is one of that id.
func (s *stream) unwatch(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.watches[id]; cancel != nil {
		cancel()
		delete(s.watches, id)
	}
}
