package registry_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/bus"
	"cloudburst/registry"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func TestTwoRegistriesAgree(t *testing.T) {
	t.Parallel()
	s := server(t, t.TempDir())
	here, _ := run(t, connect(t, s))
	there, _ := run(t, connect(t, s))

	f := register(t, here, "sq", "x")
	// There may be behind, but never decides on what is old.
	if err := there.RegisterDAG(t.Context(), &pb.Dag{Name: "f", Functions: []string{"sq"}}); err != nil {
		t.Fatal(err)
	}
	got, err := there.Function("sq")
	want(t, got, err, f)
	definition, err := there.Definition(t.Context(), got)
	want(t, string(definition), err, "x")

	wantError(t, here.RegisterDAG(t.Context(), &pb.Dag{Name: "f", Functions: []string{"sq"}}), registry.ErrDAGExists, pb.Code_CODE_DAG_EXISTS)
	if _, err := here.DAG("f"); err != nil {
		t.Error(err)
	}
	wantError(t, here.DeleteFunction(t.Context(), "sq"), registry.ErrFunctionInUse, pb.Code_CODE_INVALID_ARGUMENT, "dag f")
	if err := here.DeleteDAG(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	if err := there.DeleteFunction(t.Context(), "sq"); err != nil {
		t.Fatal(err)
	}
	if err := here.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = here.Function("sq")
	wantError(t, err, registry.ErrFunctionNotFound, pb.Code_CODE_FUNCTION_NOT_FOUND)
	want(t, register(t, here, "sq", "y").GetVersion(), nil, 2)
}

// A function that a DAG uses and a DAG whose function is gone must not both come true, whichever is first.
func TestDeletionAgainstRegistration(t *testing.T) {
	t.Parallel()
	s := server(t, t.TempDir())
	here, _ := run(t, connect(t, s))
	there, _ := run(t, connect(t, s))
	for i := range 30 {
		name := fmt.Sprintf("f%d", i)
		register(t, here, name, "x")
		var wait sync.WaitGroup
		var deleted, composed error
		wait.Go(func() { deleted = here.DeleteFunction(t.Context(), name) })
		wait.Go(func() { composed = there.RegisterDAG(t.Context(), &pb.Dag{Name: name, Functions: []string{name}}) })
		wait.Wait()
		switch {
		case deleted == nil:
			wantError(t, composed, registry.ErrFunctionNotFound, pb.Code_CODE_FUNCTION_NOT_FOUND, name)
		case composed == nil:
			wantError(t, deleted, registry.ErrFunctionInUse, pb.Code_CODE_INVALID_ARGUMENT, name)
		default:
			t.Fatalf("both were refused: %v; %v", deleted, composed)
		}
	}
}

func TestForeignEntriesAreIgnored(t *testing.T) {
	t.Parallel()
	s := server(t, t.TempDir())
	conn := connect(t, s)
	r, _ := run(t, conn)
	register(t, r, "sq", "x")
	keyValue, err := conn.JetStream.KeyValue(t.Context(), "cloudburst-registry")
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"later.kind": "?", "function.sq.9": "\xff", "dag.f": "\xff", "function.x.1": ""} {
		if _, err := keyValue.Put(t.Context(), key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := keyValue.Delete(t.Context(), "later.kind"); err != nil {
		t.Fatal(err)
	}
	want(t, register(t, r, "sq", "y").GetVersion(), nil, 2)
	other, _ := run(t, conn)
	want(t, names(other.Functions("", true)), nil, []string{"sq@1", "sq@2"})
}

func TestNotRunning(t *testing.T) {
	t.Parallel()
	r := registry.New(registry.Config{}, connect(t, server(t, t.TempDir())), bucket{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	wantError(t, r.DeleteDAG(ctx, "f"), wire.ErrUnavailable, pb.Code_CODE_UNAVAILABLE, "loading")
	if _, err := r.Function("f"); err == nil {
		t.Error("found a function in nothing")
	}
}

func TestReplicasNeedACluster(t *testing.T) {
	t.Parallel()
	r := registry.New(registry.Config{Replicas: 3}, connect(t, server(t, t.TempDir())), bucket{})
	if err := r.Run(t.Context()); err == nil {
		t.Fatal("three replicas on one server")
	}
}

// natsServer runs a NATS server with a port, as an external one has, alone or as one of a cluster.
func natsServer(t *testing.T, name, dir string, port, clusterPort int, routes ...*url.URL) *natsserver.Server {
	t.Helper()
	options := &natsserver.Options{
		ServerName: name, Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir,
		MaxPayload: bus.PayloadMax,
	}
	if clusterPort != 0 {
		options.Cluster = natsserver.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: clusterPort, NoAdvertise: true}
		options.Routes = routes
	}
	s, err := natsserver.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { end(s) })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the nats-server did not start")
	}
	return s
}

func end(s *natsserver.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func external(t *testing.T, s *natsserver.Server) *bus.Conn {
	t.Helper()
	conn, err := bus.Connect(t.Context(), bus.Config{URL: s.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func TestServerRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := natsServer(t, "a", dir, natsserver.RANDOM_PORT, 0)
	port := s.Addr().(*net.TCPAddr).Port
	here, _ := run(t, external(t, s))
	there, _ := run(t, external(t, s))
	register(t, here, "sq", "one")
	end(s)
	natsServer(t, "a", dir, port, 0)

	// Both connections come back by themselves, and what the one registers the other sees.
	definition := []byte("two")
	for {
		if _, err := here.Register(t.Context(), meta("sq"), definition); err == nil {
			break
		} else if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	for there.Sync(t.Context()) != nil {
		if t.Context().Err() != nil {
			t.Fatal("no sync")
		}
	}
	got, err := there.Function("sq")
	if err != nil || got.GetVersion() < 2 {
		t.Fatalf("there: %v, %v", got, err)
	}
}

func TestThreeReplicas(t *testing.T) {
	t.Parallel()
	// A cluster needs its size known before it elects: with addresses that are known beforehand every server has routes to
	// all of them.
	ports := make([]int, 3)
	routes := make([]*url.URL, 3)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = listener.Addr().(*net.TCPAddr).Port
		routes[i] = &url.URL{Scheme: "nats", Host: listener.Addr().String()}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
	servers := make([]*natsserver.Server, 3)
	for i := range servers {
		servers[i] = natsServer(t, fmt.Sprintf("s%d", i), t.TempDir(), natsserver.RANDOM_PORT, ports[i], routes...)
	}
	var registries []*registry.Registry
	for _, s := range servers {
		conn := clustered(t, s)
		r, _ := runWith(t, registry.Config{Replicas: 3}, conn, bucket{replicated(t, conn)})
		registries = append(registries, r)
	}
	var wait sync.WaitGroup
	for i := range 30 {
		wait.Go(func() {
			if _, err := registries[i%3].Register(t.Context(), meta("hot"), []byte{byte(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	// One server goes; the other two are a majority.
	end(servers[0])
	if _, err := registries[1].Register(t.Context(), meta("hot"), []byte("last")); err != nil {
		t.Fatal(err)
	}
	if err := registries[2].Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := registries[2].Function("hot")
	if err != nil || got.GetVersion() != 31 {
		t.Fatalf("latest %v, %v; want version 31", got, err)
	}
	definition, err := registries[2].Definition(t.Context(), got)
	want(t, string(definition), err, "last")
}

// clustered connects to a server of a cluster that may still be electing.
func clustered(t *testing.T, s *natsserver.Server) *bus.Conn {
	t.Helper()
	for {
		conn, err := bus.Connect(t.Context(), bus.Config{URL: s.ClientURL()})
		if err == nil {
			t.Cleanup(conn.Close)
			return conn
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// replicated makes the bucket of the definitions in a cluster that may still be electing.
func replicated(t *testing.T, conn *bus.Conn) jetstream.KeyValue {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		store, err := conn.JetStream.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "definitions", Replicas: 3})
		cancel()
		if err == nil {
			return store
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}
