package anna_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/bus"
	"cloudburst/bus/embedded"
	"cloudburst/lattice"
)

func verifyMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 120 * time.Second

// running is a server, and the NATS server of its own below it.
type running struct {
	server *anna.Server
	conn   *bus.Conn
	nats   *embedded.Server
	stop   func()
}

// startServer starts a server on a directory, a new one if it is empty, and stops it at the end of the test.
func startServer(t testing.TB, cfg anna.Config, dir string) *running {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	nats, err := embedded.Start(context.Background(), embedded.Config{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Shutdown)
	r := startOn(t, cfg, nats)
	stop := r.stop
	r.stop = func() {
		stop()
		r.conn.Close()
		nats.Shutdown()
	}
	return r
}

// beside starts another server on the same log.
func (r *running) beside(t testing.TB, cfg anna.Config) *running {
	t.Helper()
	return startOn(t, cfg, r.nats)
}

func startOn(t testing.TB, cfg anna.Config, nats *embedded.Server) *running {
	t.Helper()
	conn, err := nats.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	r := startOnConn(t, cfg, conn)
	r.nats = nats
	return r
}

func startOnConn(t testing.TB, cfg anna.Config, conn *bus.Conn) *running {
	t.Helper()
	return startBy(t, cfg, conn, func() time.Duration { return 0 })
}

// startBy is startOnConn by a clock that is ahead of the machine's.
func startBy(t testing.TB, cfg anna.Config, conn *bus.Conn, ahead func() time.Duration) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{conn: conn}
	var err error
	if r.server, err = anna.New(cfg, conn); err != nil {
		t.Fatal(err)
	}
	r.server.SetClock(ahead)
	ended := make(chan error, 1)
	go func() { ended <- r.server.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	select {
	case <-r.server.Ready():
	case err := <-ended:
		ended <- nil
		t.Fatal("ended before it was ready: ", err)
	case <-time.After(patience):
		t.Fatal("not ready")
	}
	return r
}

func (r *running) write(t testing.TB, w *kernel.Write) (int64, error) {
	t.Helper()
	type answer struct {
		value int64
		err   error
	}
	done := make(chan answer, 1)
	r.server.Write(w, anna.CompletionFunc(func(value int64, err error) { done <- answer{value, err} }))
	select {
	case a := <-done:
		return a.value, a.err
	case <-time.After(patience):
		t.Fatalf("write to %q was not answered", w.Key)
		return 0, nil
	}
}

func (r *running) put(t testing.TB, key, value string, ack kernel.Ack) {
	t.Helper()
	if _, err := r.write(t, &kernel.Write{Key: key, Delta: lattice.Put(lattice.Timestamp{}, []byte(value)), Ack: ack}); err != nil {
		t.Fatal(err)
	}
}

// get returns the last-writer-wins value of a key, "" without one, fetching it if need be.
func (r *running) get(t testing.TB, key string) (value string) {
	t.Helper()
	r.view(t, key, func(s *lattice.State) {
		if s == nil {
			return
		}
		if lww, ok := s.Live(time.Now().UnixMilli()).(*lattice.LWW); ok {
			value = string(lww.Value)
		}
	})
	return value
}

// view lets read see what a key holds, fetching it if need be.
func (r *running) view(t testing.TB, key string, read func(*lattice.State)) {
	t.Helper()
	for !r.server.View(key, read) {
		done := make(chan error, 1)
		r.server.Fetch(key, anna.CompletionFunc(func(_ int64, err error) { done <- err }))
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(patience):
			t.Fatalf("fetch of %q was not answered", key)
		}
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, anna.Config{}, dir)
	s.put(t, "durable", "1", kernel.Durable)
	s.put(t, "memory", "2", kernel.Memory)
	s.stop()
	s = startServer(t, anna.Config{}, dir)
	if got := s.get(t, "durable") + s.get(t, "memory"); got != "12" {
		t.Fatalf("after a restart: %q", got)
	}
}
