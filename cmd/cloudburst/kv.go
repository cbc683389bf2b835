package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloudburst/client"
	"cloudburst/codec"
)

// inputMax is one byte more than the largest value, so that a larger one is refused with its reason by the client.
const inputMax = 64<<20 + 1

// storing is a command line of `cloudburst kv put`.
type storing struct {
	as   string
	file string
	ttl  time.Duration
	ack  string
}

func (c *cli) kvCommand() *cobra.Command {
	kv := c.toClient(&cobra.Command{Use: "kv", Short: "Read and write the store: get, put, list and delete keys", RunE: group, Args: cobra.ArbitraryArgs})
	limit := 1000
	ls := &cobra.Command{
		Use: "ls [PREFIX]", Short: "List the keys that begin with a prefix, in order",
		Long: "List the keys that begin with a prefix, in order. The results of calls are keys too, and are not listed.",
		Args: between(0, 1, "at most a prefix"), ValidArgsFunction: c.completing(false, keyNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), c.listKeys(strings.Join(args, ""), limit))
		},
	}
	ls.Flags().IntVar(&limit, "limit", limit, "list at most this many keys; 0 lists all")
	kv.AddCommand(
		&cobra.Command{
			Use: "get KEY", Short: "Print the value of a key",
			Long:    "Print the value of a key: strings and bytes as they are, and other values as JSON. With -o json every value is JSON that\n`cloudburst kv put --as json` stores unchanged.",
			Example: "  cloudburst kv get visits\n  cloudburst kv get picture > cat.png\n  cloudburst kv get users -o json",
			Args:    between(1, 1, "one key"), ValidArgsFunction: c.completing(false, keyNames),
			RunE: func(cmd *cobra.Command, args []string) error { return c.with(cmd.Context(), c.getKey(args[0])) },
		},
		c.putCommand(),
		&cobra.Command{
			Use: "rm KEY…", Aliases: []string{"del"}, Short: "Delete keys",
			Long: "Delete keys. A key that is not there is not an error.", Example: "  cloudburst kv rm visits\n  cloudburst kv rm -- -1",
			Args: between(1, -1, "the keys to delete"), ValidArgsFunction: c.completing(true, keyNames),
			RunE: func(cmd *cobra.Command, args []string) error { return c.with(cmd.Context(), c.deleteKeys(args)) },
		},
		ls,
	)
	return kv
}

func (c *cli) putCommand() *cobra.Command {
	var s storing
	put := &cobra.Command{
		Use: "put KEY VALUE", Short: "Store a value under a key",
		Long: `Store a value under a key; the last value stored wins, except that the elements of a $set join those that are there.

The value is JSON on the command line, the bytes from stdin if it is -, or the bytes of a file with --file.

` + notation,
		Example: `  cloudburst kv put answer 42
  cloudburst kv put greeting --as text 'good morning'
  cloudburst kv put picture --file cat.png
  echo '[1, 2]' | cloudburst kv put list --as json -`,
		Args: between(1, 2, "a key and a value"), ValidArgsFunction: c.completing(false, keyNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			value, err := c.input(args[1:], s)
			if err != nil {
				return err
			}
			ack := client.AckDurable
			switch s.ack {
			case "durable":
			case "memory":
				ack = client.AckMemory
			default:
				return usage("--ack %q: must be durable or memory", s.ack)
			}
			if s.ttl < 0 {
				return usage("--ttl %v: must not be negative", s.ttl)
			}
			return c.with(cmd.Context(), func(ctx context.Context, cloud *client.Client) error {
				if err := cloud.PutAll(ctx, ack, client.Write{Key: args[0], Value: value, TTL: s.ttl}); err != nil || c.output == "table" {
					return err
				}
				return c.json(map[string]any{"key": args[0]})
			})
		},
	}
	put.Flags().StringVar(&s.as, "as", "", "how to read the value: json, text or bytes (default: json on the command line, bytes from stdin or a file)")
	put.Flags().StringVar(&s.file, "file", "", "store the content of this file")
	put.Flags().DurationVar(&s.ttl, "ttl", 0, "delete the key after this time, such as 90s or 24h; 0 keeps it")
	put.Flags().StringVar(&s.ack, "ack", "durable", "when to return: durable (it is in the log) or memory (it is in the memory of a node)")
	completes(put, "as", "json", "text", "bytes")
	completes(put, "ack", "durable", "memory")
	return put
}

// input returns the value to store, wherever it comes from.
func (c *cli) input(args []string, s storing) (any, error) {
	if (len(args) == 0) == (s.file == "") {
		return nil, usage("give the value, or - for stdin, or --file: one of them")
	}
	content, as, what := "", "bytes", "stdin"
	var err error
	switch {
	case s.file != "":
		what = s.file
		content, err = readFile(s.file)
	case args[0] == "-":
		content, err = read(c.stdin)
	default:
		what, content, as = "the value", args[0], "json"
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if s.as != "" {
		as = s.as
	}
	switch as {
	case "text":
		return content, nil
	case "bytes":
		return []byte(content), nil
	case "json":
		v, err := codec.ParseJSON(content)
		if err != nil {
			return nil, usage("%s is not JSON: %w; --as text stores a string as it is", what, err)
		}
		return v, nil
	}
	return nil, usage("--as %q: must be json, text or bytes", as)
}

func readFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	return read(file)
}

func read(r io.Reader) (string, error) {
	content, err := io.ReadAll(io.LimitReader(r, inputMax))
	return string(content), err
}

func (c *cli) getKey(key string) func(context.Context, *client.Client) error {
	return func(ctx context.Context, cloud *client.Client) error {
		var value client.Ordered
		if err := cloud.Get(ctx, key, &value); err != nil {
			return err
		}
		return c.show(value.Value)
	}
}

func (c *cli) deleteKeys(keys []string) func(context.Context, *client.Client) error {
	return func(ctx context.Context, cloud *client.Client) error {
		if err := cloud.Delete(ctx, keys...); err != nil || c.output == "table" {
			return err
		}
		return c.json(map[string]any{"deleted": keys})
	}
}

func (c *cli) listKeys(prefix string, limit int) func(context.Context, *client.Client) error {
	return func(ctx context.Context, cloud *client.Client) error {
		if limit < 0 {
			return usage("--limit %d: must not be negative", limit)
		}
		found, after, more := []string{}, "", true
		for more && (limit == 0 || len(found) < limit) {
			// As many as the node gives at once, until there are enough.
			page, rest, err := cloud.Keys(ctx, prefix, after, min(limit-len(found), 10000))
			if err != nil {
				return err
			}
			found, more = append(found, page...), rest
			if len(page) == 0 {
				break
			}
			after = page[len(page)-1]
			if c.output == "table" {
				for _, key := range page {
					if err := c.say("%s", printable(key)); err != nil {
						return err
					}
				}
			}
		}
		if c.output == "json" {
			return c.json(struct {
				Keys []string `json:"keys"`
				More bool     `json:"more"`
			}{found, more})
		}
		if more {
			fmt.Fprintf(c.stderr, "%d keys, and there are more; --limit 0 lists all\n", len(found))
		}
		return nil
	}
}
