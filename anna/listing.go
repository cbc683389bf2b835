package anna

import (
	"context"
	"fmt"
	"time"

	"cloudburst/anna/slots"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Scan returns up to limit keys in order that have a prefix and come after a key, and whether there are more. Keys of other nodes
// are asked for.
func (s *Server) Scan(ctx context.Context, prefix, after string, limit int) (keys []string, more bool, err error) {
	if err := s.check(); err != nil {
		return nil, false, err
	}
	if limit < 1 || limit > listMax {
		return nil, false, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "list %d keys: it is 1 to %d", limit, listMax)
	}
	here, there := slots.NewBitmap(s.cfg.Slots), 0
	for slot := range s.serves {
		if s.serves[slot].Load() {
			here.Set(uint16(slot))
		} else {
			there++
		}
	}
	if there == 0 {
		keys, more := s.scanHere(prefix, after, limit, nil)
		return keys, more, nil
	}
	keys, more = s.scanHere(prefix, after, limit, here)
	lists, rest, err := s.scanThere(ctx, here, &pb.Listing{Prefix: []byte(prefix), After: []byte(after), Limit: uint32(limit)})
	if err != nil {
		return nil, false, err
	}
	keys, cut := mergeSorted(append(lists, keys), limit)
	return keys, more || rest || cut, nil
}

// scanHere is Scan for the keys of slots of which this node is a master; nil = all.
func (s *Server) scanHere(prefix, after string, limit int, only slots.Bitmap) (keys []string, more bool) {
	var in func(uint16) bool
	if only != nil {
		in = only.Has
	}
	lists := make([][]string, len(s.kernels.shards))
	now := s.kernels.wall()
	for i, shard := range s.kernels.shards {
		shard.mu.Lock()
		var rest bool
		lists[i], rest = shard.kernel.Scan(now, prefix, after, limit, in)
		shard.mu.Unlock()
		more = more || rest
	}
	keys, cut := mergeSorted(lists, limit)
	return keys, more || cut
}

// scanThere asks other nodes for the keys of all slots but some, until every slot has been answered for.
func (s *Server) scanThere(ctx context.Context, have slots.Bitmap, what *pb.Listing) (lists [][]string, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DurableTimeout+askTimeout)
	defer cancel()
	type answered struct {
		asked  slots.Bitmap
		answer *pb.Answer
		err    error
	}
	for attempt := 0; ; attempt++ {
		byMember := map[string]slots.Bitmap{}
		unserved := 0
		for slot := range s.cfg.Slots {
			if have.Has(uint16(slot)) {
				continue
			}
			member := s.routes.masterOf(uint16(slot), attempt)
			if member == "" {
				unserved++
				continue
			}
			if byMember[member] == nil {
				byMember[member] = slots.NewBitmap(s.cfg.Slots)
			}
			byMember[member].Set(uint16(slot))
		}
		if len(byMember) == 0 && unserved == 0 {
			return lists, more, nil
		}
		answers := make(chan answered, len(byMember))
		for member, part := range byMember {
			listing := &pb.Listing{Prefix: what.GetPrefix(), After: what.GetAfter(), Limit: what.GetLimit(), Slots: part}
			s.asks.ask(&question{member: member, done: func(answer *pb.Answer, err error) {
				answers <- answered{part, answer, err}
			}}, &pb.Ask{What: &pb.Ask_List{List: listing}})
		}
		for range byMember {
			var a answered
			select {
			case a = <-answers:
			case <-ctx.Done():
				return nil, false, fmt.Errorf("list keys of other nodes: %w", ctx.Err())
			}
			if a.err != nil {
				continue // others of its slots are asked at the next attempt
			}
			keys := make([]string, len(a.answer.GetKeys()))
			for i, key := range a.answer.GetKeys() {
				keys[i] = string(key)
			}
			lists = append(lists, keys)
			more = more || a.answer.GetMore()
			for slot := range s.cfg.Slots {
				if a.asked.Has(uint16(slot)) && !slots.Bitmap(a.answer.GetElsewhere()).Has(uint16(slot)) {
					have.Set(uint16(slot))
				}
			}
		}
		select {
		case <-time.After(askRetry):
		case <-ctx.Done():
			return nil, false, wire.Errorf(pb.Code_CODE_UNAVAILABLE, "list keys: no node serves %d of the store's slots; try again", unserved)
		}
	}
}

// mergeSorted returns the first of some sorted lists of different keys, and whether there are more.
func mergeSorted(lists [][]string, limit int) (keys []string, more bool) {
	if len(lists) == 1 {
		return lists[0], false
	}
	for {
		least := -1
		for i, list := range lists {
			if len(list) > 0 && (least < 0 || list[0] < lists[least][0]) {
				least = i
			}
		}
		if least < 0 {
			return keys, false
		}
		if len(keys) == limit {
			return keys, true
		}
		keys = append(keys, lists[least][0])
		lists[least] = lists[least][1:]
	}
}
