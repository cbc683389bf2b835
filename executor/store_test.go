package executor

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloudburst/cache"
	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func lww(key string, value []byte) cache.Write {
	return cache.Write{Key: key, Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: [][]byte{value}}
}

func (n *testNode) put(writes ...cache.Write) {
	n.t.Helper()
	if err := n.cache.Put(n.t.Context(), writes, pb.Ack_ACK_MEMORY); err != nil {
		n.t.Fatal(err)
	}
}

func TestFunctionsUseTheStore(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: 1, WorkersMax: 1})
	equal(t, n.call("get", "k"), nil)
	equal(t, n.call("put", "k", "v"), map[any]any{"k": true})
	equal(t, n.call("get", "k"), "v")
	equal(t, n.call("get", []string{"k", "missing"}), map[any]any{"k": "v", "missing": nil})
	equal(t, n.call("get", "k", false), append([]byte{codec.KindPlain}, "\x61v"...))
	equal(t, n.call("delete", "k"), true)
	equal(t, n.call("get", "k"), nil)
	n.put(cache.Write{Key: "set", Type: pb.LatticeType_LATTICE_TYPE_SET, Values: [][]byte{encode(t, 1), encode(t, 2)}})
	equal(t, n.call("get", "set"), []any{uint64(1), uint64(2)})
	// What the store refuses is an exception in the function.
	long := strings.Repeat("k", cache.KeyBytesMax+1)
	for _, ref := range []string{"get", "delete"} {
		wantError(t, n.fails(ref, long), wire.ErrExecution, "4096")
	}
	wantError(t, n.fails("put", long, 1), wire.ErrExecution, "TooLargeError", "4096")
	large := bytes.Repeat([]byte{5}, 10<<20)
	n.put(lww("large", encode(t, large)))
	equal(t, n.call("get", "large"), large)
	equal(t, n.call("wait_for", "missing", 0.01), nil)
	waiting := n.begin(n.invocation("wait_for", "late", 60))
	n.put(lww("late", encode(t, 7)))
	equal(t, decode(t, within(t, waiting, "the key").Value), uint64(7))
}

func TestFunctionsPutLattices(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	equal(t, n.call("put_lattices", 5, []byte("b")), []any{uint64(5), []any{[]byte("b")}, []byte("b")})
	// Each is merged with what is there: the largest, all members, the latest.
	equal(t, n.call("put_lattices", 3, []byte("a")), []any{uint64(5), []any{[]byte("a"), []byte("b")}, []byte("b")})
	// Another type does not replace it.
	wantError(t, n.fails("put", "max", 1), wire.ErrExecution, "LatticeMismatchError")
	equal(t, n.call("same", reference("max", true)), uint64(5))
}

func TestReferences(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	n.put(
		lww("a", encode(t, "one")), lww("b", encode(t, []byte("two"))),
		cache.Write{Key: "set", Type: pb.LatticeType_LATTICE_TYPE_SET, Values: [][]byte{encode(t, 1), encode(t, 2)}},
	)
	equal(t, n.call("same", reference("a", true)), "one")
	equal(t, n.call("same", reference("a", true), 5, reference("b", true)), []any{"one", uint64(5), []byte("two")})
	equal(t, n.call("same", reference("set", true)), []any{uint64(1), uint64(2)})
	equal(t, n.call("same", reference("a", false)), []byte("\x01\x63one"))
	equal(t, n.call("same", reference("b", false)), []byte("two"))
	list := raw(codec.JoinSequence([][]byte{encode(t, 1), reference("a", true), reference("b", false)}))
	equal(t, n.call("same", list), []any{uint64(1), "one", []byte("two")})

	numbered := []byte{codec.KindPickle, 0x80, 5, ']', '(', 'K', 0, 'Q', 'K', 1, 'Q', 'e', '.'} // a list of what is numbered 0 and 1
	composed := raw(codec.JoinElements(codec.KindComposed, [][]byte{numbered, reference("b", true), encode(t, 5)}))
	equal(t, n.call("same", composed), []any{[]byte("two"), uint64(5)})

	// What a reference reads is what is there now.
	n.put(lww("a", encode(t, "changed")))
	equal(t, n.call("same", reference("a", true)), "changed")

	for _, malformed := range []raw{{codec.KindReference}, {codec.KindReference, 0xff}, {codec.KindSequence, 9, 0, 0, 0}, reference("", true)} {
		wantError(t, n.fails("same", malformed), wire.ErrInvalidArgument)
	}
}

func TestAReferenceToAMissingKey(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: 1, WorkersMax: 1, ReferenceWait: 300 * time.Millisecond})
	missing := make([]<-chan wire.Result, 10)
	for i := range missing {
		missing[i] = n.begin(n.invocation("same", reference("missing", true)))
	}
	// No call is blocked meanwhile, though there is only one worker.
	for i := range 10 {
		equal(t, n.call("incr", i), uint64(i+1))
	}
	for _, answer := range missing {
		wantError(t, n.failed(answer), wire.ErrKeyNotFound, `"missing"`, "300ms", "executor.reference_wait")
	}
	late := n.begin(n.invocation("same", reference("late", true)))
	n.put(lww("late", encode(t, 7)))
	equal(t, decode(t, within(t, late, "the key").Value), uint64(7))
}

func TestAReferenceToARunUnderWay(t *testing.T) {
	t.Parallel()
	var underWay atomic.Bool
	underWay.Store(true)
	looked := make(chan struct{}, 64)
	n := start(t, Config{ReferenceWait: 20 * time.Millisecond, Expected: func(key string) bool {
		looked <- struct{}{}
		return key == "result" && underWay.Load()
	}})
	answer := n.begin(n.invocation("same", reference("result", true)))
	for range 5 { // waits, each as long as for any other key
		<-looked
	}
	n.put(lww("result", encode(t, 7)))
	equal(t, decode(t, within(t, answer, "the result").Value), uint64(7))

	underWay.Store(false)
	wantError(t, n.fails("same", reference("never", true)), wire.ErrKeyNotFound, `"never"`)
}

func TestAReferenceToAFailedRun(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	failure, err := codec.EncodeFailure(wire.Errorf(pb.Code_CODE_WORKER_DIED, "it died"))
	if err != nil {
		t.Fatal(err)
	}
	n.put(lww("failed", failure))
	wantError(t, n.fails("same", reference("failed", true)), wire.ErrWorkerDied, "it died")
}

func TestMessages(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	receiver := n.begin(n.invocation("introduce", "me"))
	sender := n.call("tell", "me", "hello").([]any)
	r := within(t, receiver, "the message")
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	equal(t, decode(t, r.Value), []any{sender, "hello"})
	equal(t, sender[0], "here")

	// A message to a function that does not run is dropped, one to another node is an error.
	equal(t, n.call("send_to", "here", 1<<40, "x"), nil)
	equal(t, n.Stats().Undelivered, uint64(1))
	wantError(t, n.fails("send_to", "elsewhere", 1, "x"), wire.ErrExecution, "elsewhere")
	// Threads that wait when their function returns are let go.
	equal(t, n.call("many_waits", 20), uint64(20))
	equal(t, n.call("incr", 1), uint64(2))
}

func TestLogs(t *testing.T) {
	t.Parallel()
	n := start(t, Config{WorkersMin: 1, WorkersMax: 1})
	n.call("talk")
	for message, stream := range map[string]string{"to stdout": "stdout", "to stderr": "stderr"} {
		line := n.logs.wait(t, message)
		equal(t, []any{line["stream"], line["function"], line["version"], line["run"], line["worker"]},
			[]any{stream, "talk", 1.0, "01020300000000000000000000000000", 1.0})
	}
	for _, message := range []string{"to the descriptor", "from a child"} {
		line := n.logs.wait(t, message)
		equal(t, []any{line["stream"], line["functions"], line["run"]}, []any{"process", "talk@1", "01020300000000000000000000000000"})
	}
}

func TestMailbox(t *testing.T) {
	t.Parallel()
	var m mailbox
	for i := range mailboxMessagesMax {
		if err := m.deliver(message{from: uint64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, wire.AsError(m.deliver(message{})), wire.ErrNoResources, "4096")
	take := func(limit int, wait time.Duration) (got []message) {
		taken := make(chan []message, 1)
		m.receive(limit, wait, func(messages []message) { taken <- messages })
		return within(t, taken, "messages")
	}
	equal(t, len(take(10, 0)), 10)
	equal(t, len(take(0, time.Hour)), mailboxMessagesMax-10)
	equal(t, len(take(0, 0)), 0)
	equal(t, len(take(0, time.Millisecond)), 0)

	half := make([]byte, mailboxBytesMax/2)
	for range 2 {
		if err := m.deliver(message{body: half}); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, wire.AsError(m.deliver(message{body: []byte{1}})), wire.ErrNoResources)
	equal(t, len(take(0, 0)), 1) // one reply does not take both
	m.clear().answer()
	equal(t, m.bytes, 0)

	// Two that wait get a message each, in the order in which they came.
	first, second, third := make(chan []message, 1), make(chan []message, 1), make(chan []message, 1)
	for _, c := range []chan []message{first, second, third} {
		m.receive(0, time.Hour, func(messages []message) { c <- messages })
	}
	for i := range 2 {
		if err := m.deliver(message{from: uint64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, within(t, first, "the first")[0].from, uint64(0))
	equal(t, within(t, second, "the second")[0].from, uint64(1))
	m.clear().answer()
	equal(t, len(within(t, third, "the third")), 0)
}

func TestMailboxUnderLoad(t *testing.T) {
	t.Parallel()
	var m mailbox
	got := make(chan []message, 1024)
	done := make(chan int, 1)
	const count = 2000
	go func() {
		seen := 0
		for seen < count {
			m.receive(0, time.Millisecond, func(messages []message) { got <- messages })
			seen += len(<-got)
		}
		done <- seen
	}()
	for i := range count {
		if err := m.deliver(message{from: uint64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, within(t, done, "all messages"), count)
}
