package resp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"cloudburst/anna"
	"cloudburst/lattice"
	"cloudburst/resp"
)

func TestRepliesComeInOrder(t *testing.T) {
	t.Parallel()
	e := start(t, func(cfg *resp.Config) { cfg.Ack = resp.AckDurable })
	c := e.dial(t)
	// Durable writes are answered when the log has them; what is asked behind them is known sooner and waits.
	const n = 3000
	var want []string
	sent := make(chan struct{})
	var all strings.Builder
	for i := range n {
		key := fmt.Sprint("k", i%100)
		all.WriteString(encoded("SET", key, fmt.Sprint(i)) + encoded("GET", key) + encoded("ECHO", fmt.Sprint(i)) + encoded("INCR", "n"))
		want = append(want, "OK", fmt.Sprintf("%q", fmt.Sprint(i)), fmt.Sprintf("%q", fmt.Sprint(i)), fmt.Sprint(i+1))
	}
	go func() {
		defer close(sent)
		_, _ = io.WriteString(c.conn, all.String())
	}()
	for i := range want {
		if got := c.reply(); got != want[i] {
			t.Fatalf("reply %d: got %q, want %q", i, got, want[i])
		}
	}
	<-sent
}

func TestMembersOfOnePipeline(t *testing.T) {
	t.Parallel()
	for _, ack := range []string{resp.AckMemory, resp.AckDurable} {
		t.Run(ack, func(t *testing.T) {
			t.Parallel()
			c := start(t, func(cfg *resp.Config) { cfg.Ack = ack }).dial(t)
			var all strings.Builder
			var want []string
			ask := func(reply string, words ...string) {
				all.WriteString(encoded(words...))
				want = append(want, reply)
			}
			// Commands use again what those before have given back, those too that were refused.
			for i := range 500 {
				a, b, other := fmt.Sprint("a", i), strings.Repeat("b", i%100)+fmt.Sprint(i), fmt.Sprint("other", i)
				ask("2", "SADD", "s", a, b)
				ask("-ERR value is not a valid float", "ZADD", "z", "1", "x", "no", other)
				ask("1", "SADD", "s", other, a, a)
				ask("0", "SADD", "s", b)
				ask("1", "SISMEMBER", "s", other)
				ask("[1 0 1]", "SMISMEMBER", "s", a, "x", b)
				ask("2", "ZADD", "z", fmt.Sprint(i), a, "2.5", b)
				ask("1", "ZADD", "z", "CH", "nx", "3", a, "4", other)
				ask("1", "INCR", fmt.Sprint("n", i))
				ask(fmt.Sprintf("%q", fmt.Sprint(i)), "ZSCORE", "z", a)
				ask("1", "ZADD", "z", "ch", "-.5", a)
				ask(`"-0.5"`, "ZSCORE", "z", a)
				ask("1", "SREM", "s", other, "x")
				ask("0", "SISMEMBER", "s", other)
				ask("1", "ZREM", "z", "x", other)
			}
			ask("1000", "SCARD", "s")
			ask("1000", "ZCARD", "z")
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = io.WriteString(c.conn, all.String())
			}()
			for i := range want {
				if got := c.reply(); got != want[i] {
					t.Fatalf("reply %d: got %q, want %q", i, got, want[i])
				}
			}
			<-sent
		})
	}
}

func TestVersionOfTheProtocolChangesBetweenReplies(t *testing.T) {
	t.Parallel()
	e := start(t, func(cfg *resp.Config) { cfg.Ack = resp.AckDurable })
	c := e.dial(t)
	c.send(encoded("ZADD", "z", "1.5", "m") + encoded("ZINCRBY", "z", "1", "m") + encoded("HELLO", "3") +
		encoded("ZINCRBY", "z", "1", "m") + encoded("GET", "nothing") + encoded("HELLO", "2") + encoded("GET", "nothing"))
	for i, want := range []string{"1", `"2.5"`, "%[", "3.5", "null", "[", "nil"} {
		if got := c.reply(); !strings.HasPrefix(got, want) {
			t.Fatalf("reply %d: got %q, want %q…", i, got, want)
		}
	}
}

func TestCommandsInPieces(t *testing.T) {
	t.Parallel()
	c := start(t, nil).dial(t)
	value := strings.Repeat("v", 300)
	for _, b := range []byte(encoded("SET", "k", value) + encoded("GET", "k")) {
		c.send(string(b))
	}
	if got := c.reply() + c.reply(); got != `OK"`+value+`"` {
		t.Fatalf("got %q", got)
	}
}

func TestLargeValues(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	c := e.dial(t)
	value := strings.Repeat("0123456789abcdef", 64<<20/16)
	c.expect("OK", "SET", "big", value)
	c.expect("67108864", "STRLEN", "big")
	c.send(encoded("GET", "big"))
	if got := c.reply(); got[1:len(got)-1] != value {
		t.Fatal("a value of 64 MiB came back as another one")
	}
	if n := e.Stats().BufferBytes; n != 0 {
		t.Fatalf("buffers of %d bytes are kept", n)
	}
	c.send("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$67108865\r\n")
	if got := c.reply(); got != "-ERR Protocol error: invalid bulk length" {
		t.Fatalf("a larger one: %q", got)
	}
	c.ended()
}

func TestReplyIsBounded(t *testing.T) {
	t.Parallel()
	e := start(t, func(cfg *resp.Config) { cfg.ReplyBytesMax = 64 << 10 })
	c := e.dial(t)
	c.expect("OK", "SET", "k", strings.Repeat("v", 30<<10))
	members := []string{"SADD", "s"}
	for i := range 2000 {
		members = append(members, fmt.Sprintf("%040d", i))
	}
	c.expect("2000", members...)
	for _, words := range [][]string{{"MGET", "k", "k", "k", "k"}, {"SMEMBERS", "s"}, {"ECHO", strings.Repeat("v", 80<<10)}} {
		if got := c.do(words...); !strings.Contains(got, "resp.reply_bytes_max") {
			t.Fatalf("%s: %.80q", words[0], got)
		}
	}
	c.expect("2000", "SCARD", "s")
}

func TestBuffersTogetherAreBounded(t *testing.T) {
	t.Parallel()
	e := start(t, func(cfg *resp.Config) { cfg.BufferBytesMax = 1 << 20 })
	greedy, modest := e.dial(t), e.dial(t)
	greedy.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4194304\r\n")
	chunk := strings.Repeat("v", 64<<10)
	for range 64 {
		if _, err := io.WriteString(greedy.conn, chunk); err != nil {
			break
		}
	}
	greedy.ended()
	modest.expect("PONG", "PING")
}

// TestSlowReader has a client that asks for a lot and reads nothing.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	e := start(t, func(cfg *resp.Config) {
		cfg.StallTimeout, cfg.Loops, cfg.ClientBufferBytesMax = 1500*time.Millisecond, 1, 2<<20
	})
	slow, quick := e.dial(t), e.dial(t)
	quick.expect("OK", "SET", "k", strings.Repeat("v", 256<<10))
	ended := make(chan error, 1)
	go func() {
		// Once the server has stopped reading this blocks, until the connection is closed.
		for {
			if _, err := io.WriteString(slow.conn, strings.Repeat(encoded("GET", "k"), 1000)); err != nil {
				ended <- err
				return
			}
		}
	}()
	for quick.do("PING"); ; quick.expect("PONG", "PING") {
		if n := e.Stats().BufferBytes; n > 4<<20 {
			t.Fatalf("%d bytes wait for a client that does not read", n)
		}
		select {
		case err := <-ended:
			if netError, ok := errors.AsType[net.Error](err); ok && netError.Timeout() {
				t.Fatal("the server waits for the client for ever")
			}
			return
		default:
		}
	}
}

// TestPipelineIsReadAfterItIsWritten has clients that send a whole pipeline before they read the first reply, as most libraries
// do, while the system holds much less than all the replies.
func TestPipelineIsReadAfterItIsWritten(t *testing.T) {
	t.Parallel()
	for _, ack := range []string{resp.AckMemory, resp.AckDurable} {
		t.Run(ack, func(t *testing.T) {
			t.Parallel()
			e := start(t, func(cfg *resp.Config) { cfg.Ack = ack })
			c := e.dial(t)
			value := strings.Repeat("v", 16<<10)
			const n = 1000
			for i := range n {
				c.send(encoded("SET", fmt.Sprint("k", i), value) + encoded("GET", fmt.Sprint("k", i)))
			}
			c.send(encoded("GET", "k0") + encoded("ECHO", "end"))
			for range n {
				if got := c.reply(); got != "OK" {
					t.Fatalf("got %q", got)
				}
				if got := c.reply(); got != `"`+value+`"` {
					t.Fatalf("a reply of %d bytes", len(got))
				}
			}
			if got := c.reply(); len(got) != len(value)+2 {
				t.Fatalf("a reply of %d bytes", len(got))
			}
			if got := c.reply(); got != `"end"` {
				t.Fatalf("got %q", got)
			}
			c.expect("PONG", "PING")
			if n := e.Stats().BufferBytes; n != 0 {
				t.Fatalf("buffers of %d bytes are kept", n)
			}
		})
	}
}

// TestUnreadRepliesOfAllShareABound has clients that each leave less unread than one may, and too much together.
func TestUnreadRepliesOfAllShareABound(t *testing.T) {
	t.Parallel()
	const most, clients, gets = 24 << 20, 6, 100
	e := start(t, func(cfg *resp.Config) { cfg.BufferBytesMax, cfg.StallTimeout = most, 10*patience })
	value := strings.Repeat("v", 128<<10)
	e.dial(t).expect("OK", "SET", "k", value)
	greedy := make([]*client, clients)
	for i := range greedy {
		greedy[i] = e.dial(t)
		greedy[i].send(strings.Repeat(encoded("GET", "k"), gets))
	}
	e.until(t, func(s resp.Stats) bool { return s.BufferBytes > most/2 })
	e.dial(t).expect(`"v"`, "ECHO", "v")
	// All get their replies, those too that had to wait for others to read.
	for _, c := range greedy {
		for range gets {
			if got := c.reply(); len(got) != len(value)+2 {
				t.Fatalf("a reply of %d bytes", len(got))
			}
		}
		if n := e.Stats().BufferBytes; n > most {
			t.Fatalf("%d bytes wait for clients that do not read", n)
		}
	}
	e.until(t, func(s resp.Stats) bool { return s.BufferBytes == 0 })
}

// TestSlowReaderReadsOn has a client that takes its time, and gets everything.
func TestSlowReaderReadsOn(t *testing.T) {
	t.Parallel()
	c := start(t, nil).dial(t)
	value := strings.Repeat("v", 100<<10)
	c.expect("OK", "SET", "k", value)
	const n = 400
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(c.conn, strings.Repeat(encoded("GET", "k"), n))
	}()
	<-sent
	for range n {
		if got := c.reply(); len(got) != len(value)+2 {
			t.Fatalf("a reply of %d bytes", len(got))
		}
	}
	c.expect("PONG", "PING")
}

func TestHalfClosedClientGetsItsReplies(t *testing.T) {
	t.Parallel()
	e := start(t, func(cfg *resp.Config) { cfg.Ack = resp.AckDurable })
	c := e.dial(t)
	c.send(encoded("SET", "k", "v") + encoded("GET", "k"))
	if err := c.conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := c.reply() + c.reply(); got != `OK"v"` {
		t.Fatalf("got %q", got)
	}
	c.ended()
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	e := start(t, func(cfg *resp.Config) { cfg.ConnectionsMax = 2 })
	first, second := e.dial(t), e.dial(t)
	first.expect("PONG", "PING")
	second.expect("PONG", "PING")
	third := e.dial(t)
	if got := third.reply(); got != "-ERR max number of clients reached" {
		t.Fatalf("got %q", got)
	}
	third.ended()
	second.expect("OK", "QUIT")
	second.ended()
	e.until(t, func(s resp.Stats) bool { return s.Connections == 1 })
	e.dial(t).expect("PONG", "PING")
	if s := e.Stats(); s.Refused != 1 || s.Accepted != 3 {
		t.Fatalf("%+v", s)
	}
}

func (e *endpoint) until(t testing.TB, reached func(resp.Stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !reached(e.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not reached: %+v", e.Stats())
		}
	}
}

func TestStrangersAreSentAway(t *testing.T) {
	t.Parallel()
	e := start(t, func(cfg *resp.Config) {
		cfg.Token, cfg.AuthTimeout, cfg.IdleTimeout = "secret", 50*time.Millisecond, time.Hour
	})
	silent := e.dial(t)
	silent.ended()
	guesser := e.dial(t)
	for {
		got := guesser.do("AUTH", "guess")
		if !strings.HasPrefix(got, "-WRONGPASS") {
			t.Fatalf("got %q", got)
		}
		if e.Stats().Denied == 16 {
			break
		}
	}
	guesser.ended()
}

func TestIdleConnectionsEnd(t *testing.T) {
	t.Parallel()
	e := start(t, func(cfg *resp.Config) { cfg.IdleTimeout = 50 * time.Millisecond })
	c := e.dial(t)
	c.expect("PONG", "PING")
	c.ended()
}

func TestAcknowledgement(t *testing.T) {
	t.Parallel()
	e := start(t, func(cfg *resp.Config) { cfg.Ack = resp.AckDurable })
	c := e.dial(t)
	c.expect(`"durable"`, "CLOUDBURST.ACK")
	c.expect("OK", "SET", "k", "v")
	if s := e.anna.Stats(); s.ChangesetBytes != 0 || s.Publishes == 0 {
		t.Fatalf("a durable write was answered before the log had it: %+v", s)
	}
	c.expect("OK", "CLOUDBURST.ACK", "memory")
	c.expect("OK", "SET", "k", "w")
	c.expect(`"w"`, "GET", "k")
}

// TestKeysThatAreNotInMemory reads values that have been left to the log.
func TestKeysThatAreNotInMemory(t *testing.T) {
	t.Parallel()
	e := startOn(t, startAnna(t, anna.Config{MemoryBytesMax: 2 << 20}), func(cfg *resp.Config) { cfg.Ack = resp.AckDurable })
	c := e.dial(t)
	const n = 400
	value := strings.Repeat("v", 16<<10)
	for i := range n {
		c.send(encoded("SET", fmt.Sprint("k", i), fmt.Sprint(i)+value))
	}
	for range n {
		if got := c.reply(); got != "OK" {
			t.Fatalf("got %q", got)
		}
	}
	for i := 0; e.anna.Stats().Cold < n/2; i++ {
		c.expect("OK", "SET", "push", fmt.Sprint(i)) // every write makes the store look for something to leave to the log
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range n {
			_, _ = io.WriteString(c.conn, encoded("GET", fmt.Sprint("k", i))+encoded("ECHO", fmt.Sprint(i))+
				encoded("MGET", fmt.Sprint("k", (i*7)%n), "nothing", fmt.Sprint("k", (i*13)%n)))
		}
	}()
	for i := range n {
		if got, want := c.reply(), fmt.Sprintf("%q", fmt.Sprint(i)+value); got != want {
			t.Fatalf("key %d: %.40q…", i, got)
		}
		if got, want := c.reply(), fmt.Sprintf("%q", fmt.Sprint(i)); got != want {
			t.Fatalf("echo %d: %.40q", i, got)
		}
		want := fmt.Sprintf("[%q nil %q]", fmt.Sprint(i*7%n)+value, fmt.Sprint(i*13%n)+value)
		if got := c.reply(); got != want {
			t.Fatalf("mget %d: %.60q…", i, got)
		}
	}
	<-sent
	if e.anna.Stats().Loads == 0 {
		t.Fatal("nothing was read from the log")
	}
	// A write that depends on what is held waits for it as well.
	c.expect("0", "SETNX", "k0", "w")
	c.expect("-ERR value is not an integer or out of range", "INCR", "k1")
	c.expect(fmt.Sprintf("%q", "2"+value), "GETDEL", "k2")
	// What does not fit together is refused, not tried for ever.
	words := []string{"MGET"}
	for i := range n {
		words = append(words, fmt.Sprint("k", i))
	}
	if got := c.do(words...); !strings.HasPrefix(got, "-OOM") {
		t.Fatalf("got %.100q", got)
	}
	c.expect("PONG", "PING")
}

func TestDrain(t *testing.T) {
	t.Parallel()
	e := start(t, func(cfg *resp.Config) { cfg.Ack = resp.AckDurable })
	idle, busy := e.dial(t), e.dial(t)
	idle.expect("PONG", "PING")
	busy.expect("PONG", "PING")
	busy.send(strings.Repeat(encoded("INCR", "n"), 50))
	if got := busy.reply(); got != "1" {
		t.Fatalf("got %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := e.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	idle.ended()
	// Every command that was carried out has its answer.
	answered := 1
	for {
		got, err := readReply(busy.in)
		if err != nil {
			break
		}
		if answered++; got != fmt.Sprint(answered) {
			t.Fatalf("got %q", got)
		}
	}
	e.anna.View("n", func(held *lattice.State) {
		if n := held.Lattice.(*lattice.Counter).Value(); n != int64(answered) {
			t.Errorf("%d were counted and %d answered", n, answered)
		}
	})
	if conn, err := net.Dial("tcp", e.Address()); err == nil {
		_ = conn.Close()
		t.Fatal("a connection is taken after the drain")
	}
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestStopClosesConnections(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	clients := []*client{e.dial(t), e.dial(t), e.dial(t)}
	for _, c := range clients {
		c.expect("PONG", "PING")
	}
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		c.ended()
	}
	if n := e.Stats().Connections; n != 0 {
		t.Fatalf("%d connections are left", n)
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	second, err := resp.New(resp.Config{Listen: e.Address()}, e.anna)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Listen(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil {
		t.Fatal("it runs without a port")
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for setting, change := range map[string]func(*resp.Config){
		"resp.listen 0.0.0.0":          func(c *resp.Config) { c.Listen = "0.0.0.0:7379" },
		`resp.listen "nowhere"`:        func(c *resp.Config) { c.Listen = "nowhere" },
		`resp.listen ""`:               func(c *resp.Config) { c.Listen = "" },
		"resp.ack":                     func(c *resp.Config) { c.Ack = "sometimes" },
		"resp.loops":                   func(c *resp.Config) { c.Loops = -1 },
		"resp.connections_max":         func(c *resp.Config) { c.ConnectionsMax = -1 },
		"resp.buffer_bytes_max":        func(c *resp.Config) { c.BufferBytesMax = 1 },
		"resp.client_buffer_bytes_max": func(c *resp.Config) { c.ClientBufferBytesMax = 1 },
		"resp.reply_bytes_max":         func(c *resp.Config) { c.ReplyBytesMax = 1 },
		"resp.background_max":          func(c *resp.Config) { c.BackgroundMax = -1 },
		"resp.command_timeout":         func(c *resp.Config) { c.CommandTimeout = -1 },
		"resp.auth_timeout":            func(c *resp.Config) { c.AuthTimeout = -1 },
		"resp.stall_timeout":           func(c *resp.Config) { c.StallTimeout = -1 },
		"resp.idle_timeout":            func(c *resp.Config) { c.IdleTimeout = -1 },
	} {
		cfg := resp.Config{Listen: "127.0.0.1:0"}
		change(&cfg)
		if _, err := resp.New(cfg, nil); err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

// TestHammer has many clients write the same keys; some of the clients come and go.
func TestHammer(t *testing.T) {
	t.Parallel()
	for _, ack := range []string{resp.AckMemory, resp.AckDurable} {
		t.Run(ack, func(t *testing.T) {
			t.Parallel()
			e := start(t, func(cfg *resp.Config) { cfg.Ack = ack })
			const clients, rounds, pipeline = 16, 20, 25
			var group sync.WaitGroup
			for range clients {
				group.Go(func() {
					for round := range rounds {
						c := e.dial(t)
						for range pipeline {
							c.send(encoded("INCR", "n") + encoded("SADD", "s", fmt.Sprint(round)) + encoded("GET", "n") + encoded("SET", "k", "v"))
						}
						c.expectReplies(t, pipeline*4)
						if round%2 == 0 {
							c.expect("OK", "QUIT")
						}
						_ = c.conn.Close()
						hasty := e.dial(t)
						hasty.send(strings.Repeat(encoded("INCR", "gone"), pipeline) + "*2\r\n$3\r\nGET")
						_ = hasty.conn.Close() // with replies on their way, and a command cut off
					}
				})
			}
			group.Wait()
			c := e.dial(t)
			c.expect(fmt.Sprintf("%q", fmt.Sprint(clients*rounds*pipeline)), "GET", "n")
			c.expect(fmt.Sprint(rounds), "SCARD", "s")
		})
	}
}

func (c *client) expectReplies(t testing.TB, n int) {
	t.Helper()
	for range n {
		if text, err := readReply(c.in); err != nil || strings.HasPrefix(text, "-") {
			t.Errorf("%q, %v", text, err)
			return
		}
	}
}
