package anna

import (
	"cmp"
	"slices"
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
		members[id] = &MemberStatus{Member: id, Guest: p.GetGuest(), Leaving: p.GetLeaving(), Leads: bitmap(p.GetLeads()).count()}
	}
	for slot, masters := range r.table {
		one := SlotStatus{Slot: uint16(slot), Masters: masters}
		for id, serves := range r.serves {
			if serves.has(uint16(slot)) {
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
