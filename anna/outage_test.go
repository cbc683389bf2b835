package anna_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/bus"
	"cloudburst/lattice"
	"cloudburst/wire"
)

// startTCP starts a NATS server that can go away and come back, which one inside the process cannot.
func startTCP(t testing.TB, dir string, port int, storeMax int64) *natsserver.Server {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true, JetStream: true, StoreDir: dir, JetStreamMaxStore: storeMax,
		MaxPayload: bus.PayloadMax,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not take connections")
	}
	return s
}

func stopTCP(s *natsserver.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func portOf(s *natsserver.Server) int { return s.Addr().(*net.TCPAddr).Port }

func connectTCP(t testing.TB, s *natsserver.Server) *bus.Conn {
	t.Helper()
	conn, err := bus.Connect(context.Background(), bus.Config{URL: s.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func TestLogGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	nats := startTCP(t, dir, -1, 0)
	port := portOf(nats)
	cfg := anna.Config{
		DurableTimeout: 500 * time.Millisecond, PublishTimeout: 200 * time.Millisecond, ChangesetBytesMax: 1 << 20,
	}
	s := startOnConn(t, cfg, connectTCP(t, nats))
	s.put(t, "a", "1", kernel.Durable)
	stopTCP(nats)

	// Reads and writes to memory go on; a durable write fails in bounded time and says why.
	if got := s.get(t, "a"); got != "1" {
		t.Fatalf("a is %q", got)
	}
	s.put(t, "b", "2", kernel.Memory)
	if got := s.get(t, "b"); got != "2" {
		t.Fatalf("b is %q", got)
	}
	_, err := s.write(t, &kernel.Write{Key: "a", Delta: lattice.Put(lattice.Timestamp{}, []byte("3"))})
	if !errors.Is(err, wire.ErrUnavailable) || !strings.Contains(err.Error(), "log") {
		t.Fatalf("a durable write without a log: %v", err)
	}
	// What is not in the log is bounded.
	value := make([]byte, 32<<10)
	for i := 0; ; i++ {
		_, err := s.write(t, &kernel.Write{Key: fmt.Sprint("fill", i), Delta: lattice.Put(lattice.Timestamp{}, value), Ack: kernel.Memory})
		if err != nil {
			if !errors.Is(err, wire.ErrNoResources) || !strings.Contains(err.Error(), "changeset_bytes_max") || i < 10 {
				t.Fatalf("write %d to memory: %v", i, err)
			}
			break
		}
		if i > 100 {
			t.Fatal("the changeset is not bounded")
		}
	}

	nats = startTCP(t, dir, port, 0)
	defer func() { stopTCP(nats) }()
	s.quiet(t)
	s.put(t, "c", "4", kernel.Durable)
	s.stop()
	s = startOnConn(t, anna.Config{}, connectTCP(t, nats))
	for key, want := range map[string]string{"a": "3", "b": "2", "c": "4", "fill9": string(value)} {
		if got := s.get(t, key); got != want {
			t.Fatalf("%s is %.20q after the log came back", key, got)
		}
	}
	s.stop()
}

// quiet waits until the log holds everything.
func (r *running) quiet(t testing.TB) {
	t.Helper()
	r.until(t, "everything is in the log", func(s anna.Stats) bool { return s.ChangesetBytes == 0 })
}

func (r *running) until(t testing.TB, what string, reached func(anna.Stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if reached(r.server.Stats()) {
			return
		}
	}
	t.Fatalf("not reached: %s; %+v", what, r.server.Stats())
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	nats := startTCP(t, dir, -1, 1<<20)
	port := portOf(nats)
	s := startOnConn(t, anna.Config{DurableTimeout: 2 * time.Second}, connectTCP(t, nats))
	value := make([]byte, 16<<10)
	var full error
	n := 0
	for ; full == nil && n < 200; n++ {
		_, full = s.write(t, &kernel.Write{Key: fmt.Sprint("k", n), Delta: lattice.Put(lattice.Timestamp{}, value)})
	}
	if !errors.Is(full, wire.ErrUnavailable) || !strings.Contains(full.Error(), "resource") {
		t.Fatalf("a durable write to a full log: %v", full)
	}
	if n < 20 {
		t.Fatalf("full after %d writes", n)
	}
	// There is room again.
	stopTCP(nats)
	nats = startTCP(t, dir, port, 1<<30)
	defer func() { stopTCP(nats) }()
	s.quiet(t)
	s.put(t, "after", "1", kernel.Durable)
	s.stop()
	s = startOnConn(t, anna.Config{}, connectTCP(t, nats))
	for i := range n {
		if got := s.get(t, fmt.Sprint("k", i)); got != string(value) {
			t.Fatalf("k%d is %.20q", i, got)
		}
	}
	s.stop()
}

func TestOtherLayout(t *testing.T) {
	t.Parallel()
	s := startServer(t, anna.Config{Slots: 64}, "")
	other, err := anna.New(anna.Config{Slots: 128}, s.conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Run(t.Context()); !errors.Is(err, wire.ErrInvalidArgument) || !strings.Contains(err.Error(), "anna.slots") {
		t.Fatalf("another number of slots: %v", err)
	}
}
