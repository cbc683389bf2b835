package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloudburst"
)

// invocation is a command line of `cloudburst call`.
type invocation struct {
	name    string
	args    []string
	dag     bool
	timeout time.Duration
}

func (c *cli) callCommand() *cobra.Command {
	var i invocation
	cmd := c.toClient(&cobra.Command{
		Use:   "call NAME [ARG…]",
		Short: "Call a function or a DAG and print the result",
		Long: `Call a function or a DAG and print the result.

Arguments are JSON; NAME=JSON is a keyword argument. A DAG takes one object that maps its functions to their arguments.`,
		Example: `  cloudburst call sq 4
  cloudburst call greet '"Ada"' punctuation='"!"'
  cloudburst call sq@3 4
  cloudburst call f '{"incr": [3]}'`,
		Args:              between(1, -1, "the name of a function or a DAG"),
		ValidArgsFunction: c.completing(false, functionNames, dagNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			i.name, i.args = args[0], args[1:]
			return c.with(cmd.Context(), func(ctx context.Context, client *cloudburst.Client) error { return c.call(ctx, client, i) })
		},
	})
	cmd.Flags().BoolVar(&i.dag, "dag", false, "NAME is a DAG, even if a function has that name too")
	cmd.Flags().DurationVar(&i.timeout, "timeout", 5*time.Minute, "how long the run may take")
	// What follows the name are arguments, even if they look like flags: -1 is a number.
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func (c *cli) call(ctx context.Context, client *cloudburst.Client, i invocation) error {
	if i.timeout <= 0 {
		return usage("--timeout %v: must be positive", i.timeout)
	}
	if err := i.resolve(ctx, client); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	var future *cloudburst.Future
	if i.dag {
		args, err := i.dagArguments()
		if err != nil {
			return err
		}
		if future, err = client.CallDAG(ctx, i.name, args); err != nil {
			return err
		}
	} else {
		args, err := i.arguments()
		if err != nil {
			return err
		}
		if future, err = client.Call(ctx, i.name, args...); err != nil {
			return err
		}
	}
	result, err := cloudburst.Get[any](ctx, future)
	if err != nil {
		return err
	}
	return c.show(result)
}

// resolve completes the name and finds out whether it is a function's or a DAG's.
func (i *invocation) resolve(ctx context.Context, client *cloudburst.Client) error {
	var err error
	if strings.Contains(i.name, "@") {
		i.name, err = functionNamed(ctx, client, i.name)
		return err
	}
	dags, err := dagNames(ctx, client, "")
	if err != nil {
		return err
	}
	if i.dag {
		i.name, err = resolve("dag", i.name, dags, "cloudburst dag ls")
		return err
	}
	functions, err := functionNames(ctx, client, "")
	if err != nil {
		return err
	}
	isDAG := map[string]bool{}
	for _, name := range dags {
		isDAG[name] = true
	}
	for _, name := range functions {
		delete(isDAG, name)
	}
	names := functions
	for name := range isDAG {
		names = append(names, name)
	}
	i.name, err = resolve("function or dag", i.name, names, "cloudburst fn ls")
	i.dag = isDAG[i.name]
	return err
}

// arguments returns those of a function.
func (i *invocation) arguments() ([]any, error) {
	keyword := regexp.MustCompile(`^([\pL_][\pL\pN_]*)=(.*)$`)
	var args []any
	keywords := cloudburst.Keywords{}
	for n, text := range i.args {
		where := fmt.Sprintf("argument %d", n+1)
		match := keyword.FindStringSubmatch(text)
		if match != nil {
			where, text = "argument "+match[1], match[2]
		}
		v, err := parseJSON(text)
		if err != nil {
			return nil, usage("%s, %s, is no JSON: %w; a text wants quotes that the shell leaves alone: '\"%s\"'", where, text, err, text)
		}
		switch {
		case match != nil:
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

// dagArguments returns those of the functions of a DAG.
func (i *invocation) dagArguments() (map[string][]any, error) {
	const shape = `a DAG takes one JSON object that maps its functions to their arguments, such as '{"incr": [3]}'`
	if len(i.args) == 0 {
		return nil, nil
	}
	if len(i.args) > 1 {
		return nil, usage("dag %q: %d arguments; %s", i.name, len(i.args), shape)
	}
	v, err := parseJSON(i.args[0])
	if err != nil {
		return nil, usage("dag %q: its argument is no JSON: %w; %s", i.name, err, shape)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, usageError{errors.New(shape)}
	}
	args := make(map[string][]any, len(object))
	for function, v := range object {
		if list, ok := v.([]any); ok {
			args[function] = list
		} else {
			args[function] = []any{v}
		}
	}
	return args, nil
}
