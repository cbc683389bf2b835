package anna

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"cloudburst/anna/hot"
	"cloudburst/anna/slots"
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

// hotTable is which keys are hot, as far as is known at one moment.
type hotTable map[string]*hotRoute

// hotRoute is who holds a hot key beside its masters.
type hotRoute struct {
	slot    uint16
	rate    float64
	members []string // who is to
	serving []string // who says that it does
}

// tend finds out again and again which keys are read often, decides about those whose slots this node leads, and holds those of
// others that it is to hold. Every node says in its presence what it knows:
//
//	every node          reads, sampled ──► warm keys and their rates
//	who leads the slot  rates of all nodes ──► hot keys and who is to hold them
//	who is to hold one  a watch at a master ──► holds it: others ask it as well
func (s *Server) tend(ctx context.Context) {
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
		hot := policy.Decide(now.Sub(began).Microseconds(), s.demands(present, policy.Keys()))
		table := s.hotTable(present)
		s.hot.Store(&table)
		s.replicas.follow(table)
		s.sayHot(ctx, announcedHot(hot), s.replicas.held())
	}
}

// sayHot lets the others know at once when something has changed that they go by.
func (s *Server) sayHot(ctx context.Context, hot []*pb.HotKey, holds []uint64) {
	changed := false
	s.members.change(func(p *pb.Presence) {
		changed = !slices.Equal(p.GetHolds(), holds) || !slices.EqualFunc(p.GetHot(), hot, func(a, b *pb.HotKey) bool {
			return string(a.GetKey()) == string(b.GetKey()) && slices.Equal(a.GetMembers(), b.GetMembers())
		})
		p.Hot, p.Holds = hot, holds
	})
	if !changed {
		return // rates go along with the next sign of life
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
	for _, shard := range s.shards {
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

// demands returns how often the keys are read whose slots this node leads: those that somebody mentions, and those that are hot.
func (s *Server) demands(present map[string]*pb.Presence, known []string) []hot.Demand {
	routes := s.routes.Load()
	if routes == nil {
		return nil
	}
	leads := slots.Bitmap(present[s.id].GetLeads())
	rates := map[string]float64{}
	asked := map[string]map[string]float64{} // by key and member
	for _, key := range known {
		rates[key] = 0
	}
	for id, p := range present {
		for _, w := range p.GetWarm() {
			key := string(w.GetKey())
			rates[key] += w.GetRate()
			if !w.GetAsked() {
				continue
			}
			if asked[key] == nil {
				asked[key] = map[string]float64{}
			}
			asked[key][id] = w.GetRate()
		}
	}
	var demands []hot.Demand
	for key, rate := range rates {
		slot := slotOf(key, s.cfg.Slots)
		if !leads.Has(slot) {
			continue
		}
		masters := routes.table[slot]
		demands = append(demands, hot.Demand{Key: key, Rate: rate, Masters: max(1, len(masters)), Candidates: candidates(present, masters, key, asked[key])})
	}
	return demands
}

// candidates returns the members that can hold a key beside its masters: those first whose clients read it most, and else in an
// order of the key's own.
func candidates(present map[string]*pb.Presence, masters []string, key string, asked map[string]float64) []string {
	ids := slices.DeleteFunc(mastersOf(present), func(id string) bool { return slices.Contains(masters, id) })
	hash := slots.Hash(key)
	weight := func(id string) uint64 { return slots.Mix(hash ^ slots.Hash(id)) }
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(cmp.Compare(asked[b], asked[a]), cmp.Compare(weight(b), weight(a)), cmp.Compare(a, b))
	})
	return ids
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

// hotTable gathers what those who lead slots say about their hot keys, and who says that it holds them.
func (s *Server) hotTable(present map[string]*pb.Presence) hotTable {
	table := hotTable{}
	for _, p := range present {
		leads := slots.Bitmap(p.GetLeads())
		for _, h := range p.GetHot() {
			key := string(h.GetKey())
			slot := slotOf(key, s.cfg.Slots)
			if CheckKey(key) != nil || !leads.Has(slot) {
				continue
			}
			route := &hotRoute{slot: slot, rate: h.GetRate(), members: h.GetMembers()}
			for _, id := range h.GetMembers() {
				if slices.Contains(present[id].GetHolds(), slots.Hash(key)) {
					route.serving = append(route.serving, id)
				}
			}
			table[key] = route
		}
	}
	return table
}

// replicaOf returns the node that is to be asked for a hot key because this one has drawn it; empty = its masters.
func (s *Server) replicaOf(hot *hotRoute, slot uint16) string {
	if len(hot.serving) == 0 {
		return ""
	}
	masters := 1
	if r := s.routes.Load(); r != nil {
		masters = max(1, len(r.table[slot]))
	}
	at := rand.IntN(masters + len(hot.serving))
	if at >= len(hot.serving) || hot.serving[at] == s.id {
		return ""
	}
	return hot.serving[at]
}

// hotStatus returns the hot keys, the one that is read most often first.
func (s *Server) hotStatus(places func([]string) []uint32) []*pb.AnnaHotKey {
	var all []*pb.AnnaHotKey
	for key, h := range *s.hot.Load() {
		all = append(all, &pb.AnnaHotKey{
			Key: []byte(key), Slot: uint32(h.slot), Rate: h.rate, Replicas: places(h.members), Serving: places(h.serving),
		})
	}
	slices.SortFunc(all, func(a, b *pb.AnnaHotKey) int {
		return cmp.Or(cmp.Compare(b.GetRate(), a.GetRate()), slices.Compare(a.GetKey(), b.GetKey()))
	})
	return all
}
