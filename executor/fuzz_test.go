package executor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"cloudburst/cache"
	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// deafStore answers everything at once, so that a fuzzer is not held up.
type deafStore struct{}

func (deafStore) Peek(key string) (cache.Entry, bool) { return cache.Entry{}, len(key)%2 == 0 }

func (deafStore) Get(_ context.Context, keys []string, _ time.Duration) ([]cache.Entry, error) {
	return make([]cache.Entry, len(keys)), nil
}

func (deafStore) PutAsync(_ []cache.Write, _ pb.Ack, done func(error)) { done(nil) }

func (deafStore) Delete(context.Context, []string, pb.Ack) error { return nil }

// strangeWorker returns a worker whose process is the test.
func strangeWorker(t testing.TB) (*worker, net.Conn) {
	t.Helper()
	e, err := New(Config{Member: "here"}, deafStore{}, &testFunctions{})
	if err != nil {
		t.Fatal(err)
	}
	ours, file, err := socketPair(syscall.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	control, far, err := socketPair(syscall.SOCK_SEQPACKET)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := wire.NewSender(ours)
	if err != nil {
		t.Fatal(err)
	}
	pipe, logsIn, err := e.openLogPipe()
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{
		e: e, number: 1, lane: e.shared, zygote: &zygote{control: control}, conn: ours, sender: sender, pipe: pipe,
		exited: make(chan string, 1), loaded: make(map[functionKey]struct{}), born: time.Now(),
	}
	pipe.take = w.wrote
	w.life, w.end = context.WithCancel(e.life)
	e.mu.Lock()
	e.workers[w.number] = w
	e.shared.size++
	e.mu.Unlock()
	t.Cleanup(func() {
		for _, c := range []io.Closer{ours, theirs, control, far, pipe.file, logsIn} {
			_ = c.Close()
		}
		e.stop()
	})
	return w, theirs
}

func (w *worker) give(t *invocation) {
	t.inv.Trace = new(wire.Trace) // Invoke would have done it
	w.e.mu.Lock()
	w.reserve(t)
	w.e.mu.Unlock()
	_ = w.invoke(t)
}

func frameOf(t testing.TB, header *pb.Header, values ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := wire.WriteFrame(&out, nil, header, values); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// FuzzWorkerFrames lets a worker send anything: its invocation is answered at most once by it, and nothing panics or hangs.
func FuzzWorkerFrames(f *testing.F) {
	one := []byte{codec.KindPlain, 1}
	for _, seed := range [][]byte{
		frameOf(f, &pb.Header{Id: 1, Body: &pb.Header_Done{Done: &pb.Done{}}}, one),
		frameOf(f, &pb.Header{Id: 1, Body: &pb.Header_Done{Done: &pb.Done{}}}, nil),
		frameOf(f, &pb.Header{Id: 2, Body: &pb.Header_Done{Done: &pb.Done{}}}, one),
		frameOf(f, &pb.Header{Id: 1, Body: &pb.Header_Error{Error: &pb.Error{Code: pb.Code_CODE_EXECUTION}}}, one, one),
		frameOf(f, &pb.Header{Id: 7, Body: &pb.Header_Get{Get: &pb.Get{Keys: []string{"a", "bc"}, WaitMilliseconds: 1 << 63}}}),
		frameOf(f, &pb.Header{Id: 7, Body: &pb.Header_Put{Put: &pb.Put{Cells: []*pb.Cell{{Key: "k", Type: 1, Values: 9}}}}}, one),
		frameOf(f, &pb.Header{Body: &pb.Header_Delete{Delete: &pb.Delete{}}}),
		frameOf(f, &pb.Header{Id: 7, Body: &pb.Header_Send{Send: &pb.Send{Member: "here", Number: 1}}}, one),
		frameOf(f, &pb.Header{Id: 7, Body: &pb.Header_Receive{Receive: &pb.Receive{Limit: 1 << 31}}}),
		frameOf(f, &pb.Header{Body: &pb.Header_Log{Log: &pb.Log{Text: "a\n\nb\xc3\xbc"}}}),
		frameOf(f, &pb.Header{Body: &pb.Header_Invoke{Invoke: &pb.Invoke{}}}),
		[]byte("\xff\xff\xff\xff\xff\xff\xff\xff"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		w, theirs := strangeWorker(t)
		answers := make(chan wire.Result, 2)
		w.give(&invocation{queued: time.Now(), limit: time.Hour, inv: &wire.Invocation{
			Steps: []wire.Step{{Function: &pb.Function{Name: "f", Version: 1}}},
			Done:  func(r wire.Result) { answers <- r },
		}})
		w.exited <- "was a fuzzer"
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		ended := make(chan struct{})
		go func() { w.read(); close(ended) }()
		_, _ = theirs.Write(stream)
		_ = theirs.(*net.UnixConn).CloseWrite()
		within(t, ended, "the worker's end")
		if r := within(t, answers, "the answer"); (r.Err == nil) == (r.Value == nil) {
			t.Errorf("neither a result nor an error, or both: %v", r)
		}
		if len(answers) != 0 {
			t.Errorf("a second answer: %v", <-answers)
		}
	})
}

func TestAWorkerThatBreaksTheProtocol(t *testing.T) {
	t.Parallel()
	one := []byte{codec.KindPlain, 1}
	done := &pb.Header{Id: 1, Body: &pb.Header_Done{Done: &pb.Done{}}}
	for name, stream := range map[string][]byte{
		"no frame":            []byte("HTTP/1.1 200 OK\r\n\r\n"),
		"a frame of a client": frameOf(t, &pb.Header{Id: 1, Body: &pb.Header_Call{Call: &pb.Call{}}}),
		"an answer twice":     append(frameOf(t, done, one), frameOf(t, done, one)...),
		"two values":          frameOf(t, done, one, one),
		"another id":          frameOf(t, &pb.Header{Id: 2, Body: done.GetBody()}, one),
		"no body":             frameOf(t, &pb.Header{Id: 1}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, theirs := strangeWorker(t)
			answers := make(chan wire.Result, 2)
			w.give(&invocation{queued: time.Now(), limit: time.Hour, inv: &wire.Invocation{
				Steps: []wire.Step{{Function: &pb.Function{Name: "f", Version: 1}}},
				Done:  func(r wire.Result) { answers <- r },
			}})
			if _, err := theirs.Write(stream); err != nil {
				t.Fatal(err)
			}
			w.read() // returns, though the peer has not closed
			r := within(t, answers, "the answer")
			if name != "an answer twice" {
				wantError(t, r.Err, wire.ErrWorkerDied)
			}
			equal(t, len(answers), 0)
			if _, err := io.Copy(io.Discard, theirs); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the socket is not closed: %v", err)
			}
		})
	}
}

func TestTheCallsOfOneWorkerAreBounded(t *testing.T) {
	t.Parallel()
	w, theirs := strangeWorker(t)
	w.give(&invocation{queued: time.Now(), limit: time.Hour, inv: &wire.Invocation{Steps: []wire.Step{{Function: &pb.Function{}}}}})
	ended := make(chan struct{})
	go func() { w.read(); close(ended) }()
	frames := wire.NewFrameReader(theirs)
	within(t, readFrame(frames), "the invocation")
	for i := range hostCallsMax + 1 {
		receive := &pb.Header{Id: uint64(i + 1), Body: &pb.Header_Receive{Receive: &pb.Receive{WaitMilliseconds: 1 << 40, Invocation: 1}}}
		if _, err := theirs.Write(frameOf(t, receive)); err != nil {
			t.Fatal(err)
		}
	}
	refused := within(t, readFrame(frames), "the refusal")
	equal(t, refused.Header.GetId(), uint64(hostCallsMax+1))
	wantError(t, wire.ErrorFromFrame(refused), wire.ErrNoResources, "1024")
	w.e.mu.Lock()
	w.release(w.last()).answer()
	w.e.mu.Unlock()
	_ = theirs.Close()
	within(t, ended, "the worker's end")
	equal(t, int(w.calls.Load()), 0)
}

func readFrame(frames *wire.FrameReader) <-chan wire.Frame {
	read := make(chan wire.Frame, 1)
	go func() {
		if frame, err := frames.Read(); err == nil {
			read <- frame
		}
	}()
	return read
}
