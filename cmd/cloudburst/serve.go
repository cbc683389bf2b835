package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cloudburst/node"
)

// exitSignal is added to the number of the signal that cut a node, as shells do.
const exitSignal = 128

// flagSettings are the settings that have a flag, and its words.
var flagSettings = []struct{ flag, setting, usage string }{
	{"data", "node.data", "directory that holds everything the node keeps"},
	{"context", "node.context", "name under which clients of yours on this machine find the node (default: made from the data directory)"},
	{"listen", "gateway.listen", "address of the one port; port 0 takes a free one (default 127.0.0.1:7100)"},
	{"resp", "resp.listen", "address for Redis clients, such as 127.0.0.1:7379 (default: none)"},
	{"python", "executor.python", "Python interpreter of the workers, with the cloudburst package"},
	{"nats-url", "nats.url", "addresses of NATS servers to use instead of the one inside the process, separated by commas"},
	{"nats-replicas", "nats.replicas", "how many servers keep a copy of the log: 1, 3 or 5 (default 3 in a cluster, else 1)"},
	{"nats-credentials", "nats.credentials_file", "NATS credentials file"},
	{"role", "node.roles", "parts to run, separated by commas: gateway, scheduler, executor, anna (default all)"},
	{"join", "cluster.join", "addresses of all members of the cluster, this node's too, separated by commas"},
	{"cluster-listen", "cluster.listen", "address at which the other members of the cluster reach this node"},
	{"cluster-secret-file", "cluster.secret_file", "file with the secret that all members of the cluster share"},
	{"cluster-name", "cluster.name", "name of the cluster (default cloudburst)"},
	{"cluster-member", "cluster.member", "this node's name in the cluster (default: made with the data directory)"},
	{"tls-certificate", "gateway.certificate_file", "PEM file with the node's certificate; with one, the port speaks TLS"},
	{"tls-key", "gateway.key_file", "PEM file with the certificate's key"},
	{"accept-damage", "node.accept_damage", "start with what is left of a damaged log"},
	{"drain-timeout", "node.drain_timeout", "how long running functions may go on after the node is told to stop"},
	{"log-level", "log.level", "debug, info, warn or error"},
	{"log-format", "log.format", "text or json"},
}

func (c *cli) serveCommand() *cobra.Command {
	var file string
	var dump bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long: `Run a node: all parts of Cloudburst in this process, with a NATS server embedded.

Settings come from a TOML file (--config, or cloudburst.toml in the data directory), then the environment
(CLOUDBURST_EXECUTOR__WORKERS_MAX=8), then flags; the later one wins. --dump-config prints every setting with its value.

SIGTERM, Ctrl-C or the end of the terminal (SIGHUP) drains: the node takes no new requests and finishes the runs under way. A second SIGTERM
or Ctrl-C stops it at once.`,
		Args: between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings := map[string]string{}
			cmd.Flags().Visit(func(f *pflag.Flag) {
				for _, s := range flagSettings {
					if s.flag == f.Name {
						settings[s.setting] = f.Value.String()
					}
				}
			})
			cfg, err := node.Load(node.Sources{File: file, Environ: os.Environ(), Flags: settings, FlagName: flagOf})
			if err != nil {
				return err
			}
			if dump {
				return c.write([]byte(cfg.TOML()))
			}
			return c.serve(cmd.Context(), cfg, serveBanner)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "config", "", "TOML file with settings (default cloudburst.toml in the data directory)")
	flags.BoolVar(&dump, "dump-config", false, "print the settings as they take effect, secrets hidden, and end")
	for _, s := range flagSettings {
		flags.String(s.flag, "", s.usage)
	}
	flags.Lookup("accept-damage").NoOptDefVal = "true"
	completes(cmd, "log-level", "debug", "info", "warn", "error")
	completes(cmd, "log-format", "text", "json")
	return cmd
}

// flagOf returns the flag of a setting.
func flagOf(setting string) string {
	for _, s := range flagSettings {
		if s.setting == setting {
			return "--" + s.flag
		}
	}
	return setting
}

// serveOutput makes stdout and stderr such that a node never waits for what reads them, and ends with none of them broken.
func (c *cli) serveOutput(cfg *node.Config) {
	// A handler that does nothing, since programs that functions start would inherit an ignored signal. Writes fail with EPIPE then.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	var logger *slog.Logger
	stdout := node.NewLogWriter(c.stdout, cfg.Log.BufferBytesMax, nil)
	stderr := node.NewLogWriter(c.stderr, cfg.Log.BufferBytesMax, func(lines uint64) {
		logger.Warn("lines of the log were dropped, since what reads the log was too slow or could not take them (log.buffer_bytes_max)", "lines", lines)
	})
	logger = cfg.Log.NewLogger(stderr)
	cfg.Logger, cfg.LogStats = logger, stderr.Stats
	c.stdout, c.stderr = stdout, stderr
	c.flush = func() {
		stdout.Close()
		stderr.Close()
	}
}

// endingSignals are those that end a node. SIGHUP is not among them when the node was started to outlive its terminal (nohup).
func endingSignals() []os.Signal {
	ending := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ending = append(ending, syscall.SIGHUP)
	}
	return ending
}

// serveBanner is the line that says that a node is ready, and one that says which node clients find if that is another.
func serveBanner(r node.Ready) string {
	where := "at " + r.URL
	if r.URL == "" {
		where = "as " + strings.Join(r.Roles, ",")
	}
	context := ""
	if r.Context.Name != "" {
		context = ", context " + r.Context.Name
	}
	banner := fmt.Sprintf("cloudburst ready %s (data %s%s, %s)", where, r.Data, context, plural(r.Functions, "function"))
	if which := whichNode(r); which != "" {
		banner += "\n" + which
	}
	return banner
}

// serve runs a node until a signal drains it, or a second one cuts it. It prints the banner when the node is ready.
func (c *cli) serve(ctx context.Context, cfg node.Config, banner func(node.Ready) string) error {
	collectSeldom()
	cfg.Version = readBuild().Version
	c.serveOutput(&cfg)
	cfg.OnReady = func(r node.Ready) { _ = c.say("%s", banner(r)) }
	n, err := node.New(cfg)
	if err != nil {
		return err
	}
	ctx, drain := context.WithCancel(ctx)
	defer drain()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, endingSignals()...)
	defer signal.Stop(signals)
	go giveBack(ctx)
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	for draining := false; ; draining = true {
		select {
		case err := <-ended:
			if errors.Is(err, node.ErrCut) {
				return fmt.Errorf("the node was %w (node.drain_timeout is %v)", err, cfg.Node.DrainTimeout)
			}
			return err
		case s := <-signals:
			if draining && s == syscall.SIGHUP {
				continue // a terminal that closes may send several
			}
			if draining {
				// A third signal ends the process at once, whatever it is at.
				signal.Reset(os.Interrupt, syscall.SIGTERM)
				cfg.Logger.Warn("stopping at once", "signal", s.String())
				n.Cut()
				if err := <-ended; err != nil && !errors.Is(err, node.ErrCut) {
					return err
				}
				return exitError(exitSignal + int(s.(syscall.Signal)))
			}
			cfg.Logger.Info("draining; SIGTERM or Ctrl-C stops at once now", "signal", s.String(), "at_most", cfg.Node.DrainTimeout)
			drain()
		}
	}
}
