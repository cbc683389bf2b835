package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloudburst/client"
	"cloudburst/wire"
)

const (
	// watchEvery is how often a listing that is watched is drawn again.
	watchEvery = time.Second
	// runsListedMax is how many runs a node lists at most.
	runsListedMax = 10_000
	// readsShown is how many of the keys that a function has read are shown on its line.
	readsShown = 4
)

var runStates = []string{"queued", "running", "waiting", "done", "failed", "cancelled"}

func (c *cli) runsCommand() *cobra.Command {
	runs := c.toClient(&cobra.Command{Use: "runs", Short: "List, show and cancel runs, which are executions of functions and DAGs", RunE: group, Args: cobra.ArbitraryArgs})
	runs.AddCommand(c.listRunsCommand(), c.showRunCommand(), c.cancelRunsCommand(), c.runLogsCommand())
	return runs
}

func (c *cli) listRunsCommand() *cobra.Command {
	var of client.RunsOf
	var watch bool
	cmd := &cobra.Command{
		Use: "ls", Short: "List the runs that are under way or ended lately, the newest first",
		Example: "  cloudburst runs ls --state running --state waiting --watch\n  cloudburst runs ls --function sq --state failed",
		Args:    between(0, 0, "no argument"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(ctx context.Context, cloud *client.Client) error {
				if watch {
					return c.watchRuns(ctx, cloud, of)
				}
				return c.listRuns(ctx, cloud, of)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&of.States, "state", nil, "only runs in these states: "+strings.Join(runStates, ", "))
	flags.StringVar(&of.Function, "function", "", "only runs of this function, with or without its version, or of this DAG")
	flags.StringVar(&of.Label, "label", "", "only runs with this label")
	flags.StringVar(&of.Parent, "parent", "", "only runs that functions of this run have called")
	flags.IntVar(&of.Limit, "limit", 100, "list at most this many, up to 10,000")
	flags.BoolVarP(&watch, "watch", "w", false, "draw the list again every second, until Ctrl-C")
	completes(cmd, "state", runStates...)
	_ = cmd.RegisterFlagCompletionFunc("function", c.completing(true, functionNames, dagNames))
	_ = cmd.RegisterFlagCompletionFunc("parent", c.completing(true, runIDs))
	return cmd
}

func (c *cli) showRunCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a run: its functions, and the runs below it",
		Long: "Show a run: its functions with worker, attempt, times, the keys that they have read and what they wait for, and the runs below\n" +
			"it. The beginning of an id is enough if no other run begins so.",
		Args: between(1, 1, "the id of a run"), ValidArgsFunction: c.completing(false, runIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(ctx context.Context, cloud *client.Client) error { return c.showRun(ctx, cloud, args[0]) })
		},
	}
}

func (c *cli) cancelRunsCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "cancel ID…", Short: "Cancel runs, and the runs below them",
		Long: "Cancel runs, and the runs below them that are not detached. What has not started never starts; functions that run get an\n" +
			"exception, cloudburst.Cancelled. Ids are whole. A run that has ended is left alone.",
		Args: between(1, -1, "the ids of runs"), ValidArgsFunction: c.completing(true, runIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(ctx context.Context, cloud *client.Client) error { return c.cancelRuns(ctx, cloud, args, reason) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who look at the run")
	return cmd
}

func runIDs(ctx context.Context, cloud *client.Client, prefix string) ([]string, error) {
	runs, _, err := cloud.Runs(ctx, client.RunsOf{})
	var found []string
	for _, r := range runs {
		if strings.HasPrefix(r.ID, prefix) {
			found = append(found, r.ID)
		}
	}
	return found, err
}

func (c *cli) listRuns(ctx context.Context, cloud *client.Client, of client.RunsOf) error {
	if of.Limit < 1 || of.Limit > runsListedMax {
		return usage("--limit %d: must be from 1 to 10,000", of.Limit)
	}
	for _, state := range of.States {
		if !slices.Contains(runStates, state) {
			return usage("--state %q: must be one of %s", state, strings.Join(runStates, ", "))
		}
	}
	if of.Parent != "" {
		parent, _, _, err := cloud.Run(ctx, of.Parent)
		if err != nil {
			return err
		}
		of.Parent = parent.ID
	}
	runs, more, err := cloud.Runs(ctx, of)
	if err != nil {
		return err
	}
	if c.output == "json" {
		return c.json(runs)
	}
	rows := make([][]string, len(runs))
	for i, r := range runs {
		rows[i] = []string{
			shortID(r.ID), r.State, r.Target, cmp.Or(r.Label, "-"), r.Started.Local().Format(time.DateTime), took(r.Started, r.Ended), shortID(r.Parent),
		}
	}
	if err := c.table("ID STATE TARGET LABEL SINCE TOOK PARENT", rows); err != nil {
		return err
	}
	if more {
		return c.say("… there are more; --limit shows up to 10,000")
	}
	return nil
}

// watchRuns draws the listing until ctx ends.
func (c *cli) watchRuns(ctx context.Context, cloud *client.Client, of client.RunsOf) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		if c.output == "table" {
			if err := c.write([]byte("\x1b[H\x1b[2J")); err != nil {
				return err
			}
		}
		if err := c.listRuns(ctx, cloud, of); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (c *cli) showRun(ctx context.Context, cloud *client.Client, id string) error {
	run, below, more, err := cloud.Run(ctx, id)
	if err != nil {
		return err
	}
	if c.output == "json" {
		return c.json(append([]client.Run{run}, below...))
	}
	waits := make([]string, len(run.WaitsFor))
	for i, id := range run.WaitsFor {
		waits[i] = shortID(id)
	}
	err = c.fields(
		"run", run.ID,
		"target", run.Target,
		"state", run.State,
		"label", run.Label,
		"parent", run.Parent+detachedMark(run),
		"started", run.Started.Local().Format("2006-01-02 15:04:05.000 MST"),
		"took", took(run.Started, run.Ended),
		"deadline", run.Deadline.Local().Format("2006-01-02 15:04:05 MST"),
		"waits for", strings.Join(waits, " "),
		"error", oneLine(run.Error),
	)
	if err != nil {
		return err
	}
	depths := map[string]int{run.ID: 0}
	children := make(map[string][]client.Run)
	for _, r := range below {
		children[r.Parent] = append(children[r.Parent], r)
	}
	var rows [][]string
	var add func(r client.Run)
	add = func(r client.Run) {
		indent := strings.Repeat("  ", depths[r.ID])
		rows = append(rows, []string{indent + shortID(r.ID) + " " + r.Target, r.State, "-", "-", "-", took(r.Started, r.Ended), detail(r)})
		for _, s := range r.Steps {
			rows = append(rows, stepRow(indent+"  ", s))
		}
		for _, child := range children[r.ID] {
			depths[child.ID] = depths[r.ID] + 1
			add(child)
		}
	}
	add(run)
	if err := c.say(""); err != nil {
		return err
	}
	if err := c.table("RUN STATE WORKER ATTEMPT QUEUED TOOK DETAILS", rows); err != nil {
		return err
	}
	if more {
		if err := c.say("… there are more runs below, or keys that functions have read; runs ls --parent lists the runs below"); err != nil {
			return err
		}
	}
	if run.Error != nil && run.Error.Traceback != "" {
		return c.say("\n%s", strings.TrimRight(printableLines(run.Error.Traceback), "\n"))
	}
	return nil
}

// stepRow shows one function of a run.
func stepRow(indent string, s client.RunStep) []string {
	row := []string{indent + fmt.Sprintf("%s@%d", s.Function, s.Version), cmp.Or(s.State, "not started"), "-", "-", "-", "-", ""}
	if s.Worker != 0 {
		row[2], row[3] = strconv.FormatUint(s.Worker, 10), strconv.Itoa(s.Attempt)
	}
	if !s.Queued.IsZero() && !s.Started.IsZero() {
		row[4] = brief(s.Started.Sub(s.Queued))
	}
	if !s.Started.IsZero() {
		row[5] = took(s.Started, s.Ended)
	}
	var details []string
	for i, read := range s.Reads {
		if i == readsShown {
			details = append(details, fmt.Sprintf("and %d more", len(s.Reads)-readsShown+s.ReadsUnlisted))
			break
		}
		details = append(details, fmt.Sprintf("read %s (%s)", read.Key, read.AnsweredBy))
	}
	for _, id := range s.WaitsFor {
		details = append(details, "waits for "+shortID(id))
	}
	if s.Error != nil {
		details = append(details, oneLine(s.Error))
	}
	row[6] = strings.Join(details, "; ")
	return row
}

func detail(r client.Run) string {
	details := []string{}
	if r.Label != "" {
		details = append(details, "label "+r.Label)
	}
	if r.Detached {
		details = append(details, "detached")
	}
	if r.Error != nil {
		details = append(details, r.Error.Code)
	}
	return strings.Join(details, "; ")
}

func detachedMark(r client.Run) string {
	if r.Detached {
		return " (detached from it)"
	}
	return ""
}

func oneLine(e *client.RunError) string {
	if e == nil {
		return ""
	}
	first, _, _ := strings.Cut(e.Message, "\n")
	return first
}

// printableLines is printable for a string of several lines.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

func (c *cli) cancelRuns(ctx context.Context, cloud *client.Client, ids []string, reason string) error {
	for _, id := range ids {
		if _, err := wire.ParseRunID(id); err != nil {
			return usage("%q is not the whole id of a run, which has 32 hexadecimal digits; `cloudburst runs show` finds one by its beginning", id)
		}
	}
	cancelled := []string{}
	for _, id := range ids {
		if err := cloud.Cancel(ctx, id, reason); err != nil {
			return err
		}
		cancelled = append(cancelled, id)
		if c.output == "table" {
			run, _, _, err := cloud.Run(ctx, id)
			if err == nil && run.State != "cancelled" {
				err = c.say("run %s had ended: %s", id, run.State)
			} else if err == nil {
				err = c.say("run %s cancelled", id)
			}
			if err != nil {
				return err
			}
		}
	}
	if c.output == "json" {
		return c.json(map[string]any{"cancelled": cancelled})
	}
	return nil
}

func shortID(id string) string {
	if id == "" {
		return "-"
	}
	return id[:min(shortRun, len(id))]
}

// took returns how long something took, or has been under way.
func took(started, ended time.Time) string {
	if ended.IsZero() {
		return brief(time.Since(started)) + "…"
	}
	return brief(ended.Sub(started))
}

func brief(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return elapsed(d)
}
