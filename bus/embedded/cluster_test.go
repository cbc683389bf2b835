package embedded_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"cloudburst/bus"
	"cloudburst/bus/embedded"
)

const clusterSecret = "a secret that all members know"

// members returns the settings of a cluster that begins with empty directories.
func members(t *testing.T, count int) []embedded.Config {
	t.Helper()
	var addresses []string
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		addresses = append(addresses, listener.Addr().String())
	}
	configs := make([]embedded.Config, count)
	for i := range configs {
		configs[i] = embedded.Config{DataDir: t.TempDir(), Cluster: &embedded.Cluster{
			Name: "test", Member: fmt.Sprintf("member-%d", i), Listen: addresses[i], Join: addresses, Secret: clusterSecret,
		}}
	}
	return configs
}

// startAll starts servers that wait for each other.
func startAll(t *testing.T, configs []embedded.Config) []*embedded.Server {
	t.Helper()
	servers := make([]*embedded.Server, len(configs))
	var group errgroup.Group
	for i, cfg := range configs {
		group.Go(func() (err error) {
			servers[i], err = embedded.Start(t.Context(), cfg)
			return err
		})
	}
	err := group.Wait()
	for _, s := range servers {
		if s != nil {
			t.Cleanup(s.Shutdown)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return servers
}

// persist publishes until the log takes it, as it does once it has elected.
func persist(ctx context.Context, t *testing.T, conn *bus.Conn, subject string) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		ack, err := conn.JetStream.Publish(ctx, subject, []byte(subject))
		if err == nil {
			return ack.Sequence
		}
		if ctx.Err() != nil {
			t.Fatalf("publish %s: %v", subject, err)
		}
	}
}

func replicated(t *testing.T, conn *bus.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		_, err := conn.JetStream.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Replicas: 3})
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestAClusterLosesAMemberAndGetsItBack(t *testing.T) {
	t.Parallel()
	configs := members(t, 3)
	servers := startAll(t, configs)
	conns := []*bus.Conn{connect(t, servers[0]), connect(t, servers[1]), connect(t, servers[2])}
	for i, s := range servers {
		if known := s.Members(); len(known) < embedded.MembersMin {
			t.Errorf("member %d knows %v", i, known)
		}
	}
	replicated(t, conns[0])
	persist(t.Context(), t, conns[1], "s.before")
	conns[2].Close()
	servers[2].Shutdown()
	persist(t.Context(), t, conns[0], "s.without")

	// Back under its name, it gets what it has missed, and holds it once the others are gone.
	back := startAll(t, configs[2:])[0]
	conn := connect(t, back)
	last := persist(t.Context(), t, conn, "s.after")
	for _, subject := range []string{"s.before", "s.without", "s.after"} {
		stream, err := conn.JetStream.Stream(t.Context(), "S")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.GetLastMsgForSubject(t.Context(), subject); err != nil {
			t.Errorf("%s: %v", subject, err)
		}
	}
	if last != 3 {
		t.Errorf("the last of three messages has sequence %d", last)
	}
	for _, m := range back.Members() {
		if !m.Reachable {
			t.Errorf("%v is not reachable", m)
		}
	}
}

func TestAClusterWithoutQuorum(t *testing.T) {
	t.Parallel()
	configs := members(t, 3)
	for i := range configs {
		configs[i].Cluster.FormTimeout = time.Second
	}
	_, err := embedded.Start(t.Context(), configs[0])
	if !errors.Is(err, embedded.ErrNoQuorum) || !strings.Contains(err.Error(), "1 of 3") {
		t.Fatalf("got %v, want ErrNoQuorum", err)
	}
}

// TestAStrangerIsNotLetIn starts one that has another secret.
func TestAStrangerIsNotLetIn(t *testing.T) {
	t.Parallel()
	configs := members(t, 3)
	startAll(t, configs)
	strange := members(t, 1)[0]
	strange.Cluster.Member = "stranger"
	strange.Cluster.Join = configs[0].Cluster.Join
	strange.Cluster.Secret = "a secret that the others do not know"
	strange.Cluster.FormTimeout = 3 * time.Second
	if s, err := embedded.Start(t.Context(), strange); err == nil {
		s.Shutdown()
		t.Fatal("it was let in")
	} else if !errors.Is(err, embedded.ErrNoQuorum) {
		t.Fatal(err)
	}
}

func TestClusterSettings(t *testing.T) {
	t.Parallel()
	three := []string{"127.0.0.1:7201", "127.0.0.1:7202", "127.0.0.1:7203"}
	good := embedded.Cluster{Listen: three[0], Join: three, Secret: clusterSecret}
	for _, test := range []struct {
		name   string
		change func(*embedded.Cluster)
		want   string
	}{
		{"two members", func(c *embedded.Cluster) { c.Join = three[:2] }, "at least 3"},
		{"twice the same", func(c *embedded.Cluster) { c.Join = []string{three[0], three[1], three[1]} }, "named twice"},
		{"no port", func(c *embedded.Cluster) { c.Listen = "127.0.0.1" }, "host:port"},
		{"port 0", func(c *embedded.Cluster) { c.Listen = "127.0.0.1:0" }, "1 to 65535"},
		{"no secret", func(c *embedded.Cluster) { c.Secret = "" }, "at least 16"},
		{"name", func(c *embedded.Cluster) { c.Name = "two words" }, "letters"},
		{"half of TLS", func(c *embedded.Cluster) { c.CertificateFile = "x" }, "all three"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := good
			test.change(&c)
			_, err := embedded.Start(t.Context(), embedded.Config{DataDir: t.TempDir(), Cluster: &c})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestDataOfAnotherKindOfNode(t *testing.T) {
	t.Parallel()
	cluster := members(t, 3)[0].Cluster
	with := func(change func(*embedded.Cluster)) *embedded.Cluster {
		c := *cluster
		change(&c)
		return &c
	}
	lone := t.TempDir()
	s := start(t, embedded.Config{DataDir: lone})
	conn := connect(t, s)
	if _, err := conn.JetStream.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S"}); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	s.Shutdown()
	member := t.TempDir()
	if err := os.WriteFile(filepath.Join(member, "member"), []byte("test member-0 formed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, "member"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		dir     string
		cluster *embedded.Cluster
		want    string
	}{
		{"alone, then in a cluster", lone, cluster, "runs alone"},
		{"in a cluster, then alone", member, nil, "--join"},
		{"another cluster", member, with(func(c *embedded.Cluster) { c.Name = "other" }), "cluster.name"},
		{"another member", member, with(func(c *embedded.Cluster) { c.Member = "other" }), "cluster.member"},
		{"damaged", damaged, cluster, "damaged"},
	} {
		t.Run(test.name, func(t *testing.T) { // in turn: some share a directory
			_, err := embedded.Start(t.Context(), embedded.Config{DataDir: test.dir, Cluster: test.cluster})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestAClusterWithTLS(t *testing.T) {
	t.Parallel()
	certificate, key := certify(t)
	configs := members(t, 3)
	for i := range configs {
		c := configs[i].Cluster
		c.CertificateFile, c.KeyFile, c.CAFile = certificate, key, certificate
	}
	replicated(t, connect(t, startAll(t, configs)[0]))
}

// certify writes a certificate that is its own authority.
func certify(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "node.pem"), filepath.Join(dir, "node-key.pem")
	for path, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}
