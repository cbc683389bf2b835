package registry

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"cloudburst/dag"
	"cloudburst/wire/pb"
)

// The bucket's keys. A function's versions and its deletion are entries of their own, a DAG is one entry:
//
//	function.NAME.VERSION   the version
//	deleted.NAME            every version up to the one in it is gone; it stays, so that numbers are never given twice
//	dag.NAME                the DAG; without functions: it is gone
const (
	functionPrefix = "function."
	deletedPrefix  = "deleted."
	dagPrefix      = "dag."
)

var errUnknownRecord = errors.New("entry of unknown kind")

// record is one entry of the bucket.
type record struct {
	key      string
	function *pb.Function // of function.* and deleted.*
	dag      *DAG         // of dag.*; its Graph is nil when the DAG is gone
}

func functionRecord(f *pb.Function) record {
	return record{key: fmt.Sprintf("%s%s.%d", functionPrefix, encodeName(f.GetName()), f.GetVersion()), function: f}
}

func deletedRecord(name string, last uint64) record {
	return record{key: deletedPrefix + encodeName(name), function: &pb.Function{Name: name, Version: last}}
}

func dagRecord(d *DAG) record { return record{key: dagPrefix + encodeName(d.GetName()), dag: d} }

func (r record) encode() ([]byte, error) {
	if r.dag != nil {
		return proto.Marshal(r.dag.Dag)
	}
	return proto.Marshal(r.function)
}

// decode reads an entry. Entries of a kind that a later version may add are refused with errUnknownRecord.
func decode(key string, value []byte) (record, error) {
	switch {
	case strings.HasPrefix(key, functionPrefix), strings.HasPrefix(key, deletedPrefix):
		f := &pb.Function{}
		if err := proto.Unmarshal(value, f); err != nil {
			return record{}, fmt.Errorf("decode %s: %w", key, err)
		}
		if f.GetName() == "" || f.GetVersion() == 0 {
			return record{}, fmt.Errorf("decode %s: no name or no version", key)
		}
		return record{key: key, function: f}, nil
	case strings.HasPrefix(key, dagPrefix):
		d := &pb.Dag{}
		if err := proto.Unmarshal(value, d); err != nil {
			return record{}, fmt.Errorf("decode %s: %w", key, err)
		}
		if d.GetName() == "" {
			return record{}, fmt.Errorf("decode %s: no name", key)
		}
		if len(d.GetFunctions()) == 0 {
			return record{key: key, dag: &DAG{Dag: d}}, nil
		}
		graph, err := newGraph(d)
		if err != nil {
			return record{}, fmt.Errorf("decode %s: %w", key, err)
		}
		return record{key: key, dag: &DAG{Dag: d, Graph: graph}}, nil
	}
	return record{}, fmt.Errorf("%w: %s", errUnknownRecord, key)
}

func newGraph(d *pb.Dag) (*dag.DAG, error) {
	links := make([]dag.Link, len(d.GetLinks()))
	for i, l := range d.GetLinks() {
		links[i] = dag.Link{Source: l.GetSource(), Sink: l.GetSink()}
	}
	return dag.New(d.GetName(), d.GetFunctions(), links)
}

// versions is what is known of one function name.
type versions struct {
	live []*pb.Function // ascending; empty when the name is deleted
	last uint64         // the highest version that was ever given
}

func (v *versions) latest() *pb.Function {
	if v == nil || len(v.live) == 0 {
		return nil
	}
	return v.live[len(v.live)-1]
}

func (v *versions) version(n uint64) *pb.Function {
	i, found := slices.BinarySearchFunc(v.live, n, func(f *pb.Function, n uint64) int { return cmp.Compare(f.GetVersion(), n) })
	if !found {
		return nil
	}
	return v.live[i]
}

// state is what the log adds up to, at the sequence applied. It knows no lock.
type state struct {
	applied       uint64
	functions     map[string]*versions
	functionsLive int
	dags          map[string]*DAG
}

func newState() *state {
	return &state{functions: map[string]*versions{}, dags: map[string]*DAG{}}
}

// apply takes an entry in. It returns the function versions that the entry made garbage of.
func (s *state) apply(rec record, revision uint64) (garbage []*pb.Function) {
	s.applied = max(s.applied, revision)
	switch {
	case rec.dag != nil && rec.dag.Graph == nil:
		delete(s.dags, rec.dag.GetName())
	case rec.dag != nil:
		s.dags[rec.dag.GetName()] = rec.dag
	case strings.HasPrefix(rec.key, deletedPrefix):
		return s.applyDeleted(rec.function)
	default:
		s.applyFunction(rec.function)
	}
	return nil
}

func (s *state) applyFunction(f *pb.Function) {
	v := s.functions[f.GetName()]
	if v == nil {
		v = &versions{}
		s.functions[f.GetName()] = v
	}
	if f.GetVersion() <= v.last {
		// Each version has one entry and entries come in the order of the log: only a foreign hand brings an old one.
		return
	}
	if len(v.live) == 0 {
		s.functionsLive++
	}
	v.live = append(v.live, f)
	v.last = f.GetVersion()
}

func (s *state) applyDeleted(f *pb.Function) (garbage []*pb.Function) {
	v := s.functions[f.GetName()]
	if v == nil {
		v = &versions{}
		s.functions[f.GetName()] = v
	}
	kept := len(v.live)
	for i, live := range v.live {
		if live.GetVersion() > f.GetVersion() {
			kept = i
			break
		}
	}
	if len(v.live) > 0 && kept == len(v.live) {
		s.functionsLive--
	}
	garbage, v.live = v.live[:kept:kept], slices.Clone(v.live[kept:])
	v.last = max(v.last, f.GetVersion())
	return garbage
}

// holds reports whether rec itself has been taken in.
func (s *state) holds(rec record) bool {
	switch {
	case rec.dag != nil && rec.dag.Graph == nil:
		return s.dags[rec.dag.GetName()] == nil
	case rec.dag != nil:
		known := s.dags[rec.dag.GetName()]
		return known != nil && proto.Equal(known.Dag, rec.dag.Dag)
	}
	v := s.functions[rec.function.GetName()]
	if v == nil {
		return false
	}
	if strings.HasPrefix(rec.key, deletedPrefix) {
		return v.last >= rec.function.GetVersion() && (len(v.live) == 0 || v.live[0].GetVersion() > rec.function.GetVersion())
	}
	known := v.version(rec.function.GetVersion())
	return known != nil && known.GetDefinitionKey() == rec.function.GetDefinitionKey()
}
