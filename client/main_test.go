package client_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cloudburst/client"
	"cloudburst/node"
)

// callables are registered on the shared node: pickles of callables that every Python has.
var callables = map[string]string{
	"incr":     "cfunctools\npartial\n(coperator\nadd\np0\ntR(g0\n(I1\nt(dNtb.",        // functools.partial(operator.add, 1)
	"sq":       "cfunctools\npartial\n(cbuiltins\npow\np0\ntR(g0\n(t(dVexp\nI2\nsNtb.", // functools.partial(pow, exp=2)
	"add":      "coperator\nadd\n.",
	"neg":      "coperator\nneg\n.",
	"div":      "coperator\ntruediv\n.",
	"identity": "ccopy\ncopy\n.",
	"sleep":    "ctime\nsleep\n.",
	"abs":      "cbuiltins\nabs\n.",
	"complex":  "cbuiltins\ncomplex\n.",
	"divmod":   "cbuiltins\ndivmod\n.",
	"len":      "cbuiltins\nlen\n.",
	"repr":     "cbuiltins\nrepr\n.",
	"set":      "cbuiltins\nset\n.",
	"sorted":   "cbuiltins\nsorted\n.",
	"print":    "cbuiltins\nprint\n.",
	"warn":     "clogging\nwarning\n.",
}

// TestMain runs one node for all tests. It is the node that clients find.
func TestMain(m *testing.M) { os.Exit(main(m)) }

func main(m *testing.M) int {
	flag.Parse()
	if worker := flag.Lookup("test.fuzzworker"); worker != nil && worker.Value.String() == "true" {
		return m.Run() // the fuzz targets need no node
	}
	dir, err := os.MkdirTemp("", "cloudburst")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("XDG_CONFIG_HOME", dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	url, stop, err := startNode(filepath.Join(dir, "data"), "127.0.0.1:0")
	if err == nil {
		// Other nodes are started by tests; the environment comes before what they leave behind.
		token, unread := os.ReadFile(filepath.Join(dir, "data", "token"))
		err = errors.Join(unread, os.Setenv("CLOUDBURST_ADDRESS", url), os.Setenv("CLOUDBURST_TOKEN", strings.TrimSpace(string(token))))
	}
	if err == nil {
		err = register(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	status := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = cmp.Or(status, 1)
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = cmp.Or(status, 1)
	}
	return status
}

// startNode runs a node in this process and returns when it is ready.
func startNode(data, listen string) (url string, stop func() error, err error) {
	var cfg node.Config
	cfg.Node.Data, cfg.Node.DrainTimeout = data, 10*time.Second
	cfg.Gateway.Listen = listen
	cfg.Executor.Python = filepath.Join("..", ".venv", "bin", "python")
	ready := make(chan string, 1)
	cfg.OnReady = func(r node.Ready) { ready <- r.URL }
	n, err := node.New(cfg)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	select {
	case url = <-ready:
		return url, func() error { cancel(); return <-ended }, nil
	case err := <-ended:
		cancel()
		return "", nil, fmt.Errorf("start a node: %w", err)
	}
}

func register(ctx context.Context) error {
	cloud, err := client.Connect(ctx)
	if err != nil {
		return err
	}
	defer cloud.Close()
	for name, pickle := range callables {
		if err := cloud.RegisterPickle(ctx, name, pickle); err != nil {
			return err
		}
	}
	return nil
}

func connect(t *testing.T, options ...client.Option) *client.Client {
	t.Helper()
	cloud, err := client.Connect(t.Context(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cloud.Close() })
	return cloud
}

// nowhere returns an address at which nothing listens.
func nowhere(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
