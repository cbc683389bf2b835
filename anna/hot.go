package anna

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"cloudburst/anna/hot"
	"cloudburst/wire/pb"
)

const (
	// warmShare is below which part of the rate at which a key can be hot a node does not mention it. The reads of a hot key are
	// spread over nodes, each of which has a part.
	warmShare = 1.0 / 8
	// hotBytesAnnounced bounds the keys in what a node says of itself, and hotHeldMax the keys of others that it holds.
	hotBytesAnnounced = 32 << 10
	hotHeldMax        = 1024
)

// trackHot finds out at every HotInterval which keys are read often, decides about those whose slots this node leads, and holds those of
// others that it is to hold. Every node says in its presence what it knows:
//
//	every node          reads, sampled ──► warm keys and their rates
//	who leads the slot  rates of all nodes ──► hot keys and who is to hold them
//	who is to hold one  a watch at a master ──► holds it: others ask it as well
func (s *Server) trackHot(ctx context.Context) {
	policy := &hot.Policy{
		Rate: float64(s.cfg.HotRate), ColdRate: float64(s.cfg.ColdRate), ColdAfter: s.cfg.ColdAfter.Microseconds(),
		KeysMax: s.cfg.HotKeysMax, ReplicasMax: s.cfg.HotReplicasMax,
	}
	began := time.Now()
	ticker := time.NewTicker(s.cfg.HotInterval)
	defer ticker.Stop()
	for last := began; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		warm := s.warm(now.Sub(last))
		last = now
		s.members.change(func(p *pb.Presence) { p.Warm = warm })
		present := s.members.present()
		members, placing := hotMembers(present), s.placing()
		decided := policy.Decide(now.Sub(began).Microseconds(), hot.Demands(s.id, members, policy.Keys(), placing))
		table := hot.NewTable(members, placing)
		s.hot.Store(&table)
		s.replicas.follow(table)
		s.announceHot(ctx, announcedHot(decided), s.replicas.held())
	}
}

// announceHot lets the others know at once when something has changed that they go by.
func (s *Server) announceHot(ctx context.Context, hot []*pb.HotKey, holds []uint64) {
	changed := false
	s.members.change(func(p *pb.Presence) {
		changed = !slices.Equal(p.GetHolds(), holds) || !slices.EqualFunc(p.GetHot(), hot, func(a, b *pb.HotKey) bool {
			return string(a.GetKey()) == string(b.GetKey()) && slices.Equal(a.GetMembers(), b.GetMembers())
		})
		p.Hot, p.Holds = hot, holds
	})
	if !changed {
		return // rates go along with the next announcement
	}
	if err := s.members.announce(ctx); err != nil && ctx.Err() == nil {
		s.cfg.Logger.Warn("the other nodes find out later which keys are read often", "error", err)
	}
}

// warm returns the keys that are read often at this node.
func (s *Server) warm(passed time.Duration) []*pb.Warmth {
	var found []hot.Frequency
	least := float64(s.cfg.ColdRate) * warmShare
	table := *s.hot.Load()
	for _, shard := range s.kernels.shards {
		for _, f := range shard.heat.rates(passed) {
			if f.Count >= least || table[f.Key] != nil {
				found = append(found, f)
			}
		}
	}
	slices.SortFunc(found, func(a, b hot.Frequency) int { return cmp.Compare(b.Count, a.Count) })
	var warm []*pb.Warmth
	bytes := 0
	for _, f := range found {
		if bytes += len(f.Key); bytes > hotBytesAnnounced || len(warm) == s.cfg.HotKeysMax {
			break
		}
		asked := !s.serves[f.Slot].Load() && s.replicas.find(f.Key) == nil
		warm = append(warm, &pb.Warmth{Key: []byte(f.Key), Rate: f.Count, Asked: asked})
	}
	return warm
}

// placing tells where keys belong.
func (s *Server) placing() hot.Placing {
	routes := s.routes.Load()
	return hot.Placing{
		SlotOf:  func(key string) uint16 { return slotOf(key, s.cfg.Slots) },
		Masters: func(slot uint16) []string { return routes.table[slot] },
	}
}

// hotMembers returns what the members say about hot keys. Names that are not keys are left out.
func hotMembers(present map[string]*pb.Presence) []hot.Member {
	members := make([]hot.Member, 0, len(present))
	for _, id := range slices.Sorted(maps.Keys(present)) {
		p := present[id]
		m := hot.Member{ID: id, Master: !p.GetGuest() && !p.GetLeaving(), Leads: p.GetLeads(), Holds: p.GetHolds()}
		for _, w := range p.GetWarm() {
			if key := string(w.GetKey()); CheckKey(key) == nil {
				m.Warm = append(m.Warm, hot.Warmth{Key: key, Rate: w.GetRate(), Asked: w.GetAsked()})
			}
		}
		for _, h := range p.GetHot() {
			if key := string(h.GetKey()); CheckKey(key) == nil {
				m.Hot = append(m.Hot, hot.Key{Key: key, Rate: h.GetRate(), Members: h.GetMembers()})
			}
		}
		members = append(members, m)
	}
	return members
}

func announcedHot(hot []hot.Key) []*pb.HotKey {
	var announced []*pb.HotKey
	bytes := 0
	for _, h := range hot {
		if bytes += len(h.Key); bytes > hotBytesAnnounced {
			break
		}
		announced = append(announced, &pb.HotKey{Key: []byte(h.Key), Rate: h.Rate, Members: h.Members})
	}
	return announced
}

// replicaOf returns the node that is to be asked for a hot key because this one has drawn it; empty = its masters.
func (s *Server) replicaOf(hot *hot.Route, slot uint16) string {
	if len(hot.Serving) == 0 {
		return ""
	}
	masters := 1
	if r := s.routes.Load(); r != nil {
		masters = max(1, len(r.table[slot]))
	}
	at := rand.IntN(masters + len(hot.Serving))
	if at >= len(hot.Serving) || hot.Serving[at] == s.id {
		return ""
	}
	return hot.Serving[at]
}

// hotStatus returns the hot keys, the one that is read most often first.
func (s *Server) hotStatus(places func([]string) []uint32) []*pb.AnnaHotKey {
	var all []*pb.AnnaHotKey
	for key, h := range *s.hot.Load() {
		all = append(all, &pb.AnnaHotKey{
			Key: []byte(key), Slot: uint32(h.Slot), Rate: h.Rate, Replicas: places(h.Members), Serving: places(h.Serving),
		})
	}
	slices.SortFunc(all, func(a, b *pb.AnnaHotKey) int {
		return cmp.Or(cmp.Compare(b.GetRate(), a.GetRate()), slices.Compare(a.GetKey(), b.GetKey()))
	})
	return all
}
