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
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
	c := &cli{stdin: stdin, stdout: stdout, stderr: stderr}
	root := c.root()
	root.SetArgs(negative(root, args))
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[exitError](err); ok {
		return int(exit)
	}
	status := exitFailure
	if _, ok := errors.AsType[usageError](err); ok || strings.HasPrefix(err.Error(), "unknown command") {
		status = exitUsage
	}
	if c.output == "json" || slices.Contains(args, "--output=json") {
		c.failJSON(err)
	} else {
		fmt.Fprintf(stderr, "cloudburst: %s\n", explain(err))
	}
	return status
}

var number = regexp.MustCompile(`^-[0-9]`)

// negative lets numbers below zero through as arguments, although they look like flags: it moves the arguments of the command
// behind a "--". Without such a number, and after a "--", everything stays as it is.
func negative(root *cobra.Command, args []string) []string {
	end := slices.Index(args, "--")
	if end < 0 {
		end = len(args)
	}
	if !slices.ContainsFunc(args[:end], number.MatchString) || strings.HasPrefix(args[0], "__") {
		return args
	}
	cmd, rest, err := root.Find(args)
	if err != nil {
		return args
	}
	path := strings.Fields(cmd.CommandPath())[1:]
	var flags, arguments []string
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		switch {
		case arg == "--":
			arguments = append(arguments, rest[i+1:]...)
			i = len(rest)
		case len(arg) < 2 || arg[0] != '-' || number.MatchString(arg):
			arguments = append(arguments, arg)
		default:
			flags = append(flags, arg)
			if i+1 < len(rest) && wantsValue(cmd, arg) {
				i++
				flags = append(flags, rest[i])
			}
		}
	}
	return slices.Concat(path, flags, []string{"--"}, arguments)
}

// wantsValue reports whether the value of a flag is the next argument.
func wantsValue(cmd *cobra.Command, arg string) bool {
	name, long := strings.CutPrefix(arg, "--")
	var flag *pflag.Flag
	switch {
	case strings.Contains(arg, "="):
	case long:
		flag = cmd.Flag(name)
	case len(arg) == 2:
		if flag = cmd.Flags().ShorthandLookup(arg[1:]); flag == nil {
			flag = cmd.InheritedFlags().ShorthandLookup(arg[1:])
		}
	}
	return flag != nil && flag.NoOptDefVal == ""
}

// cli is one execution of the program.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	flush          func() // writes what stdout and stderr hold back

	address, context, token, authority string
	output                             string
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
		Short: "Run and call Python functions that share state",
		Long: `Cloudburst runs Python functions that share state, alone and composed into DAGs.

Run a node, register functions from Python, and call them from anywhere:

  cloudburst dev                      run a node for the program that you write
  cloudburst fn ls                    list the functions that are registered
  cloudburst call sq 4                call a function
  cloudburst call f '{"incr": [3]}'   call a DAG, with the arguments of its functions
  cloudburst kv get visits            print the value of a key

Commands use the node of the current context (cloudburst context); --context or CLOUDBURST_CONTEXT chooses another one,
CLOUDBURST_ADDRESS and CLOUDBURST_TOKEN, or --address and --token, name any node. With -o json, results go to stdout and errors to stderr
as JSON. The exit status is 1 when the node refuses something and 2 when the command line is wrong.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          group,
		Args:          cobra.ArbitraryArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w; see `%s --help`", err, cmd.CommandPath())
	})
	root.AddCommand(
		c.devCommand(), c.serveCommand(), c.fnCommand(), c.dagCommand(), c.callCommand(), c.runsCommand(), c.kvCommand(), c.annaCommand(), c.statusCommand(),
		c.contextCommand(), c.versionCommand(),
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
