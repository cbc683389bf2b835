package client

import (
	"context"
	"math"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

type (
	// Run is one execution of a function or DAG, as the node knows it.
	Run = wire.Run
	// RunStep is one function of a run.
	RunStep = wire.RunStep
	// RunRead is a key that a function has read.
	RunRead = wire.RunRead
	// RunError is what a run has failed with.
	RunError = wire.RunError
)

// RunsOf says which runs are meant: those that all of its fields fit. The zero value means the latest of all.
type RunsOf struct {
	// States are those of [Run]: "queued", "running", "waiting", "done", "failed", "cancelled". None means all.
	States []string
	// Function is a function, with or without a version ("sq", "sq@3"), or a DAG.
	Function string
	Label    string
	// Parent is the id of the run whose functions have called them.
	Parent string
	// Limit is how many are wanted at most. Default 100; at most 10,000.
	Limit int
}

// Runs returns the runs under way and those that ended lately, the newest first; more says that there are others that fit.
func (c *Client) Runs(ctx context.Context, of RunsOf) (runs []Run, more bool, err error) {
	list, err := wire.NewListRuns(of.States, of.Parent)
	if err != nil {
		return nil, false, err
	}
	list.Target, list.Label, list.Limit = of.Function, of.Label, wireLimit(of.Limit)
	return c.runs(ctx, &request{verb: "list runs", again: true, header: &pb.Header{Body: &pb.Header_ListRuns{ListRuns: list}}})
}

// Run returns a run with its steps, and the runs below it, parents before their children; more says that not all of this fitted into the
// answer. The beginning of the id is enough if no other run begins so. It fails with ErrRunNotFound for a run that the node does not know,
// or not any more.
func (c *Client) Run(ctx context.Context, id string) (run Run, below []Run, more bool, err error) {
	get := &pb.GetRun{Prefix: id}
	runs, more, err := c.runs(ctx, &request{verb: "run", name: id, again: true, header: &pb.Header{Body: &pb.Header_GetRun{GetRun: get}}})
	if err != nil {
		return Run{}, nil, false, err
	}
	if len(runs) == 0 {
		return Run{}, nil, false, malformed("an answer without the run")
	}
	return runs[0], runs[1:], more, nil
}

// Cancel ends a run and those below it that are not detached: what has not started never starts, and functions that run are
// interrupted. reason is for people. It does nothing when the run has ended, and fails with ErrRunNotFound when the node does not know it.
func (c *Client) Cancel(ctx context.Context, id, reason string) error {
	run, err := wire.ParseRunID(id)
	if err != nil {
		return err
	}
	_, err = c.ask(ctx, &request{
		verb: "cancel run", name: id, again: true,
		header: &pb.Header{Body: &pb.Header_CancelRun{CancelRun: &pb.CancelRun{RunId: run[:], Reason: reason}}},
	})
	return err
}

// Cancel ends the run as [Client.Cancel] does.
func (f *Future) Cancel(ctx context.Context, reason string) error {
	return f.client.Cancel(ctx, f.ID(), reason)
}

func (c *Client) runs(ctx context.Context, r *request) ([]Run, bool, error) {
	reply, err := c.ask(ctx, r)
	if err != nil {
		return nil, false, err
	}
	found := reply.Header.GetRuns()
	return wire.RunsFromProto(found), found.GetMore(), nil
}

// wireLimit returns a limit as it travels; 0 = the node's default.
func wireLimit(limit int) uint32 { return uint32(min(max(limit, 0), math.MaxInt32)) }

// Calling is a call with settings of its own; the zero values are those of Call.
type Calling struct {
	// Label is shown with the run, at most 200 bytes.
	Label string
	// RunID is the id of the run, 32 hexadecimal digits. A second call with it joins the run of the first. Default: a random one.
	RunID string
	// Detached: called by a function, the run does not end with the run of that.
	Detached bool
	// CancelOnDisconnect ends the run with the connection that it was called over; it is then not taken up by another one.
	CancelOnDisconnect bool
}

func (o Calling) apply(call *pb.Call, id *wire.RunID) error {
	if o.RunID != "" {
		chosen, err := wire.ParseRunID(o.RunID)
		if err != nil {
			return err
		}
		*id = chosen
	}
	call.Label, call.Detached, call.CancelOnDisconnect = o.Label, o.Detached, o.CancelOnDisconnect
	return nil
}

// CallWith is Call with settings.
func (c *Client) CallWith(ctx context.Context, o Calling, function string, args ...any) (*Future, error) {
	call := &pb.Call{Target: &pb.Call_Function{Function: function}}
	return c.call(ctx, call, o, "call", function, map[string][]any{function: args})
}

// CallDAGWith is CallDAG with settings.
func (c *Client) CallDAGWith(ctx context.Context, o Calling, name string, args map[string][]any) (*Future, error) {
	return c.call(ctx, &pb.Call{Target: &pb.Call_Dag{Dag: name}}, o, "call dag", name, args)
}
