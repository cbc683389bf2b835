package main

import (
	"os"
	"testing"
	"time"

	"cloudburst/client"
)

func TestLinesAreShown(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 4, 5, 678e6, time.Local)
	line := client.LogLine{At: at, Run: "0123456789abcdef0123456789abcdef", Function: "f", Version: 3, Stream: "stdout", Text: "a\tb \x1b[2J\u009b1mü\r"}
	for name, test := range map[string]struct {
		change  func(*client.LogLine)
		now     time.Time
		colours bool
		want    string
	}{
		"of today":         {nil, at.Add(time.Hour), true, "12:04:05.678 f@3 01234567 | a\tb \\x1b[2J\\x9b1mü\\x0d"},
		"of another day":   {nil, at.AddDate(0, 0, 1), true, "2026-03-01 12:04:05.678 f@3 01234567 | a\tb \\x1b[2J\\x9b1mü\\x0d"},
		"on stderr":        {func(l *client.LogLine) { l.Stream, l.Text = "stderr", "x" }, at, false, "12:04:05.678 f@3 01234567 ! x"},
		"on a terminal":    {func(l *client.LogLine) { l.Stream, l.Text = "stderr", "x" }, at, true, "12:04:05.678 f@3 01234567 ! \x1b[31mx\x1b[0m"},
		"of a child":       {func(l *client.LogLine) { l.Stream, l.Text = "process", "x" }, at, true, "12:04:05.678 f@3 01234567 : x"},
		"of no function":   {func(l *client.LogLine) { l.Function, l.Text = "", "x" }, at, true, "12:04:05.678 - 01234567 | x"},
		"of a strange one": {func(l *client.LogLine) { l.Function, l.Text = "a\x1bb", "x" }, at, true, "12:04:05.678 a�b@3 01234567 | x"},
	} {
		shown := line
		if test.change != nil {
			test.change(&shown)
		}
		if got := lineText(shown, test.now, test.colours); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	if file, err := os.CreateTemp(t.TempDir(), ""); err != nil || coloured(file) {
		t.Errorf("colours in a file, %v", err)
	}
}
