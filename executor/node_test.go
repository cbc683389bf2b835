package executor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"go.uber.org/goleak"

	"cloudburst/anna"
	"cloudburst/bus/embedded"
	"cloudburst/cache"
	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; none of them comes near it.
const patience = 60 * time.Second

// python returns the interpreter whose workers are tested.
func python(t testing.TB) string {
	t.Helper()
	path := cmp.Or(os.Getenv("CLOUDBURST_PYTHON"), filepath.Join("..", ".venv", "bin", "python"))
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("the tests need a Python with the cloudburst package, in CLOUDBURST_PYTHON or made by `make build`: %v", err)
	}
	return path
}

type definition struct {
	Convention pb.Convention
	Pickle     []byte
}

var definitions struct {
	once  sync.Once
	all   map[string]definition
	fault error
}

// testFunctions are those of testdata/functions.py, in as many versions as a test asks for. They stand for the registry.
type testFunctions struct {
	all map[string]definition

	mu     sync.Mutex
	latest map[string]uint64
	gone   map[string]bool
	python string
}

func newTestFunctions(t testing.TB) *testFunctions {
	t.Helper()
	interpreter := python(t)
	definitions.once.Do(func() {
		out, err := exec.Command(interpreter, "testdata/functions.py").Output()
		if err == nil {
			err = json.Unmarshal(out, &definitions.all)
		}
		definitions.fault = err
	})
	if definitions.fault != nil {
		t.Fatal(definitions.fault)
	}
	return &testFunctions{all: definitions.all, latest: make(map[string]uint64), gone: make(map[string]bool)}
}

// Function returns a function by its name, with its version after an @.
func (f *testFunctions) Function(ref string) (*pb.Function, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name, number, _ := strings.Cut(ref, "@")
	d, ok := f.all[name]
	if !ok || f.gone[name] {
		return nil, wire.Errorf(pb.Code_CODE_FUNCTION_NOT_FOUND, "no function %s", name)
	}
	version := max(f.latest[name], 1)
	if number != "" {
		version, _ = strconv.ParseUint(number, 10, 64)
	}
	return &pb.Function{
		Name: name, Version: version,
		Runtime: pb.Runtime_RUNTIME_PYTHON, Convention: d.Convention, PythonVersion: f.python,
	}, nil
}

func (f *testFunctions) Definition(_ context.Context, function *pb.Function) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone[function.GetName()] {
		return nil, wire.Errorf(pb.Code_CODE_FUNCTION_NOT_FOUND, "function %s has been deleted", function.GetName())
	}
	return f.all[function.GetName()].Pickle, nil
}

func (f *testFunctions) register(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latest[name] = max(f.latest[name], 1) + 1
}

func (f *testFunctions) remove(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone[name] = true
}

// testNode is an executor on a store of its own.
type testNode struct {
	*Executor
	t         testing.TB
	cache     *cache.Cache
	functions *testFunctions
	logs      *logLines
	stop      func()
}

// start starts an executor that runs until the test ends.
func start(t testing.TB, cfg Config) *testNode {
	t.Helper()
	n := &testNode{t: t, cache: startStore(t), functions: newTestFunctions(t), logs: newLogLines()}
	cfg.Python = cmp.Or(cfg.Python, python(t))
	cfg.WorkersMin = cmp.Or(cfg.WorkersMin, 2)
	cfg.Member = "here"
	cfg.Logger = slog.New(slog.NewJSONHandler(n.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if n.Executor, err = New(cfg, n.cache, n.functions); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := within(t, ended, "the end of Run"); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stop)
	select {
	case <-n.Ready():
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("not ready")
	}
	return n
}

func startStore(t testing.TB) *cache.Cache {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
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
	store, err := anna.New(anna.Config{}, conn)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.New(cache.Config{}, store)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- store.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := within(t, ended, "the end of the store"); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-store.Ready():
	case <-time.After(patience):
		t.Fatal("the store is not ready")
	}
	return c
}

func within[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v for %s", patience, what)
		panic("unreachable")
	}
}

// eventually waits until a condition holds for which there is no signal.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// encode returns a plain value.
func encode(t testing.TB, v any) []byte {
	t.Helper()
	if b, ok := v.(raw); ok {
		return b
	}
	if b, ok := v.([]byte); ok {
		return append([]byte{codec.KindBytes}, b...)
	}
	body, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{codec.KindPlain}, body...)
}

// raw is an argument that is encoded already.
type raw []byte

func reference(key string, deserialize bool) raw {
	return codec.EncodeReference(codec.Ref{Key: key, Raw: !deserialize})
}

// decode returns a plain value's content, as cbor does.
func decode(t testing.TB, value []byte) any {
	t.Helper()
	if len(value) > 0 && value[0] == codec.KindBytes {
		return value[1:]
	}
	if len(value) == 0 || value[0] != codec.KindPlain {
		t.Fatalf("not plain: %.80q", value)
	}
	var v any
	if err := cbor.Unmarshal(value[1:], &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// step is a function of an invocation and its arguments.
func (n *testNode) step(ref string, args ...any) (wire.Step, [][]byte) {
	n.t.Helper()
	f, err := n.functions.Function(ref)
	if err != nil {
		n.t.Fatal(err)
	}
	values := make([][]byte, len(args))
	for i, arg := range args {
		values[i] = encode(n.t, arg)
	}
	return wire.Step{Function: f, Positional: len(args)}, values
}

func (n *testNode) invocation(ref string, args ...any) *wire.Invocation {
	n.t.Helper()
	step, values := n.step(ref, args...)
	return &wire.Invocation{RunID: wire.RunID{1, 2, 3}, Steps: []wire.Step{step}, Values: values, Attempt: 1}
}

// begin starts an invocation. A second answer fails the test.
func (n *testNode) begin(inv *wire.Invocation) <-chan wire.Result {
	n.t.Helper()
	answers := make(chan wire.Result, 1)
	inv.Done = func(r wire.Result) {
		select {
		case answers <- r:
		default:
			n.t.Errorf("a second answer: %v", r)
		}
	}
	n.Invoke(inv)
	return answers
}

// again begins an invocation again that its worker has lost, as the scheduler does.
func (n *testNode) again(inv *wire.Invocation) <-chan wire.Result {
	n.t.Helper()
	next := *inv
	next.Attempt, next.Again = inv.Attempt+1, true
	return n.begin(&next)
}

func (n *testNode) result(ref string, args ...any) wire.Result {
	n.t.Helper()
	return within(n.t, n.begin(n.invocation(ref, args...)), "the answer of "+ref)
}

// call returns what a function returns.
func (n *testNode) call(ref string, args ...any) any {
	n.t.Helper()
	r := n.result(ref, args...)
	if r.Err != nil {
		n.t.Fatalf("%s: %v", ref, r.Err)
	}
	return decode(n.t, r.Value)
}

// fails returns the error that a function ends with.
func (n *testNode) fails(ref string, args ...any) *wire.Error {
	n.t.Helper()
	return n.failed(n.begin(n.invocation(ref, args...)))
}

func (n *testNode) failed(answers <-chan wire.Result) *wire.Error {
	n.t.Helper()
	r := within(n.t, answers, "an error")
	if r.Err == nil {
		n.t.Fatalf("no error, but %.80q", r.Value)
	}
	return r.Err
}

func (n *testNode) pids() []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	var pids []int
	for _, w := range n.workers {
		if w.pid != 0 {
			pids = append(pids, w.pid)
		}
	}
	return pids
}

// alive reports whether a process is there and no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return fields[0] != "Z" && fields[0] != "X"
}

// logLines keeps what has been logged, and lets a test wait for more.
type logLines struct {
	mu    sync.Mutex
	lines []map[string]any
	more  chan struct{}
}

func newLogLines() *logLines { return &logLines{more: make(chan struct{})} }

func (l *logLines) Write(p []byte) (int, error) {
	var line map[string]any
	if err := json.Unmarshal(p, &line); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	close(l.more)
	l.more = make(chan struct{})
	return len(p), nil
}

// count returns how many lines with a message there are.
func (l *logLines) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if line["msg"] == message {
			n++
		}
	}
	return n
}

// wait returns the first line with a message.
func (l *logLines) wait(t testing.TB, message string) map[string]any {
	t.Helper()
	for seen := 0; ; {
		l.mu.Lock()
		lines, more := l.lines, l.more
		l.mu.Unlock()
		for ; seen < len(lines); seen++ {
			if lines[seen]["msg"] == message {
				return lines[seen]
			}
		}
		within(t, more, "the log line "+message)
	}
}
