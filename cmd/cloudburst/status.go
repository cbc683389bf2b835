package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloudburst/client"
)

func (c *cli) statusCommand() *cobra.Command {
	return c.toClient(&cobra.Command{
		Use: "status", Short: "Show the state of the node: its workers, runs, memory and members",
		Args: between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.with(cmd.Context(), c.status) },
	})
}

func (c *cli) status(ctx context.Context, cloud *client.Client) error {
	s, err := cloud.Status(ctx)
	if err != nil {
		return err
	}
	if c.output == "json" {
		return c.json(s)
	}
	python := s.PythonVersion
	if python == "" {
		python = "not there yet"
	}
	fields := []string{
		"node", s.Address,
		"version", s.Version,
		"up", fmt.Sprintf("%s, since %s", elapsed(time.Since(s.Started)), s.Started.Local().Format("2006-01-02 15:04:05 MST")),
		"roles", strings.Join(s.Roles, " "),
		"data", s.DataDirectory,
		"memory", bytesText(s.MemoryBytes),
		"python", python,
		"workers", fmt.Sprintf("%d, %d of them busy; at most %d", s.Workers, s.WorkersBusy, s.WorkersMax),
		"queued", plural(s.Queued, "invocation"),
		"runs", fmt.Sprintf("%d finished, %d of them failed", s.Runs, s.RunsFailed),
		"registered", plural(s.Functions, "function") + ", " + plural(s.DAGs, "DAG"),
		"keys", fmt.Sprint(s.Keys),
	}
	if !s.SaturatedSince.IsZero() {
		fields = append(fields, "saturated", fmt.Sprintf("for %s: %s", elapsed(time.Since(s.SaturatedSince)), s.Saturation))
	}
	for _, m := range s.Members {
		fields = append(fields, "member", memberText(m))
	}
	return c.fields(fields...)
}

// memberText says of a member of the cluster what there is to say.
func memberText(m client.Member) string {
	text := m.Name
	if m.Self {
		text += ", this node"
	}
	if m.Leader {
		text += ", leads"
	}
	if !m.Reachable {
		text += ", NOT reachable"
	}
	return text
}
