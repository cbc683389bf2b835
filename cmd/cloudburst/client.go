package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"cloudburst/client"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// requestTimeout bounds what a command asks of the node, runs left out.
const requestTimeout = 30 * time.Second

// toClient gives a command what it takes to reach a node.
func (c *cli) toClient(cmd *cobra.Command) *cobra.Command {
	flags := cmd.PersistentFlags()
	flags.StringVar(&c.address, "address", "", "the node's address (default: $CLOUDBURST_ADDRESS, then that of the context)")
	flags.StringVar(&c.context, "context", "", "name of the node's context (default: $CLOUDBURST_CONTEXT, then the current one; see cloudburst context)")
	flags.StringVar(&c.token, "token", "", "the node's token (default: $CLOUDBURST_TOKEN, then that of the context)")
	flags.StringVar(&c.authority, "tls-ca", "", "PEM file with the authority that signed the node's certificate (default: the system's)")
	// It fails for a flag that is not there, and this one is.
	_ = cmd.RegisterFlagCompletionFunc("context", contextNames)
	return c.toOutput(cmd)
}

func (c *cli) toOutput(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentFlags().StringVarP(&c.output, "output", "o", "table", "table or json")
	completes(cmd, "output", "table", "json")
	return cmd
}

// completes lets a shell complete the value of a flag.
func completes(cmd *cobra.Command, flag string, choices ...string) {
	// It fails for a flag that is not there, and this one is.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
}

// with connects to the node for the time of do. The first Ctrl-C makes it give up.
func (c *cli) with(ctx context.Context, do func(context.Context, *client.Client) error) error {
	if c.output != "table" && c.output != "json" {
		return usage("--output %q: must be table or json", c.output)
	}
	if c.address != "" && c.context != "" {
		return usage("--address and --context name two nodes; give one of them")
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second one ends the program
	cloud, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer cloud.Close()
	return do(ctx, cloud)
}

func (c *cli) connect(ctx context.Context) (*client.Client, error) {
	options := []client.Option{
		client.WithAddress(c.address), client.WithContextName(c.context), client.WithToken(c.token), client.WithRequestTimeout(requestTimeout),
	}
	if c.authority != "" {
		config, err := trusting(c.authority)
		if err != nil {
			return nil, err
		}
		options = append(options, client.WithTLS(config))
	}
	return client.Connect(ctx, options...)
}

func trusting(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the authority: %s has no certificate in PEM form", file)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// explain returns an error as it is shown, with the traceback when user code raised.
func explain(err error) string {
	text := err.Error()
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return text
	}
	// Without a line of Python in it, as after a fault of a built-in function, it says nothing new.
	traceback := strings.TrimRight(e.Exception.GetTraceback(), "\n")
	if !strings.Contains(traceback, "\n") {
		return text
	}
	return text + "\n" + traceback
}

// failJSON writes an error as JSON. The code is that of the error table, as in the metrics of the node.
func (c *cli) failJSON(err error) {
	code := wire.CodeOf(err)
	if _, ok := errors.AsType[usageError](err); ok {
		code = pb.Code_CODE_INVALID_ARGUMENT
	}
	failure := struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		Type      string `json:"type,omitempty"`      // of the exception that user code raised
		Traceback string `json:"traceback,omitempty"` // of the worker
	}{Code: wire.CodeName(code), Message: err.Error()}
	if e, ok := errors.AsType[*client.Error](err); ok {
		failure.Type, failure.Traceback = e.Exception.GetType(), e.Exception.GetTraceback()
	}
	encoder := json.NewEncoder(c.stderr)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(failure) // there is nowhere else to say it
}
