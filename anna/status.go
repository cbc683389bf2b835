package anna

import (
	"cmp"
	"context"
	"slices"
	"time"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/wire/pb"
)

// Status is how the store is spread over its nodes, as this one sees it.
type Status struct {
	// Member is this node.
	Member string
	// Masters is how many nodes hold each key, as far as there are as many.
	Masters int
	Members []MemberStatus
	Slots   []SlotStatus
	// Moving is how many slots are not served by just those masters whom they belong to.
	Moving  int
	Streams []StreamStatus
}

// MemberStatus is one node.
type MemberStatus struct {
	Member string
	// Name is what its operator calls it.
	Name string
	// Guest says that it is a master of nothing; Leaving that others take over its slots.
	Guest, Leaving bool
	// Serves and Leads are numbers of slots.
	Serves, Leads int
}

// SlotStatus is one slot.
type SlotStatus struct {
	Slot uint16
	// Masters are those whom it belongs to, the one who leads first, and Serving those who serve it.
	Masters, Serving []string
}

// StreamStatus is one stream of the log.
type StreamStatus struct {
	Name string
	// Lag is how many records are known to be there that this node has not merged.
	Lag uint64
}

// Status returns how the store is spread over its nodes.
func (s *Server) Status() Status {
	st := Status{Member: s.id, Masters: s.cfg.Masters}
	for i, f := range s.followers {
		st.Streams = append(st.Streams, StreamStatus{Name: s.cfg.streamName(i), Lag: f.lag()})
	}
	r := s.routes.Load()
	if r == nil {
		return st
	}
	members := map[string]*MemberStatus{}
	for id, p := range s.members.present() {
		members[id] = &MemberStatus{
			Member: id, Name: cmp.Or(p.GetName(), id), Guest: p.GetGuest(), Leaving: p.GetLeaving(),
			Leads: slots.Bitmap(p.GetLeads()).Count(),
		}
	}
	for slot, masters := range r.table {
		one := SlotStatus{Slot: uint16(slot), Masters: masters}
		for id, serves := range r.serves {
			if serves.Has(uint16(slot)) {
				one.Serving = append(one.Serving, id)
				if m := members[id]; m != nil {
					m.Serves++
				}
			}
		}
		slices.Sort(one.Serving)
		if !slices.Equal(one.Serving, slices.Sorted(slices.Values(masters))) {
			st.Moving++
		}
		st.Slots = append(st.Slots, one)
	}
	for _, m := range members {
		st.Members = append(st.Members, *m)
	}
	slices.SortFunc(st.Members, func(a, b MemberStatus) int { return cmp.Compare(a.Member, b.Member) })
	return st
}

// shareTimeout is how long other nodes are given to say what they have.
const shareTimeout = 2 * time.Second

// Overview returns how the store is spread over its nodes, as this one sees it, and what each of them says that it has. One that
// does not answer in time is left without.
func (s *Server) Overview(ctx context.Context) *pb.AnnaStatus {
	st := s.Status()
	slices.SortStableFunc(st.Members, func(a, b MemberStatus) int { return cmp.Compare(a.Name, b.Name) })
	overview := &pb.AnnaStatus{Member: s.id, Masters: uint32(st.Masters), Moving: uint32(st.Moving)}
	places := map[string]uint32{}
	for i, m := range st.Members {
		places[m.Member] = uint32(i)
		overview.Members = append(overview.Members, &pb.AnnaMember{
			Member: m.Member, Name: m.Name, Guest: m.Guest, Leaving: m.Leaving, Serves: uint32(m.Serves), Leads: uint32(m.Leads),
		})
	}
	placesOf := func(members []string) (at []uint32) {
		for _, m := range members {
			if place, ok := places[m]; ok {
				at = append(at, place)
			}
		}
		return at
	}
	for _, slot := range st.Slots {
		overview.Slots = append(overview.Slots, &pb.AnnaSlot{Masters: placesOf(slot.Masters), Serving: placesOf(slot.Serving)})
	}
	overview.Hot = s.hotStatus(placesOf)
	s.gather(ctx, overview.GetMembers())
	return overview
}

// gather asks members for their shares.
func (s *Server) gather(ctx context.Context, members []*pb.AnnaMember) {
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	type answered struct {
		member *pb.AnnaMember
		share  *pb.Share
	}
	answers := make(chan answered, len(members))
	for _, m := range members {
		if m.GetMember() == s.id {
			answers <- answered{m, s.share()}
			continue
		}
		s.asks.ask(&question{member: m.GetMember(), done: func(answer *pb.Answer, _ error) {
			answers <- answered{m, answer.GetShare()} // one that fails has none
		}}, &pb.Ask{What: &pb.Ask_GetShare{GetShare: &pb.GetShare{}}})
	}
	for range members {
		select {
		case a := <-answers:
			a.member.Share = a.share
		case <-ctx.Done():
			return
		}
	}
}

// share returns what this node has of the store.
func (s *Server) share() *pb.Share {
	total := s.Stats()
	share := &pb.Share{Joining: uint32(s.moving.Load()), Slots: s.slotShares()}
	for i, f := range s.followers {
		share.Streams = append(share.Streams, &pb.StreamShare{Name: s.cfg.streamName(i), Lag: f.lag()})
	}
	for _, t := range total.tiers() {
		share.Tiers = append(share.Tiers, &pb.TierShare{Name: t.Name, Keys: uint64(t.Keys), Reads: t.Reads})
	}
	memory := share.GetTiers()[0]
	memory.SizeBytes, memory.Evictions = uint64(total.Bytes), total.Evictions
	return share
}

// slotShares returns what this node has of every slot of which it has something.
func (s *Server) slotShares() (shares []*pb.SlotShare) {
	reads := make([][]uint64, len(s.kernels.shards))
	held := make([][]kernel.SlotStats, len(s.kernels.shards))
	for i, shard := range s.kernels.shards {
		reads[i] = shard.heat.slots()
		shard.mu.RLock()
		held[i] = slices.Clone(shard.kernel.Slots())
		shard.mu.RUnlock()
	}
	for slot := range s.cfg.Slots {
		at := s.cfg.partitionOf(uint16(slot)) % len(s.kernels.shards)
		share := &pb.SlotShare{Slot: uint32(slot), Reads: reads[at][slot]}
		if slot < len(held[at]) {
			k := held[at][slot]
			share.Keys, share.SizeBytes, share.Writes = uint64(k.Keys), uint64(k.Bytes), k.Writes
		}
		if share.GetKeys()+share.GetSizeBytes()+share.GetReads()+share.GetWrites() > 0 {
			shares = append(shares, share)
		}
	}
	return shares
}
