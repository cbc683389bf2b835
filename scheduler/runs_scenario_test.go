package scheduler

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// The commands of scenarios that look at runs and cancel them.

func runNumbered(t *testing.T, number string) []byte {
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	id := runID(n)
	return id[:]
}

func (s *scenario) cancelRun(t *testing.T, d *datadriven.TestData) string {
	id := wire.RunID(runNumbered(t, d.CmdArgs[0].Vals[0]))
	reason := ""
	if len(d.CmdArgs) > 1 {
		reason = d.CmdArgs[1].Key
	}
	if err := s.Cancel(id, "a client", reason); err != nil {
		return err.Error()
	}
	return ""
}

func (s *scenario) list(t *testing.T, d *datadriven.TestData) string {
	list := new(pb.ListRuns)
	for _, arg := range d.CmdArgs {
		switch value := arg.Vals[0]; arg.Key {
		case "state":
			list.States = append(list.States, pb.RunState(pb.RunState_value["RUN_STATE_"+strings.ToUpper(value)]))
		case "function":
			list.Target = value
		case "label":
			list.Label = value
		case "parent":
			list.Parent = runNumbered(t, value)
		case "limit":
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			list.Limit = uint32(n)
		}
	}
	return shownRuns(s.Runs(list))
}

func (s *scenario) tree(t *testing.T, d *datadriven.TestData) string {
	get := new(pb.GetRun)
	if d.CmdArgs[0].Key == "run" {
		get.RunId = runNumbered(t, d.CmdArgs[0].Vals[0])
	} else {
		get.Prefix = d.CmdArgs[0].Vals[0]
	}
	return shownRuns(s.Tree(get))
}

func shownRuns(runs *pb.Runs, err error) string {
	if err != nil {
		return err.Error()
	}
	var lines []string
	number := func(id []byte) uint16 { return binary.BigEndian.Uint16(id[14:]) }
	state := func(s pb.RunState) string { return strings.ToLower(strings.TrimPrefix(s.String(), "RUN_STATE_")) }
	for _, r := range runs.GetRuns() {
		line := fmt.Sprintf("%d %s %s", number(r.GetRunId()), r.GetTarget(), state(r.GetState()))
		if len(r.GetParent()) > 0 {
			line += fmt.Sprintf(" below %d", number(r.GetParent()))
		}
		if r.GetChildren() > 0 {
			line += fmt.Sprintf(" above %d", r.GetChildren())
		}
		if r.GetDetached() {
			line += " detached"
		}
		if r.GetLabel() != "" {
			line += " label " + r.GetLabel()
		}
		if r.GetError() != nil {
			line += ": " + r.GetError().GetMessage() + r.GetError().GetException().GetType()
		}
		lines = append(lines, line)
		for _, step := range r.GetSteps() {
			line := fmt.Sprintf("  %s@%d %s on %d", step.GetFunction(), step.GetVersion(), state(step.GetState()), step.GetWorker())
			if step.GetEndedMicroseconds() > 0 {
				line += fmt.Sprintf(" took %dms", (step.GetEndedMicroseconds()-step.GetStartedMicroseconds())/1000)
			}
			for _, read := range step.GetReads() {
				line += fmt.Sprintf(" read %s (%s)", read.GetKey(), read.GetAnsweredBy())
			}
			if step.GetError() != nil {
				line += " error"
			}
			lines = append(lines, line)
		}
	}
	if runs.GetMore() {
		lines = append(lines, "more")
	}
	return strings.Join(lines, "\n")
}
