package scheduler

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// runsListedDefault and runsListedMax bound the runs of one listing.
	runsListedDefault = 100
	runsListedMax     = 10_000
	// runsBytesMax is what the runs of one answer may take.
	runsBytesMax = wire.HeaderBytesMax - 64<<10
	// errorListedMax is how much of an error's message a listing has.
	errorListedMax = 512
	// errorShownMax is how much of each text of an error a run has that is shown alone; of a traceback it is twice as much.
	errorShownMax = 32 << 10
)

// Runs returns the runs that match, the newest first: those under way and those that ended lately.
func (s *Scheduler) Runs(list *pb.ListRuns) (*pb.Runs, error) {
	limit := int(cmp.Or(list.GetLimit(), runsListedDefault))
	if limit > runsListedMax {
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "list runs: a limit of %d is more than %d", limit, runsListedMax)
	}
	if n := len(list.GetParent()); n != 0 && n != len(wire.RunID{}) {
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "list runs: the id of a run has %d bytes, and that of the parent has %d", len(wire.RunID{}), n)
	}
	children := make(map[wire.RunID]uint32)
	var matching []record
	s.known(func(r *record) {
		if r.parent != (wire.RunID{}) {
			children[r.parent]++
		}
		if r.matches(list) {
			matching = append(matching, *r)
		}
	})
	slices.SortFunc(matching, func(a, b record) int {
		return cmp.Or(cmp.Compare(b.started, a.started), slices.Compare(a.id[:], b.id[:]))
	})
	out := page{Runs: &pb.Runs{More: len(matching) > limit}}
	for i := range matching[:min(limit, len(matching))] {
		shown := matching[i].proto(errorListedMax)
		shown.Children = children[matching[i].id]
		if !out.add(shown) {
			break
		}
	}
	return out.Runs, nil
}

// Tree returns a run with its steps, and then those below it, parents before their children. It fails with ErrRunNotFound.
func (s *Scheduler) Tree(get *pb.GetRun) (*pb.Runs, error) {
	prefix := strings.ToLower(get.GetPrefix())
	if id := get.GetRunId(); len(id) > 0 {
		prefix = hex.EncodeToString(id)
	}
	if prefix == "" || len(prefix) > 2*len(wire.RunID{}) || strings.Trim(prefix, "0123456789abcdef") != "" {
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "show run %.64q: the id of a run, or the beginning of one, is up to %d hexadecimal digits", prefix, 2*len(wire.RunID{}))
	}
	var found *record
	others := 0
	below := make(map[wire.RunID][]record)
	s.known(func(r *record) {
		if strings.HasPrefix(r.id.String(), prefix) {
			if found != nil {
				others++
			} else {
				found = new(record)
				*found = *r
			}
		}
		if r.parent != (wire.RunID{}) {
			below[r.parent] = append(below[r.parent], *r)
		}
	})
	switch {
	case found == nil:
		return nil, notFound(prefix)
	case others > 0:
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "run %q may be any of %d; write more of its id", prefix, others+1)
	}
	out := page{Runs: new(pb.Runs)}
	seen := map[wire.RunID]bool{found.id: true}
	for queue := []record{*found}; len(queue) > 0; queue = queue[1:] {
		r := &queue[0]
		shown := r.proto(errorShownMax)
		shown.Steps = r.protoSteps()
		shown.Children = uint32(len(below[r.id]))
		if !out.add(shown) {
			break
		}
		children := below[r.id]
		slices.SortFunc(children, func(a, b record) int { return cmp.Compare(a.started, b.started) })
		for _, child := range children {
			if !seen[child.id] { // the ids of parents are what callers have said
				seen[child.id] = true
				queue = append(queue, child)
			}
		}
	}
	return out.Runs, nil
}

// known calls see once for each run that is known. A record is valid during the call only.
func (s *Scheduler) known(see func(*record)) {
	live := make(map[wire.RunID]struct{})
	var one record
	for _, r := range s.table.all() {
		r.record(&one)
		live[r.id] = struct{}{}
		see(&one)
	}
	s.recent.visit(func(r *record) {
		if _, twice := live[r.id]; !twice {
			live[r.id] = struct{}{}
			see(r)
		}
	})
}

// matches reports whether a listing asks for the run.
func (r *record) matches(list *pb.ListRuns) bool {
	switch {
	case len(list.GetStates()) > 0 && !slices.Contains(list.GetStates(), r.state()),
		list.GetLabel() != "" && list.GetLabel() != r.label,
		len(list.GetParent()) > 0 && string(list.GetParent()) != string(r.parent[:]):
		return false
	}
	return list.GetTarget() == "" || r.plan.named(list.GetTarget())
}

// named reports whether a plan is that of a function, with or without its version, or of a DAG.
func (p *plan) named(target string) bool {
	if p.dag != nil {
		return p.dag.GetName() == target
	}
	return p.functions[0].GetName() == target || p.target() == target
}

// target returns "sq@3", or the name of a DAG.
func (p *plan) target() string {
	if p.dag != nil {
		return p.dag.GetName()
	}
	return nameOf(p.functions[0])
}

// page is an answer that has room for so many runs.
type page struct {
	*pb.Runs
	bytes int
}

// add adds a run, unless there is no more room for it. The first one is always added: when it is too large, the keys that its functions
// have read are left out of it, and if that is not enough the runs that they wait for. What is left fits, however large the DAG is.
func (p *page) add(one *pb.Run) bool {
	const overheadMax = 8 // of one run in the message
	fits := func() bool { return p.bytes+proto.Size(one)+overheadMax <= runsBytesMax }
	if !fits() {
		p.More = true
		if len(p.Runs.Runs) > 0 {
			return false
		}
		leaveOutReads(one)
		if !fits() {
			leaveOutWaits(one)
		}
	}
	p.bytes += proto.Size(one) + overheadMax
	p.Runs.Runs = append(p.Runs.Runs, one)
	return true
}

// leaveOutReads leaves the keys that the functions of a run have read out of it, and counts them.
func leaveOutReads(one *pb.Run) {
	for _, step := range one.GetSteps() {
		step.ReadsUnlisted += uint32(len(step.GetReads()))
		step.Reads = nil
	}
}

func leaveOutWaits(one *pb.Run) {
	one.WaitsFor = nil
	for _, step := range one.GetSteps() {
		step.WaitsFor = nil
	}
}

// proto returns the run as it travels, with so much of its error's texts.
func (r *record) proto(textMax int) *pb.Run {
	out := &pb.Run{
		RunId: slices.Clone(r.id[:]), Target: r.plan.target(), Dag: r.plan.dag != nil, Label: r.label, State: r.state(),
		StartedMicroseconds: r.started, EndedMicroseconds: r.ended, DeadlineMicroseconds: r.deadline, Detached: r.detached, Error: shown(r.err, textMax),
	}
	if r.parent != (wire.RunID{}) {
		out.Parent = slices.Clone(r.parent[:])
	}
	if r.ended == 0 {
		for _, s := range r.all() {
			out.WaitsFor = append(out.WaitsFor, ids(s.Waits)...)
		}
	}
	return out
}

// protoSteps returns the functions of the run, those of one invocation with its times.
func (r *record) protoSteps() []*pb.RunStep {
	out := make([]*pb.RunStep, len(r.plan.functions))
	for c, s := range r.all() {
		chain := &r.plan.chains[c]
		raised := chain.first
		if e := r.err; s.failed && e != nil && e.Exception != nil {
			for i := chain.first; i < chain.end; i++ {
				if f := r.plan.functions[i]; f.GetName() == e.Exception.GetFunction() && f.GetVersion() == e.Exception.GetVersion() {
					raised = i
				}
			}
		}
		listed, unlisted := s.Reads.All()
		for i := chain.first; i < chain.end; i++ {
			f := r.plan.functions[i]
			one := &pb.RunStep{
				Function: f.GetName(), Version: f.GetVersion(), State: r.stateOf(&s), Worker: s.Worker, Attempt: s.Attempt,
				QueuedMicroseconds: s.Queued, StartedMicroseconds: s.Started, EndedMicroseconds: s.ended,
			}
			if r.ended == 0 {
				one.WaitsFor = ids(s.Waits)
			} else if one.GetEndedMicroseconds() == 0 && s.Started != 0 {
				one.EndedMicroseconds = r.ended
			}
			if i == chain.first { // the keys are those of the invocation; which of its functions read them is not known
				one.ReadsUnlisted = unlisted
				for _, read := range listed {
					one.Reads = append(one.Reads, &pb.Read{Key: read.Key, AnsweredBy: answeredBy(read.Store)})
				}
			}
			if s.failed {
				switch {
				case i < raised:
					one.State = pb.RunState_RUN_STATE_DONE
				case i == raised:
					one.Error = shown(r.err, errorShownMax)
				default:
					one.State = pb.RunState_RUN_STATE_UNSPECIFIED
				}
			}
			out[i] = one
		}
	}
	return out
}

func answeredBy(store bool) string {
	if store {
		return "store"
	}
	return "cache"
}

func ids(runs []wire.RunID) [][]byte {
	var out [][]byte
	for _, id := range runs {
		out = append(out, slices.Clone(id[:]))
	}
	return out
}

// shown returns an error with so much of its texts.
func shown(err *wire.Error, textMax int) *pb.Error {
	if err == nil {
		return nil
	}
	out := err.Proto()
	out.Message = shortenTo(out.GetMessage(), textMax)
	if e := out.GetException(); e != nil {
		out.Exception = &pb.RemoteException{
			Type: shortenTo(e.GetType(), textMax), Message: shortenTo(e.GetMessage(), textMax), Function: e.GetFunction(), Version: e.GetVersion(),
		}
		if textMax > errorListedMax {
			out.Exception.Traceback = shortenTo(e.GetTraceback(), 2*textMax)
		}
	}
	return out
}
