package wire

import (
	"encoding/hex"
	"strings"
	"time"

	"cloudburst/wire/pb"
)

// Run is one execution of a function or DAG, as programs read it. Times that have not come are zero.
type Run struct {
	ID string `json:"id"` // hexadecimal
	// Parent is the run whose function made the call; empty for a call of a client.
	Parent string `json:"parent,omitempty"`
	Target string `json:"target"` // "sq@3", or the name of a DAG
	DAG    bool   `json:"dag"`
	Label  string `json:"label,omitempty"`
	// State is "queued" (nothing of it has started), "running", "waiting" (its functions wait for other runs), "done", "failed"
	// or "cancelled".
	State    string    `json:"state"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended,omitzero"`
	Deadline time.Time `json:"deadline"`
	Detached bool      `json:"detached,omitempty"` // it does not end with its parent
	Error    *RunError `json:"error,omitempty"`
	WaitsFor []string  `json:"waits_for,omitempty"` // ids of runs
	Steps    []RunStep `json:"steps,omitempty"`     // when one run was asked for
	Children int       `json:"children"`            // runs below it, those below these left out
}

// RunStep is one function of a run, as it was tried last. Functions in a row that one worker ran share their times, and the keys that they
// read are with the first of them.
type RunStep struct {
	Function string `json:"function"`
	Version  uint64 `json:"version"`
	// State is that of a run, or empty for a function that was never started.
	State         string    `json:"state"`
	Worker        uint64    `json:"worker,omitempty"`
	Attempt       int       `json:"attempt,omitempty"`
	Queued        time.Time `json:"queued,omitzero"`
	Started       time.Time `json:"started,omitzero"`
	Ended         time.Time `json:"ended,omitzero"`
	Reads         []RunRead `json:"reads,omitempty"`
	ReadsUnlisted int       `json:"reads_unlisted,omitempty"`
	WaitsFor      []string  `json:"waits_for,omitempty"`
	Error         *RunError `json:"error,omitempty"`
}

// RunRead is a key that a function has read, and where that was answered: "cache" or "store".
type RunRead struct {
	Key        string `json:"key"`
	AnsweredBy string `json:"answered_by"`
}

// RunError is what a run has failed with.
type RunError struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Type      string `json:"type,omitempty"`      // of the exception that a function raised
	Traceback string `json:"traceback,omitempty"` // when one run was asked for
}

// RunsFromProto returns runs as they have travelled.
func RunsFromProto(runs *pb.Runs) []Run {
	out := make([]Run, len(runs.GetRuns()))
	for i, one := range runs.GetRuns() {
		out[i] = RunFromProto(one)
	}
	return out
}

// RunFromProto returns a run as it has travelled.
func RunFromProto(r *pb.Run) Run {
	out := Run{
		ID: hex.EncodeToString(r.GetRunId()), Parent: hex.EncodeToString(r.GetParent()), Target: r.GetTarget(), DAG: r.GetDag(), Label: r.GetLabel(),
		State: RunStateName(r.GetState()), Started: micros(r.GetStartedMicroseconds()), Ended: micros(r.GetEndedMicroseconds()),
		Deadline: micros(r.GetDeadlineMicroseconds()), Detached: r.GetDetached(), Error: runError(r.GetError()), WaitsFor: hexadecimal(r.GetWaitsFor()),
		Children: int(r.GetChildren()),
	}
	for _, s := range r.GetSteps() {
		step := RunStep{
			Function: s.GetFunction(), Version: s.GetVersion(), State: RunStateName(s.GetState()), Worker: s.GetWorker(), Attempt: int(s.GetAttempt()),
			Queued: micros(s.GetQueuedMicroseconds()), Started: micros(s.GetStartedMicroseconds()), Ended: micros(s.GetEndedMicroseconds()),
			ReadsUnlisted: int(s.GetReadsUnlisted()), WaitsFor: hexadecimal(s.GetWaitsFor()), Error: runError(s.GetError()),
		}
		for _, read := range s.GetReads() {
			step.Reads = append(step.Reads, RunRead{Key: read.GetKey(), AnsweredBy: read.GetAnsweredBy()})
		}
		out.Steps = append(out.Steps, step)
	}
	return out
}

// NewListRuns returns the request for a listing of the runs in states of these names, which is further narrowed unless parent, in hexadecimal,
// is empty.
func NewListRuns(states []string, parent string) (*pb.ListRuns, error) {
	list := new(pb.ListRuns)
	for _, name := range states {
		state, err := RunState(name)
		if err != nil {
			return nil, err
		}
		list.States = append(list.States, state)
	}
	if parent != "" {
		id, err := ParseRunID(parent)
		if err != nil {
			return nil, err
		}
		list.Parent = id[:]
	}
	return list, nil
}

// RunStateName returns the name of a state as programs read it, such as "running"; empty for none.
func RunStateName(state pb.RunState) string {
	if state == pb.RunState_RUN_STATE_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(state.String(), "RUN_STATE_"))
}

// RunState returns the state of a name.
func RunState(name string) (pb.RunState, error) {
	if state, ok := pb.RunState_value["RUN_STATE_"+strings.ToUpper(name)]; ok && state != 0 {
		return pb.RunState(state), nil
	}
	return 0, Errorf(pb.Code_CODE_INVALID_ARGUMENT, "state %q: a run is queued, running, waiting, done, failed or cancelled", name)
}

// ParseRunID returns the id that 32 hexadecimal digits stand for.
func ParseRunID(text string) (RunID, error) {
	id, err := hex.DecodeString(text)
	if err != nil || len(id) != len(RunID{}) {
		return RunID{}, Errorf(pb.Code_CODE_INVALID_ARGUMENT, "run id %.64q: it must be %d hexadecimal digits", text, 2*len(RunID{}))
	}
	return RunID(id), nil
}

func micros(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.UnixMicro(at).UTC()
}

func hexadecimal(ids [][]byte) []string {
	var out []string
	for _, id := range ids {
		out = append(out, hex.EncodeToString(id))
	}
	return out
}

func runError(e *pb.Error) *RunError {
	if e == nil {
		return nil
	}
	return &RunError{
		Code: CodeName(e.GetCode()), Message: e.GetMessage(), Type: e.GetException().GetType(), Traceback: e.GetException().GetTraceback(),
	}
}
