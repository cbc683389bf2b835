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
	// Retries is how often a raised exception is retried.
	Retries int `json:"retries"`
	// Timeout bounds one invocation; 0 = the node's default.
	Timeout    time.Duration `json:"timeout_nanoseconds"`
	Registered time.Time     `json:"registered"`
	// SizeBytes is that of its definition.
	SizeBytes uint64 `json:"size_bytes"`
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

// DeleteFunction removes every version of a function. It fails with ErrFunctionNotFound, and with ErrInvalidArgument while a
// DAG uses the function.
func (c *Client) DeleteFunction(ctx context.Context, name string) error {
	_, err := c.ask(ctx, &request{
		verb: "delete function", name: name,
		header: &pb.Header{Body: &pb.Header_DeleteFunction{DeleteFunction: &pb.DeleteFunction{Name: name}}},
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
			Links: make([]Link, len(d.GetLinks())), Registered: time.UnixMilli(d.GetRegisteredMilliseconds()),
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
			PythonVersion: f.GetPythonVersion(), Retries: int(f.GetRetries()),
			Timeout:    time.Duration(f.GetTimeoutMilliseconds()) * time.Millisecond,
			Registered: time.UnixMilli(f.GetRegisteredMilliseconds()), SizeBytes: f.GetSizeBytes(),
		}
	}
	return functions, nil
}
