package resp_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"cloudburst/resp"
)

// TestGolden holds whole conversations against the files in testdata. A line of a command is sent as it stands, which is the
// inline form of the protocol; Go's quotes make it raw bytes. Every line is answered before the next is sent.
//
//	start [token=T] [ack=A] [masters=several]   an endpoint of its own, and a first client
//	client NAME                                 speak as another client from now on
//	do                                          lines of commands
//	raw                                         quoted bytes, sent at once; then all replies until the connection is closed
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no conversations: ", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			var e *endpoint
			var c *client
			clients := map[string]*client{}
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				switch d.Cmd {
				case "start":
					e = start(t, func(cfg *resp.Config) {
						d.MaybeScanArgs(t, "token", &cfg.Token)
						d.MaybeScanArgs(t, "ack", &cfg.Ack)
						cfg.SoleMaster = !d.HasArg("several-masters")
						cfg.Version = "test"
					})
					c = e.dial(t)
					clients = map[string]*client{}
					return ""
				case "client":
					name := d.CmdArgs[0].Key
					if clients[name] == nil {
						clients[name] = e.dial(t)
					}
					c = clients[name]
					return ""
				case "do":
					var out strings.Builder
					for line := range strings.SplitSeq(d.Input, "\n") {
						c.send(line + "\r\n")
						out.WriteString(stable(c.reply()) + "\n")
					}
					return out.String()
				case "raw":
					c := e.dial(t)
					for line := range strings.SplitSeq(d.Input, "\n") {
						raw, err := strconv.Unquote(line)
						if err != nil {
							t.Fatalf("%s: %v", line, err)
						}
						c.send(raw)
					}
					if err := c.conn.CloseWrite(); err != nil {
						t.Fatal(err)
					}
					var out strings.Builder
					for {
						text, err := readReply(c.in)
						if err != nil {
							fmt.Fprintln(&out, "closed")
							return out.String()
						}
						fmt.Fprintln(&out, stable(text))
					}
				}
				t.Fatalf("no such directive: %s", d.Cmd)
				return ""
			})
		})
	}
}

var unstable = regexp.MustCompile(`"id" \d+|id=\d+ addr=\S+ laddr=\S+ fd=\d+|age=\d+`)

// stable hides what differs from run to run.
func stable(text string) string { return unstable.ReplaceAllString(text, "…") }
