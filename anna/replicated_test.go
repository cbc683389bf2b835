package anna_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"cloudburst/anna/kernel"
	"cloudburst/bus"
	"cloudburst/lattice"
)

// natsCluster is three servers that replicate the log.
type natsCluster struct {
	t       testing.TB
	servers [3]*natsserver.Server
	options [3]natsserver.Options
}

func startNATSCluster(t testing.TB) *natsCluster {
	t.Helper()
	c := &natsCluster{t: t}
	// Addresses that are known beforehand let every server have routes to all of them, so that they know how many they are.
	var routes []*url.URL
	var ports [3]int
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = listener.Addr().(*net.TCPAddr).Port
		routes = append(routes, &url.URL{Scheme: "nats", Host: listener.Addr().String()})
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range c.options {
		c.options[i] = natsserver.Options{
			ServerName: fmt.Sprint("s", i), Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
			MaxPayload: bus.PayloadMax, Routes: routes, Cluster: natsserver.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i]},
		}
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			stopTCP(c.servers[i])
		}
	})
	return c
}

func (c *natsCluster) start(i int) {
	c.t.Helper()
	options := c.options[i]
	s, err := natsserver.NewServer(&options)
	if err != nil {
		c.t.Fatal(err)
	}
	s.Start()
	c.servers[i] = s
	if !s.ReadyForConnections(patience) {
		c.t.Fatal("the NATS server does not take connections")
	}
	c.options[i].Port = portOf(s)
}

// current waits until a server has what it has missed: of three that hold a log, one may lack something at a time.
func (c *natsCluster) current(i int) {
	c.t.Helper()
	var health *natsserver.HealthStatus
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if health = c.servers[i].Healthz(nil); health.Error == "" {
			return
		}
	}
	c.t.Fatalf("server %d does not catch up: %s", i, health.Error)
}

// connect connects to all servers, beginning with one, when they have elected.
func (c *natsCluster) connect(i int) *bus.Conn {
	c.t.Helper()
	urls := fmt.Sprintf("%s,%s,%s", c.servers[i].ClientURL(), c.servers[(i+1)%3].ClientURL(), c.servers[(i+2)%3].ClientURL())
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		var conn *bus.Conn
		if conn, err = bus.Connect(context.Background(), bus.Config{URL: urls}); err == nil {
			c.t.Cleanup(conn.Close)
			return conn
		}
	}
	c.t.Fatal(err)
	return nil
}

// TestServersOfTheLogGo: with three replicas every server of the log can go, one after another, and nothing that was acknowledged
// as durable is lost.
func TestServersOfTheLogGo(t *testing.T) {
	t.Parallel()
	serversGo(t, func(*natsserver.Options) {})
}

// TestServersOfTheLogLoseTheirDisks: those that come back begin with nothing. Nodes that follow the log from there while it catches
// up miss nothing.
func TestServersOfTheLogLoseTheirDisks(t *testing.T) {
	t.Parallel()
	serversGo(t, func(o *natsserver.Options) { o.StoreDir = t.TempDir() })
}

// serversGo stops every server of a log under load, and starts it again after something has been done to it.
func serversGo(t *testing.T, between func(*natsserver.Options)) {
	t.Helper()
	cluster := startNATSCluster(t)
	cfg := fewSlots(2)
	cfg.Replicas, cfg.PublishTimeout = 3, time.Second
	nodes := make([]*running, 3)
	for i := range nodes {
		nodes[i] = startOnConn(t, cfg, cluster.connect(i))
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	acknowledged := make([]atomic.Int64, 6)
	once := make([][]string, len(acknowledged)) // keys that were written once only
	for w := range acknowledged {
		wg.Go(func() {
			for i := int64(1); !stop.Load(); i++ {
				for _, key := range []string{fmt.Sprint("w", w), fmt.Sprint("w", w, "-", i)} {
					write := &kernel.Write{Key: key, Delta: lattice.Put(lattice.Timestamp{}, fmt.Append(nil, i))}
					if _, err := nodes[w%3].write(t, write); err != nil {
						break
					}
					if key != fmt.Sprint("w", w) {
						acknowledged[w].Store(i)
						once[w] = append(once[w], key)
					}
				}
			}
		})
	}
	progress := func() {
		t.Helper()
		for w := range acknowledged {
			from := acknowledged[w].Load()
			for deadline := time.Now().Add(patience); acknowledged[w].Load() <= from; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("writer %d gets no further", w)
				}
			}
		}
	}
	progress()
	for i := range cluster.servers {
		stopTCP(cluster.servers[i])
		progress()
		between(&cluster.options[i])
		cluster.start(i)
		progress()
		cluster.current(i)
	}
	stop.Store(true)
	wg.Wait()
	for w := range acknowledged {
		for _, n := range nodes {
			var got int64
			for deadline := time.Now().Add(patience); got < acknowledged[w].Load(); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("w%d is %d, %d was acknowledged", w, got, acknowledged[w].Load())
				}
				_, _ = fmt.Sscan(n.get(t, fmt.Sprint("w", w)), &got)
			}
			for _, key := range once[w] {
				_, value, _ := strings.Cut(key, "-")
				n.eventually(t, key, value)
			}
		}
	}
	for _, n := range nodes {
		n.stop()
	}
}
