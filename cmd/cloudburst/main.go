// Command cloudburst runs a node and talks to one.
//
// Results go to stdout, everything else to stderr; what went wrong is one sentence, and the exit status 1, or 2 when the
// command line was at fault.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

const (
	exitFailure = 1
	exitUsage   = 2
)

// version is set by the linker; without it what the Go toolchain knows about the build is shown.
var version string

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &cli{stdin: stdin, stdout: stdout, stderr: stderr, flush: func() {}}
	root := c.root()
	root.SetArgs(negative(args))
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	defer c.flush()
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[exitError](err); ok {
		return int(exit)
	}
	fmt.Fprintf(c.stderr, "cloudburst: %s\n", explain(err))
	if _, ok := errors.AsType[usageError](err); ok || strings.HasPrefix(err.Error(), "unknown command") {
		return exitUsage
	}
	return exitFailure
}

// negative lets numbers below zero through as arguments: no flag begins with a digit, and JSON may begin with a space.
func negative(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		if len(arg) > 1 && arg[0] == '-' && arg[1] >= '0' && arg[1] <= '9' {
			args[i] = " " + arg
		}
	}
	return args
}

// cli is one execution of the program.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	flush          func() // writes what stdout and stderr hold back

	address, token, authority string
	output                    string
}

// usageError is a fault of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitError ends the program with a status and no more words.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "cloudburst",
		Short: "Functions that share state, composed and called with little delay",
		Long: `Cloudburst runs Python functions that share state, alone and composed into DAGs.

  cloudburst dev                      run a node for the program that you write
  cloudburst serve                    run a node
  cloudburst fn ls                    what is registered there
  cloudburst call sq 4                call a function
  cloudburst call f '{"incr": [3]}'   call a DAG

Commands find the node that was last started on this machine by themselves; CLOUDBURST_ADDRESS and CLOUDBURST_TOKEN, or
--address and --token, name another. Of the name of a function or DAG, as much as tells it from the others is enough.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          group,
		Args:          cobra.ArbitraryArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w; see `%s --help`", err, cmd.CommandPath())
	})
	root.AddCommand(
		c.devCommand(), c.serveCommand(), c.fnCommand(), c.dagCommand(), c.callCommand(), c.kvCommand(), c.annaCommand(), c.statusCommand(), c.versionCommand(),
	)
	return root
}

// group is the RunE of commands that only have others below them.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return usage("`%s` has no command %q; it has %s", cmd.CommandPath(), args[0], strings.Join(names, ", "))
}

// between is the check of the number of arguments, with words that say what they are.
func between(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		return usage("`%s` wants %s; see `%s --help`", cmd.CommandPath(), what, cmd.CommandPath())
	}
}
