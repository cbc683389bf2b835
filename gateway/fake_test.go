package gateway

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cloudburst/cache"
	"cloudburst/codec"
	"cloudburst/dag"
	"cloudburst/printed"
	"cloudburst/registry"
	"cloudburst/scheduler"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "a-token-of-this-test"
	// patience bounds every wait of a test.
	patience = time.Minute
)

// house is a gateway with a real scheduler behind it, and below that functions of this process, and a store and a registry in
// memory.
type house struct {
	*Gateway
	scheduler *scheduler.Scheduler
	printed   *printed.Store
	store     *memoryStore
	registry  *memoryRegistry
	held      chan *wire.Invocation // of the function hold
	unready   atomic.Pointer[[]string]
	ended     chan error // what Run returns
	cancel    context.CancelFunc
	taken     atomic.Int64 // invocations
}

// open runs a house until the test ends.
func open(t testing.TB, cfg Config) *house {
	t.Helper()
	h := &house{
		store:    &memoryStore{entries: make(map[string]cache.Entry), changed: make(chan struct{})},
		registry: &memoryRegistry{functions: make(map[string]*pb.Function), dags: make(map[string]*registry.DAG)},
		held:     make(chan *wire.Invocation, 1<<16),
		ended:    make(chan error, 1),
	}
	for _, name := range []string{"echo", "raise", "hold", "size", "add"} {
		h.registry.functions[name] = &pb.Function{Name: name, Version: 1, Runtime: pb.Runtime_RUNTIME_PYTHON}
	}
	var err error
	if h.scheduler, err = scheduler.New(scheduler.Config{}, h.registry, []scheduler.Executor{h}, h.store); err != nil {
		t.Fatal(err)
	}
	h.printed = printed.New(printed.Config{Origin: h.scheduler.Origin})
	cfg.Listen = cmp.Or(cfg.Listen, "127.0.0.1:0")
	cfg.Token = cmp.Or(cfg.Token, secret)
	cfg.Version = "1.2.3"
	h.Gateway, err = New(cfg, Backend{
		Scheduler: h.scheduler, Store: h.store, Registry: h.registry, Printed: lines{h.printed},
		Status:     func() *pb.Status { return &pb.Status{Version: "1.2.3", Workers: 4} },
		AnnaStatus: func(context.Context) *pb.AnnaStatus { return &pb.AnnaStatus{Masters: 3} },
		Unready: func() []string {
			if reasons := h.unready.Load(); reasons != nil {
				return *reasons
			}
			return nil
		},
		Stats: map[string]func() any{"scheduler": func() any { return h.scheduler.Stats() }},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	var running sync.WaitGroup
	running.Go(func() { _ = h.scheduler.Run(ctx) })
	running.Go(func() { h.ended <- h.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		http.DefaultClient.CloseIdleConnections()
	})
	return h
}

// Cancel answers what is cancelled, unless it is held.
func (h *house) Cancel([]*wire.Invocation) {}

// Invoke runs the functions of the house.
func (h *house) Invoke(inv *wire.Invocation) {
	h.taken.Add(1)
	switch inv.Steps[0].Function.GetName() {
	case "hold", "yield":
		h.held <- inv
	case "raise":
		inv.Done(wire.Result{Err: &wire.Error{
			Code: pb.Code_CODE_EXECUTION, Pickle: []byte{codec.KindPickle, 1},
			Exception: &pb.RemoteException{Type: "ValueError", Message: "boom", Traceback: string(inv.Values[0][1:])},
		}})
	case "size":
		value := make([]byte, 1+binary.LittleEndian.Uint32(inv.Values[0][1:]))
		value[0] = codec.KindBytes
		inv.Done(wire.Result{Value: value})
	case "add":
		inv.Done(wire.Result{Value: number(numberOf(inv.Values[0]) + numberOf(inv.Values[1]))})
	default:
		value := []byte{codec.KindBytes}
		if len(inv.Values) > 0 {
			value = inv.Values[0]
		}
		inv.Done(wire.Result{Value: value})
	}
}

// lines are what the functions of the house print. All of it is there at once.
type lines struct{ *printed.Store }

func (lines) Gather() {}

func (l lines) PrintedRuns(prefix string) []wire.RunID { return l.Runs(prefix) }

func number(n uint32) []byte { return binary.LittleEndian.AppendUint32([]byte{codec.KindBytes}, n) }

func numberOf(value []byte) uint32 {
	if len(value) != 5 {
		return 0
	}
	return binary.LittleEndian.Uint32(value[1:])
}

// memoryStore is a store without a log.
type memoryStore struct {
	mu      sync.Mutex
	entries map[string]cache.Entry
	changed chan struct{}
	slow    map[string]bool // keys that Peek does not know
}

func (s *memoryStore) Peek(key string) (cache.Entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[key], !s.slow[key]
}

func (s *memoryStore) Get(ctx context.Context, keys []string, wait time.Duration) ([]cache.Entry, error) {
	waited := time.After(wait)
	for {
		s.mu.Lock()
		entries, missing := make([]cache.Entry, len(keys)), false
		for i, key := range keys {
			entries[i] = s.entries[key]
			missing = missing || entries[i].Absent()
		}
		changed := s.changed
		s.mu.Unlock()
		if !missing {
			return entries, nil
		}
		select {
		case <-changed:
		case <-waited:
			return entries, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// States returns entries as they are, with a value that says that it was asked for states.
func (s *memoryStore) States(ctx context.Context, keys []string, wait time.Duration) ([]cache.Entry, error) {
	entries, err := s.Get(ctx, keys, wait)
	for i := range entries {
		entries[i].Values = [][]byte{{codec.KindLattice}}
	}
	return entries, err
}

func (s *memoryStore) Watch(ctx context.Context, keys []string, _ bool, report func([]string, []cache.Entry, bool) error) error {
	for whole := true; ; whole = false {
		s.mu.Lock()
		entries, changed := make([]cache.Entry, len(keys)), s.changed
		for i, key := range keys {
			entries[i] = s.entries[key]
		}
		s.mu.Unlock()
		if err := report(keys, entries, whole); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *memoryStore) PutAsync(writes []cache.Write, _ pb.Ack, done func(error)) {
	s.mu.Lock()
	for _, w := range writes {
		s.entries[w.Key] = cache.Entry{Type: w.Type, Values: w.Values}
	}
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	done(nil)
}

func (s *memoryStore) Delete(_ context.Context, keys []string, _ pb.Ack) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.entries, key)
	}
	return nil
}

func (s *memoryStore) Keys(_ context.Context, prefix, after string, limit int) (keys []string, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.entries {
		if strings.HasPrefix(key, prefix) && key > after {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	limit = cmp.Or(limit, cache.KeysDefault)
	if len(keys) > limit {
		return keys[:limit], true, nil
	}
	return keys, false, nil
}

// memoryRegistry is a registry without a log.
type memoryRegistry struct {
	mu        sync.Mutex
	functions map[string]*pb.Function
	dags      map[string]*registry.DAG
}

func (r *memoryRegistry) Function(ref string) (*pb.Function, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.functions[ref]; f != nil {
		return f, nil
	}
	return nil, wire.Errorf(pb.Code_CODE_FUNCTION_NOT_FOUND, "function %q not found", ref)
}

func (r *memoryRegistry) DAG(name string) (*registry.DAG, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.dags[name]; d != nil {
		return d, nil
	}
	return nil, wire.Errorf(pb.Code_CODE_DAG_NOT_FOUND, "dag %q not found", name)
}

func (r *memoryRegistry) Sync(context.Context) error { return nil }

func (r *memoryRegistry) Register(_ context.Context, meta *pb.Function, definition []byte) (*pb.Function, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &pb.Function{Name: meta.GetName(), Version: 1, SizeBytes: uint64(len(definition))}
	r.functions[f.GetName()] = f
	return f, nil
}

func (r *memoryRegistry) RegisterDAG(_ context.Context, d *pb.Dag) error {
	links := make([]dag.Link, len(d.GetLinks()))
	for i, l := range d.GetLinks() {
		links[i] = dag.Link{Source: l.GetSource(), Sink: l.GetSink()}
	}
	graph, err := dag.New(d.GetName(), d.GetFunctions(), links)
	if err != nil {
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "register dag %q: %v", d.GetName(), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dags[d.GetName()] = &registry.DAG{Dag: d, Graph: graph}
	return nil
}

func (r *memoryRegistry) ReplaceDAG(ctx context.Context, d *pb.Dag) error {
	_ = r.DeleteDAG(ctx, d.GetName())
	return r.RegisterDAG(ctx, d)
}

func (r *memoryRegistry) DeleteFunctionAndDAGs(ctx context.Context, name string) error {
	return r.DeleteFunction(ctx, name)
}

func (r *memoryRegistry) DeleteFunction(_ context.Context, name string) error {
	if _, err := r.Function(name); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.functions, name)
	return nil
}

func (r *memoryRegistry) DeleteDAG(_ context.Context, name string) error {
	if _, err := r.DAG(name); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.dags, name)
	return nil
}

func (r *memoryRegistry) Functions(prefix string, _ bool) []*pb.Function {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*pb.Function
	for name, f := range r.functions {
		if strings.HasPrefix(name, prefix) {
			found = append(found, f)
		}
	}
	return found
}

func (r *memoryRegistry) DAGs(prefix string) []*pb.Dag {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*pb.Dag
	for name, d := range r.dags {
		if strings.HasPrefix(name, prefix) {
			found = append(found, d.Dag)
		}
	}
	return found
}

// client is a connection to a house's gateway. Owned by one goroutine.
type client struct {
	net.Conn
	frames *wire.FrameReader
	buf    []byte
	last   uint64
}

// ask sends the head of an upgrade and returns the answer to it.
func ask(t testing.TB, conn net.Conn, headers ...string) (*http.Response, *bufio.Reader) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET /v1/stream HTTP/1.1\r\nHost: here\r\n%s\r\n\r\n", strings.Join(headers, "\r\n")); err != nil {
		t.Fatal(err)
	}
	buffered := bufio.NewReader(conn)
	response, err := http.ReadResponse(buffered, nil)
	if err != nil {
		t.Fatal(err)
	}
	return response, buffered
}

var upgradeHeaders = []string{"Connection: keep-alive, Upgrade", "Upgrade: cloudburst/1", "Authorization: Bearer " + secret}

// dial returns a client of the house.
func (h *house) dial(t testing.TB) *client {
	t.Helper()
	conn, err := net.Dial("tcp", h.Address())
	if err != nil {
		t.Fatal(err)
	}
	return clientOn(t, conn)
}

func clientOn(t testing.TB, conn net.Conn) *client {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	response, buffered := ask(t, conn, upgradeHeaders...)
	if response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("Upgrade") != protocol {
		t.Fatalf("upgrade: %s", response.Status)
	}
	return &client{Conn: conn, frames: wire.NewFrameReaderFrom(buffered)}
}

// send sends a request and returns its id.
func (c *client) send(t testing.TB, header *pb.Header, values ...[]byte) uint64 {
	t.Helper()
	c.last++
	header.Id = c.last
	var err error
	if c.buf, err = wire.WriteFrame(c.Conn, c.buf, header, values); err != nil {
		t.Fatal(err)
	}
	return c.last
}

// receive returns the next reply.
func (c *client) receive(t testing.TB) wire.Frame {
	t.Helper()
	frame, err := c.frames.Read()
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return frame
}

// do sends a request and returns its reply, which is the next one.
func (c *client) do(t testing.TB, header *pb.Header, values ...[]byte) wire.Frame {
	t.Helper()
	id := c.send(t, header, values...)
	frame := c.receive(t)
	if frame.Header.GetId() != id {
		t.Fatalf("reply to %d, want %d", frame.Header.GetId(), id)
	}
	return frame
}

// closed checks that the gateway has closed the connection, and returns what it had sent before.
func (c *client) closed(t testing.TB) {
	t.Helper()
	for {
		_, err := c.frames.Read()
		if errors.Is(err, io.EOF) || gone(err) {
			return
		}
		if err != nil {
			t.Fatalf("the connection is not closed: %v", err)
		}
	}
}

var runs atomic.Uint32

// call returns a call of a function with positional arguments, as a run of its own.
func call(function string, positional int) *pb.Header {
	id := binary.BigEndian.AppendUint32(make([]byte, 12, 16), runs.Add(1))
	return &pb.Header{Body: &pb.Header_Call{Call: &pb.Call{
		RunId: id, Target: &pb.Call_Function{Function: function},
		Arguments: []*pb.Arguments{{Function: function, Positional: uint32(positional)}},
	}}}
}

// failure returns the error of a reply, or one that says that it was none.
func failure(f wire.Frame) error {
	if e := wire.ErrorFromFrame(f); e != nil {
		return e
	}
	return fmt.Errorf("no error but %v", f.Header)
}

// await waits until something holds that comes about without being waited for.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// secured dials with TLS.
func (h *house) secured(t testing.TB, config *tls.Config) *client {
	t.Helper()
	conn, err := tls.Dial("tcp", h.Address(), config)
	if err != nil {
		t.Fatal(err)
	}
	return clientOn(t, conn)
}
