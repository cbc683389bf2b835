package embedded_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/bus/embedded"
)

func TestSpace(t *testing.T) {
	t.Parallel()
	const limit = 32 << 20
	dir := t.TempDir()
	conn := connect(t, start(t, embedded.Config{DataDir: dir, StoreMax: limit}))
	space, known := conn.Space()
	if !known || space.Limit != limit || space.Kept != limit/8 || space.Used != 0 || space.Left() != limit-limit/8 {
		t.Errorf("an empty log: %+v, %v", space, known)
	}
	if _, err := conn.JetStream.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.JetStream.Publish(t.Context(), "s", make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if space, _ = conn.Space(); space.Used < 1<<20 {
		t.Errorf("with a message of 1 MiB: %+v", space)
	}
}

func TestWhatIsKeptCanBeUsedHoweverFullTheLogIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, embedded.Config{DataDir: dir, StoreMax: 16 << 20})
	conn := connect(t, s)
	if _, err := conn.JetStream.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		_, err := conn.JetStream.Publish(t.Context(), "s", make([]byte, 1<<20))
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), "insufficient resources") || i < 17 {
			t.Fatalf("message %d: %v", i, err)
		}
		break
	}
	conn.Close()
	s.Shutdown()
	conn = connect(t, start(t, embedded.Config{DataDir: dir, StoreMax: 8 << 20}))
	if space, _ := conn.Space(); space.Left() >= 0 {
		t.Errorf("a log that is longer than its limit has room: %+v", space)
	}
	if _, err := conn.JetStream.Publish(t.Context(), "s", make([]byte, 100_000)); err != nil {
		t.Error(err)
	}
}
