package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"cloudburst/client"
)

const (
	// linesOfRun is how many lines a node keeps of one run.
	linesOfRun = 10_000
	// shortRun is how much of a run's id is shown.
	shortRun = 8
	// lastLinesWait is how long the result of a call waits for the last lines of its run.
	lastLinesWait = 2 * time.Second
)

const logsHelp = `

Each line is shown with the time, the function, the beginning of the run's id, and a mark: | for stdout, ! for stderr (red on a
terminal), : for what a library or a child process has written past Python's own streams. Control characters are shown as \x1b.
With -o json each line is one JSON object, and its text is as it was printed.`

func (c *cli) runLogsCommand() *cobra.Command {
	var of client.LogsOf
	cmd := &cobra.Command{
		Use: "logs ID", Short: "Show what a run and the runs below it have printed",
		Long: "Show what a run and the runs below it have printed. With -f, go on with what they print until the run has ended. The beginning of\n" +
			"the id is enough when only one run that has printed begins so." + logsHelp,
		Example: "  cloudburst runs logs 5f0c2a9e -f",
		Args:    between(1, 1, "the id of a run"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			of.Run = args[0]
			return c.with(cmd.Context(), func(ctx context.Context, cloud *client.Client) error { return c.logs(ctx, cloud, of) })
		},
	}
	cmd.Flags().BoolVarP(&of.Follow, "follow", "f", false, "go on with the lines that come, until the run has ended")
	cmd.Flags().IntVar(&of.Limit, "limit", linesOfRun, "show at most this many of the lines that are there, the latest")
	return cmd
}

func (c *cli) fnLogsCommand() *cobra.Command {
	var of client.LogsOf
	cmd := &cobra.Command{
		Use: "logs [NAME[@VERSION]]", Short: "Show what a function has printed, in all of its runs",
		Long: "Show what a function has printed, in all of its runs; without a name, what all functions have. With -f, go on with what they\n" +
			"print until Ctrl-C. NAME is the whole name." + logsHelp,
		Example: "  cloudburst fn logs greet -f\n  cloudburst fn logs greet@3 --limit 100",
		Args:    between(0, 1, "at most the name of a function"), ValidArgsFunction: c.completing(false, functionNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			of.Function = strings.Join(args, "")
			return c.with(cmd.Context(), func(ctx context.Context, cloud *client.Client) error { return c.functionLogs(ctx, cloud, of) })
		},
	}
	cmd.Flags().BoolVarP(&of.Follow, "follow", "f", false, "go on with the lines that come, until Ctrl-C")
	cmd.Flags().IntVar(&of.Limit, "limit", 1000, "show at most this many of the lines that are there, the latest")
	return cmd
}

// functionLogs shows the lines of a function that is registered, or that has been.
func (c *cli) functionLogs(ctx context.Context, cloud *client.Client, of client.LogsOf) error {
	if of.Function != "" {
		name, _, _ := strings.Cut(of.Function, "@")
		known, err := functionNames(ctx, cloud, "")
		if err != nil {
			return err
		}
		if err := whole("function", name, known, "cloudburst fn ls"); err != nil {
			return err
		}
	}
	return c.logs(ctx, cloud, of)
}

// logs shows lines until there are no more, or until Ctrl-C.
func (c *cli) logs(ctx context.Context, cloud *client.Client, of client.LogsOf) error {
	if of.Limit < 1 || of.Limit > linesOfRun {
		return usage("--limit %d: must be between 1 and %d", of.Limit, linesOfRun)
	}
	show := c.lineWriter()
	for line, err := range cloud.Logs(ctx, of) {
		if errors.Is(err, client.ErrCancelled) && of.Follow {
			return nil // Ctrl-C is how it ends
		}
		if err != nil {
			return err
		}
		if err := show(line); err != nil {
			return err
		}
	}
	return nil
}

// lineWriter returns what shows a line on stdout.
func (c *cli) lineWriter() func(client.LogLine) error {
	if c.output == "json" {
		encoder := json.NewEncoder(c.stdout)
		encoder.SetEscapeHTML(false)
		return func(line client.LogLine) error { return encoder.Encode(line) }
	}
	colours := coloured(c.stdout)
	return func(line client.LogLine) error {
		if line.Dropped > 0 {
			fmt.Fprintf(c.stderr, "%s missing\n", plural(int(line.Dropped), "line"))
		}
		return c.say("%s", lineText(line, time.Now(), colours))
	}
}

// lineText returns a line as people read it.
func lineText(line client.LogLine, now time.Time, colours bool) string {
	const day, clock = "2006-01-02", "15:04:05.000"
	layout, at := clock, line.At.Local()
	if at.Format(day) != now.Local().Format(day) {
		layout = day + " " + clock
	}
	mark, text := ":", escaped(line.Text)
	switch line.Stream {
	case "stdout":
		mark = "|"
	case "stderr":
		mark = "!"
		if colours {
			text = "\x1b[31m" + text + "\x1b[0m"
		}
	}
	function := "-"
	if line.Function != "" {
		function = fmt.Sprintf("%s@%d", printable(line.Function), line.Version)
	}
	return fmt.Sprintf("%s %s %.*s %s %s", at.Format(layout), function, shortRun, line.Run, mark, text)
}

// escaped keeps what functions print from steering the terminal, and shows what it was.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			fmt.Fprintf(&b, "\\x%02x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// coloured reports whether what is written is read on a terminal by a person who wants colours (https://no-color.org).
func coloured(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// printing shows on stderr what a run prints, as it comes. wait returns when all of it has been shown, and the run has ended.
func (c *cli) printing(ctx context.Context, cloud *client.Client, run string) (wait func()) {
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		colours := coloured(c.stderr)
		for line, err := range cloud.Logs(ctx, client.LogsOf{Run: run, Follow: true, Limit: linesOfRun}) {
			if err != nil {
				return // the call says what is wrong
			}
			if line.Dropped > 0 {
				fmt.Fprintf(c.stderr, "… %s missing\n", plural(int(line.Dropped), "line"))
			}
			text := escaped(line.Text)
			if colours && line.Stream == "stderr" {
				text = "\x1b[31m" + text + "\x1b[0m"
			}
			fmt.Fprintln(c.stderr, text)
		}
	}()
	return func() {
		select {
		case <-shown:
		case <-time.After(lastLinesWait):
		}
	}
}
