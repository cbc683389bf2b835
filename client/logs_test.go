package client_test

import (
	"errors"
	"strings"
	"testing"

	"cloudburst/client"
)

// printed returns what the lines say that are meant.
func printed(t *testing.T, cloud *client.Client, of client.LogsOf) (texts []string) {
	t.Helper()
	for line, err := range cloud.Logs(t.Context(), of) {
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, line.Stream+" "+line.Text)
	}
	return texts
}

func TestLogs(t *testing.T) {
	t.Parallel()
	cloud := connect(t)
	call := func(function string, args ...any) *client.Future {
		future, err := cloud.Call(t.Context(), function, args...)
		if err == nil {
			_, err = client.Get[any](t.Context(), future)
		}
		if err != nil {
			t.Fatal(err)
		}
		return future
	}
	first := call("print", "two\nlines")
	second := call("warn", "a warning")
	for _, follow := range []bool{false, true} {
		if texts := printed(t, cloud, client.LogsOf{Run: first.ID(), Follow: follow}); strings.Join(texts, ", ") != "stdout two, stdout lines" {
			t.Errorf("of a run, followed %v: %q", follow, texts)
		}
	}
	if texts := printed(t, cloud, client.LogsOf{Run: second.ID()}); len(texts) != 1 || !strings.HasPrefix(texts[0], "stderr ") {
		t.Errorf("on stderr: %q", texts)
	}
	if texts := printed(t, cloud, client.LogsOf{Own: true, Limit: 2}); len(texts) != 2 || texts[0] != "stdout lines" {
		t.Errorf("of this client: %q", texts)
	}
	for line, err := range cloud.Logs(t.Context(), client.LogsOf{Function: "print@1", Follow: true, Limit: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		if line.Text == "new" {
			if line.Function != "print" || line.Version != 1 || line.At.IsZero() || line.Dropped != 0 {
				t.Errorf("%+v", line)
			}
			break
		}
		call("print", "new")
	}
	for _, of := range []client.LogsOf{{Run: "x"}, {Run: strings.Repeat("a", 33)}, {Function: "print@x"}, {Limit: 10_001}} {
		for _, err := range cloud.Logs(t.Context(), of) {
			if !errors.Is(err, client.ErrInvalidArgument) {
				t.Errorf("%+v: %v", of, err)
			}
		}
	}
}
