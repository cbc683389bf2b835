package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/bus"
	"cloudburst/bus/embedded"
)

// blockMax is more than NATS writes into one file of a stream.
const blockMax = 10 << 20

// publish publishes a large message, and says whether it was acknowledged.
func publish(ctx context.Context, conn *bus.Conn, subject string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	ack, err := conn.JetStream.Publish(ctx, subject, make([]byte, 1<<20))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// obstruct lets the next file of a stream fail to be opened, as it does when the process has no descriptor left, and returns what lets
// it be opened again.
func obstruct(t *testing.T, dir, stream string) (free func()) {
	t.Helper()
	messages := filepath.Join(dir, embedded.StoreFolder, "$G", "streams", stream, "msgs")
	var made []string
	for i := 2; i < 12; i++ {
		obstacle := filepath.Join(messages, fmt.Sprintf("%d.blk", i))
		if err := os.Mkdir(obstacle, 0o700); err == nil {
			made = append(made, obstacle)
		}
	}
	return func() {
		for _, obstacle := range made {
			if err := os.Remove(obstacle); err != nil && !errors.Is(err, fs.ErrNotExist) { // NATS removes all of a stream that it cannot read
				t.Fatal(err)
			}
		}
	}
}

func TestAStreamThatWasGivenUpComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, embedded.Config{DataDir: dir})
	conn := connect(t, s)
	if _, err := conn.JetStream.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if faults := s.Faults(); len(faults) > 0 {
		t.Fatal(faults)
	}
	free := obstruct(t, dir, "S")
	var last uint64
	for range 2 * blockMax >> 20 {
		sequence, err := publish(t.Context(), conn, "s")
		if err != nil {
			break
		}
		last = sequence
	}
	for len(s.Faults()) == 0 {
		if t.Context().Err() != nil {
			t.Fatal("the fault is not told")
		}
		time.Sleep(10 * time.Millisecond)
	}
	free()
	for {
		sequence, err := publish(t.Context(), conn, "s")
		if err == nil {
			if sequence <= last {
				t.Errorf("the first message after the fault has sequence %d, and %d was acknowledged before", sequence, last)
			}
			last = sequence
			break
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	for len(s.Faults()) > 0 {
		if t.Context().Err() != nil {
			t.Fatal(s.Faults())
		}
		time.Sleep(10 * time.Millisecond)
	}
	stream, err := conn.JetStream.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if state := stream.CachedInfo().State; state.Msgs != last || state.FirstSeq != 1 {
		t.Errorf("the stream holds %d messages from %d on, want %d from 1 on", state.Msgs, state.FirstSeq, last)
	}
}

func TestAStreamThatCannotBeReadIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := embedded.Config{DataDir: dir}
	s := start(t, cfg)
	conn := connect(t, s)
	if _, err := conn.JetStream.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := publish(t.Context(), conn, "s"); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	s.Shutdown()
	messages := filepath.Join(dir, embedded.StoreFolder, "$G", "streams", "S", "msgs")
	if err := os.Remove(filepath.Join(messages, "index.db")); err != nil {
		t.Fatal(err)
	}
	free := obstruct(t, dir, "S")
	for range 2 {
		if _, err := embedded.Start(t.Context(), cfg); !errors.Is(err, embedded.ErrUnreadable) || !strings.Contains(err.Error(), "stream S") {
			t.Fatalf("got %v", err)
		}
		free()
		free = obstruct(t, dir, "S")
	}
	free()
	conn = connect(t, start(t, cfg))
	stream, err := conn.JetStream.Stream(t.Context(), "S")
	if err != nil || stream.CachedInfo().State.Msgs != 1 {
		t.Fatalf("%v, %v", stream, err)
	}
}
