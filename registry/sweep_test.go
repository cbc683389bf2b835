package registry_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/registry"
	"cloudburst/wire/pb"
)

// stuck keeps definitions, and cannot delete them until it is freed.
type stuck struct {
	bucket
	freed   bool
	deleted chan string
}

func (s stuck) Delete(ctx context.Context, key string) error {
	if !s.freed {
		return errors.New("the store is away")
	}
	err := s.bucket.Delete(ctx, key)
	s.deleted <- key
	return err
}

// A deletion happens even if what it leaves cannot be removed; the next start does that.
func TestSweepIsFinishedByTheNextStart(t *testing.T) {
	t.Parallel()
	conn := connect(t, server(t, t.TempDir()))
	store, err := conn.JetStream.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "definitions"})
	if err != nil {
		t.Fatal(err)
	}
	r, stop := runWith(t, registry.Config{}, conn, stuck{bucket: bucket{store}})
	one, two := register(t, r, "sq", "one"), register(t, r, "sq", "two")
	if err := r.DeleteFunction(t.Context(), "sq"); err != nil {
		t.Fatal(err)
	}
	three := register(t, r, "sq", "three")
	stop()

	deleted := make(chan string, 2)
	r, stop = runWith(t, registry.Config{}, conn, stuck{bucket{store}, true, deleted})
	for _, f := range []*pb.Function{one, two} {
		if key := <-deleted; key != f.GetDefinitionKey() {
			t.Errorf("deleted %s, want %s", key, f.GetDefinitionKey())
		}
	}
	definition, err := r.Definition(t.Context(), three)
	want(t, string(definition), err, "three")
	stop() // which ends the sweep

	stream, err := conn.JetStream.Stream(t.Context(), "KV_cloudburst-registry")
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("$KV.cloudburst-registry.>"))
	if err != nil {
		t.Fatal(err)
	}
	want(t, info.State.Subjects, nil, map[string]uint64{"$KV.cloudburst-registry.deleted.sq": 1, "$KV.cloudburst-registry.function.sq.3": 1})
	r, _ = runWith(t, registry.Config{}, conn, bucket{store})
	want(t, names(r.Functions("", true)), nil, []string{"sq@3"})
}

func TestLookupsDoNotAllocate(t *testing.T) {
	r := start(t)
	register(t, r, "sq", "x")
	if err := r.RegisterDAG(t.Context(), &pb.Dag{Name: "f", Functions: []string{"sq"}}); err != nil {
		t.Fatal(err)
	}
	f, err := r.Function("sq")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	allocations := testing.AllocsPerRun(100, func() {
		_, err1 := r.Function("sq")
		_, err2 := r.Function("sq@1")
		_, err3 := r.DAG("f")
		_, err4 := r.Definition(ctx, f)
		if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
			t.Fatal(err1, err2, err3, err4)
		}
	})
	if allocations > 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func BenchmarkFunction(b *testing.B) {
	r := start(b)
	register(b, r, "sq", "x")
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := r.Function("sq"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkRegister(b *testing.B) {
	r := start(b)
	for b.Loop() {
		register(b, r, "sq", "x")
	}
}
