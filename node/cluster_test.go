package node_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"cloudburst/client"
	"cloudburst/node"
)

// startCluster runs nodes that store, and returns when all are ready.
func startCluster(t *testing.T, roles ...string) []*running {
	t.Helper()
	const size = 3
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret that all members know\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	addresses := freePorts(t, size)
	nodes := make([]*running, size)
	readies := make([]<-chan node.Ready, size)
	for i := range nodes {
		cfg := config(t)
		cfg.Node.Roles = roles
		cfg.Cluster = node.Cluster{
			Member: fmt.Sprintf("member-%d", i), Listen: addresses[i], Join: addresses, SecretFile: secret,
		}
		nodes[i], readies[i] = launch(t, cfg)
	}
	var group errgroup.Group
	for i, r := range nodes {
		group.Go(func() error {
			select {
			case r.Ready = <-readies[i]:
				return nil
			case err := <-r.ended:
				r.ended <- err
				return fmt.Errorf("node %d ended: %w", i, err)
			}
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	return nodes
}

func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, "gateway", "anna")
	clients := make([]*client.Client, len(nodes))
	for i, r := range nodes {
		clients[i] = r.connect(t)
		status, err := clients[i].Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(status.Members) != len(nodes) || strings.Join(status.Roles, ",") != "gateway,anna" {
			t.Errorf("node %d: %+v", i, status)
		}
		self, leaders := "", 0
		for _, m := range status.Members {
			if m.Self {
				self = m.Name
			}
			if m.Leader {
				leaders++
			}
			if !m.Reachable {
				t.Errorf("node %d does not reach %s", i, m.Name)
			}
		}
		if self != fmt.Sprintf("member-%d", i) || leaders != 1 {
			t.Errorf("node %d: %+v", i, status.Members)
		}
	}
	if err := clients[0].Put(t.Context(), "kept", "by all"); err != nil {
		t.Fatal(err)
	}
	future, err := clients[0].Call(t.Context(), "f")
	if err == nil {
		err = future.Get(t.Context(), nil)
	}
	if err == nil || !strings.Contains(err.Error(), "runs no functions") {
		t.Errorf("a call to a node that stores: %v", err)
	}
	nodes[0].cancel()
	if err := nodes[0].wait(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, cloud := range clients[1:] {
		var value string
		for value == "" {
			if err := cloud.Get(ctx, "kept", &value); err != nil && ctx.Err() != nil {
				t.Fatal(err)
			}
		}
		if value != "by all" {
			t.Errorf("got %q", value)
		}
	}
}

func TestRolesThatCannotWork(t *testing.T) {
	t.Parallel()
	for roles, want := range map[string]string{
		"executor":                "add anna",
		"anna,scheduler":          "add executor",
		"anna,executor":           "add scheduler",
		"anna,scheduler,executor": "add gateway",
		"anna,anna":               "twice",
		"anna,monitor":            "there is none yet",
		"ana":                     "must be of",
	} {
		t.Run(roles, func(t *testing.T) {
			t.Parallel()
			cfg := config(t)
			cfg.Node.Roles = strings.Split(roles, ",")
			if _, err := node.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

func TestANodeOfAnnaAlone(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Node.Roles = []string{"anna"}
	r := start(t, cfg)
	if r.URL != "" || r.Data == "" {
		t.Errorf("%+v", r.Ready)
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Fatal(err)
	}
}
