package client

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Keywords are the keyword arguments of a call; they come last.
type Keywords map[string]any

// Call runs a function, "sq" or one version of it, "sq@3", and returns at once; the future has the result. Arguments may be
// anything that Put takes, a [Ref] or a [Future] whose value the function is to get, and [Keywords] as the last one. The
// deadline of ctx is that of the run; that ctx is cancelled once Call has returned does not matter to it.
func (c *Client) Call(ctx context.Context, function string, args ...any) (*Future, error) {
	call := &pb.Call{Target: &pb.Call_Function{Function: function}}
	return c.call(ctx, call, Calling{}, "call", function, map[string][]any{function: args})
}

// CallDAG runs a DAG. args maps its functions to their arguments; what upstream functions return is appended to them.
func (c *Client) CallDAG(ctx context.Context, name string, args map[string][]any) (*Future, error) {
	return c.call(ctx, &pb.Call{Target: &pb.Call_Dag{Dag: name}}, Calling{}, "call dag", name, args)
}

func (c *Client) call(ctx context.Context, call *pb.Call, o Calling, verb, name string, args map[string][]any) (*Future, error) {
	r := &request{verb: verb, name: name, again: true}
	fail := func(err error) (*Future, error) { return nil, wrap(r, err) }
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	now := time.Now()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = now.Add(c.options.runTimeout)
	}
	f := &Future{client: c, request: r}
	_, _ = rand.Read(f.id[:]) // never fails
	if err := o.apply(call, &f.id); err != nil {
		return fail(err)
	}
	call.RunId = f.id[:]
	call.TimeoutMilliseconds = uint64(max(deadline.Sub(now).Milliseconds(), 1))
	call.Store = true
	for _, function := range sortedKeys(args) {
		var err error
		a := &pb.Arguments{Function: function}
		if r.values, err = appendArguments(r.values, a, args[function]); err != nil {
			return fail(err)
		}
		call.Arguments = append(call.Arguments, a)
	}
	// The node answers at the deadline; what is left after it is for the answer's way.
	r.deadline = deadline.Add(answerGrace)
	r.header = &pb.Header{Body: &pb.Header_Call{Call: call}}
	if err := c.start(r); err != nil {
		return nil, err
	}
	return f, nil
}

// answerGrace is how long after the deadline of a run the node's word about it may come.
const answerGrace = 2 * time.Second

func appendArguments(values [][]byte, a *pb.Arguments, args []any) ([][]byte, error) {
	var keywords Keywords
	if n := len(args); n > 0 {
		if k, ok := args[n-1].(Keywords); ok {
			keywords, args = k, args[:n-1]
		}
	}
	for i, arg := range args {
		value, err := encodeArgument(arg)
		if err != nil {
			return values, wire.Errorf(wire.CodeOf(err), "argument %d of %q: %v", i+1, a.Function, err)
		}
		values = append(values, value)
	}
	a.Positional = uint32(len(args))
	for _, name := range sortedKeys(keywords) {
		value, err := encodeArgument(keywords[name])
		if err != nil {
			return values, wire.Errorf(wire.CodeOf(err), "argument %s of %q: %v", name, a.Function, err)
		}
		a.Keywords = append(a.Keywords, name)
		values = append(values, value)
	}
	return values, nil
}

func sortedKeys[V any](m map[string]V) []string {
	if len(m) < 2 {
		for key := range m {
			return []string{key}
		}
		return nil
	}
	return slices.Sorted(maps.Keys(m))
}
