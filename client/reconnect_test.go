package client_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cloudburst/client"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// relay stands between a client and the shared node, and can cut the wire.
type relay struct {
	listener net.Listener
	node     string
	ended    sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	taken chan struct{} // gets one for each connection that was made
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	cloud := connect(t)
	s, err := cloud.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, node: strings.TrimPrefix(s.Address, "http://"), taken: make(chan struct{}, 64)}
	r.ended.Go(r.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		r.cut()
		r.ended.Wait()
	})
	return r
}

func (r *relay) serve() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", r.node)
		if err != nil {
			_ = near.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, near, far)
		r.mu.Unlock()
		for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
			r.ended.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = near.Close()
				_ = far.Close()
			})
		}
		r.taken <- struct{}{}
	}
}

// cut ends every connection.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		_ = conn.Close()
	}
	r.conns = nil
}

func TestACallSurvivesALostConnection(t *testing.T) {
	t.Parallel()
	r := newRelay(t)
	cloud := connect(t, client.WithAddress(r.listener.Addr().String()))
	<-r.taken
	before, err := cloud.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	futures := make([]*client.Future, 3)
	for i := range futures {
		if futures[i], err = cloud.Call(t.Context(), "sleep", 0.3+float64(i)/10); err != nil {
			t.Fatal(err)
		}
	}
	r.cut()
	<-r.taken
	r.cut()
	<-r.taken
	for _, future := range futures {
		if err := future.Get(t.Context(), new(any)); err != nil {
			t.Error(err)
		}
	}
	if err := cloud.Put(t.Context(), "reconnect", 1); err != nil {
		t.Error(err)
	}
	after, err := cloud.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d runs before, %d after", before.Runs, after.Runs)
}

func TestWhatMustNotBeRepeatedFails(t *testing.T) {
	t.Parallel()
	// A server that takes the stream and one request, and then hangs up.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var ended sync.WaitGroup
	defer ended.Wait()
	ended.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_ = listener.Close()
		defer conn.Close()
		head := make([]byte, 4096)
		if _, err := conn.Read(head); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: cloudburst/1\r\n\r\n")
		_, _ = conn.Read(head)
	})
	cloud := connect(t, client.WithAddress(listener.Addr().String()))
	err = cloud.DeleteDAG(t.Context(), "d")
	if !errors.Is(err, client.ErrUnavailable) || !strings.Contains(err.Error(), "may or may not") {
		t.Errorf("got %v", err)
	}
}

// A call that goes out again says so, so that the node does not run again for it what may run at most once.
func TestACallThatIsSentAgainSaysSo(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	calls := make(chan *pb.Call, 3)
	var ended sync.WaitGroup
	defer ended.Wait()
	ended.Go(func() {
		for range cap(calls) {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			buffered := bufio.NewReader(conn)
			if _, err := http.ReadRequest(buffered); err == nil {
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: cloudburst/1\r\n\r\n")
			}
			if frame, err := wire.NewFrameReaderFrom(buffered).Read(); err == nil {
				calls <- frame.Header.GetCall()
			}
			_ = conn.Close()
		}
	})
	cloud := connect(t, client.WithAddress(listener.Addr().String()))
	if _, err := cloud.Call(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	for i := range cap(calls) {
		if call := <-calls; call.GetResent() != (i > 0) {
			t.Errorf("call %d: %v", i+1, call)
		}
	}
}

func TestServersThatAreNone(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"not HTTP":        "220 smtp.example ESMTP\r\n",
		"another service": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
		"another version": "HTTP/1.1 426 Upgrade Required\r\nUpgrade: cloudburst/9\r\nContent-Length: 3\r\n\r\nold",
		"draining":        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 8\r\n\r\ndraining",
		"nothing":         "",
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			var ended sync.WaitGroup
			defer ended.Wait()
			ended.Go(func() {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, answer)
			})
			_, err = client.Connect(t.Context(), client.WithAddress(listener.Addr().String()))
			if !errors.Is(err, client.ErrUnavailable) && !errors.Is(err, client.ErrIncompatible) {
				t.Errorf("got %v", err)
			} else if !strings.Contains(err.Error(), listener.Addr().String()) {
				t.Errorf("%v does not say where", err)
			}
		})
	}
}

func TestANodeThatIsStartedAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	url, stop, err := startNode(dir, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cloud := connect(t, client.WithAddress(url), client.WithToken(read(t, filepath.Join(dir, "token"))))
	if err := cloud.Put(t.Context(), "kept", "here"); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, stop, err = startNode(dir, strings.TrimPrefix(url, "http://")); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := cloud.Get(t.Context(), "kept", &got); err != nil || got != "here" {
		t.Errorf("got %v, %v", got, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
