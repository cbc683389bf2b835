package node

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestTextLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := Log{Level: "info"}.NewLogger(&out)
	logger.Debug("not shown")
	logger.With("worker", 3).WithGroup("run").Info("two\nlines\x1b[31m", "id", "a b", "took", time.Second, "none", "")
	logger.Warn("failed", "error", errors.New(`it said "no"`), slog.Group("where", "file", "x"))
	want := []string{
		`INFO  two\nlines\x1b[31m worker=3 run.id="a b" run.took=1s run.none=""`,
		`WARN  failed error="it said \"no\"" where.file=x`,
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != len(want) {
		t.Fatalf("got:\n%s", out.String())
	}
	for i, line := range lines {
		moment, rest, _ := strings.Cut(line, " ")
		if _, err := time.Parse("15:04:05.000", moment); err != nil || rest != want[i] {
			t.Errorf("got  %s\nwant %s", line, want[i])
		}
	}
}

func TestJSONLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	Log{Level: "warn", Format: "json"}.NewLogger(&out).Warn("failed", "worker", 3)
	if !strings.Contains(out.String(), `"msg":"failed","worker":3`) {
		t.Errorf("got %s", out.String())
	}
}

func TestStartLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	below := Log{}.NewLogger(&out)

	logger, held := holdLog(below)
	logger.With("a", 1).Info("one")
	if out.Len() > 0 {
		t.Errorf("written while it is held: %s", out.String())
	}
	held.release()
	logger.Info("two")
	held.discard()
	logger.Info("three")
	if got := out.String(); !strings.Contains(got, "one a=1\n") || strings.Count(got, "\n") != 3 {
		t.Errorf("got:\n%s", got)
	}

	out.Reset()
	logger, held = holdLog(below)
	logger.Info("one")
	held.discard()
	if out.Len() > 0 {
		t.Errorf("written though it was discarded: %s", out.String())
	}

	logger, held = holdLog(below)
	for range startLogMax + 1 {
		logger.Info("many")
	}
	if got := strings.Count(out.String(), "\n"); got != startLogMax+1 {
		t.Errorf("%d of %d lines are written when there are too many to hold", got, startLogMax+1)
	}
	held.discard()
}
