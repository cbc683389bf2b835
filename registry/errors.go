package registry

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"cloudburst/names"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

var (
	// ErrFunctionNotFound is returned when no function of a name, or no such version of it, is registered.
	ErrFunctionNotFound = wire.ErrFunctionNotFound
	// ErrDAGNotFound is returned when no DAG of a name is registered.
	ErrDAGNotFound = wire.ErrDAGNotFound
	// ErrDAGExists is returned when a DAG of that name is registered already.
	ErrDAGExists = wire.ErrDAGExists
	// ErrFunctionInUse is returned when a function cannot be deleted because a DAG uses it.
	ErrFunctionInUse = errors.New("function in use")
)

const (
	suggestionsMax = 3
	// suggestionsScanMax bounds the names that a wrong one is compared with.
	suggestionsScanMax = 512
	dagsNamedMax       = 5
)

// refusal is an error of this package's own kind that crosses the wire with a code.
type refusal struct {
	sentinel error
	wire     *wire.Error
}

func (r *refusal) Error() string   { return r.wire.Message }
func (r *refusal) Unwrap() []error { return []error{r.sentinel, r.wire} }

func refuse(sentinel error, code pb.Code, format string, args ...any) error {
	return &refusal{sentinel, wire.Errorf(code, format, args...)}
}

func (s *state) functionNotFound(ref string) error {
	name, version, ok := splitRef(ref)
	known := s.functions[name]
	if latest := known.latest(); latest != nil {
		if !ok {
			return wire.Errorf(pb.Code_CODE_FUNCTION_NOT_FOUND, "function %q not found: what follows the @ is a version, as in %s@%d", ref, name, latest.GetVersion())
		}
		return wire.Errorf(pb.Code_CODE_FUNCTION_NOT_FOUND, "function %q has no version %d; it has %s", name, version, ranges(known.live))
	}
	names := make([]string, 0, min(len(s.functions), suggestionsScanMax))
	for candidate, v := range s.functions {
		if len(names) == suggestionsScanMax {
			break
		}
		if v.latest() != nil {
			names = append(names, candidate)
		}
	}
	return wire.Errorf(pb.Code_CODE_FUNCTION_NOT_FOUND, "function %q not found; %s", ref, suggestion(name, names, s.functionsLive, "cloudburst fn ls"))
}

func (s *state) dagNotFound(name string) error {
	names := make([]string, 0, min(len(s.dags), suggestionsScanMax))
	for candidate, d := range s.dags {
		if len(names) == suggestionsScanMax {
			break
		}
		if !d.GetAnonymous() {
			names = append(names, candidate)
		}
	}
	return wire.Errorf(pb.Code_CODE_DAG_NOT_FOUND, "dag %q not found; %s", name, suggestion(name, names, len(names), "cloudburst dag ls"))
}

// ranges shows ascending versions as "1 to 3, 5".
func ranges(live []*pb.Function) string {
	var parts []string
	for i := 0; i < len(live); {
		j := i
		for j+1 < len(live) && live[j+1].GetVersion() == live[j].GetVersion()+1 {
			j++
		}
		part := fmt.Sprint(live[i].GetVersion())
		if j > i {
			part = fmt.Sprintf("%d to %d", live[i].GetVersion(), live[j].GetVersion())
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ", ")
}

// suggestion names the registered names nearest to a wrong one. Few names are all shown; among many, only those that look like a
// slip of the finger.
func suggestion(wrong string, known []string, total int, list string) string {
	if total == 0 {
		return "none is registered"
	}
	wrong = wrong[:min(len(wrong), NameMax)]
	within := math.MaxInt
	if total > suggestionsMax {
		within = max(2, len(wrong)/3)
	}
	near := names.Near(wrong, known, within, suggestionsMax)
	if len(near) == 0 {
		return fmt.Sprintf("%d others are registered (%s lists them)", total, list)
	}
	return fmt.Sprintf("registered: %s (%s lists all)", strings.Join(near, ", "), list)
}
