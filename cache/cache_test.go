package cache_test

import (
	"context"
	"testing"
	"time"

	"cloudburst/anna"
	"cloudburst/bus/embedded"
	"cloudburst/cache"
	"cloudburst/wire/pb"
)

func start(t testing.TB) *cache.Cache {
	ctx, cancel := context.WithCancel(t.Context())
	server, err := embedded.Start(ctx, embedded.Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	conn, err := server.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	a, err := anna.New(anna.Config{}, conn)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.New(cache.Config{}, a)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-a.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("not ready")
	}
	return c
}

func lww(key, value string) cache.Write {
	return cache.Write{Key: key, Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: [][]byte{[]byte(value)}}
}

func TestSmoke(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	if err := c.Put(ctx, []cache.Write{lww("k", "v")}, pb.Ack_ACK_DURABLE); err != nil {
		t.Fatal(err)
	}
	e, ok := c.Peek("k")
	if !ok || string(e.Values[0]) != "v" {
		t.Fatal(e, ok)
	}
	es, err := c.Get(ctx, []string{"k", "absent"}, 0)
	if err != nil || !es[1].Absent() || string(es[0].Values[0]) != "v" {
		t.Fatal(es, err)
	}
}
