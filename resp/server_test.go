package resp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/bus/embedded"
	"cloudburst/lattice"
	"cloudburst/resp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a test waits for; it is only reached when something is wrong.
const patience = 60 * time.Second

// endpoint is a server, and the store that it speaks for.
type endpoint struct {
	*resp.Server
	anna *anna.Server
	stop func() error
}

// startAnna starts a store, which ends with the test.
func startAnna(t testing.TB, cfg anna.Config) *anna.Server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	nats, err := embedded.Start(ctx, embedded.Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DrainTimeout = patience // the race detector makes a log of large values slow
	store, err := anna.New(cfg, conn)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- store.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		conn.Close()
		nats.Shutdown()
	})
	select {
	case <-store.Ready():
	case err := <-ended:
		t.Fatal("the store ended: ", err)
	case <-time.After(patience):
		t.Fatal("the store is not ready")
	}
	return store
}

// start starts an endpoint with a store of its own.
func start(t testing.TB, change func(*resp.Config)) *endpoint {
	t.Helper()
	return startOn(t, startAnna(t, anna.Config{}), change)
}

// startOn starts an endpoint of a store, which ends with the test if it does not before.
func startOn(t testing.TB, store *anna.Server, change func(*resp.Config)) *endpoint {
	t.Helper()
	cfg := resp.Config{Listen: "127.0.0.1:0", Ack: resp.AckMemory, SoleMaster: true, Loops: 2}
	if change != nil {
		change(&cfg)
	}
	server, err := resp.New(cfg, store)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return &endpoint{Server: server, anna: store, stop: stop}
}

// write makes a write past the endpoint, and returns when it is merged.
func (e *endpoint) write(t testing.TB, w *kernel.Write) {
	t.Helper()
	done := make(chan error, 1)
	w.Ack = kernel.Memory
	e.anna.Write(w, anna.CompletionFunc(func(_ int64, err error) { done <- err }))
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the write is not answered")
	}
}

func (e *endpoint) writeValue(t testing.TB, key string, value ...byte) {
	t.Helper()
	e.write(t, &kernel.Write{Key: key, Delta: lattice.Put(lattice.Timestamp{}, value)})
}

// client speaks the protocol as it is.
type client struct {
	t    testing.TB
	conn *net.TCPConn
	in   *bufio.Reader
}

func (e *endpoint) dial(t testing.TB) *client {
	t.Helper()
	conn, err := net.Dial("tcp", e.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{t: t, conn: conn.(*net.TCPConn), in: bufio.NewReader(conn)}
}

// send writes bytes as they are.
func (c *client) send(raw string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, raw); err != nil {
		c.t.Fatal(err)
	}
}

// encoded returns a command as clients send it.
func encoded(words ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	return b.String()
}

// do sends a command and returns its reply.
func (c *client) do(words ...string) string {
	c.t.Helper()
	c.send(encoded(words...))
	return c.reply()
}

// expect sends a command, and fails the test unless its reply is the one.
func (c *client) expect(want string, words ...string) {
	c.t.Helper()
	if got := c.do(words...); got != want {
		c.t.Fatalf("%q: got %q, want %q", words, got, want)
	}
}

// reply reads one reply and returns it in a line: strings are quoted, errors and statuses are not.
func (c *client) reply() string {
	c.t.Helper()
	text, err := readReply(c.in)
	if err != nil {
		c.t.Fatal("read a reply: ", err)
	}
	return text
}

// ended fails the test unless the server has closed the connection.
func (c *client) ended() {
	c.t.Helper()
	if text, err := readReply(c.in); err == nil {
		c.t.Fatalf("a reply: %q; the connection was to be closed", text)
	} else if netError, ok := errors.AsType[net.Error](err); ok && netError.Timeout() {
		c.t.Fatal("the connection is not closed")
	}
}

func readReply(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	if len(line) < 3 || !strings.HasSuffix(line, "\r\n") {
		return "", fmt.Errorf("malformed line %q", line)
	}
	kind, rest := line[0], line[1:len(line)-2]
	switch kind {
	case '+', ':', ',':
		return rest, nil
	case '-':
		return "-" + rest, nil
	case '_':
		return "null", nil
	case '$', '=':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return "nil", err
		}
		content := make([]byte, n+2)
		if _, err := io.ReadFull(in, content); err != nil {
			return "", err
		}
		if string(content[n:]) != "\r\n" {
			return "", fmt.Errorf("a string of %d bytes ends in %q", n, content[n:])
		}
		return strconv.Quote(string(content[:n])), nil
	case '*', '~', '%':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return "nil array", err
		}
		if kind == '%' {
			n *= 2
		}
		items := make([]string, n)
		for i := range items {
			if items[i], err = readReply(in); err != nil {
				return "", err
			}
		}
		brackets := map[byte]string{'*': "[]", '~': "~[]", '%': "%[]"}[kind]
		return brackets[:len(brackets)-1] + strings.Join(items, " ") + "]", nil
	}
	return "", fmt.Errorf("a reply of kind %q", kind)
}
