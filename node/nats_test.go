package node_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cloudburst/client"
)

// natsServer is a nats-server process that the node does not run itself.
type natsServer struct {
	url     string
	command []string
	process *exec.Cmd
	ended   chan struct{}
}

// buildNATS builds nats-server from the module that the node embeds, once for all tests.
var buildNATS = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(shared, "nats-server")
	output, err := exec.Command("go", "build", "-o", binary, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build nats-server: %w\n%s", err, output)
	}
	return binary, nil
})

// startNATS starts a server on each of the ports. Several of them are a cluster.
func startNATS(t *testing.T, servers int) []*natsServer {
	t.Helper()
	binary, err := buildNATS()
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 2*servers)
	clients, routes := ports[:servers], ports[servers:]
	var started []*natsServer
	for i := range servers {
		s := &natsServer{url: "nats://" + clients[i]}
		_, port, _ := net.SplitHostPort(clients[i])
		s.command = []string{binary, "-a", "127.0.0.1", "-p", port, "-js", "-sd", t.TempDir(), "-n", fmt.Sprintf("server-%d", i)}
		if servers > 1 {
			s.command = append(s.command, "--cluster_name", "test", "--cluster", "nats://"+routes[i],
				"--routes", "nats://"+strings.Join(routes, ",nats://"))
		}
		s.start(t)
		t.Cleanup(s.kill)
		started = append(started, s)
	}
	return started
}

func freePorts(t *testing.T, count int) []string {
	t.Helper()
	addresses := make([]string, count)
	for i := range addresses {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		addresses[i] = listener.Addr().String()
	}
	return addresses
}

// start starts the process and returns when it takes clients.
func (s *natsServer) start(t *testing.T) {
	t.Helper()
	s.process = exec.Command(s.command[0], s.command[1:]...)
	output, err := s.process.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	s.ended = make(chan struct{})
	go func() {
		defer close(s.ended)
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "Server is ready") {
				close(ready)
			}
		}
		_ = s.process.Wait() // it was killed
	}()
	select {
	case <-ready:
	case <-s.ended:
		t.Fatalf("%v ended", s.command)
	}
}

func (s *natsServer) kill() {
	_ = s.process.Process.Kill()
	<-s.ended
}

func TestNATSOutside(t *testing.T) {
	t.Parallel()
	server := startNATS(t, 1)[0]
	cfg := config(t)
	cfg.NATS.URL = server.url
	r := start(t, cfg)
	r.register(t, callables)
	cloud := r.connect(t)
	if err := cloud.Put(t.Context(), "kept", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(r.Data, "jetstream")); err == nil {
		t.Error("there is a server inside as well")
	}
	// Without the log, what is in memory is served, and a durable write fails in bounded time.
	server.kill()
	var kept int
	if err := cloud.Get(t.Context(), "kept", &kept); err != nil || kept != 1 {
		t.Errorf("got %v, %v", kept, err)
	}
	if err := call(t, cloud, 3); err != nil {
		t.Error(err)
	}
	if err := cloud.Put(t.Context(), "kept", 2); !errors.Is(err, client.ErrUnavailable) && !errors.Is(err, client.ErrDeadlineExceeded) {
		t.Errorf("a durable write without a log: %v", err)
	}
	server.start(t)
	putUntil(t, cloud, "after", 3)
	r.cancel()
	if err := r.wait(); err != nil {
		t.Fatal(err)
	}
	// Another node on the same servers, with a directory of its own, finds everything.
	cfg = config(t)
	cfg.NATS.URL = server.url
	r = start(t, cfg)
	cloud = r.connect(t)
	if err := cloud.Get(t.Context(), "after", &kept); err != nil || kept != 3 {
		t.Errorf("got %v, %v", kept, err)
	}
	if err := call(t, cloud, 4); err != nil {
		t.Error(err)
	}
}

func TestThreeReplicasSurviveTheLossOfOne(t *testing.T) {
	t.Parallel()
	servers := startNATS(t, 3)
	cfg := config(t)
	cfg.NATS.Replicas = 3
	for _, s := range servers {
		cfg.NATS.URL += "," + s.url
	}
	cfg.NATS.URL = cfg.NATS.URL[1:]
	r := start(t, cfg)
	r.register(t, callables)
	cloud := r.connect(t)
	for i := range 20 {
		if err := cloud.Put(t.Context(), fmt.Sprintf("key-%d", i), i); err != nil {
			t.Fatal(err)
		}
	}
	servers[0].kill()
	putUntil(t, cloud, "without-one", 7)
	if err := call(t, cloud, 5); err != nil {
		t.Error(err)
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Fatal(err)
	}
	r = start(t, cfg)
	cloud = r.connect(t)
	for i := range 20 {
		var got int
		if err := cloud.Get(t.Context(), fmt.Sprintf("key-%d", i), &got); err != nil || got != i {
			t.Errorf("key-%d: %v, %v", i, got, err)
		}
	}
	var got int
	if err := cloud.Get(t.Context(), "without-one", &got); err != nil || got != 7 {
		t.Errorf("got %v, %v", got, err)
	}
	if err := call(t, cloud, 6); err != nil {
		t.Error(err)
	}
}

func call(t *testing.T, cloud *client.Client, n int) error {
	t.Helper()
	future, err := cloud.Call(t.Context(), "neg", n)
	if err != nil {
		return err
	}
	got, err := client.Get[int](t.Context(), future)
	if err == nil && got != -n {
		err = fmt.Errorf("got %d", got)
	}
	return err
}

// putUntil writes until the log takes it.
func putUntil(t *testing.T, cloud *client.Client, key string, value int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for {
		err := cloud.Put(ctx, key, value)
		if err == nil {
			return
		}
		if ctx.Err() != nil || !errors.Is(err, client.ErrUnavailable) && !errors.Is(err, client.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
}
