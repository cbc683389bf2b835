package embedded

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// report is what one member of a cluster says of itself.
type report struct {
	log    *server.JSInfo
	health *server.HealthStatus
}

// whole reports whether the member has everything that it should have. Consumers do not count: they belong to those who read.
func (r report) whole() bool {
	return r.log != nil && !r.log.Disabled && r.health != nil && lag(r.health) == ""
}

// lag says what a member has not caught up with; "" when nothing.
func lag(health *server.HealthStatus) string {
	for _, e := range health.Errors {
		if e.Type != server.HealthzErrorConsumer {
			return strings.TrimSpace(e.Stream + " " + e.Error)
		}
	}
	return ""
}

// reports are those of all members that answer, by their names.
type reports map[string]report

// spare says why the cluster cannot spare the copies that one member has of some streams; "" when it can. It can when each stream,
// and the group of all members, has a leader and a majority that is current without this member: whatever was acknowledged is at a
// majority, so it is then at the others.
func (rs reports) spare(member string, streams []string) (lack string) {
	if len(rs) == 0 {
		return "no other member can be reached"
	}
	led, needed := false, map[string]bool{}
	for _, stream := range streams {
		needed[stream] = true
	}
	for name, r := range rs {
		if name == member || r.log == nil {
			continue
		}
		if m := r.log.Meta; m != nil && m.Leader == name {
			led = true
			if current := rs.current(name, member, m.Replicas); current < m.Size/2+1 {
				return fmt.Sprintf("%d of %d members are current without this one, and a majority must be", current, m.Size)
			}
		}
	}
	if !led {
		return "the other members have no leader"
	}
	for name, r := range rs {
		if name == member || r.log == nil {
			continue
		}
		for _, account := range r.log.AccountDetails {
			for i := range account.Streams {
				s := &account.Streams[i]
				if s.Cluster == nil || s.Cluster.Leader != name || !needed[s.Name] {
					continue
				}
				size := 1 + len(s.Cluster.Replicas)
				if current := rs.current(name, member, s.Cluster.Replicas); current < size/2+1 {
					return fmt.Sprintf("%d of %d replicas of stream %s are current without this member, and a majority must be", current, size, s.Name)
				}
				delete(needed, s.Name)
			}
		}
	}
	for _, stream := range slices.Sorted(slices.Values(streams)) {
		if needed[stream] {
			return fmt.Sprintf("no other member leads stream %s", stream)
		}
	}
	return ""
}

// current counts the members of a group that have all of it: its leader and those that the leader and they themselves call current.
func (rs reports) current(leader, except string, replicas []*server.PeerInfo) (count int) {
	if rs[leader].whole() {
		count++
	}
	for _, replica := range replicas {
		if replica.Name != except && replica.Current && !replica.Offline && replica.Lag == 0 && rs[replica.Name].whole() {
			count++
		}
	}
	return count
}
