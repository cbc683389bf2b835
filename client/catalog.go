package client

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Function describes one immutable version of a registered function.
type Function struct {
	Name    string `json:"name"`
	Version uint64 `json:"version"`
	// Doc is the first line of its documentation.
	Doc string `json:"doc,omitempty"`
	// Convention says how it is called: "library" (the user library comes first), "class" or "plain".
	Convention string `json:"convention"`
	// PythonVersion is that of the Python it was registered from.
	PythonVersion string `json:"python_version,omitempty"`
	// Retries is how often it is run again after it has raised or its worker was lost, together; 0 = at most once. nil: never after it has
	// raised, and twice after a loss.
	Retries *int `json:"retries"`
	// RetryOn names the exceptions after which it is run again; none = all.
	RetryOn []string `json:"retry_on,omitempty"`
	// Backoff is the pause before the first retry, doubled with each; 0 = the node's.
	Backoff time.Duration `json:"backoff_nanoseconds,omitempty"`
	// Concurrency is how many invocations of it run at once on a node; 0 = any number.
	Concurrency int `json:"concurrency,omitempty"`
	// RateLimit is how often it may start on a node; nil = as often as it is called.
	RateLimit *RateLimit `json:"rate_limit,omitempty"`
	// Priority: of the invocations of one client that wait for a worker, those with a higher one go first.
	Priority int `json:"priority,omitempty"`
	// QueueTimeout is how long it may wait until it starts; 0 = until its deadline.
	QueueTimeout time.Duration `json:"queue_timeout_nanoseconds,omitempty"`
	// Inline says whether a worker whose function waits for it may run it meanwhile.
	Inline bool `json:"inline"`
	// Timeout bounds one invocation; 0 = the node's default.
	Timeout    time.Duration `json:"timeout_nanoseconds"`
	Registered time.Time     `json:"registered"`
	// SizeBytes is that of its definition.
	SizeBytes uint64 `json:"size_bytes"`
}

// RateLimit lets a function start at most so many times within any period of that length.
type RateLimit struct {
	Starts int           `json:"starts"`
	Period time.Duration `json:"period_nanoseconds"`
	// Key names the parameter for each value of which the limit holds; empty = for all calls together.
	Key string `json:"key,omitempty"`
}

// String returns the limit as people write it, as in "10/s" or "3/500ms for each user".
func (l RateLimit) String() string {
	period := l.Period.String()
	switch l.Period {
	case time.Second:
		period = "s"
	case time.Minute:
		period = "min"
	case time.Hour:
		period = "h"
	case 24 * time.Hour:
		period = "day"
	}
	if l.Key != "" {
		return fmt.Sprintf("%d/%s for each %s", l.Starts, period, l.Key)
	}
	return fmt.Sprintf("%d/%s", l.Starts, period)
}

// Link says that the result of one function of a DAG is an argument of another.
type Link struct {
	Source string `json:"source"`
	Sink   string `json:"sink"`
}

// DAG is a composition of functions. Exactly one of them has no outgoing link; it gives the result.
type DAG struct {
	Name      string   `json:"name"`
	Functions []string `json:"functions"`
	Links     []Link   `json:"links"`
	// Colocated names functions that must share a node.
	Colocated []string `json:"colocated,omitempty"`
	// Registered is set by the node.
	Registered time.Time `json:"registered"`
	// Anonymous is set for a pipeline of a Python program that its program gave no name.
	Anonymous bool `json:"anonymous,omitempty"`
}

// Functions returns the latest version of every function whose name starts with prefix, by name.
func (c *Client) Functions(ctx context.Context, prefix string) ([]Function, error) {
	return c.functions(ctx, &pb.ListFunctions{Prefix: prefix})
}

// Versions returns every version of a function, the oldest first. It fails with ErrFunctionNotFound.
func (c *Client) Versions(ctx context.Context, name string) ([]Function, error) {
	all, err := c.functions(ctx, &pb.ListFunctions{Prefix: name, Versions: true})
	if err != nil {
		return nil, err
	}
	var versions []Function
	for _, f := range all {
		if f.Name == name {
			versions = append(versions, f)
		}
	}
	if len(versions) == 0 {
		return nil, wire.Errorf(pb.Code_CODE_FUNCTION_NOT_FOUND, "function %q not found", name)
	}
	return versions, nil
}

// Function returns the latest version of a function ("sq") or the one named ("sq@3"). It fails with ErrFunctionNotFound.
func (c *Client) Function(ctx context.Context, ref string) (Function, error) {
	name, version, chosen := strings.Cut(ref, "@")
	versions, err := c.Versions(ctx, name)
	if err != nil {
		return Function{}, err
	}
	if !chosen {
		return versions[len(versions)-1], nil
	}
	for _, f := range versions {
		if fmt.Sprint(f.Version) == version {
			return f, nil
		}
	}
	return Function{}, wire.Errorf(pb.Code_CODE_FUNCTION_NOT_FOUND, "function %q has no version %q; the latest is %d", name, version, versions[len(versions)-1].Version)
}

// DeleteFunction removes every version of a function, and the anonymous DAGs that use it. It fails with ErrFunctionNotFound, and with
// ErrInvalidArgument while another DAG uses the function.
func (c *Client) DeleteFunction(ctx context.Context, name string) error {
	return c.deleteFunction(ctx, &pb.DeleteFunction{Name: name})
}

// DeleteFunctionAndDAGs removes every version of a function, and all DAGs that use it. It fails with ErrFunctionNotFound.
func (c *Client) DeleteFunctionAndDAGs(ctx context.Context, name string) error {
	return c.deleteFunction(ctx, &pb.DeleteFunction{Name: name, Force: true})
}

func (c *Client) deleteFunction(ctx context.Context, what *pb.DeleteFunction) error {
	_, err := c.ask(ctx, &request{
		verb: "delete function", name: what.GetName(),
		header: &pb.Header{Body: &pb.Header_DeleteFunction{DeleteFunction: what}},
	})
	return err
}

// DAGs returns the compositions whose names start with prefix, by name.
func (c *Client) DAGs(ctx context.Context, prefix string) ([]DAG, error) {
	reply, err := c.ask(ctx, &request{
		verb: "list dags", again: true,
		header: &pb.Header{Body: &pb.Header_ListDags{ListDags: &pb.ListDags{Prefix: prefix}}},
	})
	if err != nil {
		return nil, err
	}
	found := reply.Header.GetDags().GetDags()
	dags := make([]DAG, len(found))
	for i, d := range found {
		dags[i] = DAG{
			Name: d.GetName(), Functions: d.GetFunctions(), Colocated: d.GetColocated(),
			Links: make([]Link, len(d.GetLinks())), Registered: time.UnixMilli(d.GetRegisteredMilliseconds()), Anonymous: d.GetAnonymous(),
		}
		for j, l := range d.GetLinks() {
			dags[i].Links[j] = Link{Source: l.GetSource(), Sink: l.GetSink()}
		}
	}
	return dags, nil
}

// DAG returns a composition. It fails with ErrDAGNotFound.
func (c *Client) DAG(ctx context.Context, name string) (DAG, error) {
	dags, err := c.DAGs(ctx, name)
	if err != nil {
		return DAG{}, err
	}
	for _, d := range dags {
		if d.Name == name {
			return d, nil
		}
	}
	return DAG{}, wire.Errorf(pb.Code_CODE_DAG_NOT_FOUND, "dag %q not found", name)
}

// RegisterDAG stores a composition of registered functions. It fails with ErrDAGExists when the name is taken, with
// ErrFunctionNotFound, and with ErrInvalidArgument and the reason when the functions and links are no DAG with one sink.
func (c *Client) RegisterDAG(ctx context.Context, d DAG) error {
	dag := &pb.Dag{Name: d.Name, Functions: d.Functions, Colocated: d.Colocated}
	for _, l := range d.Links {
		dag.Links = append(dag.Links, &pb.Link{Source: l.Source, Sink: l.Sink})
	}
	_, err := c.ask(ctx, &request{
		verb: "register dag", name: d.Name,
		header: &pb.Header{Body: &pb.Header_RegisterDag{RegisterDag: &pb.RegisterDag{Dag: dag}}},
	})
	return err
}

// DeleteDAG removes a composition; its functions stay. It fails with ErrDAGNotFound.
func (c *Client) DeleteDAG(ctx context.Context, name string) error {
	_, err := c.ask(ctx, &request{
		verb: "delete dag", name: name,
		header: &pb.Header{Body: &pb.Header_DeleteDag{DeleteDag: &pb.DeleteDag{Name: name}}},
	})
	return err
}

func (c *Client) functions(ctx context.Context, list *pb.ListFunctions) ([]Function, error) {
	reply, err := c.ask(ctx, &request{verb: "list functions", again: true, header: &pb.Header{Body: &pb.Header_ListFunctions{ListFunctions: list}}})
	if err != nil {
		return nil, err
	}
	found := reply.Header.GetFunctions().GetFunctions()
	functions := make([]Function, len(found))
	for i, f := range found {
		functions[i] = Function{
			Name: f.GetName(), Version: f.GetVersion(), Doc: f.GetDoc(),
			Convention:    strings.ToLower(strings.TrimPrefix(f.GetConvention().String(), "CONVENTION_")),
			PythonVersion: f.GetPythonVersion(), RetryOn: f.GetRetryOn(),
			Concurrency: int(f.GetConcurrency()), Priority: int(f.GetPriority()), Inline: !f.GetAlone(),
			Timeout:      time.Duration(f.GetTimeoutMilliseconds()) * time.Millisecond,
			Backoff:      time.Duration(f.GetBackoffMilliseconds()) * time.Millisecond,
			QueueTimeout: time.Duration(f.GetQueueTimeoutMilliseconds()) * time.Millisecond,
			Registered:   time.UnixMilli(f.GetRegisteredMilliseconds()), SizeBytes: f.GetSizeBytes(),
		}
		if f.Retries != nil {
			functions[i].Retries = new(int(f.GetRetries()))
		}
		if limit := f.GetRateLimit(); limit != nil {
			functions[i].RateLimit = &RateLimit{
				Starts: int(limit.GetStarts()), Period: time.Duration(limit.GetPeriodMilliseconds()) * time.Millisecond, Key: limit.GetKey(),
			}
		}
	}
	return functions, nil
}
