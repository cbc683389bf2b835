package node_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cloudburst/bus/embedded"
	"cloudburst/client"
	"cloudburst/codec"
	"cloudburst/node"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// shared is a directory of all tests.
var shared string

// TestMain keeps what nodes leave for their users' clients out of the user's own directory.
func TestMain(m *testing.M) {
	var err error
	if shared, err = os.MkdirTemp("", "cloudburst"); err == nil {
		err = os.Setenv("XDG_CONFIG_HOME", shared)
	}
	if err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m,
		goleak.Cleanup(func(status int) {
			_ = os.RemoveAll(shared)
			os.Exit(status)
		}),
		// A NATS server that is told to stop while it makes a stream, as when a start is given up, forgets what it has begun.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
	)
}

// running is a node under test.
type running struct {
	*node.Node
	node.Ready
	cancel context.CancelFunc
	ended  chan error
	log    *logged
}

// logged collects what a node logs.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func config(t *testing.T) node.Config {
	t.Helper()
	var cfg node.Config
	cfg.Node.Data = filepath.Join(t.TempDir(), "data")
	cfg.Node.DrainTimeout = 20 * time.Second
	cfg.Gateway.Listen = "127.0.0.1:0"
	cfg.Executor.Python = filepath.Join("..", ".venv", "bin", "python")
	cfg.Executor.WorkersMin = 1
	return cfg
}

// launch runs a node without waiting for it.
func launch(t *testing.T, cfg node.Config) (*running, <-chan node.Ready) {
	t.Helper()
	r := &running{ended: make(chan error, 1), log: &logged{}}
	ready := make(chan node.Ready, 1)
	cfg.OnReady = func(at node.Ready) { ready <- at }
	cfg.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	var err error
	if r.Node, err = node.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		r.Cut()
		err := <-r.ended
		r.ended <- err
		if t.Failed() {
			t.Logf("the node logged:\n%s", r.log)
		}
	})
	return r, ready
}

// start runs a node and returns when it is ready.
func start(t *testing.T, cfg node.Config) *running {
	t.Helper()
	r, ready := launch(t, cfg)
	select {
	case r.Ready = <-ready:
	case err := <-r.ended:
		r.ended <- err
		t.Fatalf("the node ended: %v", err)
	}
	return r
}

// wait returns what Run returned.
func (r *running) wait() error {
	err := <-r.ended
	r.ended <- err
	return err
}

func (r *running) connect(t *testing.T) *client.Client {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(r.Data, "token"))
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(string(token))
	cloud, err := client.Connect(t.Context(), client.WithAddress(r.URL), client.WithToken(secret))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cloud.Close() })
	return cloud
}

// register registers functions by their pickles, over the stream as a Python program does.
func (r *running) register(t *testing.T, pickles map[string]string) {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(r.Data, "token"))
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL+"/v1/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "cloudburst/1", "Authorization": "Bearer " + strings.TrimSpace(string(token)),
	} {
		request.Header.Set(name, value)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	stream, ok := response.Body.(io.Writer)
	if !ok {
		t.Fatalf("no stream: %s", response.Status)
	}
	frames := wire.NewFrameReader(response.Body)
	for name, pickle := range pickles {
		f := &pb.Function{Name: name, Runtime: pb.Runtime_RUNTIME_PYTHON, Convention: pb.Convention_CONVENTION_PLAIN}
		header := &pb.Header{Id: 1, Body: &pb.Header_RegisterFunction{RegisterFunction: &pb.RegisterFunction{Function: f}}}
		if _, err := wire.WriteFrame(stream, nil, header, [][]byte{append([]byte{codec.KindPickle}, pickle...)}); err != nil {
			t.Fatal(err)
		}
		frame, err := frames.Read()
		if err != nil {
			t.Fatal(err)
		}
		if e := wire.ErrorFromFrame(frame); e != nil {
			t.Fatal(e)
		}
	}
}

var callables = map[string]string{"neg": "coperator\nneg\n.", "sleep": "ctime\nsleep\n."}

func TestStateAndFunctionsSurviveARestart(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	r := start(t, cfg)
	r.register(t, callables)
	if err := r.connect(t).Put(t.Context(), "kept", 7); err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(r.Data, "token"))
	if err != nil {
		t.Fatal(err)
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(r.Data, "address")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the address of a node that has stopped: %v", err)
	}
	r = start(t, cfg)
	if r.Functions != len(callables) {
		t.Errorf("%d functions", r.Functions)
	}
	if again, err := os.ReadFile(filepath.Join(r.Data, "token")); err != nil || !bytes.Equal(token, again) {
		t.Errorf("another token: %v", err)
	}
	cloud := r.connect(t)
	var kept int
	if err := cloud.Get(t.Context(), "kept", &kept); err != nil || kept != 7 {
		t.Errorf("got %v, %v", kept, err)
	}
	future, err := cloud.Call(t.Context(), "neg", client.Ref{Key: "kept"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.Get[int](t.Context(), future); err != nil || got != -7 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDrainFinishesWhatRuns(t *testing.T) {
	t.Parallel()
	r := start(t, config(t))
	r.register(t, callables)
	cloud := r.connect(t)
	future, err := cloud.Call(t.Context(), "sleep", 0.5)
	if err != nil {
		t.Fatal(err)
	}
	busy(t, cloud)
	r.cancel()
	if err := future.Get(t.Context(), new(any)); err != nil {
		t.Errorf("what ran when the node was told to stop: %v", err)
	}
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Node.DrainTimeout = 100 * time.Millisecond
	r := start(t, cfg)
	r.register(t, callables)
	cloud := r.connect(t)
	if _, err := cloud.Call(t.Context(), "sleep", 600); err != nil {
		t.Fatal(err)
	}
	busy(t, cloud)
	r.cancel()
	if err := r.wait(); !errors.Is(err, node.ErrCut) {
		t.Errorf("got %v", err)
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	r := start(t, config(t))
	r.register(t, callables)
	cloud := r.connect(t)
	if _, err := cloud.Call(t.Context(), "sleep", 600); err != nil {
		t.Fatal(err)
	}
	busy(t, cloud)
	r.cancel()
	r.Cut()
	if err := r.wait(); !errors.Is(err, node.ErrCut) {
		t.Errorf("got %v", err)
	}
}

// busy returns when a worker runs something.
func busy(t *testing.T, cloud *client.Client) {
	t.Helper()
	for {
		s, err := cloud.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.WorkersBusy > 0 {
			return
		}
	}
}

func TestStoppedWhileItStarts(t *testing.T) {
	t.Parallel()
	r, _ := launch(t, config(t))
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	locked := filepath.Join(t.TempDir(), "locked")
	release, err := embedded.Lock(locked)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	tests := []struct {
		name string
		set  func(*node.Config)
		want string
	}{
		{"port", func(c *node.Config) { c.Gateway.Listen = taken.Addr().String() }, "--listen"},
		{"python", func(c *node.Config) { c.Executor.Python = "/no/such/python" }, "--python"},
		{"python without the package", func(c *node.Config) { c.Executor.Python = "/bin/true" }, "installed"},
		{"data in use", func(c *node.Config) { c.Node.Data = locked }, "--data"},
		{"data in use beside NATS", func(c *node.Config) { c.Node.Data, c.NATS.URL = locked, "nats://127.0.0.1:1" }, "--data"},
		{"data below a file", func(c *node.Config) { c.Node.Data = "/dev/null/data" }, "/dev/null"},
		{"nats", func(c *node.Config) { c.NATS.URL = "nats://127.0.0.1:1" }, "nats://127.0.0.1:1"},
		{"all machines", func(c *node.Config) { c.Gateway.Listen = "0.0.0.0:0" }, "TLS"},
		{"certificate", func(c *node.Config) { c.Gateway.CertificateFile, c.Gateway.KeyFile = "/no/cert", "/no/key" }, "/no/cert"},
		{"executor", func(c *node.Config) { c.Executor.WorkersMin = -1 }, "workers_min"},
		{"scheduler", func(c *node.Config) { c.Scheduler.RunsMax = -1 }, "runs_max"},
		{"anna", func(c *node.Config) { c.Anna.Streams = 100 }, "streams"},
		{"cache", func(c *node.Config) { c.Cache.BytesMax = 1 }, "bytes_max"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t)
			test.set(&cfg)
			r, _ := launch(t, cfg)
			err := r.wait()
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if log := r.log.String(); log != "" {
				t.Errorf("beside its error it logged:\n%s", log)
			}
		})
	}
	var cfg node.Config
	cfg.NATS.Replicas = 2
	if _, err := node.New(cfg); err == nil || !strings.Contains(err.Error(), "replicas") {
		t.Errorf("got %v", err)
	}
}

func TestFilesArePrivate(t *testing.T) {
	t.Parallel()
	r := start(t, config(t))
	user, err := os.UserConfigDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{
		filepath.Join(r.Data, "token"), filepath.Join(r.Data, "address"),
		filepath.Join(user, "cloudburst", "contexts", r.Context.Name), filepath.Join(user, "cloudburst", "context"),
		filepath.Join(user, "cloudburst"), r.Data,
	} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
	}
}
