package scheduler

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func TestEveryFailureIsLoggedOrCounted(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := failures{logger: slog.New(slog.NewTextHandler(&log, nil))}
	at := time.Unix(1000, 0)
	r := &run{id: wire.RunID{1}, plan: newPlanOf("divide", &pb.Function{Name: "divide", Version: 3}), started: at}
	raised := &wire.Error{Code: pb.Code_CODE_EXECUTION, Exception: &pb.RemoteException{
		Type: "ZeroDivisionError", Message: "division by zero", Function: "divide", Version: 3,
	}}
	for i := range failureLinesMax + 5 {
		f.note(at.Add(time.Duration(i)*time.Millisecond), r, raised)
	}
	if n := strings.Count(log.String(), `msg="a run failed" target="function \"divide\"" run=01000000000000000000000000000000 function=divide version=3`); n != failureLinesMax {
		t.Errorf("%d lines, want %d:\n%s", n, failureLinesMax, &log)
	}
	if !strings.Contains(log.String(), `error="ZeroDivisionError: division by zero"`) {
		t.Errorf("the error is not in the lines:\n%s", &log)
	}
	other := &run{plan: newPlanOf("other", &pb.Function{Name: "other", Version: 1}), started: at}
	f.note(at.Add(400*time.Millisecond), other, raised)
	if !strings.Contains(log.String(), `target="function \"other\""`) {
		t.Errorf("the failures of one function hide that of another:\n%s", &log)
	}
	for i := range 2 * failureTargetsMax {
		f.note(at.Add(450*time.Millisecond), &run{plan: newPlanOf(strconv.Itoa(i), new(pb.Function)), started: at}, raised)
	}
	if len(f.targets) > failureTargetsMax+1 {
		t.Errorf("%d targets are told apart", len(f.targets))
	}
	f.flush(at.Add(500 * time.Millisecond))
	if strings.Contains(log.String(), "more runs") {
		t.Errorf("the rest was counted before the second was over:\n%s", &log)
	}
	f.flush(at.Add(time.Second))
	f.flush(at.Add(2 * time.Second))
	if n := strings.Count(log.String(), `msg="more runs failed, which are not listed" target="function \"divide\"" runs=5`); n != 1 {
		t.Errorf("the rest was counted %d times:\n%s", n, &log)
	}

	log.Reset()
	labelled := &run{
		plan: newPlanOf("divide", &pb.Function{Name: "divide", Version: 3}), started: at, parent: wire.RunID{2}, call: &pb.Call{Label: "nightly"},
	}
	for range failureLinesMax + 3 {
		f.note(at.Add(3*time.Second), labelled, wire.Errorf(pb.Code_CODE_CANCELLED, "cancelled by a test"))
	}
	f.flush(at.Add(5 * time.Second))
	for _, line := range []string{
		`level=INFO msg="a run was cancelled" target="function \"divide\"" run=00000000000000000000000000000000 function=divide version=3 label=nightly parent=02000000000000000000000000000000`,
		`level=INFO msg="more runs were cancelled, which are not listed" target="function \"divide\"" runs=3`,
	} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("%s is not in the lines:\n%s", line, &log)
		}
	}

	log.Reset()
	f.note(at.Add(6*time.Second), r, wire.Errorf(pb.Code_CODE_WORKER_DIED, "%s", strings.Repeat("é", errorBytesMax)))
	if n := log.Len(); n > 2*errorBytesMax || n < errorBytesMax {
		t.Errorf("a long error makes a line of %d bytes", n)
	}
}
