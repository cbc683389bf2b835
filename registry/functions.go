package registry

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Register stores a new version of the function that meta describes, unless the latest is just the same: version, time, size
// and definition key are set here. The definition is stored first, so a node that sees the function can load it. When Register
// returns the function is durable and the next call of this process finds it. meta and definition are not kept.
func (r *Registry) Register(ctx context.Context, meta *pb.Function, definition []byte) (*pb.Function, error) {
	name := meta.GetName()
	if err := CheckName("function", name); err != nil {
		return nil, err
	}
	if meta.GetRuntime() == pb.Runtime_RUNTIME_UNSPECIFIED {
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "register function %q: no runtime given", name)
	}
	if err := wire.CheckValue(fmt.Sprintf("the definition of function %q", name), definition); err != nil {
		return nil, err
	}
	f := proto.CloneOf(meta)
	digest := sha256.Sum256(definition)
	contents := fmt.Sprintf("%s/%x-", name, digest[:16])
	if known, err := r.known(ctx, f, contents); known != nil || err != nil {
		return known, err
	}
	f.DefinitionKey = contents + newID()
	f.SizeBytes = uint64(len(definition))
	f.RegisteredMilliseconds = time.Now().UnixMilli()
	if err := checkRecord("function", name, f); err != nil {
		return nil, err
	}
	if err := r.definitions.Put(ctx, f.GetDefinitionKey(), definition); err != nil {
		return nil, fmt.Errorf("store the definition of function %q, %d bytes: %w", name, len(definition), err)
	}
	var registered *pb.Function
	_, err := r.commit(ctx, fmt.Sprintf("register function %q", name), func(s *state) (record, error) {
		// A clone each time: an earlier attempt may yet turn out to be the one that counts.
		next := proto.CloneOf(f)
		next.Version = 1
		if known := s.functions[name]; known != nil {
			next.Version = known.last + 1
		}
		registered = next
		return functionRecord(next), nil
	})
	if err != nil {
		// The definition stays, since the log may yet have taken the function.
		return nil, err
	}
	r.cached.put(f.GetDefinitionKey(), definition)
	return registered, nil
}

// known returns the latest version of a function if that is just what is to be registered, so that a program which is started
// again makes no further version. A class keeps its instance then.
func (r *Registry) known(ctx context.Context, f *pb.Function, contents string) (*pb.Function, error) {
	same := func() *pb.Function {
		r.mu.RLock()
		defer r.mu.RUnlock()
		latest := r.state.function(f.GetName())
		if latest == nil || !strings.HasPrefix(latest.GetDefinitionKey(), contents) {
			return nil
		}
		next := proto.CloneOf(f)
		next.Version, next.DefinitionKey = latest.GetVersion(), latest.GetDefinitionKey()
		next.SizeBytes, next.RegisteredMilliseconds = latest.GetSizeBytes(), latest.GetRegisteredMilliseconds()
		if !proto.Equal(next, latest) {
			return nil
		}
		return latest
	}
	if same() == nil {
		return nil, nil
	}
	// Another node may have registered something else since.
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if err := r.Sync(ctx); err != nil {
		return nil, fmt.Errorf("register function %q: %w", f.GetName(), err)
	}
	return same(), nil
}

// Function returns the latest version of a function ("sq") or the one named ("sq@3"). It answers from memory, without
// allocating; ErrFunctionNotFound suggests names that look alike.
func (r *Registry) Function(ref string) (*pb.Function, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if f := r.state.function(ref); f != nil {
		return f, nil
	}
	return nil, r.state.functionNotFound(ref)
}

func (s *state) function(ref string) *pb.Function {
	name, version, ok := splitRef(ref)
	known := s.functions[name]
	if !ok || known == nil {
		return nil
	}
	if version == 0 {
		return known.latest()
	}
	return known.version(version)
}

// Definition returns what a function is made of; it must not be changed. It is fetched unless it was used lately.
func (r *Registry) Definition(ctx context.Context, f *pb.Function) ([]byte, error) {
	key := f.GetDefinitionKey()
	if value, ok := r.cached.get(key); ok {
		return value, nil
	}
	value, err := r.definitions.Get(ctx, key)
	if err != nil {
		ref := fmt.Sprintf("%s@%d", f.GetName(), f.GetVersion())
		if errors.Is(err, wire.ErrKeyNotFound) {
			if _, gone := r.Function(ref); gone != nil {
				return nil, gone
			}
		}
		return nil, fmt.Errorf("fetch the definition of function %q: %w", ref, err)
	}
	if uint64(len(value)) != f.GetSizeBytes() {
		return nil, wire.Errorf(pb.Code_CODE_INTERNAL, "the definition of function %s@%d has %d bytes in the store, and had %d when it was registered; register it again",
			f.GetName(), f.GetVersion(), len(value), f.GetSizeBytes())
	}
	r.cached.put(key, value)
	return value, nil
}

// DeleteFunction removes every version of a function, and the anonymous DAGs that use it. A later registration goes on with the next
// version number. It fails with ErrFunctionNotFound, and with ErrFunctionInUse, naming the DAGs, while other DAGs use the function.
func (r *Registry) DeleteFunction(ctx context.Context, name string) error {
	if err := CheckName("function", name); err != nil {
		return err
	}
	r.mu.RLock()
	using := r.state.dagsUsing(name)
	made := slices.DeleteFunc(slices.Clone(using), func(dag string) bool { return !r.state.dags[dag].GetAnonymous() })
	r.mu.RUnlock()
	if len(made) == len(using) { // otherwise it is refused, and nothing goes
		if err := r.deleteDAGs(ctx, made); err != nil {
			return err
		}
	}
	return r.deleteFunction(ctx, name)
}

// DeleteFunctionAndDAGs removes every version of a function, and all DAGs that use it. It fails with ErrFunctionNotFound.
func (r *Registry) DeleteFunctionAndDAGs(ctx context.Context, name string) error {
	if err := CheckName("function", name); err != nil {
		return err
	}
	r.mu.RLock()
	using := r.state.dagsUsing(name)
	r.mu.RUnlock()
	if err := r.deleteDAGs(ctx, using); err != nil {
		return err
	}
	return r.deleteFunction(ctx, name)
}

func (r *Registry) deleteDAGs(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := r.DeleteDAG(ctx, name); err != nil && !errors.Is(err, ErrDAGNotFound) {
			return err
		}
	}
	return nil
}

func (r *Registry) deleteFunction(ctx context.Context, name string) error {
	var deleted []*pb.Function
	revision, err := r.commit(ctx, fmt.Sprintf("delete function %q", name), func(s *state) (record, error) {
		known := s.functions[name]
		if known.latest() == nil {
			return record{}, s.functionNotFound(name)
		}
		if dags := s.dagsUsing(name); len(dags) > 0 {
			// Anonymous ones are gone, or stay because of the others.
			if chosen := slices.DeleteFunc(slices.Clone(dags), func(dag string) bool { return s.dags[dag].GetAnonymous() }); len(chosen) > 0 {
				dags = chosen
			}
			more := ""
			if len(dags) > dagsNamedMax {
				dags, more = dags[:dagsNamedMax], fmt.Sprintf(" and %d more", len(dags)-dagsNamedMax)
			}
			return record{}, refuse(ErrFunctionInUse, pb.Code_CODE_INVALID_ARGUMENT, "function %q is used by dag %s%s; delete that first (cloudburst dag rm), or both at once (cloudburst fn rm --force)", name, strings.Join(dags, ", "), more)
		}
		deleted = slices.Clone(known.live)
		return deletedRecord(name, known.last), nil
	})
	if err != nil {
		return err
	}
	r.sweep(ctx, garbage{deleted, revision})
	return nil
}

// dagsUsing returns the names of the DAGs that a function is part of, sorted.
func (s *state) dagsUsing(function string) []string {
	var dags []string
	for name, d := range s.dags {
		if slices.ContainsFunc(d.GetFunctions(), func(ref string) bool {
			used, _, _ := splitRef(ref)
			return used == function
		}) {
			dags = append(dags, name)
		}
	}
	slices.Sort(dags)
	return dags
}

// Functions returns the latest version of every function whose name starts with prefix, or every version of them, by name and
// version.
func (r *Registry) Functions(prefix string, versions bool) []*pb.Function {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var found []*pb.Function
	for name, known := range r.state.functions {
		if !strings.HasPrefix(name, prefix) || len(known.live) == 0 {
			continue
		}
		if versions {
			found = append(found, known.live...)
		} else {
			found = append(found, known.latest())
		}
	}
	slices.SortFunc(found, func(a, b *pb.Function) int {
		return cmp.Or(cmp.Compare(a.GetName(), b.GetName()), cmp.Compare(a.GetVersion(), b.GetVersion()))
	})
	return found
}

// checkRecord returns an error when what is to be stored about a function or DAG crosses the limit.
func checkRecord(what, name string, m proto.Message) error {
	if size := proto.Size(m); size > RecordBytesMax {
		return wire.Errorf(pb.Code_CODE_TOO_LARGE, "register %s %q: its description is %d bytes; the limit is %d", what, name, size, RecordBytesMax)
	}
	return nil
}

// newID returns 16 random bytes in hexadecimal.
func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}
