package node

import (
	"bytes"
	"net"
	"os"
	"strconv"

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

func (n *Node) url() string {
	if n.cfg.Gateway.CertificateFile != "" {
		return "https://" + n.gateway.Address()
	}
	return "http://" + n.gateway.Address()
}

// status is what `cloudburst status` shows.
func (n *Node) status() *pb.Status {
	executor, runs := n.executor.Stats(), n.scheduler.Stats()
	functions, dags := n.registry.Counts()
	return &pb.Status{
		Version:             n.cfg.Version,
		Address:             n.url(),
		StartedMilliseconds: n.began.UnixMilli(),
		DataDirectory:       n.cfg.Node.Data,
		Workers:             uint32(executor.Workers),
		WorkersBusy:         uint32(executor.Busy),
		WorkersMax:          uint32(executor.WorkersMax),
		Queued:              uint32(executor.Queued),
		Runs:                runs.Finished + runs.Failed,
		RunsFailed:          runs.Failed,
		Keys:                uint64(n.anna.Stats().Keys),
		MemoryBytes:         residentBytes(),
		PythonVersion:       n.executor.PythonVersion(),
		Functions:           uint32(functions),
		Dags:                uint32(dags),
		Roles:               []string{"gateway", "scheduler", "executor", "anna"},
	}
}

// unready returns what keeps the node from serving.
func (n *Node) unready() []string {
	if !n.bus.Connected() {
		return []string{"the connection to NATS is lost; durable writes fail until it is back"}
	}
	return nil
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
