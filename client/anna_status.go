package client

import (
	"context"
	"slices"

	"cloudburst/wire/pb"
)

// AnnaStatus is how the store is spread over its nodes, as one of them sees it.
type AnnaStatus struct {
	// Asked is the name of the node that was asked.
	Asked string `json:"asked"`
	// Masters is how many nodes are to hold each key, as far as there are as many.
	Masters int `json:"masters"`
	// Moving is how many slots are not served by just those masters whom they belong to.
	Moving  int          `json:"moving"`
	Members []AnnaMember `json:"members"`
	Slots   []AnnaSlot   `json:"slots"`
	// Hot are the keys that are read so often that further nodes are to hold them, the one that is read most first.
	Hot []AnnaHotKey `json:"hot"`
}

// AnnaHotKey is a key that is read very often.
type AnnaHotKey struct {
	Key  string `json:"key"`
	Slot int    `json:"slot"`
	// Rate is how many reads a second of the clients of all nodes reach the store; estimated from a sample.
	Rate float64 `json:"reads_per_second"`
	// Replicas are the nodes that are to hold it beside its masters, and Serving those of them who do and answer for it.
	Replicas []string `json:"replicas"`
	Serving  []string `json:"serving"`
}

// AnnaMember is a node of the store.
type AnnaMember struct {
	Name string `json:"name"`
	// ID is what it is called as long as it runs.
	ID string `json:"id"`
	// Guest says that it is a master of nothing, Leaving that others take over its slots.
	Guest   bool `json:"guest,omitempty"`
	Leaving bool `json:"leaving,omitempty"`
	// Serves is how many slots it is a master of, Leads of how many it leads the masters, and Joining how many it takes over.
	Serves  int `json:"serves"`
	Leads   int `json:"leads"`
	Joining int `json:"joining"`
	// Answers says whether it has said what follows.
	Answers bool         `json:"answers"`
	Streams []AnnaStream `json:"streams"`
	Memory  AnnaTier     `json:"memory"`
	// Log is about the keys that are nowhere but in the log.
	Log AnnaTier `json:"log"`
}

// AnnaStream is a stream of the log, as a member follows it.
type AnnaStream struct {
	Name string `json:"name"`
	// Lag is how many records are known to be there that the member has not merged.
	Lag uint64 `json:"lag"`
}

// AnnaTier is what a member keeps in one place.
type AnnaTier struct {
	Keys uint64 `json:"keys"`
	// Reads that were answered from there since the member began.
	Reads uint64 `json:"reads"`
	// Bytes in memory, and Evictions of keys that were left to the log.
	Bytes     uint64 `json:"bytes,omitempty"`
	Evictions uint64 `json:"evictions,omitempty"`
}

// AnnaSlot is a part of the keys.
type AnnaSlot struct {
	Slot int `json:"slot"`
	// Masters are those whom it belongs to, the one who leads first, and Serving those who serve it.
	Masters []string `json:"masters"`
	Serving []string `json:"serving"`
	// Keys that have something to show, and the Bytes that they take in memory, at the member that has most of them.
	Keys  uint64 `json:"keys"`
	Bytes uint64 `json:"bytes"`
	// Reads of the clients of all members, estimated from a sample, and Writes since they began.
	Reads  uint64 `json:"reads"`
	Writes uint64 `json:"writes"`
}

// Moves reports whether the slot is not served by just those masters whom it belongs to.
func (s *AnnaSlot) Moves() bool {
	return !slices.Equal(slices.Sorted(slices.Values(s.Masters)), slices.Sorted(slices.Values(s.Serving)))
}

// AnnaStatus asks the node how the store is doing, and all of its members through it.
func (c *Client) AnnaStatus(ctx context.Context) (AnnaStatus, error) {
	reply, err := c.ask(ctx, &request{
		verb: "get the status of the store", again: true,
		header: &pb.Header{Body: &pb.Header_GetAnnaStatus{GetAnnaStatus: &pb.GetAnnaStatus{}}},
	})
	if err != nil {
		return AnnaStatus{}, err
	}
	return annaStatus(reply.Header.GetAnnaStatus_()), nil
}

func annaStatus(s *pb.AnnaStatus) AnnaStatus {
	status := AnnaStatus{
		Masters: int(s.GetMasters()), Moving: int(s.GetMoving()), Members: []AnnaMember{}, Hot: []AnnaHotKey{}, Slots: make([]AnnaSlot, len(s.GetSlots())),
	}
	for i, slot := range s.GetSlots() {
		status.Slots[i] = AnnaSlot{Slot: i, Masters: named(s, slot.GetMasters()), Serving: named(s, slot.GetServing())}
	}
	for _, hot := range s.GetHot() {
		status.Hot = append(status.Hot, AnnaHotKey{
			Key: string(hot.GetKey()), Slot: int(hot.GetSlot()), Rate: hot.GetRate(),
			Replicas: named(s, hot.GetReplicas()), Serving: named(s, hot.GetServing()),
		})
	}
	for _, m := range s.GetMembers() {
		share := m.GetShare()
		member := AnnaMember{
			Name: m.GetName(), ID: m.GetMember(), Guest: m.GetGuest(), Leaving: m.GetLeaving(),
			Serves: int(m.GetServes()), Leads: int(m.GetLeads()), Joining: int(share.GetJoining()), Answers: share != nil,
			Streams: []AnnaStream{},
		}
		if m.GetMember() == s.GetMember() {
			status.Asked = member.Name
		}
		for _, stream := range share.GetStreams() {
			member.Streams = append(member.Streams, AnnaStream{stream.GetName(), stream.GetLag()})
		}
		for _, t := range share.GetTiers() {
			tier := AnnaTier{Keys: t.GetKeys(), Reads: t.GetReads(), Bytes: t.GetSizeBytes(), Evictions: t.GetEvictions()}
			switch t.GetName() {
			case "memory":
				member.Memory = tier
			case "log":
				member.Log = tier
			}
		}
		for _, part := range share.GetSlots() {
			if int(part.GetSlot()) < len(status.Slots) {
				slot := &status.Slots[part.GetSlot()]
				slot.Keys, slot.Bytes = max(slot.Keys, part.GetKeys()), max(slot.Bytes, part.GetSizeBytes())
				slot.Reads += part.GetReads()
				slot.Writes += part.GetWrites()
			}
		}
		status.Members = append(status.Members, member)
	}
	return status
}

// named returns the names of the members at some places.
func named(s *pb.AnnaStatus, places []uint32) []string {
	names := make([]string, 0, len(places))
	for _, at := range places {
		if int(at) < len(s.GetMembers()) {
			names = append(names, s.GetMembers()[at].GetName())
		}
	}
	return names
}
