package node

import (
	"bytes"
	"net"
	"os"
	"slices"
	"strconv"

	"cloudburst/bus/embedded"
	"cloudburst/wire/pb"
)

// address is where clients of this machine reach the node. A node that listens on every address is reached on the loopback one.
func (n *Node) address() string {
	address := n.gateway.Address()
	if host, port, err := net.SplitHostPort(address); err == nil && net.ParseIP(host).IsUnspecified() {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	if n.cfg.Gateway.CertificateFile != "" {
		return "https://" + address
	}
	return address
}

// workerEnvironment is what programs that functions start find the node by. Its token is not among it, and neither is one for another
// node, which the user who started this node may have in the environment.
func (n *Node) workerEnvironment() []string {
	if !n.has(roleGateway) {
		return nil
	}
	environment := []string{"CLOUDBURST_ADDRESS=" + n.address(), "CLOUDBURST_CONTEXT="}
	if os.Getenv("CLOUDBURST_TOKEN") != n.cfg.Gateway.Token {
		environment = append(environment, "CLOUDBURST_TOKEN=")
	}
	return environment
}

// acceptWorker takes the connection that a function has made to its node.
func (n *Node) acceptWorker(conn *net.UnixConn) {
	if !n.has(roleGateway) {
		_ = conn.Close()
		return
	}
	n.gateway.Accept(conn)
}

func (n *Node) url() string {
	if n.cfg.Gateway.CertificateFile != "" {
		return "https://" + n.gateway.Address()
	}
	return "http://" + n.gateway.Address()
}

// member is this node's name in its cluster; empty when it is alone.
func (n *Node) member() string {
	if n.server == nil {
		return ""
	}
	members := n.server.Members()
	if at := slices.IndexFunc(members, func(m embedded.Member) bool { return m.Self }); at >= 0 {
		return members[at].Name
	}
	return ""
}

// status is what `cloudburst status` shows.
func (n *Node) status() *pb.Status {
	functions, dags := n.registry.Counts()
	store := n.anna.Stats()
	s := &pb.Status{
		Version:             n.cfg.Version,
		Address:             n.url(),
		StartedMilliseconds: n.began.UnixMilli(),
		DataDirectory:       n.cfg.Node.Data,
		Keys:                uint64(store.Keys - store.Reserved),
		MemoryBytes:         residentBytes(),
		Functions:           uint32(functions),
		Dags:                uint32(dags),
		Roles:               n.cfg.Node.Roles,
	}
	if n.executor != nil {
		executor := n.executor.Stats()
		s.Workers, s.WorkersBusy, s.WorkersMax = uint32(executor.Workers), uint32(executor.Busy), uint32(executor.WorkersMax)
		s.Queued, s.PythonVersion, s.PythonPath = uint32(executor.Queued), n.executor.PythonVersion(), n.executor.PythonPath()
		if since, text := n.executor.Saturation(); !since.IsZero() {
			s.SaturatedSinceMilliseconds, s.Saturation = since.UnixMilli(), text
		}
	}
	if n.scheduler != nil {
		runs := n.scheduler.Stats()
		s.Runs, s.RunsFailed = runs.Finished+runs.Failed, runs.Failed
	}
	if n.server != nil {
		for _, m := range n.server.Members() {
			s.Members = append(s.Members, &pb.ClusterMember{Name: m.Name, Reachable: m.Reachable, Leader: m.Leader, Asked: m.Self})
		}
	}
	return s
}

// unready returns what keeps the node from serving.
func (n *Node) unready() []string {
	if !n.bus.Connected() {
		return []string{"the connection to NATS is lost; durable writes fail until it is back"}
	}
	if n.server != nil && n.server.Leader() == "" {
		return []string{"the cluster has no leader; durable writes fail until a majority of its members is back"}
	}
	reasons := n.bus.Faults()
	if err := n.anna.Full(); err != nil {
		reasons = append(reasons, err.Error())
	}
	return reasons
}

// residentBytes returns how much memory of this process is resident; 0 where that cannot be told.
func residentBytes() uint64 {
	const residentPages = 1 // second field of statm
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if len(fields) <= residentPages {
		return 0
	}
	pages, err := strconv.ParseUint(string(fields[residentPages]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
