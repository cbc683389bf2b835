package registry_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/testing/protocmp"

	"google.golang.org/protobuf/proto"

	"cloudburst/bus"
	"cloudburst/bus/embedded"
	"cloudburst/dag"
	"cloudburst/registry"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bucket keeps definitions in a key-value bucket.
type bucket struct{ jetstream.KeyValue }

func (b bucket) Put(ctx context.Context, key string, value []byte) error {
	_, err := b.KeyValue.Put(ctx, hex.EncodeToString([]byte(key)), value)
	return err
}

func (b bucket) Get(ctx context.Context, key string) ([]byte, error) {
	entry, err := b.KeyValue.Get(ctx, hex.EncodeToString([]byte(key)))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, fmt.Errorf("%w: %s", wire.ErrKeyNotFound, key)
	}
	if err != nil {
		return nil, err
	}
	return entry.Value(), nil
}

func (b bucket) Delete(ctx context.Context, key string) error {
	return b.Purge(ctx, hex.EncodeToString([]byte(key)))
}

func server(t testing.TB, dir string) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Config{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t testing.TB, s *embedded.Server) *bus.Conn {
	t.Helper()
	conn, err := s.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// run runs a registry of its own on a connection; stop ends it, and the end of the test does.
func run(t testing.TB, conn *bus.Conn) (r *registry.Registry, stop func()) {
	t.Helper()
	store, err := conn.JetStream.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "definitions"})
	if err != nil {
		t.Fatal(err)
	}
	return runWith(t, registry.Config{}, conn, bucket{store})
}

func runWith(
	t testing.TB, cfg registry.Config, conn *bus.Conn, definitions registry.Definitions,
) (r *registry.Registry, stop func()) {
	t.Helper()
	r = registry.New(cfg, conn, definitions)
	ctx, cancel := context.WithCancel(context.Background()) // it has to outlive t.Context in the clean-up
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-r.Ready():
	case err := <-done:
		t.Fatalf("Run: %v", err)
	}
	return r, stop
}

func start(t testing.TB) *registry.Registry {
	t.Helper()
	r, _ := run(t, connect(t, server(t, t.TempDir())))
	return r
}

func meta(name string) *pb.Function {
	return &pb.Function{Name: name, Runtime: pb.Runtime_RUNTIME_PYTHON, Convention: pb.Convention_CONVENTION_LIBRARY, PythonVersion: "3.11"}
}

func register(t testing.TB, r *registry.Registry, name, definition string) *pb.Function {
	t.Helper()
	f, err := r.Register(t.Context(), meta(name), []byte(definition))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func want[T any](t testing.TB, got T, err error, want T) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
}

func wantError(t testing.TB, err, is error, code pb.Code, parts ...string) {
	t.Helper()
	if !errors.Is(err, is) || wire.CodeOf(err) != code {
		t.Fatalf("got %v (code %v), want %v (code %v)", err, wire.CodeOf(err), is, code)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func names(functions []*pb.Function) (refs []string) {
	for _, f := range functions {
		refs = append(refs, fmt.Sprintf("%s@%d", f.GetName(), f.GetVersion()))
	}
	return refs
}

func TestVersions(t *testing.T) {
	t.Parallel()
	r := start(t)
	given := meta("sq")
	given.Doc, given.Version, given.DefinitionKey = "Squares.", 77, "elsewhere"
	one, err := r.Register(t.Context(), given, []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if one.GetVersion() != 1 || one.GetDoc() != "Squares." || one.GetSizeBytes() != 3 || one.GetRegisteredMilliseconds() == 0 || one.GetDefinitionKey() == "elsewhere" {
		t.Fatalf("registered %v", one)
	}
	if given.GetVersion() != 77 {
		t.Error("Register changed what it was given")
	}
	two := register(t, r, "sq", "two")
	register(t, r, "sqrt", "root")

	got, err := r.Function("sq")
	want(t, got, err, two)
	got, err = r.Function("sq@1")
	want(t, got, err, one)
	for f, text := range map[*pb.Function]string{one: "one", two: "two"} {
		definition, err := r.Definition(t.Context(), f)
		want(t, string(definition), err, text)
	}
	want(t, names(r.Functions("", false)), nil, []string{"sq@2", "sqrt@1"})
	want(t, names(r.Functions("sq", true)), nil, []string{"sq@1", "sq@2", "sqrt@1"})
	want(t, names(r.Functions("sqr", true)), nil, []string{"sqrt@1"})

	if err := r.DeleteFunction(t.Context(), "sq"); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"sq", "sq@1", "sq@2"} {
		_, err := r.Function(ref)
		wantError(t, err, registry.ErrFunctionNotFound, pb.Code_CODE_FUNCTION_NOT_FOUND, ref, "sqrt")
	}
	_, err = r.Definition(t.Context(), one)
	wantError(t, err, registry.ErrFunctionNotFound, pb.Code_CODE_FUNCTION_NOT_FOUND, "sq@1")
	wantError(t, r.DeleteFunction(t.Context(), "sq"), registry.ErrFunctionNotFound, pb.Code_CODE_FUNCTION_NOT_FOUND)
	if again := register(t, r, "sq", "three"); again.GetVersion() != 3 {
		t.Errorf("version %d after a deletion, want 3", again.GetVersion())
	}
	functions, dags := r.Counts()
	want(t, []int{functions, dags}, nil, []int{2, 0})
}

func TestTheSameIsNoNewVersion(t *testing.T) {
	t.Parallel()
	r := start(t)
	one := register(t, r, "sq", "one")
	if again := register(t, r, "sq", "one"); again.GetVersion() != 1 || again.GetDefinitionKey() != one.GetDefinitionKey() {
		t.Errorf("registered %v, want %v", again, one)
	}
	patient := meta("sq")
	patient.Retries = proto.Uint32(3)
	if _, err := r.Register(t.Context(), patient, []byte("one")); err != nil {
		t.Fatal(err)
	}
	register(t, r, "sq", "one")
	register(t, r, "sq", "two")
	if back := register(t, r, "sq", "one"); back.GetVersion() != 5 {
		t.Errorf("version %d after others, want 5", back.GetVersion())
	}
	definition, err := r.Definition(t.Context(), one)
	want(t, string(definition), err, "one")

	for _, class := range []struct {
		definition string
		version    uint64
	}{{"state", 1}, {"state", 1}, {"other state", 2}} {
		counter := meta("counter")
		counter.Convention = pb.Convention_CONVENTION_CLASS
		f, err := r.Register(t.Context(), counter, []byte(class.definition))
		if err != nil {
			t.Fatal(err)
		}
		if f.GetVersion() != class.version {
			t.Errorf("version %d of a class, want %d", f.GetVersion(), class.version)
		}
	}
}

func TestNotFoundSuggests(t *testing.T) {
	t.Parallel()
	r := start(t)
	_, err := r.Function("sqq")
	wantError(t, err, registry.ErrFunctionNotFound, pb.Code_CODE_FUNCTION_NOT_FOUND, `"sqq"`, "none is registered")
	for _, name := range []string{"sq", "sqrt", "tokenise", "embed", "rank"} {
		register(t, r, name, "x")
	}
	register(t, r, "sq", "y")
	tests := []struct{ ref, want string }{
		{"sqq", `function "sqq" not found; registered: sq, sqrt (cloudburst fn ls lists all)`},
		{"tokenize", `function "tokenize" not found; registered: tokenise (cloudburst fn ls lists all)`},
		{"photosynthesis", `function "photosynthesis" not found; 5 others are registered (cloudburst fn ls lists them)`},
		{"sq@7", `function "sq" has no version 7; it has 1 to 2`},
		{"sq@two", `function "sq@two" not found: what follows the @ is a version, as in sq@2`},
		{"sq@0", `function "sq@0" not found: what follows the @ is a version, as in sq@2`},
	}
	for _, test := range tests {
		if _, err := r.Function(test.ref); err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", test.ref, err, test.want)
		}
	}
	_, err = r.DAG("f")
	wantError(t, err, registry.ErrDAGNotFound, pb.Code_CODE_DAG_NOT_FOUND, `"f"`, "none is registered")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	r := start(t)
	register(t, r, "sq", "x")
	_, err := r.Register(t.Context(), meta("sq"), nil)
	wantError(t, err, wire.ErrInvalidArgument, pb.Code_CODE_INVALID_ARGUMENT, "no bytes")
	_, err = r.Register(t.Context(), meta("sq"), make([]byte, wire.ValueBytesMax+wire.ValueOverheadMax+1))
	wantError(t, err, wire.ErrTooLarge, pb.Code_CODE_TOO_LARGE, "64 MiB")
	_, err = r.Register(t.Context(), &pb.Function{Name: "sq"}, []byte("x"))
	wantError(t, err, wire.ErrInvalidArgument, pb.Code_CODE_INVALID_ARGUMENT, "runtime")
	long := meta("sq")
	long.Doc = strings.Repeat("x", registry.RecordBytesMax)
	_, err = r.Register(t.Context(), long, []byte("x"))
	wantError(t, err, wire.ErrTooLarge, pb.Code_CODE_TOO_LARGE, `"sq"`)
	for _, name := range []string{"", "a b", "sq@3", "a\x00", "\xff", "a*", ">>>>" + strings.Repeat("x", registry.NameMax), "$KV"} {
		_, err := r.Register(t.Context(), meta(name), []byte("x"))
		wantError(t, err, registry.ErrNameInvalid, pb.Code_CODE_INVALID_ARGUMENT, "function", "letters, digits and _ - . : / < >")
		err = r.RegisterDAG(t.Context(), &pb.Dag{Name: name, Functions: []string{"sq"}})
		wantError(t, err, registry.ErrNameInvalid, pb.Code_CODE_INVALID_ARGUMENT, "dag")
	}
	want(t, names(r.Functions("", true)), nil, []string{"sq@1"})
}

func TestNamesThatNATSDoesNotKnow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := server(t, dir)
	r, _ := run(t, connect(t, s))
	all := []string{"<lambda>", "a.b.c", "a", "a.", ".", "..", ">", "quadrat_größe", "平方", "ns:a/b-c", "Model.<locals>.run", strings.Repeat("界", registry.NameMax)}
	for _, name := range all {
		register(t, r, name, name)
	}
	other, _ := run(t, connect(t, s))
	for _, name := range all {
		f, err := other.Function(name + "@1")
		if err != nil {
			t.Fatal(err)
		}
		definition, err := other.Definition(t.Context(), f)
		want(t, string(definition), err, name)
	}
	if err := r.DeleteFunction(t.Context(), "a."); err != nil {
		t.Fatal(err)
	}
	want(t, len(r.Functions("", true)), nil, len(all)-1)
}

func TestDAGsThatAreReplacedAndGo(t *testing.T) {
	t.Parallel()
	r := start(t)
	for _, name := range []string{"incr", "sq"} {
		register(t, r, name, name)
	}
	anonymous := &pb.Dag{Name: "sq:0", Functions: []string{"sq@1"}, Anonymous: true}
	if err := errors.Join(
		r.ReplaceDAG(t.Context(), &pb.Dag{Name: "f", Functions: []string{"sq"}}), r.ReplaceDAG(t.Context(), anonymous),
	); err != nil {
		t.Fatal(err)
	}
	// It is refused, and the anonymous one stays.
	wantError(t, r.DeleteFunction(t.Context(), "sq"), registry.ErrFunctionInUse, pb.Code_CODE_INVALID_ARGUMENT, "dag f")
	if _, err := r.DAG("sq:0"); err != nil {
		t.Error(err)
	}
	if err := r.ReplaceDAG(t.Context(), &pb.Dag{Name: "f", Functions: []string{"incr"}}); err != nil {
		t.Fatal(err)
	}
	if f, err := r.DAG("f"); err != nil || f.GetFunctions()[0] != "incr" {
		t.Errorf("got %v, %v", f, err)
	}
	if err := errors.Join(r.DeleteFunction(t.Context(), "sq"), r.DeleteFunctionAndDAGs(t.Context(), "incr")); err != nil {
		t.Fatal(err)
	}
	if left := r.DAGs(""); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAnonymousDAGsAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t)
	register(t, r, "sq", "sq")
	of := func(n int) *pb.Dag {
		return &pb.Dag{Name: fmt.Sprintf("sq:%04d", n), Functions: []string{"sq"}, Anonymous: true}
	}
	if err := r.RegisterDAG(t.Context(), &pb.Dag{Name: "chosen", Functions: []string{"sq"}}); err != nil {
		t.Fatal(err)
	}
	// The names are in the order of registration, which breaks ties of the clock.
	for n := range registry.AnonymousDAGsMax + 3 {
		if err := r.ReplaceDAG(t.Context(), of(n)); err != nil {
			t.Fatal(err)
		}
	}
	left := r.DAGs("")
	if len(left) != registry.AnonymousDAGsMax+1 || left[0].GetName() != "chosen" || left[1].GetName() != "sq:0003" {
		t.Errorf("%d are left, from %v", len(left), left[:2])
	}
	if err := r.ReplaceDAG(t.Context(), of(0)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.DAG("sq:0000"); err != nil {
		t.Errorf("the one that has just come: %v", err)
	}
}

func TestDAGs(t *testing.T) {
	t.Parallel()
	r := start(t)
	register(t, r, "incr", "i")
	register(t, r, "sq", "s")
	d := &pb.Dag{Name: "f", Functions: []string{"incr", "sq"}, Links: []*pb.Link{{Source: "incr", Sink: "sq"}}, Colocated: []string{"sq"}}
	if err := r.RegisterDAG(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	got, err := r.DAG("f")
	if err != nil {
		t.Fatal(err)
	}
	if got.Graph.Functions[got.Graph.Sink()] != "sq" || got.GetRegisteredMilliseconds() == 0 {
		t.Errorf("registered %v", got)
	}
	wantError(t, r.RegisterDAG(t.Context(), d), registry.ErrDAGExists, pb.Code_CODE_DAG_EXISTS, `"f"`, "dag rm f")
	wantError(t, r.DeleteFunction(t.Context(), "sq"), registry.ErrFunctionInUse, pb.Code_CODE_INVALID_ARGUMENT, `"sq"`, "dag f", "--force")
	if err := r.ReplaceDAG(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if same, err := r.DAG("f"); err != nil || same != got {
		t.Errorf("replaced by what it is: %v, %v", same, err)
	}

	refused := []struct {
		name string
		d    *pb.Dag
		is   error
		code pb.Code
		say  string
	}{
		{"empty", &pb.Dag{Name: "g"}, dag.ErrEmpty, pb.Code_CODE_INVALID_ARGUMENT, `"g"`},
		{"cycle", &pb.Dag{Name: "g", Functions: []string{"incr", "sq"}, Links: []*pb.Link{{Source: "incr", Sink: "sq"}, {Source: "sq", Sink: "incr"}}}, dag.ErrCycle, pb.Code_CODE_INVALID_ARGUMENT, "incr → sq"},
		{"sinks", &pb.Dag{Name: "g", Functions: []string{"incr", "sq"}}, dag.ErrSeveralSinks, pb.Code_CODE_INVALID_ARGUMENT, "incr, sq"},
		{"twice", &pb.Dag{Name: "g", Functions: []string{"sq", "sq"}}, dag.ErrDuplicateFunction, pb.Code_CODE_INVALID_ARGUMENT, "sq"},
		{"unknown function", &pb.Dag{Name: "g", Functions: []string{"sqq"}}, registry.ErrFunctionNotFound, pb.Code_CODE_FUNCTION_NOT_FOUND, `"sqq"`},
		{"unknown version", &pb.Dag{Name: "g", Functions: []string{"sq@4"}}, registry.ErrFunctionNotFound, pb.Code_CODE_FUNCTION_NOT_FOUND, "no version 4"},
		{"colocated", &pb.Dag{Name: "g", Functions: []string{"sq"}, Colocated: []string{"incr"}}, wire.ErrInvalidArgument, pb.Code_CODE_INVALID_ARGUMENT, `"incr"`},
	}
	for _, test := range refused {
		t.Run(test.name, func(t *testing.T) { wantError(t, r.RegisterDAG(t.Context(), test.d), test.is, test.code, test.say) })
	}
	if err := r.RegisterDAG(t.Context(), &pb.Dag{Name: "pinned", Functions: []string{"sq@1"}}); err != nil {
		t.Fatal(err)
	}
	want(t, len(r.DAGs("")), nil, 2)
	want(t, r.DAGs("p")[0].GetName(), nil, "pinned")
	wantError(t, r.DeleteFunction(t.Context(), "sq"), registry.ErrFunctionInUse, pb.Code_CODE_INVALID_ARGUMENT, "dag f, pinned")

	for _, name := range []string{"f", "pinned"} {
		if err := r.DeleteDAG(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	_, err = r.DAG("f")
	wantError(t, err, registry.ErrDAGNotFound, pb.Code_CODE_DAG_NOT_FOUND, `"f"`)
	wantError(t, r.DeleteDAG(t.Context(), "f"), registry.ErrDAGNotFound, pb.Code_CODE_DAG_NOT_FOUND)
	if err := r.DeleteFunction(t.Context(), "sq"); err != nil {
		t.Fatal(err)
	}
	if err := r.RegisterDAG(t.Context(), &pb.Dag{Name: "f", Functions: []string{"incr"}}); err != nil {
		t.Fatal(err)
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := server(t, dir)
	conn := connect(t, s)
	r, stop := run(t, conn)
	register(t, r, "gone", "1")
	register(t, r, "gone", "2")
	register(t, r, "sq", "one")
	two := register(t, r, "sq", "two")
	for _, name := range []string{"f", "g"} {
		if err := r.RegisterDAG(t.Context(), &pb.Dag{Name: name, Functions: []string{"sq"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(r.DeleteFunction(t.Context(), "gone"), r.DeleteDAG(t.Context(), "g")); err != nil {
		t.Fatal(err)
	}
	stop()
	conn.Close()
	s.Shutdown()

	r, _ = run(t, connect(t, server(t, dir)))
	want(t, names(r.Functions("", true)), nil, []string{"sq@1", "sq@2"})
	got, err := r.Function("sq")
	want(t, got, err, two)
	definition, err := r.Definition(t.Context(), got)
	want(t, string(definition), err, "two")
	want(t, len(r.DAGs("")), nil, 1)
	if d, err := r.DAG("f"); err != nil || d.Graph == nil {
		t.Errorf("f after the restart: %v, %v", d, err)
	}
	want(t, register(t, r, "gone", "3").GetVersion(), nil, 3)
}

func TestConcurrentRegistrations(t *testing.T) {
	t.Parallel()
	const registries, goroutines, each = 3, 8, 5
	s := server(t, t.TempDir())
	var all []*registry.Registry
	for range registries {
		r, _ := run(t, connect(t, s))
		all = append(all, r)
	}
	var (
		wait     sync.WaitGroup
		mu       sync.Mutex
		versions []uint64
	)
	for i := range goroutines * registries {
		r := all[i%registries]
		wait.Go(func() {
			for j := range each {
				text := fmt.Sprintf("%d.%d", i, j)
				f, err := r.Register(t.Context(), meta("hot"), []byte(text))
				if err != nil {
					t.Error(err)
					return
				}
				// What was registered is there for the next call of this process, and no older version is latest again.
				latest, err := r.Function("hot")
				if err != nil || latest.GetVersion() < f.GetVersion() {
					t.Errorf("registered %d, then the latest is %v, %v", f.GetVersion(), latest, err)
				}
				if definition, err := r.Definition(t.Context(), f); err != nil || string(definition) != text {
					t.Errorf("definition of %d: %q, %v; want %q", f.GetVersion(), definition, err, text)
				}
				mu.Lock()
				versions = append(versions, f.GetVersion())
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	slices.Sort(versions)
	for i, version := range versions {
		if version != uint64(i+1) {
			t.Fatalf("versions are not 1, 2, 3…: %v", versions)
		}
	}
	for _, r := range all {
		if err := r.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, len(r.Functions("hot", true)), nil, registries*goroutines*each)
	}
}
