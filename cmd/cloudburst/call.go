package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloudburst/client"
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

Arguments are JSON; NAME=JSON is a keyword argument. The arguments of a DAG are those of the function that it begins with,
or one object that maps its functions to their arguments.`,
		Example: `  cloudburst call sq 4
  cloudburst call greet '"Ada"' punctuation='"!"'
  cloudburst call sq@3 4
  cloudburst call f 3
  cloudburst call f '{"incr": [3]}'`,
		Args:              between(1, -1, "the name of a function or a DAG"),
		ValidArgsFunction: c.completing(false, functionNames, dagNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			i.name, i.args = args[0], args[1:]
			return c.with(cmd.Context(), func(ctx context.Context, cloud *client.Client) error { return c.call(ctx, cloud, i) })
		},
	})
	cmd.Flags().BoolVar(&i.dag, "dag", false, "NAME is a DAG, even if a function has that name too")
	cmd.Flags().DurationVar(&i.timeout, "timeout", 5*time.Minute, "how long the run may take")
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
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	var future *client.Future
	if dag != nil {
		args, err := i.dagArguments(dag)
		if err != nil {
			return err
		}
		if future, err = cloud.CallDAG(ctx, i.name, args); err != nil {
			return err
		}
	} else {
		args, err := i.arguments()
		if err != nil {
			return err
		}
		if future, err = cloud.Call(ctx, i.name, args...); err != nil {
			return err
		}
	}
	result, err := client.Get[any](ctx, future)
	if err != nil {
		return err
	}
	return c.show(result)
}

// resolve completes the name and finds out whether it is a function's or a DAG's; dag is nil when it is a function's.
func (i *invocation) resolve(ctx context.Context, cloud *client.Client) (dag *client.DAG, err error) {
	if strings.Contains(i.name, "@") {
		i.name, err = functionNamed(ctx, cloud, i.name)
		return nil, err
	}
	dags, err := cloud.DAGs(ctx, "")
	if err != nil {
		return nil, err
	}
	var names []string
	if !i.dag {
		if names, err = functionNames(ctx, cloud, ""); err != nil {
			return nil, err
		}
	}
	kind, list, byName := "function or dag", "cloudburst fn ls", map[string]*client.DAG{}
	if i.dag {
		kind, list = "dag", "cloudburst dag ls"
	}
	for n := range dags {
		if !slices.Contains(names, dags[n].Name) {
			byName[dags[n].Name] = &dags[n]
		}
	}
	names = slices.AppendSeq(names, maps.Keys(byName))
	i.name, err = resolve(kind, i.name, names, list)
	return byName[i.name], err
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
		v, err := parseJSON(text)
		if err != nil {
			return nil, usage("%s, %s, is no JSON: %w; a text wants quotes that the shell leaves alone: '\"%s\"'", where, text, err, strings.Trim(text, `"`))
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

// dagArguments returns those of the functions of a DAG: from one object that has its functions as keys, or else they are all
// the one source's.
func (i *invocation) dagArguments(dag *client.DAG) (map[string][]any, error) {
	args, err := i.arguments()
	if err != nil || len(args) == 0 {
		return nil, err
	}
	if object, ok := args[0].(map[string]any); ok && len(args) == 1 && allIn(dag.Functions, object) {
		byFunction := make(map[string][]any, len(object))
		for function, v := range object {
			if list, ok := v.([]any); ok {
				byFunction[function] = list
			} else {
				byFunction[function] = []any{v}
			}
		}
		return byFunction, nil
	}
	sources := slices.DeleteFunc(slices.Clone(dag.Functions), func(name string) bool {
		return slices.ContainsFunc(dag.Links, func(l client.Link) bool { return l.Sink == name })
	})
	if len(sources) != 1 {
		return nil, usage("dag %q begins with %s; say whose arguments they are with one JSON object: '{\"%s\": […], …}'",
			i.name, strings.Join(sources, " and "), sources[0])
	}
	return map[string][]any{sources[0]: args}, nil
}

func allIn(functions []string, object map[string]any) bool {
	for name := range object {
		if !slices.Contains(functions, name) {
			return false
		}
	}
	return true
}
