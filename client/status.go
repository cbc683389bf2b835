package client

import (
	"context"
	"time"

	"cloudburst/wire/pb"
)

// Status is what a node says about itself.
type Status struct {
	Version       string    `json:"version"`
	Address       string    `json:"address"`
	Started       time.Time `json:"started"`
	DataDirectory string    `json:"data_directory"`
	Roles         []string  `json:"roles,omitempty"`
	// Members are those of the cluster, by name; none when the node runs alone.
	Members []Member `json:"members,omitempty"`
	// Workers are the Python processes that are up, WorkersBusy those of them that run something, WorkersMax their bound.
	Workers     int `json:"workers"`
	WorkersBusy int `json:"workers_busy"`
	WorkersMax  int `json:"workers_max"`
	// Queued are the invocations that wait for a worker.
	Queued int `json:"queued"`
	// SaturatedSince is since when calls wait for workers for long; zero when they do not. Saturation says what waits for what.
	SaturatedSince time.Time `json:"saturated_since,omitzero"`
	Saturation     string    `json:"saturation,omitempty"`
	// Runs have finished since the start, RunsFailed of them with an error.
	Runs       uint64 `json:"runs"`
	RunsFailed uint64 `json:"runs_failed"`
	Functions  int    `json:"functions"`
	DAGs       int    `json:"dags"`
	// Keys are those that listings show: without Cloudburst's own, such as the results of runs.
	Keys uint64 `json:"keys"`
	// MemoryBytes is what of the node's process is resident.
	MemoryBytes uint64 `json:"memory_bytes"`
	// PythonVersion is that of the workers; empty without any.
	PythonVersion string `json:"python_version,omitempty"`
	// PythonPath is from where the workers import modules, besides Python's own directories.
	PythonPath []string `json:"python_path,omitempty"`
}

// Member is one of the nodes that hold a replicated log.
type Member struct {
	Name string `json:"name"`
	// Reachable says whether the node that was asked reaches it, Leader whether it leads the cluster, Self whether it was asked.
	Reachable bool `json:"reachable"`
	Leader    bool `json:"leader,omitempty"`
	Self      bool `json:"self,omitempty"`
}

// Status asks the node about itself.
func (c *Client) Status(ctx context.Context) (Status, error) {
	reply, err := c.ask(ctx, &request{verb: "get status", again: true, header: &pb.Header{Body: &pb.Header_GetStatus{GetStatus: &pb.GetStatus{}}}})
	if err != nil {
		return Status{}, err
	}
	s := reply.Header.GetStatus_()
	var members []Member
	for _, m := range s.GetMembers() {
		members = append(members, Member{m.GetName(), m.GetReachable(), m.GetLeader(), m.GetAsked()})
	}
	var saturated time.Time
	if since := s.GetSaturatedSinceMilliseconds(); since != 0 {
		saturated = time.UnixMilli(since)
	}
	return Status{
		Version: s.GetVersion(), Address: s.GetAddress(), Started: time.UnixMilli(s.GetStartedMilliseconds()),
		DataDirectory: s.GetDataDirectory(), Roles: s.GetRoles(), Members: members,
		Workers: int(s.GetWorkers()), WorkersBusy: int(s.GetWorkersBusy()), WorkersMax: int(s.GetWorkersMax()),
		Queued: int(s.GetQueued()), SaturatedSince: saturated, Saturation: s.GetSaturation(),
		Runs: s.GetRuns(), RunsFailed: s.GetRunsFailed(), Functions: int(s.GetFunctions()), DAGs: int(s.GetDags()),
		Keys: s.GetKeys(), MemoryBytes: s.GetMemoryBytes(), PythonVersion: s.GetPythonVersion(), PythonPath: s.GetPythonPath(),
	}, nil
}
