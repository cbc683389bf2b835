package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cloudburst/client"
)

func (c *cli) dagCommand() *cobra.Command {
	dag := c.toClient(&cobra.Command{Use: "dag", Short: "List, describe and delete DAGs, which are compositions of functions", RunE: group, Args: cobra.ArbitraryArgs})
	dag.AddCommand(
		c.listDAGsCommand(),
		&cobra.Command{
			Use: "describe NAME", Short: "Show the functions of a DAG and how they are linked",
			Long: "Show the functions of a DAG and how they are linked. The beginning of a name is enough if no other DAG begins so.",
			Args: between(1, 1, "the name of a DAG"), ValidArgsFunction: c.completing(false, chosenDAGNames),
			RunE: func(cmd *cobra.Command, args []string) error { return c.with(cmd.Context(), c.describeDAG(args[0])) },
		},
		&cobra.Command{
			Use: "rm NAME…", Short: "Delete DAGs; their functions stay",
			Long:    "Delete DAGs; their functions stay registered. Names are whole.",
			Example: "  cloudburst dag rm f",
			Args:    between(1, -1, "the names of DAGs"), ValidArgsFunction: c.completing(true, chosenDAGNames),
			RunE: func(cmd *cobra.Command, args []string) error { return c.with(cmd.Context(), c.removeDAGs(args)) },
		},
	)
	return dag
}

func (c *cli) listDAGsCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "ls [PREFIX]", Short: "List the DAGs that begin with a prefix",
		Long: `List the DAGs that begin with a prefix. The pipelines that their programs gave no name are left out without --all: the node drops them
when others come or their functions go, and their programs register them again.`,
		Args: between(0, 1, "at most a prefix"), ValidArgsFunction: c.completing(false, chosenDAGNames),
		RunE: func(cmd *cobra.Command, args []string) error { return c.with(cmd.Context(), c.listDAGs(args, all)) },
	}
	cmd.Flags().BoolVar(&all, "all", false, "list the pipelines without a name too")
	return cmd
}

func (c *cli) listDAGs(args []string, all bool) func(context.Context, *client.Client) error {
	return func(ctx context.Context, cloud *client.Client) error {
		dags, err := cloud.DAGs(ctx, strings.Join(args, ""))
		if err != nil {
			return err
		}
		if !all {
			dags = slices.DeleteFunc(dags, func(d client.DAG) bool { return d.Anonymous })
		}
		if c.output == "json" {
			return c.json(dags)
		}
		rows := make([][]string, len(dags))
		for i, d := range dags {
			rows[i] = []string{d.Name, fmt.Sprint(len(d.Functions)), ago(d.Registered), shape(d)}
		}
		return c.table("NAME FUNCTIONS REGISTERED SHAPE", rows)
	}
}

// shape shows the links of a DAG on one line.
func shape(d client.DAG) string {
	if len(d.Links) == 0 {
		return strings.Join(d.Functions, ", ")
	}
	links := make([]string, 0, len(d.Links))
	for i, l := range d.Links {
		// A row of links reads as a chain.
		if i > 0 && d.Links[i-1].Sink == l.Source {
			links[len(links)-1] += " → " + l.Sink
			continue
		}
		links = append(links, l.Source+" → "+l.Sink)
	}
	return strings.Join(links, ", ")
}

func (c *cli) describeDAG(name string) func(context.Context, *client.Client) error {
	return func(ctx context.Context, cloud *client.Client) error {
		name, err := dagLooked(ctx, cloud, name)
		if err != nil {
			return err
		}
		d, err := cloud.DAG(ctx, name)
		if err != nil {
			return err
		}
		if c.output == "json" {
			return c.json(d)
		}
		return c.fields(
			"name", d.Name,
			"functions", strings.Join(d.Functions, " "),
			"shape", shape(d),
			"colocated", strings.Join(d.Colocated, " "),
			"registered", moment(d.Registered),
		)
	}
}

func (c *cli) removeDAGs(wanted []string) func(context.Context, *client.Client) error {
	return func(ctx context.Context, cloud *client.Client) error {
		known, err := dagNames(ctx, cloud, "")
		if err != nil {
			return err
		}
		return c.remove("DAG", wanted, known, func(name string) error { return cloud.DeleteDAG(ctx, name) })
	}
}
