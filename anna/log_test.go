package anna_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/bus/embedded"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// TestLogsOfOtherKindsAreRefused: a log that was written with other settings, or in another format, is left as it is.
func TestLogsOfOtherKindsAreRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*jetstream.StreamConfig)
		code   pb.Code
		says   string
	}{
		{"slots", func(c *jetstream.StreamConfig) { c.Metadata["cloudburst-slots"] = "7" }, pb.Code_CODE_INVALID_ARGUMENT, "anna.slots"},
		{"format", func(c *jetstream.StreamConfig) { delete(c.Metadata, "cloudburst-format") }, pb.Code_CODE_INCOMPATIBLE, "format"},
		{"direct", func(c *jetstream.StreamConfig) { c.AllowDirect = false }, pb.Code_CODE_INCOMPATIBLE, "direct"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			nats, err := embedded.Start(t.Context(), embedded.Config{DataDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nats.Shutdown)
			first := startOn(t, anna.Config{}, nats)
			first.put(t, "k", "v", kernel.Durable)
			first.stop()
			js := first.conn.JetStream
			stream, err := js.Stream(t.Context(), "cloudburst-anna-0")
			if err != nil {
				t.Fatal(err)
			}
			before := stream.CachedInfo()
			cfg := before.Config
			test.change(&cfg)
			if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			server, err := anna.New(anna.Config{}, first.conn)
			if err != nil {
				t.Fatal(err)
			}
			err = server.Run(t.Context())
			refusal, ok := errors.AsType[*wire.Error](err)
			if !ok || refusal.Code != test.code || !strings.Contains(refusal.Message, test.says) {
				t.Fatalf("refused with %v", err)
			}
			after, err := stream.Info(t.Context())
			if err != nil || after.State.LastSeq != before.State.LastSeq || after.State.Msgs != before.State.Msgs {
				t.Fatalf("the log was %+v and is %+v, %v", before.State, after, err)
			}
		})
	}
}
