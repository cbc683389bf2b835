package main

import (
	"os"
	"sync"

	"github.com/spf13/cobra"

	"cloudburst/contexts"
	"cloudburst/node"
)

func (c *cli) contextCommand() *cobra.Command {
	command := c.toOutput(&cobra.Command{
		Use: "context", Short: "List, choose and remove contexts: the nodes that clients of yours find by name",
		Long: `List, choose and remove contexts. A context is the name under which your clients on this machine find a node: each node that you start
has one. The current context is the one that a client uses when it is told nothing else. A node that starts does not change it while
the node of the current context may be running.

Clients choose another by CLOUDBURST_CONTEXT=NAME, --context NAME, or cloudburst.connect(context="NAME") in Python. CLOUDBURST_ADDRESS
comes before CLOUDBURST_CONTEXT.`,
		RunE: group, Args: cobra.ArbitraryArgs,
	})
	command.AddCommand(
		&cobra.Command{
			Use: "ls", Short: "List the contexts; a * marks the current one",
			Args: between(0, 0, "no argument"),
			RunE: func(*cobra.Command, []string) error { return c.listContexts() },
		},
		&cobra.Command{
			Use: "use NAME", Short: "Make a context the current one",
			Args: between(1, 1, "the name of a context"), ValidArgsFunction: contextNames,
			RunE: func(_ *cobra.Command, args []string) error { return c.useContext(args[0]) },
		},
		&cobra.Command{
			Use: "show [NAME]", Short: "Show a context, the current one without a name",
			Args: between(0, 1, "at most the name of a context"), ValidArgsFunction: contextNames,
			RunE: func(_ *cobra.Command, args []string) error { return c.showContext(args) },
		},
		&cobra.Command{
			Use: "rm NAME…", Short: "Remove contexts of nodes that do not run",
			Long: "Remove contexts of nodes that do not run. The nodes' data stays, and a node that is started again has a context again.",
			Args: between(1, -1, "the names of contexts"), ValidArgsFunction: contextNames,
			RunE: func(_ *cobra.Command, args []string) error { return c.removeContexts(args) },
		},
	)
	return command
}

// contextNames completes the name of a context.
func contextNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	folder, err := contexts.Open()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, each := range folder.List() {
		names = append(names, each.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// shownContext is a context as it is printed, without the token.
type shownContext struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	Address string `json:"address"`
	Data    string `json:"data"`
	Up      bool   `json:"up"`
}

func (s shownContext) state() string {
	if s.Up {
		return "up"
	}
	return "down"
}

// shown looks at contexts, all at once: a node that does not answer takes a while.
func shown(folder contexts.Folder, all []contexts.Context) []shownContext {
	current := folder.Current()
	rows := make([]shownContext, len(all))
	var looked sync.WaitGroup
	for i, each := range all {
		looked.Go(func() {
			up := !each.Gone() && each.Answers()
			rows[i] = shownContext{Name: each.Name, Current: each.Name == current, Address: each.Address, Data: each.Data, Up: up}
		})
	}
	looked.Wait()
	return rows
}

func (c *cli) listContexts() error {
	folder, err := contexts.Open()
	if err != nil {
		return err
	}
	all := shown(folder, folder.List())
	if c.output == "json" {
		return c.json(all)
	}
	rows := make([][]string, len(all))
	for i, each := range all {
		mark := ""
		if each.Current {
			mark = "*"
		}
		rows[i] = []string{mark, each.Name, each.Address, each.state(), each.Data}
	}
	return c.table(" NAME ADDRESS NODE DATA", rows)
}

func (c *cli) useContext(name string) error {
	folder, err := contexts.Open()
	if err != nil {
		return err
	}
	if err := folder.Use(name); err != nil {
		return err
	}
	if err := c.showContext([]string{name}); err != nil {
		return err
	}
	for _, variable := range []string{"CLOUDBURST_ADDRESS", "CLOUDBURST_CONTEXT"} {
		if value := os.Getenv(variable); value != "" && c.output == "table" {
			return c.say("%s is %s here, and comes before the current context", variable, value)
		}
	}
	return nil
}

func (c *cli) showContext(names []string) error {
	folder, err := contexts.Open()
	if err != nil {
		return err
	}
	name := folder.Current()
	if len(names) > 0 {
		name = names[0]
	}
	if name == "" {
		return usage("there is no current context; start a node (cloudburst dev), or choose one: cloudburst context use NAME")
	}
	found, err := folder.Get(name)
	if err != nil {
		return err
	}
	s := shown(folder, []contexts.Context{found})[0]
	if c.output == "json" {
		return c.json(s)
	}
	current := "no"
	if s.Current {
		current = "yes"
	}
	return c.fields("name", s.Name, "current", current, "address", s.Address, "node", s.state(), "data", s.Data)
}

func (c *cli) removeContexts(names []string) error {
	folder, err := contexts.Open()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := folder.Remove(name); err != nil {
			return err
		}
		if c.output == "table" {
			if err := c.say("context %s removed", name); err != nil {
				return err
			}
		}
	}
	if c.output == "json" {
		return c.json(map[string]any{"removed": names})
	}
	return nil
}

// whichNode says which node the clients of this user find, where that is not plain from the start of the only node.
func whichNode(r node.Ready) string {
	p := r.Context
	switch {
	case p.Name == "":
		return ""
	case p.Name != p.Current.Name:
		return "clients keep using context " + p.Current.Name + " (" + p.Current.Address + "); for this node: --context " + p.Name +
			" or CLOUDBURST_CONTEXT=" + p.Name + ", or for all clients: cloudburst context use " + p.Name
	case p.Before != "":
		return "clients use context " + p.Name + " from now on, since the node of context " + p.Before + " is gone"
	}
	return ""
}
