package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloudburst/client"
	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// invocation is a command line of `cloudburst call`.
type invocation struct {
	name    string
	args    []string
	dag     bool
	timeout time.Duration
	quiet   bool
	with    client.Calling
}

func (c *cli) callCommand() *cobra.Command {
	var i invocation
	cmd := c.toClient(&cobra.Command{
		Use:   "call NAME [ARG…]",
		Short: "Call a function or a DAG and print its result",
		Long: `Call a function or a DAG and print its result.

Each argument is JSON, and NAME=JSON is a keyword argument. A DAG takes the arguments of the function that it begins with, or
one object that maps names of its functions to lists of arguments. NAME is the whole name; NAME@3 calls version 3.

Ctrl-C cancels the run, and says so; a second one leaves at once. When the connection to the node ends the run is cancelled too.

What the run prints goes to stderr as it comes, with control characters shown as \x1b; not with --quiet or -o json.

` + notation,
		Example: `  cloudburst call sq 4
  cloudburst call greet '"Ada"' punctuation='"!"'
  cloudburst call sq@3 4
  cloudburst call transfer -5
  cloudburst call f 3
  cloudburst call f '{"incr": [3]}'`,
		Args:              between(1, -1, "the name of a function or a DAG"),
		ValidArgsFunction: c.completing(false, functionNames, chosenDAGNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			i.name, i.args = args[0], args[1:]
			return c.with(cmd.Context(), func(ctx context.Context, cloud *client.Client) error { return c.call(ctx, cloud, i) })
		},
	})
	cmd.Flags().BoolVar(&i.dag, "dag", false, "call the DAG of this name, even if there is a function of the same name")
	cmd.Flags().DurationVar(&i.timeout, "timeout", 5*time.Minute, "how long the run may take, such as 500ms or 2m")
	cmd.Flags().StringVar(&i.with.Label, "label", "", "words that are shown with the run, and by which it is found: cloudburst runs ls --label")
	cmd.Flags().StringVar(&i.with.RunID, "run-id", "", "the id of the run, 32 hexadecimal digits; a second call with it gets the result of the first (default: a random one)")
	cmd.Flags().BoolVarP(&i.quiet, "quiet", "q", false, "do not show what the run prints")
	return cmd
}

func (c *cli) call(ctx context.Context, cloud *client.Client, i invocation) error {
	if i.timeout <= 0 {
		return usage("--timeout %v: must be positive", i.timeout)
	}
	dag, err := i.resolve(ctx, cloud)
	if err != nil {
		return err
	}
	i.with.CancelOnDisconnect = true
	interrupted := ctx
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	var future *client.Future
	if dag != nil {
		args, err := i.dagArguments(dag)
		if err != nil {
			return err
		}
		if future, err = cloud.CallDAGWith(ctx, i.with, i.name, args); err != nil {
			return err
		}
	} else {
		args, err := i.arguments()
		if err != nil {
			return err
		}
		if future, err = cloud.CallWith(ctx, i.with, i.name, args...); err != nil {
			return err
		}
	}
	wait := func() {}
	if !i.quiet && c.output != "json" {
		wait = c.printing(ctx, cloud, future.ID())
	}
	result, err := client.Get[client.Ordered](ctx, future)
	if err != nil && interrupted.Err() != nil {
		return c.interrupted(interrupted, future)
	}
	wait()
	if err != nil {
		return err
	}
	return c.show(result.Value)
}

// interrupted cancels the run of a call that Ctrl-C has ended, and returns what to say.
func (c *cli) interrupted(ctx context.Context, future *client.Future) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer cancel()
	if err := future.Cancel(ctx, "interrupted at the command line"); err != nil {
		return fmt.Errorf("run %s could not be cancelled: %w", future.ID(), err)
	}
	if _, err := client.Get[client.Ordered](ctx, future); err == nil {
		return fmt.Errorf("run %s had ended before it could be cancelled; its result is under key %q for a while", future.ID(), future.Key())
	}
	return wire.Errorf(pb.Code_CODE_CANCELLED, "interrupted; run %s is cancelled", future.ID())
}

// cancelTimeout is how long Ctrl-C waits for the node to cancel a run.
const cancelTimeout = 5 * time.Second

// resolve finds out whether the name is a function's or a DAG's; dag is nil when it is a function's.
func (i *invocation) resolve(ctx context.Context, cloud *client.Client) (dag *client.DAG, err error) {
	if strings.Contains(i.name, "@") {
		return nil, nil // the node knows the versions
	}
	var known []string
	kind, list := "DAG", "cloudburst dag ls"
	if !i.dag {
		kind, list = "function or DAG", "cloudburst fn ls"
		if known, err = functionNames(ctx, cloud, ""); err != nil || slices.Contains(known, i.name) {
			return nil, err
		}
	}
	dags, err := cloud.DAGs(ctx, "")
	if err != nil {
		return nil, err
	}
	for n := range dags {
		if dags[n].Name == i.name {
			return &dags[n], nil
		}
		if !dags[n].Anonymous {
			known = append(known, dags[n].Name)
		}
	}
	return nil, unknown(kind, i.name, known, list)
}

// arguments returns those of a function.
func (i *invocation) arguments() ([]any, error) {
	keyword := regexp.MustCompile(`^([\pL_][\pL\pN_]*)=(.*)$`)
	var args []any
	keywords := client.Keywords{}
	for n, text := range i.args {
		where := fmt.Sprintf("argument %d", n+1)
		match := keyword.FindStringSubmatch(text)
		if match != nil {
			where, text = "argument "+match[1], match[2]
		}
		v, err := codec.ParseJSON(text)
		if err != nil {
			return nil, usage("%s, %s, is not JSON: %w; a string needs quotes that the shell leaves alone: '\"%s\"'", where, text, err, strings.Trim(text, `"`))
		}
		switch {
		case match != nil:
			if _, twice := keywords[match[1]]; twice {
				return nil, usage("%s occurs twice", where)
			}
			keywords[match[1]] = v
		case len(keywords) > 0:
			return nil, usage("%s follows a keyword argument; positional arguments come first", where)
		default:
			args = append(args, v)
		}
	}
	if len(keywords) > 0 {
		args = append(args, keywords)
	}
	return args, nil
}

// dagArguments returns those of the functions of a DAG. One object maps functions to their arguments; all else is for the one
// function that the DAG begins with.
func (i *invocation) dagArguments(dag *client.DAG) (map[string][]any, error) {
	args, err := i.arguments()
	if err != nil || len(args) == 0 {
		return nil, err
	}
	sources := slices.DeleteFunc(slices.Clone(dag.Functions), func(name string) bool {
		return slices.ContainsFunc(dag.Links, func(l client.Link) bool { return l.Sink == name })
	})
	object, ok := args[0].(client.Pairs)
	if !ok || len(args) > 1 {
		if len(sources) != 1 {
			return nil, usage("DAG %q begins with %s; say whose arguments they are with one JSON object: '{\"%s\": […], …}'",
				i.name, strings.Join(sources, " and "), sources[0])
		}
		return map[string][]any{sources[0]: args}, nil
	}
	byFunction := make(map[string][]any, len(object))
	for _, pair := range object {
		function, _ := pair.Key.(string)
		if !slices.Contains(dag.Functions, function) {
			return nil, usage("DAG %q has no function %q; its functions are %s; an object that is itself an argument is written '{\"%s\": [{…}]}'",
				i.name, fmt.Sprint(pair.Key), strings.Join(dag.Functions, ", "), sources[0])
		}
		if list, ok := pair.Value.([]any); ok {
			byFunction[function] = list
		} else {
			byFunction[function] = []any{pair.Value}
		}
	}
	return byFunction, nil
}
