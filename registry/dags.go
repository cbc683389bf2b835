package registry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"cloudburst/dag"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// DAG is a registered composition. It is immutable.
type DAG struct {
	*pb.Dag
	// Graph is its shape, validated.
	Graph *dag.DAG
}

// RegisterDAG stores a composition. It fails with ErrDAGExists when the name is taken, with ErrFunctionNotFound when a function
// is not registered, and with an invalid-argument error that wraps the reason of package dag when the links do not form a DAG. When it
// returns the DAG is durable and the next call of this process finds it. d is not kept.
func (r *Registry) RegisterDAG(ctx context.Context, d *pb.Dag) error {
	return r.registerDAG(ctx, d, false)
}

// ReplaceDAG stores a composition like RegisterDAG, in the place of one of its name. Runs that began with the old one finish with it. One that
// is the same stays as it is.
func (r *Registry) ReplaceDAG(ctx context.Context, d *pb.Dag) error {
	if known, err := r.DAG(d.GetName()); err == nil && sameDAG(known.Dag, d) {
		return nil
	}
	return r.registerDAG(ctx, d, true)
}

// sameDAG reports whether two compositions differ in nothing but when they were registered.
func sameDAG(a, b *pb.Dag) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	a.RegisteredMilliseconds, b.RegisteredMilliseconds = 0, 0
	return proto.Equal(a, b)
}

func (r *Registry) registerDAG(ctx context.Context, d *pb.Dag, replace bool) error {
	name := d.GetName()
	if err := CheckName("dag", name); err != nil {
		return err
	}
	graph, err := newGraph(d)
	if err != nil {
		return refuse(err, pb.Code_CODE_INVALID_ARGUMENT, "register dag %q: %v", name, err)
	}
	for _, function := range d.GetColocated() {
		if _, ok := graph.Index(function); !ok {
			return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "register dag %q: colocated names %q, which is not one of its functions", name, function)
		}
	}
	kept := proto.CloneOf(d)
	kept.RegisteredMilliseconds = time.Now().UnixMilli()
	if err := checkRecord("dag", name, kept); err != nil {
		return err
	}
	_, err = r.commit(ctx, fmt.Sprintf("register dag %q", name), func(s *state) (record, error) {
		if _, taken := s.dags[name]; taken && !replace {
			return record{}, wire.Errorf(pb.Code_CODE_DAG_EXISTS, "dag %q exists; delete it first (cloudburst dag rm %s) or choose another name", name, name)
		}
		for _, function := range kept.GetFunctions() {
			if s.function(function) == nil {
				return record{}, fmt.Errorf("register dag %q: %w", name, s.functionNotFound(function))
			}
		}
		return dagRecord(&DAG{Dag: kept, Graph: graph}), nil
	})
	if err == nil && kept.GetAnonymous() {
		r.dropAnonymousDAGs(ctx, name)
	}
	return err
}

// dropAnonymousDAGs deletes the anonymous DAGs that were registered first, until there are no more than AnonymousDAGsMax. The one that has
// just been registered stays. When it fails, the next registration does it.
func (r *Registry) dropAnonymousDAGs(ctx context.Context, kept string) {
	anonymous := r.DAGs("")
	anonymous = slices.DeleteFunc(anonymous, func(d *pb.Dag) bool { return !d.GetAnonymous() || d.GetName() == kept })
	over := len(anonymous) + 1 - AnonymousDAGsMax
	if over <= 0 {
		return
	}
	slices.SortStableFunc(anonymous, func(a, b *pb.Dag) int {
		return cmp.Compare(a.GetRegisteredMilliseconds(), b.GetRegisteredMilliseconds())
	})
	names := make([]string, over)
	for i, d := range anonymous[:over] {
		names[i] = d.GetName()
	}
	if err := r.deleteDAGs(ctx, names); err != nil {
		r.cfg.Logger.Warn("anonymous DAGs stay until the next one is registered", "dags", over, "error", err)
	}
}

// DAG returns a registered composition. It answers from memory; ErrDAGNotFound suggests names that look alike.
func (r *Registry) DAG(name string) (*DAG, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if d, ok := r.state.dags[name]; ok {
		return d, nil
	}
	return nil, r.state.dagNotFound(name)
}

// DeleteDAG removes a composition; its functions stay. It fails with ErrDAGNotFound.
func (r *Registry) DeleteDAG(ctx context.Context, name string) error {
	if err := CheckName("dag", name); err != nil {
		return err
	}
	_, err := r.commit(ctx, fmt.Sprintf("delete dag %q", name), func(s *state) (record, error) {
		if _, ok := s.dags[name]; !ok {
			return record{}, s.dagNotFound(name)
		}
		return dagRecord(&DAG{Dag: &pb.Dag{Name: name}}), nil
	})
	return err
}

// DAGs returns the compositions whose names start with prefix, by name.
func (r *Registry) DAGs(prefix string) []*pb.Dag {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var found []*pb.Dag
	for name, d := range r.state.dags {
		if strings.HasPrefix(name, prefix) {
			found = append(found, d.Dag)
		}
	}
	slices.SortFunc(found, func(a, b *pb.Dag) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return found
}
