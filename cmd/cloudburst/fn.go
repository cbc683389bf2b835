package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cloudburst/client"
)

func (c *cli) fnCommand() *cobra.Command {
	fn := c.toClient(&cobra.Command{Use: "fn", Short: "List, describe and delete registered functions", RunE: group, Args: cobra.ArbitraryArgs})
	fn.AddCommand(
		c.fnLogsCommand(),
		&cobra.Command{
			Use: "ls [PREFIX]", Short: "List the functions that begin with a prefix, the latest version of each",
			Args: between(0, 1, "at most a prefix"), ValidArgsFunction: c.completing(false, functionNames),
			RunE: func(cmd *cobra.Command, args []string) error { return c.with(cmd.Context(), c.listFunctions(args)) },
		},
		&cobra.Command{
			Use: "describe NAME[@VERSION]", Short: "Show a function, its versions and the DAGs that use it",
			Long: "Show a function, its versions and the DAGs that use it. The beginning of a name is enough if no other function begins so.",
			Args: between(1, 1, "the name of a function"), ValidArgsFunction: c.completing(false, functionNames),
			RunE: func(cmd *cobra.Command, args []string) error {
				return c.with(cmd.Context(), c.describeFunction(args[0]))
			},
		},
		c.removeFunctionsCommand(),
	)
	return fn
}

func (c *cli) removeFunctionsCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "rm NAME…", Short: "Delete functions, all versions of each",
		Long: `Delete functions, all versions of each. Names are whole. A function that a DAG uses is not deleted; delete the DAG first, or both with
--force. A pipeline that its program gave no name goes with any of its functions.`,
		Example: "  cloudburst fn rm sq incr",
		Args:    between(1, -1, "the names of functions"), ValidArgsFunction: c.completing(true, functionNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), c.removeFunctions(args, force))
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "delete the DAGs that use the functions too")
	return cmd
}

func (c *cli) listFunctions(args []string) func(context.Context, *client.Client) error {
	return func(ctx context.Context, cloud *client.Client) error {
		functions, err := cloud.Functions(ctx, strings.Join(args, ""))
		if err != nil {
			return err
		}
		if c.output == "json" {
			return c.json(functions)
		}
		rows := make([][]string, len(functions))
		for i, f := range functions {
			rows[i] = []string{f.Name, fmt.Sprint(f.Version), f.PythonVersion, bytesText(f.SizeBytes), ago(f.Registered), f.Doc}
		}
		return c.table("NAME VERSION PYTHON SIZE REGISTERED DOC", rows)
	}
}

func (c *cli) describeFunction(ref string) func(context.Context, *client.Client) error {
	return func(ctx context.Context, cloud *client.Client) error {
		ref, err := functionLooked(ctx, cloud, ref)
		if err != nil {
			return err
		}
		f, err := cloud.Function(ctx, ref)
		if err != nil {
			return err
		}
		versions, err := cloud.Versions(ctx, f.Name)
		if err != nil {
			return err
		}
		dags, err := cloud.DAGs(ctx, "")
		if err != nil {
			return err
		}
		numbers, users := []uint64{}, []string{}
		for _, v := range versions {
			numbers = append(numbers, v.Version)
		}
		for _, d := range dags {
			if !d.Anonymous && slices.ContainsFunc(d.Functions, func(used string) bool { name, _, _ := strings.Cut(used, "@"); return name == f.Name }) {
				users = append(users, d.Name)
			}
		}
		if c.output == "json" {
			return c.json(struct {
				client.Function
				Versions []uint64 `json:"versions"`
				DAGs     []string `json:"dags"`
			}{f, numbers, users})
		}
		settings := settingsOf(f)
		return c.fields(
			"name", f.Name,
			"version", fmt.Sprint(f.Version),
			"doc", f.Doc,
			"convention", f.Convention,
			"python", f.PythonVersion,
			"timeout", settings.timeout,
			"retries", settings.retries,
			"backoff", settings.backoff,
			"concurrency", settings.concurrency,
			"rate limit", settings.rateLimit,
			"priority", fmt.Sprint(f.Priority),
			"queue timeout", settings.queueTimeout,
			"inline", settings.inline,
			"size", bytesText(f.SizeBytes),
			"registered", moment(f.Registered),
			"versions", strings.Trim(fmt.Sprint(numbers), "[]"),
			"dags", strings.Join(users, " "),
		)
	}
}

// settings is what a function says of how often it may run, and when, for people.
type settings struct {
	timeout, retries, backoff, concurrency, rateLimit, queueTimeout, inline string
}

func settingsOf(f client.Function) settings {
	s := settings{
		timeout: "the node's default", retries: "none after an exception, 2 after the loss of its worker", backoff: "the node's default",
		concurrency: "any number", rateLimit: "none", queueTimeout: "until the deadline",
		inline: "yes: a worker that waits for it may run it",
	}
	if f.Timeout > 0 {
		s.timeout = f.Timeout.String()
	}
	switch {
	case f.Retries != nil && *f.Retries == 0:
		s.retries = "0: at most once"
	case f.Retries != nil && len(f.RetryOn) > 0:
		s.retries = fmt.Sprintf("%d, on %s and the loss of its worker", *f.Retries, strings.Join(f.RetryOn, ", "))
	case f.Retries != nil:
		s.retries = fmt.Sprint(*f.Retries)
	}
	if f.Backoff > 0 {
		s.backoff = f.Backoff.String()
	}
	if f.Concurrency > 0 {
		s.concurrency = fmt.Sprint(f.Concurrency)
	}
	if f.RateLimit != nil {
		s.rateLimit = f.RateLimit.String()
	}
	if f.QueueTimeout > 0 {
		s.queueTimeout = f.QueueTimeout.String()
	}
	if !f.Inline {
		s.inline = "no: it runs in a worker that waits for nothing"
	}
	return s
}

func (c *cli) removeFunctions(refs []string, force bool) func(context.Context, *client.Client) error {
	return func(ctx context.Context, cloud *client.Client) error {
		for _, ref := range refs {
			if name, _, version := strings.Cut(ref, "@"); version {
				return usage("%q names one version; a function is deleted with all its versions: `cloudburst fn rm %s`", ref, name)
			}
		}
		known, err := functionNames(ctx, cloud, "")
		if err != nil {
			return err
		}
		remove := cloud.DeleteFunction
		if force {
			remove = cloud.DeleteFunctionAndDAGs
		}
		return c.remove("function", refs, known, func(name string) error { return remove(ctx, name) })
	}
}

// remove deletes functions or DAGs; none, when one of the names is not known.
func (c *cli) remove(kind string, wanted, known []string, remove func(name string) error) error {
	list := "cloudburst fn ls"
	if kind == "DAG" {
		list = "cloudburst dag ls"
	}
	for _, name := range wanted {
		if err := whole(kind, name, known, list); err != nil {
			return err
		}
	}
	removed := []string{}
	for _, name := range wanted {
		if err := remove(name); err != nil {
			return err
		}
		removed = append(removed, name)
		if c.output == "table" {
			if err := c.say("%s %s deleted", kind, name); err != nil {
				return err
			}
		}
	}
	if c.output == "json" {
		return c.json(map[string]any{"deleted": removed})
	}
	return nil
}
