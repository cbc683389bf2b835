package anna

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// listen takes what other nodes answer, push and ask for.
func (s *Server) listen() (stop func(), err error) {
	nc := s.log.conn.NATS
	var subs []*nats.Subscription
	closeAll := func() {
		for _, sub := range subs {
			_ = sub.Unsubscribe() // fails only when the connection is closed
		}
	}
	for subject, handler := range map[string]nats.MsgHandler{
		s.peers.nodeSubject(s.id, "answer") + ".*": s.asks.answered,
		s.peers.nodeSubject(s.id, "push"):          s.remote.pushed,
	} {
		sub, err := nc.Subscribe(subject, handler)
		if err == nil {
			subs = append(subs, sub)
			err = sub.SetPendingLimits(-1, -1)
		}
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("listen to the other nodes of the store: %w", err)
		}
	}
	closeInbox, err := s.inbox.open()
	if err != nil {
		closeAll()
		return nil, err
	}
	return func() { closeInbox(); closeAll() }, nil
}

// asked does what another node asks for. Answer is called at most once, now or later.
func (s *Server) asked(ask *pb.Ask, answer func(*pb.Answer)) {
	switch what := ask.GetWhat().(type) {
	case *pb.Ask_Change:
		s.askedChange(what.Change, ask.GetTime(), answer)
	case *pb.Ask_Read:
		s.askedRead(string(what.Read), ask.GetReplica(), answer)
	case *pb.Ask_Watch:
		s.askedWatch(what.Watch, answer)
	case *pb.Ask_Unwatch:
		w := what.Unwatch
		if cache, ok := s.boxes.find(w.GetMember(), w.GetCache()); ok {
			_, shard := s.kernels.shardOf(string(w.GetKey()))
			s.kernels.step(shard, &kernel.Unwatch{Key: string(w.GetKey()), Cache: cache})
		}
	case *pb.Ask_List:
		s.askedList(what.List, answer)
	case *pb.Ask_GetShare:
		answer(&pb.Answer{Share: s.share()})
	default:
		answer(failure(wire.Errorf(pb.Code_CODE_INCOMPATIBLE, "the node does not know what it was asked; it may be older than the one that asks")))
	}
}

func (s *Server) askedChange(c *pb.Change, time uint64, answer func(*pb.Answer)) {
	w := &kernel.Write{
		Key: string(c.GetKey()), Add: c.GetAdd(), Delete: c.GetDelete(), Persist: c.GetPersist(), Replace: c.GetReplace(),
		Volatile: c.GetVolatile(), Expect: c.GetExpect(),
		Stamp: lattice.Timestamp{Time: c.GetStamp().GetTime(), Writer: c.GetStamp().GetWriter()},
	}
	if c.GetMemory() {
		w.Ack = kernel.Memory
	}
	err := CheckKey(w.Key)
	if err == nil && !w.Delete && !w.Persist && w.Add == 0 {
		w.Delta, err = wire.DecodeState(c.GetDelta())
	}
	if err == nil {
		err = s.observeWriter(max(time, w.Stamp.Time))
	}
	if err != nil {
		answer(failure(err))
		return
	}
	done := CompletionFunc(func(value int64, err error) {
		a := &pb.Answer{Value: value}
		if err != nil {
			a = failure(err)
		}
		a.Time = s.kernels.reached(w.Slot) // also of a change that has failed, which may happen all the same
		answer(a)
	})
	if !s.writeHere(w, done) {
		answer(&pb.Answer{Moved: true})
	}
}

func (s *Server) askedRead(key string, replica bool, answer func(*pb.Answer)) {
	slot, shard := s.kernels.shardOf(key)
	if !s.serves[slot].Load() {
		answer(s.askedReplica(key, replica))
		return
	}
	shard.mu.RLock()
	state, found := shard.kernel.Held(key)
	reply := &pb.Answer{Time: shard.kernel.Reached()}
	if found == kernel.Here {
		reply.State = wire.AppendState(nil, state)
	}
	if found != kernel.InLog {
		reply.Fingerprint = fingerprint(state)
	}
	shard.mu.RUnlock()
	if found != kernel.InLog {
		shard.reads.Add(1) // where it came from it is counted as a read of the key
		answer(reply)
		return
	}
	s.kernels.step(shard, &kernel.Read{Key: key, Ticket: CompletionFunc(func(_ int64, err error) {
		if err != nil {
			answer(failure(err))
			return
		}
		s.askedRead(key, replica, answer)
	})})
}

// askedReplica answers for a key of which this node is no master: if it may, and holds the key because it is hot.
func (s *Server) askedReplica(key string, may bool) *pb.Answer {
	reply := &pb.Answer{}
	if !may || !s.replicas.view(key, time.Now(), func(state *lattice.State) {
		if state != nil {
			reply.State = wire.AppendState(nil, state)
		}
	}) {
		return &pb.Answer{Moved: true}
	}
	_, shard := s.kernels.shardOf(key)
	shard.reads.Add(1)
	return reply
}

func (s *Server) askedWatch(w *pb.Watching, answer func(*pb.Answer)) {
	key := string(w.GetKey())
	slot, shard := s.kernels.shardOf(key)
	if !s.serves[slot].Load() {
		answer(&pb.Answer{Moved: true})
		return
	}
	cache, err := s.boxes.cache(w.GetMember(), w.GetCache())
	if err != nil {
		answer(failure(err))
		return
	}
	s.kernels.step(shard, &kernel.Watch{Key: key, Slot: slot, Cache: cache})
	answer(&pb.Answer{})
}

func (s *Server) askedList(l *pb.Listing, answer func(*pb.Answer)) {
	limit := int(l.GetLimit())
	if limit < 1 || limit > listMax {
		answer(failure(wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a listing of %d keys; the limit is %d", limit, listMax)))
		return
	}
	want := slots.Bitmap(l.GetSlots())
	elsewhere := slots.NewBitmap(s.cfg.Slots)
	here := slots.NewBitmap(s.cfg.Slots)
	for slot := range s.serves {
		if !want.Has(uint16(slot)) {
			continue
		}
		if s.serves[slot].Load() {
			here.Set(uint16(slot))
		} else {
			elsewhere.Set(uint16(slot))
		}
	}
	keys, more := s.scanHere(string(l.GetPrefix()), string(l.GetAfter()), limit, here)
	found := &pb.Answer{More: more, Elsewhere: elsewhere, Keys: make([][]byte, len(keys))}
	for i, key := range keys {
		found.Keys[i] = []byte(key)
	}
	answer(found)
}

// listMax bounds the keys of one listing.
const listMax = 1 << 16
