package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// A run that does not fit into one answer is shown without the keys that its functions have read, or the runs that they wait for.
func TestTheAnswerHasTheRunHoweverLargeItIs(t *testing.T) {
	t.Parallel()
	const wide = 20
	registry := newFakeRegistry()
	d := &pb.Dag{Name: "fan", Functions: []string{"first", "last"}}
	for _, name := range d.GetFunctions() {
		registry.register(&pb.Function{Name: name})
	}
	for i := range wide {
		name := fmt.Sprint("f", i)
		registry.register(&pb.Function{Name: name})
		d.Functions = append(d.Functions, name)
		d.Links = append(d.Links, &pb.Link{Source: "first", Sink: name}, &pb.Link{Source: name, Sink: "last"})
	}
	if err := registry.registerDAG(d); err != nil {
		t.Fatal(err)
	}
	held := make(chan *wire.Invocation, wide)
	s := start(t, Config{}, registry, newFakeStore(), executorFunc(func(inv *wire.Invocation) {
		if name := inv.Steps[0].Function.GetName(); name == "first" || name == "last" {
			inv.Done(wire.Result{Value: text(name)})
			return
		}
		held <- inv
	}))
	id := runID(1)
	results := make(chan wire.Result, 1)
	s.Call(1, &pb.Call{RunId: id[:], Target: &pb.Call_Dag{Dag: "fan"}}, nil, nil, func(r wire.Result) bool { results <- r; return true })
	s.Call(1, &pb.Call{RunId: append(make([]byte, 15), 2), Parent: id[:], Target: &pb.Call_Function{Function: "first"}}, nil, nil, func(wire.Result) bool { return true })
	invocations := make([]*wire.Invocation, wide)
	for i := range invocations {
		invocations[i] = <-held
	}
	shown := func(what string, reads, unlisted, waits, below int, more bool) {
		t.Helper()
		runs, err := s.Tree(&pb.GetRun{Prefix: id.String()})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(runs.GetRuns()); n != 1+below || runs.GetMore() != more {
			t.Fatalf("%s: %d runs, more: %v", what, n, runs.GetMore())
		}
		if size := proto.Size(runs); size > runsBytesMax {
			t.Errorf("%s: %d bytes", what, size)
		}
		found := runs.GetRuns()[0]
		gotReads, gotUnlisted := 0, 0
		for _, step := range found.GetSteps() {
			gotReads += len(step.GetReads())
			gotUnlisted += int(step.GetReadsUnlisted())
		}
		if len(found.GetSteps()) != wide+2 || gotReads != reads || gotUnlisted != unlisted || len(found.GetWaitsFor()) != waits {
			t.Errorf("%s: %d functions, %d reads, %d more, waits for %d", what, len(found.GetSteps()), gotReads, gotUnlisted, len(found.GetWaitsFor()))
		}
	}
	shown("small", 0, 0, 0, 1, false)
	for _, inv := range invocations {
		for n := range wire.ReadsListedMax + 1 {
			inv.Trace.Read(fmt.Sprint(strings.Repeat("k", 1000), n), false)
		}
	}
	shown("with many keys", 0, wide*(wire.ReadsListedMax+1), 0, 1, true)
	invocations[0].Trace.Start(time.Now(), 1, 1)
	invocations[0].Trace.Wait(slices.Repeat([]wire.RunID{id}, 70_000))
	shown("that waits for many runs", 0, wide*(wire.ReadsListedMax+1), 0, 1, true)
	if runs, err := s.Runs(&pb.ListRuns{Target: "fan"}); err != nil || len(runs.GetRuns()) != 1 || !runs.GetMore() {
		t.Errorf("listed: %v, %v", runs, err)
	}
	for _, inv := range invocations {
		inv.Done(wire.Result{Value: text("x")})
	}
	if r := <-results; r.Err != nil {
		t.Error(r.Err)
	}
}
