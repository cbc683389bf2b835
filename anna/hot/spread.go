package hot

import (
	"cmp"
	"maps"
	"slices"

	"cloudburst/anna/slots"
)

// Member is what a member, this one or another, says about itself as far as hot keys go.
type Member struct {
	ID string
	// Master says that it can hold keys: it is not a guest, and not about to go.
	Master bool
	// Leads are the slots that it leads.
	Leads slots.Bitmap
	// Warm are the keys that its clients read often, Hot those hot ones whose slots it leads, and Holds the hashes (slots.Hash) of
	// the keys of others for which it answers.
	Warm  []Warmth
	Hot   []Key
	Holds []uint64
}

// Warmth is how often a key is read by the clients of one node.
type Warmth struct {
	Key string
	// Rate is in reads a second. Asked says that the node has to ask others for the key.
	Rate  float64
	Asked bool
}

// Placing tells where keys belong.
type Placing struct {
	// SlotOf returns the slot of a key, and Masters the members to which a slot belongs.
	SlotOf  func(key string) uint16
	Masters func(slot uint16) []string
}

// Demands returns how often the keys are read whose slots this member leads: those that any member mentions, and those that are hot.
func Demands(self string, members []Member, hot []string, p Placing) (demands []Demand) {
	var leads slots.Bitmap
	rates := map[string]float64{}
	asked := map[string]map[string]float64{} // by key and member
	for _, key := range hot {
		rates[key] = 0
	}
	for i := range members {
		m := &members[i]
		if m.ID == self {
			leads = m.Leads
		}
		for _, w := range m.Warm {
			rates[w.Key] += w.Rate
			if !w.Asked {
				continue
			}
			if asked[w.Key] == nil {
				asked[w.Key] = map[string]float64{}
			}
			asked[w.Key][m.ID] = w.Rate
		}
	}
	for _, key := range slices.Sorted(maps.Keys(rates)) {
		slot := p.SlotOf(key)
		if !leads.Has(slot) {
			continue
		}
		masters := p.Masters(slot)
		demands = append(demands, Demand{
			Key: key, Rate: rates[key], Masters: max(1, len(masters)), Candidates: candidates(members, masters, key, asked[key]),
		})
	}
	return demands
}

// candidates returns the members that can hold a key beside its masters: those first whose clients read it most, and else in an
// order of the key's own.
func candidates(members []Member, masters []string, key string, asked map[string]float64) (ids []string) {
	for i := range members {
		if m := &members[i]; m.Master && !slices.Contains(masters, m.ID) {
			ids = append(ids, m.ID)
		}
	}
	hash := slots.Hash(key)
	weight := func(id string) uint64 { return slots.Mix(hash ^ slots.Hash(id)) }
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(cmp.Compare(asked[b], asked[a]), cmp.Compare(weight(b), weight(a)), cmp.Compare(a, b))
	})
	return ids
}

// Table is which keys are hot, as far as is known at one moment.
type Table map[string]*Route

// Route is who holds a hot key beside its masters.
type Route struct {
	Slot uint16
	// Rate is in reads a second.
	Rate float64
	// Members are to hold it, and Serving say that they do.
	Members, Serving []string
}

// NewTable gathers what those who lead slots say about their hot keys, and who says that it holds them.
func NewTable(members []Member, p Placing) Table {
	table := Table{}
	holds := map[string][]uint64{}
	for i := range members {
		holds[members[i].ID] = members[i].Holds
	}
	for i := range members {
		for _, h := range members[i].Hot {
			slot := p.SlotOf(h.Key)
			if !members[i].Leads.Has(slot) {
				continue
			}
			route := &Route{Slot: slot, Rate: h.Rate, Members: h.Members}
			for _, id := range h.Members {
				if slices.Contains(holds[id], slots.Hash(h.Key)) {
					route.Serving = append(route.Serving, id)
				}
			}
			table[h.Key] = route
		}
	}
	return table
}

// Held returns the keys that a member is to hold beside those of the slots that it serves, in order, and at most so many.
func (t Table) Held(self string, serves func(slot uint16) bool, most int) (keys []string) {
	for _, key := range slices.Sorted(maps.Keys(t)) {
		if route := t[key]; len(keys) < most && !serves(route.Slot) && slices.Contains(route.Members, self) {
			keys = append(keys, key)
		}
	}
	return keys
}
