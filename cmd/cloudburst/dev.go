package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"cloudburst/node"
)

const (
	devFolder = ".cloudburst"
	devListen = "127.0.0.1:7100"
)

func (c *cli) devCommand() *cobra.Command {
	var data, listen, context string
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a node for the program that you write, and say how to use it",
		Long: `Run a node for development: its data is in the folder ` + devFolder + ` of this directory, it takes another port when ` + devListen + `
is in use, and it prints where it is, where its token is, and a first program. What your functions print appears here.

It is an ordinary node: everything that is acknowledged as durable is there when you start it again. Use ` + "`cloudburst serve`" + `
for every other setting.`,
		Example: `  cloudburst dev
  cloudburst dev --data /tmp/try --listen 127.0.0.1:7200`,
		Args: between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings := map[string]string{"node.data": data, "gateway.listen": listen}
			if context != "" {
				settings["node.context"] = context
			}
			if !cmd.Flags().Changed("listen") && os.Getenv("CLOUDBURST_GATEWAY__LISTEN") == "" {
				settings["gateway.listen"] = freeAddress(devListen)
			}
			if !cmd.Flags().Changed("data") {
				if err := devData(data); err != nil {
					return err
				}
			}
			cfg, err := node.Load(node.Sources{Environ: os.Environ(), Flags: settings, FlagName: flagOf})
			if err != nil {
				return err
			}
			return c.serve(cmd.Context(), cfg, devBanner)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&data, "data", devFolder, "directory that holds everything the node keeps")
	flags.StringVar(&context, "context", "", "name under which clients of yours on this machine find the node (default: that of this directory)")
	flags.StringVar(&listen, "listen", devListen, "address of the one port; a free one is taken if this is in use and not asked for")
	return cmd
}

// devData makes the folder of a project's node, which git is to leave alone.
func devData(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	ignore := filepath.Join(folder, ".gitignore")
	if _, err := os.Stat(ignore); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(ignore, []byte("*\n"), 0o600); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	return nil
}

// freeAddress returns the address, or one with a free port if its own is in use.
func freeAddress(address string) string {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		host, _, _ := net.SplitHostPort(address)
		return net.JoinHostPort(host, "0")
	}
	_ = listener.Close()
	return address
}

// devBanner says where a node is and what to do with it.
func devBanner(r node.Ready) string {
	token, address := filepath.Join(r.Data, "token"), strings.TrimPrefix(r.URL, "http://")
	if absolute, err := filepath.Abs(token); err == nil {
		token = absolute
	}
	name, connect, flag := r.Context.Name, "", ""
	which := "the current one: your programs on this machine find this node by themselves"
	switch {
	case name == "":
		name, which = "none", "this user has no configuration directory to keep it in; your programs need the two variables below"
	case name != r.Context.Current.Name:
		connect, flag = fmt.Sprintf("context=%q", name), " --context "+name
		which = fmt.Sprintf("your programs keep using context %s (%s) unless they say context=%q;\n           to let all of them use this node: cloudburst context use %s",
			r.Context.Current.Name, r.Context.Current.Address, name, name)
	case r.Context.Before != "":
		which = "the current one from now on, since the node of context " + r.Context.Before + " is gone"
	}
	return fmt.Sprintf(`Cloudburst is ready at %s
  data     %s: all that you store, still there when you start again
  token    %s: who has it may do everything
  context  %s: %s

A first program:

  import cloudburst

  app = cloudburst.connect(%s)

  @app.function
  def greet(name):
      cloudburst.context().increment("greeted")
      return f"Hello {name}"

  print(greet.remote("Ada").get(), app.get("greeted"))

From the command line, in another terminal:

  cloudburst call%s greet '"Grace"'
  cloudburst status%s
  cloudburst context ls

Programs elsewhere, such as in a container, need these:

  export CLOUDBURST_ADDRESS=%s CLOUDBURST_TOKEN="$(cat %s)"

What functions print appears below. Ctrl-C stops the node.
`, r.URL, r.Data, token, name, which, connect, flag, flag, address, token)
}
