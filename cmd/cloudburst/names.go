package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloudburst/client"
	"cloudburst/names"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// candidatesShown is how many names an error lists.
	candidatesShown = 8
	// wantedMax is how much of a wrong name is compared with those that are registered.
	wantedMax = 128
	// completionTimeout bounds the wait for names while a shell completes a word.
	completionTimeout = 2 * time.Second
)

// looked returns the one of the names that is to be looked at: the same, or the only one that starts so.
func looked(kind, wanted string, known []string, list string) (string, error) {
	var matching []string
	for _, name := range known {
		if name == wanted {
			return name, nil
		}
		if strings.HasPrefix(name, wanted) {
			matching = append(matching, name)
		}
	}
	switch len(matching) {
	case 0:
		return "", unknown(kind, wanted, known, list)
	case 1:
		return matching[0], nil
	}
	return "", fmt.Errorf("%q may be any of %d: %s; write more of its name", wanted, len(matching), some(matching))
}

// whole returns an error unless a name is one of those that are known. Names that are called or deleted are never completed.
func whole(kind, wanted string, known []string, list string) error {
	if slices.Contains(known, wanted) {
		return nil
	}
	if wanted == "" {
		return usage("the name of a %s is empty", kind)
	}
	return unknown(kind, wanted, known, list)
}

func unknown(kind, wanted string, known []string, list string) error {
	code := pb.Code_CODE_FUNCTION_NOT_FOUND
	if kind == "DAG" {
		code = pb.Code_CODE_DAG_NOT_FOUND
	}
	if len(known) == 0 {
		return wire.Errorf(code, "no %s %q: none is registered", kind, wanted)
	}
	near := names.Near(wanted[:min(len(wanted), wantedMax)], known, math.MaxInt, candidatesShown)
	more := ""
	if len(known) > len(near) {
		more = ", …"
	}
	return wire.Errorf(code, "no %s %q; registered: %s%s (`%s` lists all)", kind, wanted, strings.Join(near, ", "), more, list)
}

func some(names []string) string {
	slices.Sort(names)
	if len(names) > candidatesShown {
		return strings.Join(names[:candidatesShown], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// functionLooked completes the name in a reference to a function; a version stays as it is.
func functionLooked(ctx context.Context, cloud *client.Client, ref string) (string, error) {
	name, version, chosen := strings.Cut(ref, "@")
	names, err := functionNames(ctx, cloud, "")
	if err != nil {
		return "", err
	}
	name, err = looked("function", name, names, "cloudburst fn ls")
	if chosen {
		name += "@" + version
	}
	return name, err
}

func dagLooked(ctx context.Context, cloud *client.Client, name string) (string, error) {
	names, err := dagNames(ctx, cloud, "")
	if err != nil {
		return "", err
	}
	return looked("DAG", name, names, "cloudburst dag ls")
}

func functionNames(ctx context.Context, cloud *client.Client, prefix string) ([]string, error) {
	functions, err := cloud.Functions(ctx, prefix)
	names := make([]string, len(functions))
	for i := range functions {
		names[i] = functions[i].Name
	}
	return names, err
}

func dagNames(ctx context.Context, cloud *client.Client, prefix string) ([]string, error) {
	dags, err := cloud.DAGs(ctx, prefix)
	names := make([]string, len(dags))
	for i := range dags {
		names[i] = dags[i].Name
	}
	return names, err
}

// chosenDAGNames returns the names that programs have given: those of anonymous DAGs mean nothing to people.
func chosenDAGNames(ctx context.Context, cloud *client.Client, prefix string) ([]string, error) {
	dags, err := cloud.DAGs(ctx, prefix)
	var names []string
	for i := range dags {
		if !dags[i].Anonymous {
			names = append(names, dags[i].Name)
		}
	}
	return names, err
}

func keyNames(ctx context.Context, cloud *client.Client, prefix string) ([]string, error) {
	keys, _, err := cloud.Keys(ctx, prefix, "", 0)
	return keys, err
}

type lister func(context.Context, *client.Client, string) ([]string, error)

// completing returns what completes an argument with names that the node knows; all is whether every argument is such a name.
func (c *cli) completing(all bool, lists ...lister) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !all {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		cloud, err := c.connect(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer cloud.Close()
		var names []string
		for _, list := range lists {
			found, err := list(ctx, cloud, prefix)
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			names = append(names, found...)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
