package embedded

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// group returns three members of which a leads all, and b and c have all of it.
func group() reports {
	peers := func() []*server.PeerInfo {
		return []*server.PeerInfo{{Name: "b", Current: true}, {Name: "c", Current: true, Offline: true}}
	}
	return reports{
		"a": {health: &server.HealthStatus{}, log: &server.JSInfo{
			Meta: &server.MetaClusterInfo{Leader: "a", Size: 3, Replicas: peers()},
			AccountDetails: []*server.AccountDetail{{Streams: []server.StreamDetail{
				{Name: "S", Cluster: &server.ClusterInfo{Leader: "a", Replicas: peers()}},
				{Name: "T", Cluster: &server.ClusterInfo{Leader: "a", Replicas: peers()}},
			}}},
		}},
		"b": {health: &server.HealthStatus{}, log: &server.JSInfo{Meta: &server.MetaClusterInfo{Leader: "a", Size: 3, Replicas: peers()}}},
	}
}

func (rs reports) stream(index int) *server.ClusterInfo {
	return rs["a"].log.AccountDetails[0].Streams[index].Cluster
}

func TestWhetherTheOthersCanSpareACopy(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(rs reports)
		lack   string
	}{
		{"both others are current", func(reports) {}, ""},
		{"a consumer is behind", func(rs reports) {
			rs["b"].health.Errors = []server.HealthzError{{Type: server.HealthzErrorConsumer, Error: "x"}}
		}, ""},
		{"all are away", func(rs reports) { clear(rs) }, "no other member"},
		{"one is away", func(rs reports) { delete(rs, "b") }, "1 of 3 members"},
		{"one is rebuilding", func(rs reports) {
			rs["b"].health.Errors = []server.HealthzError{{Type: server.HealthzErrorStream, Stream: "S", Error: "is not current"}}
		}, "1 of 3 members"},
		{"one is damaged itself", func(rs reports) { rs["b"].log.Disabled = true }, "1 of 3 members"},
		{"there is no leader", func(rs reports) { rs["a"].log.Meta.Leader = "" }, "no leader"},
		{"the leader is this one", func(rs reports) { rs["a"].log.Meta.Leader = "c" }, "no leader"},
		{"a stream has no leader", func(rs reports) { rs.stream(1).Leader = "" }, "leads stream T"},
		{"a replica lags", func(rs reports) { rs.stream(1).Replicas[0].Lag = 1 }, "1 of 3 replicas of stream T"},
		{"a replica is not current", func(rs reports) { rs.stream(0).Replicas[0].Current = false }, "1 of 3 replicas of stream S"},
		{"a replica is offline", func(rs reports) { rs.stream(0).Replicas[0].Offline = true }, "1 of 3 replicas of stream S"},
	} {
		rs := group()
		test.change(rs)
		got := rs.spare("c", []string{"T", "S"})
		if test.lack == "" && got != "" || !strings.Contains(got, test.lack) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.lack)
		}
	}
	if got := group().spare("c", []string{"S", "only here"}); !strings.Contains(got, "leads stream only here") {
		t.Errorf("a stream of this member alone: %q", got)
	}
}
