package scheduler

import (
	"fmt"
	"unicode"
	"unicode/utf8"

	"cloudburst/session"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// check returns the run id of a call that is well-formed by itself, whatever is registered.
func check(call *pb.Call) (wire.RunID, error) {
	if call == nil {
		return wire.RunID{}, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a call without content")
	}
	if len(call.GetRunId()) != len(wire.RunID{}) {
		return wire.RunID{}, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: its run id has %d bytes; it must have %d, chosen at random", targetOf(call), len(call.GetRunId()), len(wire.RunID{}))
	}
	switch id := wire.RunID(call.GetRunId()); {
	case len(call.GetParent()) != 0 && len(call.GetParent()) != len(id):
		return id, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: the id of its parent has %d bytes; it must have %d", targetOf(call), len(call.GetParent()), len(id))
	case len(call.GetParent()) != 0 && wire.RunID(call.GetParent()) == id:
		return id, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: run %s cannot be its own parent", targetOf(call), id)
	case len(call.GetLabel()) > labelBytesMax:
		return id, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: its label has %d bytes; the limit is %d", targetOf(call), len(call.GetLabel()), labelBytesMax)
	case !printable(call.GetLabel()):
		return id, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: its label %+q has characters that cannot be printed", targetOf(call), call.GetLabel())
	}
	if level := session.Level(call.GetLevel()); !level.Supported() {
		return wire.RunID{}, wire.Errorf(pb.Code_CODE_UNSUPPORTED, "call %s: consistency level %s is not supported yet; use %s", targetOf(call), level, session.LWW)
	}
	return wire.RunID(call.GetRunId()), nil
}

// printable reports whether a string can be shown as it is.
func printable(text string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// given returns how many values the arguments of a call take, those of its continuations left out.
func given(call *pb.Call) int {
	n := 0
	for _, a := range call.GetArguments() {
		n += int(a.GetPositional()) + len(a.GetKeywords())
	}
	return n
}

// cutContinuation parts the values of a call from those of its continuation, and checks that there are as many as are
// announced and that each is one.
func cutContinuation(call *pb.Call, values [][]byte) (own, following [][]byte, err error) {
	total, n := 0, 0
	for c := call; c != nil; c = c.GetContinuation() {
		if n++; n > 1+continuationsMax {
			return nil, nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: it has more than %d continuations, the limit", targetOf(call), continuationsMax)
		}
		total += given(c)
	}
	if total != len(values) {
		return nil, nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: its arguments announce %d values, and %d came with it", targetOf(call), total, len(values))
	}
	for i, value := range values {
		if len(value) == 0 || len(value) > wire.ValueBytesMax {
			if err := wire.CheckValue(fmt.Sprintf("call %s: argument %d", targetOf(call), i), value); err != nil {
				return nil, nil, err
			}
		}
	}
	split := given(call)
	return values[:split:split], values[split:], nil
}

// route gives every function of the run its arguments. When they are large together it changes to the plan that invokes the
// functions one by one.
func (r *run) route() error {
	bytes := 0
	for _, value := range r.values {
		bytes += len(value)
	}
	if bytes > chainBytesMax {
		r.plan = r.plan.apart()
	}
	for i, f := range r.plan.functions {
		r.steps[i].Function = f
	}
	return route(r.plan, r.call, r.steps, r.spans)
}

// route fills in, for every function of a plan, its numbers of arguments and where they are among the values of the call.
func route(p *plan, call *pb.Call, steps []wire.Step, spans []span) error {
	next := 0
	for _, a := range call.GetArguments() {
		at, err := p.find(a.GetFunction())
		if err != nil {
			return err
		}
		if spans[at].given {
			return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: arguments are given for function %q twice", p, p.refs[at])
		}
		if keyword, twice := repeated(a.GetKeywords()); twice {
			return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: function %q is given keyword argument %q twice", p, a.GetFunction(), keyword)
		}
		steps[at].Positional = int(a.GetPositional())
		steps[at].Keywords = a.GetKeywords()
		end := next + int(a.GetPositional()) + len(a.GetKeywords())
		spans[at] = span{first: next, end: end, given: true}
		next = end
	}
	return nil
}

// repeated returns a string that stands in the list twice.
func repeated(list []string) (string, bool) {
	if len(list) < 2 {
		return "", false
	}
	seen := make(map[string]bool, len(list))
	for _, s := range list {
		if seen[s] {
			return s, true
		}
		seen[s] = true
	}
	return "", false
}

// targetOf names what a call asks for.
func targetOf(call *pb.Call) string {
	switch target := call.GetTarget().(type) {
	case *pb.Call_Function:
		return fmt.Sprintf("function %q", target.Function)
	case *pb.Call_Dag:
		return fmt.Sprintf("dag %q", target.Dag)
	default:
		return "of nothing"
	}
}

// sameTarget reports whether two calls ask for the same run.
func sameTarget(a, b *pb.Call) bool {
	return a.GetFunction() == b.GetFunction() && a.GetDag() == b.GetDag() &&
		a.GetStore() == b.GetStore() && a.GetOutputKey() == b.GetOutputKey()
}
