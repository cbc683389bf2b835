package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"cloudburst/bus"
	"cloudburst/bus/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t *testing.T, s *embedded.Server) *bus.Conn {
	t.Helper()
	conn, err := s.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func TestAcknowledgedMessagesSurviveARestart(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{DataDir: filepath.Join(t.TempDir(), "made", "by", "start")}
	s := start(t, cfg)
	conn := connect(t, s)
	stream := jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}
	if _, err := conn.JetStream.CreateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte{7}, bus.PayloadMax-4096)
	for i, body := range [][]byte{[]byte("small"), large} {
		if _, err := conn.JetStream.Publish(t.Context(), fmt.Sprintf("s.%d", i), body); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close()
	conn.Close()
	s.Shutdown()
	s.Shutdown()

	conn = connect(t, start(t, cfg))
	found, err := conn.JetStream.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	got, err := found.GetLastMsgForSubject(t.Context(), "s.1")
	if err != nil || !bytes.Equal(got.Data, large) {
		t.Fatalf("second message: %d bytes, %v", len(got.Data), err)
	}
}

func TestDirectoryInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, embedded.Config{DataDir: dir})
	_, err := embedded.Start(t.Context(), embedded.Config{DataDir: dir})
	if !errors.Is(err, embedded.ErrDataDirInUse) {
		t.Fatalf("got %v, want ErrDataDirInUse", err)
	}
	for _, want := range []string{dir, strconv.Itoa(os.Getpid()), "--data"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %q", err, want)
		}
	}
	s.Shutdown()
	start(t, embedded.Config{DataDir: dir})
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// JetStream's own folder cannot be made where a file stands.
	occupied := t.TempDir()
	if err := os.WriteFile(filepath.Join(occupied, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		dir  string
		want string
	}{
		{"no directory", t.Context(), "", "no data directory"},
		{"a file", t.Context(), file, "not a directory"},
		{"below a file", t.Context(), filepath.Join(file, "x"), "not a directory"},
		{"jetstream cannot start", t.Context(), occupied, occupied},
		{"cancelled", cancelled, t.TempDir(), "canceled"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := embedded.Start(test.ctx, embedded.Config{DataDir: test.dir})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestNoticesAreDebug(t *testing.T) {
	t.Parallel()
	var quiet bytes.Buffer
	s := start(t, embedded.Config{DataDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&quiet, nil))})
	connect(t, s).Close()
	s.Shutdown()
	if quiet.Len() > 0 {
		t.Errorf("an ordinary start and stop logged:\n%s", quiet.String())
	}
}

func TestFilesArePrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	start(t, embedded.Config{DataDir: dir, SyncAlways: true})
	for _, path := range []string{dir, filepath.Join(dir, "lock")} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&fs.FileMode(0o077) != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
}

// BenchmarkStart measures a start on an empty directory up to a usable connection.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s, err := embedded.Start(b.Context(), embedded.Config{DataDir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		conn, err := s.Connect(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		conn.Close()
		s.Shutdown()
	}
}
