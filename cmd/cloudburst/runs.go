package main

import "github.com/spf13/cobra"

func (c *cli) runsCommand() *cobra.Command {
	runs := c.toClient(&cobra.Command{Use: "runs", Short: "Look at runs, which are executions of functions and DAGs", RunE: group, Args: cobra.ArbitraryArgs})
	runs.AddCommand(c.runLogsCommand())
	return runs
}
