package bus_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"cloudburst/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// external runs a NATS server that listens on a port, as an external one does. Port 0 picks a free one.
func external(t *testing.T, options server.Options) *server.Server {
	t.Helper()
	options.Host, options.NoSigs, options.NoLog = "127.0.0.1", true, true
	if options.Port == 0 {
		options.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&options)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { stop(s) })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the nats-server did not start")
	}
	return s
}

func stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func TestConnectExternal(t *testing.T) {
	t.Parallel()
	s := external(t, server.Options{JetStream: true, StoreDir: t.TempDir(), Authorization: "secret"})
	conn, err := bus.Connect(t.Context(), bus.Config{URL: s.ClientURL(), Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if !conn.Connected() {
		t.Error("not connected")
	}
	if _, err := conn.JetStream.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"}); err != nil {
		t.Fatal(err)
	}
}

func TestConnectFails(t *testing.T) {
	t.Parallel()
	plain := external(t, server.Options{})
	guarded := external(t, server.Options{JetStream: true, StoreDir: t.TempDir(), Authorization: "secret"})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		cfg  bus.Config
		is   error
		want string
	}{
		{"nothing there", bus.Config{URL: "nats://" + free}, bus.ErrUnreachable, free},
		{"secrets stay secret", bus.Config{URL: "nats://bob:hunter2@" + free}, bus.ErrUnreachable, "xxxxx@" + free},
		{"no JetStream", bus.Config{URL: plain.ClientURL()}, bus.ErrNoJetStream, "--jetstream"},
		{"wrong token", bus.Config{URL: guarded.ClientURL(), Token: "wrong"}, bus.ErrUnreachable, "Authorization"},
		{"no address", bus.Config{}, nil, "url is empty"},
		{"two identities", bus.Config{URL: "x", Token: "a", CredentialsFile: "b"}, nil, "give one of them"},
		{"half a certificate", bus.Config{URL: "x", CertificateFile: "a"}, nil, "needs its key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := bus.Connect(t.Context(), test.cfg)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v is not %v", err, test.is)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v shows a password", err)
			}
		})
	}
}

// signal is a log handler that tells when a message was logged.
type signal struct {
	mu   sync.Mutex
	text bytes.Buffer
	seen map[string]chan struct{}
}

func (s *signal) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for text, seen := range s.seen {
		if bytes.Contains(line, []byte(text)) {
			close(seen)
			delete(s.seen, text)
		}
	}
	return s.text.Write(line)
}

func TestReconnects(t *testing.T) {
	t.Parallel()
	options := server.Options{JetStream: true, StoreDir: t.TempDir()}
	s := external(t, options)
	lost, back := make(chan struct{}), make(chan struct{})
	log := &signal{seen: map[string]chan struct{}{"connection lost": lost, "is back": back}}
	conn, err := bus.Connect(t.Context(), bus.Config{URL: s.ClientURL(), Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	u, err := url.Parse(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	stop(s)
	<-lost
	if options.Port, err = strconv.Atoi(u.Port()); err != nil {
		t.Fatal(err)
	}
	external(t, options)
	<-back
	if _, err := conn.JetStream.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"}); err != nil {
		t.Fatal(err)
	}
}
