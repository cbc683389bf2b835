package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cloudburst/cache"
	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func TestCalls(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c := h.dial(t)
	if reply := c.do(t, call("echo", 1), number(7)); reply.Header.GetDone() == nil || numberOf(reply.Values[0]) != 7 {
		t.Errorf("echo: %v %v", reply.Header, reply.Values)
	}
	reply := c.do(t, call("raise", 1), []byte("\x04traceback"))
	e := wire.ErrorFromFrame(reply)
	if e == nil || e.Code != pb.Code_CODE_EXECUTION || e.Exception.GetTraceback() != "traceback" || !bytes.Equal(e.Pickle, []byte{codec.KindPickle, 1}) {
		t.Errorf("raise: %+v", e)
	}
	if err := failure(c.do(t, call("nope", 0))); !errors.Is(err, wire.ErrFunctionNotFound) {
		t.Errorf("unknown function: %v", err)
	}
	own := call("echo", 1)
	own.GetCall().OutputKey, own.GetCall().Store = "cloudburst/definition/x", true
	err := failure(c.do(t, own, number(1)))
	if !errors.Is(err, wire.ErrInvalidArgument) || !strings.Contains(err.Error(), wire.ReservedPrefix) {
		t.Errorf("a reserved output key: %v", err)
	}
	// 64 MiB and not a byte more.
	if reply := c.do(t, call("size", 1), number(wire.ValueBytesMax-1)); len(reply.Values) != 1 || len(reply.Values[0]) != wire.ValueBytesMax {
		t.Errorf("64 MiB: %v", reply.Header)
	}
	if err := failure(c.do(t, call("echo", 1), make([]byte, wire.ValueBytesMax+wire.ValueOverheadMax+1))); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("more than 64 MiB: %v", err)
	}
	// An error that does not fit is shortened, and is still that error.
	long := c.do(t, call("raise", 1), append([]byte{codec.KindBytes}, bytes.Repeat([]byte("x"), wire.HeaderBytesMax)...))
	if e := wire.ErrorFromFrame(long); e == nil || e.Code != pb.Code_CODE_EXECUTION || e.Exception.GetType() != "ValueError" || len(e.Exception.GetTraceback()) < errorTextMax {
		t.Errorf("a long error: %v", failure(long))
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c := h.dial(t)
	put := func(key string, values ...[]byte) wire.Frame {
		kind := pb.LatticeType_LATTICE_TYPE_LWW
		if len(values) != 1 {
			kind = pb.LatticeType_LATTICE_TYPE_SET
		}
		cells := []*pb.Cell{{Key: key, Type: kind, Values: uint32(len(values))}}
		return c.do(t, &pb.Header{Body: &pb.Header_Put{Put: &pb.Put{Cells: cells}}}, values...)
	}
	get := func(wait time.Duration, keys ...string) wire.Frame {
		return c.do(t, &pb.Header{Body: &pb.Header_Get{Get: &pb.Get{Keys: keys, WaitMilliseconds: uint64(wait.Milliseconds())}}})
	}
	if reply := put("a", number(1)); reply.Header.GetDone() == nil {
		t.Errorf("put: %v", failure(reply))
	}
	put("s", number(1), number(2))
	reply := get(0, "a", "missing", "s")
	cells := reply.Header.GetCells().GetCells()
	if len(cells) != 3 || cells[0].GetValues() != 1 || cells[2].GetValues() != 2 || len(reply.Values) != 3 ||
		cells[1].GetType() != pb.LatticeType_LATTICE_TYPE_UNSPECIFIED {
		t.Errorf("get: %v", reply.Header)
	}
	// What is not in memory is fetched, what is not there is waited for, and others are served meanwhile.
	h.store.mu.Lock()
	h.store.slow = map[string]bool{"a": true}
	h.store.mu.Unlock()
	if reply := get(0, "a"); len(reply.Values) != 1 {
		t.Errorf("get through: %v", failure(reply))
	}
	waiting := c.send(t, &pb.Header{Body: &pb.Header_Get{Get: &pb.Get{Keys: []string{"later"}, WaitMilliseconds: uint64(patience.Milliseconds())}}})
	if reply := get(time.Millisecond, "never"); reply.Header.GetCells().GetCells()[0].GetType() != pb.LatticeType_LATTICE_TYPE_UNSPECIFIED {
		t.Errorf("a wait in vain: %v", reply.Header)
	}
	c.send(t, &pb.Header{Body: &pb.Header_Put{Put: &pb.Put{Cells: []*pb.Cell{{Key: "later", Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: 1}}}}}, number(3))
	got := map[uint64]wire.Frame{}
	for range 2 {
		frame := c.receive(t)
		got[frame.Header.GetId()] = frame
	}
	if reply := got[waiting]; len(reply.Values) != 1 || numberOf(reply.Values[0]) != 3 {
		t.Errorf("a wait: %v", reply.Header)
	}
	list := func(prefix, after string, limit uint32) *pb.Keys {
		body := &pb.Header_ListKeys{ListKeys: &pb.ListKeys{Prefix: prefix, After: after, Limit: limit}}
		return c.do(t, &pb.Header{Body: body}).Header.GetKeys()
	}
	if keys := list("", "a", 1); len(keys.GetKeys()) != 1 || keys.GetKeys()[0] != "later" || !keys.GetMore() {
		t.Errorf("list: %v", keys)
	}
	if reply := c.do(t, &pb.Header{Body: &pb.Header_Delete{Delete: &pb.Delete{Keys: []string{"a"}}}}); reply.Header.GetDone() == nil {
		t.Errorf("delete: %v", failure(reply))
	}
	result := wire.RunID{7}.ResultKey()
	if reply := get(0, "a", result); reply.Header.GetCells() == nil {
		t.Errorf("get of a result: %v", failure(reply))
	}
	for what, reply := range map[string]wire.Frame{
		"put":             put("cloudburst/x", number(1)),
		"put of a result": put(result, number(1)),
		"get":             get(0, "a", "cloudburst/x"),
		"delete":          c.do(t, &pb.Header{Body: &pb.Header_Delete{Delete: &pb.Delete{Keys: []string{"cloudburst/x"}}}}),
	} {
		if err := failure(reply); !errors.Is(err, wire.ErrInvalidArgument) || !strings.Contains(err.Error(), wire.ReservedPrefix) {
			t.Errorf("%s of a reserved key: %v", what, err)
		}
	}
	if err := failure(get(0, "")); !errors.Is(err, wire.ErrInvalidArgument) {
		t.Errorf("a key without a name: %v", err)
	}
	// A listing that does not fit into a reply is cut, and says that there is more.
	writes := make([]cache.Write, 1000)
	for i := range writes {
		writes[i] = cache.Write{Key: fmt.Sprintf("long/%04d/%s", i, strings.Repeat("k", 2000)), Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: [][]byte{number(1)}}
	}
	h.store.PutAsync(writes, pb.Ack_ACK_MEMORY, func(error) {})
	seen, after := 0, ""
	for {
		keys := list("long/", after, 0)
		seen += len(keys.GetKeys())
		if !keys.GetMore() {
			break
		}
		after = keys.GetKeys()[len(keys.GetKeys())-1]
	}
	if seen != len(writes) {
		t.Errorf("%d keys were listed", seen)
	}
	// Values that do not fit into one reply are an error that says so.
	large := make([]byte, wire.ValueBytesMax)
	large[0] = codec.KindBytes
	h.store.PutAsync([]cache.Write{{Key: "large", Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: [][]byte{large}}}, pb.Ack_ACK_MEMORY, func(error) {})
	if err := failure(get(0, "large", "large", "large")); !errors.Is(err, wire.ErrTooLarge) || !strings.Contains(err.Error(), "ask for less") {
		t.Errorf("a reply that is too large: %v", err)
	}
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c := h.dial(t)
	register := &pb.Header{Body: &pb.Header_RegisterFunction{RegisterFunction: &pb.RegisterFunction{Function: &pb.Function{Name: "f"}}}}
	reply := c.do(t, register, number(1))
	if found := reply.Header.GetFunctions().GetFunctions(); len(found) != 1 || found[0].GetVersion() != 1 {
		t.Errorf("register: %v", failure(reply))
	}
	if err := failure(c.do(t, register)); !errors.Is(err, wire.ErrInvalidArgument) {
		t.Errorf("without a definition: %v", err)
	}
	registerDAG := func(d *pb.Dag) wire.Frame {
		return c.do(t, &pb.Header{Body: &pb.Header_RegisterDag{RegisterDag: &pb.RegisterDag{Dag: d}}})
	}
	if reply := registerDAG(&pb.Dag{Name: "d", Functions: []string{"echo", "add"}, Links: []*pb.Link{{Source: "echo", Sink: "add"}}}); reply.Header.GetDone() == nil {
		t.Errorf("register dag: %v", failure(reply))
	}
	if err := failure(registerDAG(&pb.Dag{Name: "e"})); !errors.Is(err, wire.ErrInvalidArgument) {
		t.Errorf("an empty dag: %v", err)
	}
	if reply := c.do(t, &pb.Header{Body: &pb.Header_ListFunctions{ListFunctions: &pb.ListFunctions{Prefix: "f"}}}); len(reply.Header.GetFunctions().GetFunctions()) != 1 {
		t.Errorf("list functions: %v", reply.Header)
	}
	reply = c.do(t, &pb.Header{Body: &pb.Header_ListDags{ListDags: &pb.ListDags{}}})
	if len(reply.Header.GetDags().GetDags()) != 1 {
		t.Errorf("list dags: %v", reply.Header)
	}
	if reply := c.do(t, &pb.Header{Body: &pb.Header_DeleteDag{DeleteDag: &pb.DeleteDag{Name: "d"}}}); reply.Header.GetDone() == nil {
		t.Errorf("delete dag: %v", failure(reply))
	}
	if err := failure(c.do(t, &pb.Header{Body: &pb.Header_DeleteFunction{DeleteFunction: &pb.DeleteFunction{Name: "nope"}}})); !errors.Is(err, wire.ErrFunctionNotFound) {
		t.Errorf("delete an unknown function: %v", err)
	}
	reply = c.do(t, &pb.Header{Body: &pb.Header_GetStatus{GetStatus: &pb.GetStatus{}}})
	if reply.Header.GetStatus_().GetWorkers() != 4 {
		t.Errorf("status: %v", reply.Header)
	}
	reply = c.do(t, &pb.Header{Body: &pb.Header_GetAnnaStatus{GetAnnaStatus: &pb.GetAnnaStatus{}}})
	if reply.Header.GetAnnaStatus_().GetMasters() != 3 {
		t.Errorf("status of the store: %v", reply.Header)
	}
	if err := failure(c.do(t, &pb.Header{})); !errors.Is(err, wire.ErrUnsupported) || !strings.Contains(err.Error(), "1.2.3") {
		t.Errorf("an unknown request: %v", err)
	}
}

// Requests without an id want no reply, and are counted like others.
func TestNoReplyWanted(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c := h.dial(t)
	put := &pb.Header{Body: &pb.Header_Put{Put: &pb.Put{Cells: []*pb.Cell{{Key: "k", Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: 1}}}}}
	if _, err := wire.WriteFrame(c.Conn, nil, put, [][]byte{number(1)}); err != nil {
		t.Fatal(err)
	}
	if reply := c.do(t, &pb.Header{Body: &pb.Header_Get{Get: &pb.Get{Keys: []string{"k"}}}}); len(reply.Values) != 1 {
		t.Errorf("get after put: %v", reply.Header)
	}
	await(t, "nothing is outstanding", func() bool { return h.outstanding.Load() == 0 })
}

func TestConcurrentCalls(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	const connections, calls = 64, 1000
	var group sync.WaitGroup
	for range connections {
		c := h.dial(t)
		group.Go(func() {
			// Every client counts its requests from 1, and sends them all before it reads an answer.
			want := make(map[uint64]uint32)
			for k := range uint32(calls) {
				want[c.send(t, call("add", 2), number(k), number(2*k))] = 3 * k
			}
			for range calls {
				reply := c.receive(t)
				sum, ok := want[reply.Header.GetId()]
				delete(want, reply.Header.GetId())
				if !ok || len(reply.Values) != 1 || numberOf(reply.Values[0]) != sum {
					t.Errorf("reply %d: %v", reply.Header.GetId(), failure(reply))
				}
			}
		})
	}
	group.Wait()
}

// What breaks the protocol ends that connection, and nothing else.
func TestMalformedFrames(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	witness := h.dial(t)
	prefix := func(header, payload uint32) []byte {
		return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, header), payload)
	}
	reply := func(header *pb.Header, values ...[]byte) []byte {
		var b bytes.Buffer
		if _, err := wire.WriteFrame(&b, nil, header, values); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	whole := reply(call("echo", 1), number(1))
	for name, sent := range map[string][]byte{
		"header too large":     prefix(wire.HeaderBytesMax+1, 0),
		"payload too large":    prefix(0, wire.PayloadBytesMax+1),
		"no protobuf":          append(prefix(4, 0), 0xff, 0xff, 0xff, 0xff),
		"values past the end":  append(prefix(uint32(len(whole)-8-5), 3), whole[8:len(whole)-2]...),
		"bytes of no value":    append(prefix(0, 3), 1, 2, 3),
		"what only nodes send": reply(&pb.Header{Id: 1, Body: &pb.Header_Done{Done: &pb.Done{}}}),
		"what workers get":     reply(&pb.Header{Id: 1, Body: &pb.Header_Invoke{Invoke: &pb.Invoke{}}}),
		"cut in the prefix":    whole[:5],
		"cut in the header":    whole[:20],
		"cut in the payload":   whole[:len(whole)-1],
		"HTTP":                 []byte("GET / HTTP/1.1\r\nHost: here\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			before := h.metrics.malformed.Load()
			c := h.dial(t)
			if _, err := c.Write(sent); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(name, "cut") {
				if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			c.closed(t)
			await(t, "the fault is counted", func() bool { return h.metrics.malformed.Load() == before+1 })
		})
	}
	if reply := witness.do(t, call("echo", 1), number(7)); len(reply.Values) != 1 {
		t.Errorf("another client: %v", failure(reply))
	}
}

// A frame in the same packet as the upgrade is not lost.
func TestEagerClient(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	conn, err := net.Dial("tcp", h.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET /v1/stream HTTP/1.1\r\nHost: here\r\n%s\r\n\r\n", strings.Join(upgradeHeaders, "\r\n"))
	for k := range uint32(3) {
		header := call("echo", 1)
		header.Id = uint64(k + 1)
		if _, err := wire.WriteFrame(&b, nil, header, [][]byte{number(k)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, len(switchingProtocols))
	if _, err := io.ReadFull(conn, head); err != nil || string(head) != switchingProtocols {
		t.Fatalf("%q, %v", head, err)
	}
	frames := wire.NewFrameReader(conn)
	for k := range uint32(3) {
		frame, err := frames.Read()
		if err != nil || numberOf(frame.Values[0]) != k {
			t.Fatalf("reply %d: %v, %v", k, frame.Header, err)
		}
	}
}

// Who says nothing is closed; who has said half a frame is only kept as long as it stays.
func TestSilentClients(t *testing.T) {
	t.Parallel()
	h := open(t, Config{HeaderTimeout: 50 * time.Millisecond})
	conn, err := net.Dial("tcp", h.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /v1/str")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	for {
		if _, err := conn.Read(make([]byte, 1024)); err != nil {
			if !gone(err) {
				t.Errorf("half an HTTP head: %v", err)
			}
			break
		}
	}
	half := h.dial(t)
	if _, err := half.Write(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if reply := h.dial(t).do(t, call("echo", 1), number(1)); len(reply.Values) != 1 {
		t.Errorf("another client: %v", failure(reply))
	}
	_ = half.Close()
	await(t, "the connections are gone", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.streams) == 1 })
}

// A client that does not read its replies has its requests left unread, and delays no other client.
func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	rude, witness := h.dial(t), h.dial(t)
	const size = 1 << 20
	written := make(chan int, 1)
	_ = rude.SetWriteDeadline(time.Now().Add(patience))
	go func() {
		n := 0
		for range 256 {
			c := call("size", 1)
			c.Id = uint64(n + 1)
			// Requests are padded, so that the socket is full before all of them are in.
			c.GetCall().Arguments[0].Positional = 2
			if _, err := wire.WriteFrame(rude.Conn, nil, c, [][]byte{number(size), make([]byte, 64<<10)}); err != nil {
				break
			}
			n++
		}
		written <- n
	}()
	await(t, "replies pile up", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for s := range h.streams {
			if s.sender.Waiting() > backlogPauseBytes {
				return true
			}
		}
		return false
	})
	for k := range uint32(100) {
		if reply := witness.do(t, call("echo", 1), number(k)); numberOf(reply.Values[0]) != k {
			t.Fatalf("another client: %v", failure(reply))
		}
	}
	if n := h.taken.Load() - 100; n >= 256 {
		t.Errorf("all %d requests were read", n)
	}
	// When it reads again it is served again.
	_ = rude.SetReadDeadline(time.Now().Add(patience))
	for range 256 {
		if reply := rude.receive(t); len(reply.Values) != 1 || len(reply.Values[0]) != size+1 {
			t.Fatalf("a late reply: %v", failure(reply))
		}
	}
	if n := <-written; n != 256 {
		t.Errorf("%d requests were written", n)
	}
}

// The result of a run whose client has gone is kept, and the client finds it when it calls again.
func TestClientThatLeaves(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c := h.dial(t)
	held := call("hold", 0)
	c.send(t, held)
	inv := <-h.held
	_ = c.Close()
	await(t, "the gateway has noticed", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.streams) == 0 })
	inv.Done(wire.Result{Value: number(5)})
	if reply := h.dial(t).do(t, held); len(reply.Values) != 1 || numberOf(reply.Values[0]) != 5 {
		t.Errorf("calling again: %v", failure(reply))
	}
	if n := h.taken.Load(); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	h := open(t, Config{ConnectionsMax: 2, RequestsPerConnectionMax: 2, BackgroundMax: 1})
	c, other := h.dial(t), h.dial(t)
	conn, err := net.Dial("tcp", h.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Read(make([]byte, 1)); err == nil || !gone(err) {
		t.Errorf("one connection too many: %v", err)
	}
	c.send(t, call("hold", 0))
	c.send(t, call("hold", 0))
	if err := failure(c.do(t, call("echo", 0))); !errors.Is(err, wire.ErrNoResources) || !strings.Contains(err.Error(), "requests_per_connection_max") {
		t.Errorf("one request too many: %v", err)
	}
	wait := &pb.Header{Body: &pb.Header_Get{Get: &pb.Get{Keys: []string{"never"}, WaitMilliseconds: uint64(patience.Milliseconds())}}}
	other.send(t, wait)
	if err := failure(other.do(t, wait)); !errors.Is(err, wire.ErrNoResources) || !strings.Contains(err.Error(), "background_max") {
		t.Errorf("one wait too many: %v", err)
	}
	_ = other.Close()
	await(t, "there is room again", func() bool {
		conn, err := net.Dial("tcp", h.Address())
		if err != nil {
			return false
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "GET /healthz HTTP/1.0\r\n\r\n"); err != nil {
			return false
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		n, _ := conn.Read(make([]byte, 64))
		return n > 0
	})
	(<-h.held).Done(wire.Result{Value: number(1)})
	c.receive(t)
	if reply := c.do(t, call("echo", 0)); reply.Header.GetDone() == nil {
		t.Errorf("with room again: %v", failure(reply))
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c := h.dial(t)
	waiting := c.send(t, call("hold", 0))
	inv := <-h.held
	never := c.send(t, &pb.Header{Body: &pb.Header_Get{Get: &pb.Get{Keys: []string{"never"}, WaitMilliseconds: uint64(time.Hour.Milliseconds())}}})
	await(t, "the get waits", func() bool { return len(h.slots) == 1 })
	drained := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		drained <- h.Drain(ctx)
	}()
	// Who waits for a key is told at once.
	if reply := c.receive(t); reply.Header.GetId() != never || !errors.Is(failure(reply), wire.ErrUnavailable) {
		t.Errorf("a wait for a key: %v", failure(reply))
	}
	if err := failure(c.do(t, call("echo", 0))); !errors.Is(err, wire.ErrUnavailable) {
		t.Errorf("a new request: %v", err)
	}
	if status, body := fetch(t, h, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "draining") {
		t.Errorf("readiness: %d %q", status, body)
	}
	conn, err := net.Dial("tcp", h.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	response, _ := ask(t, conn, upgradeHeaders...)
	defer response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a new stream: %s", response.Status)
	}
	// A large answer, which does not fit into the socket at once, arrives whole.
	value := make([]byte, wire.ValueBytesMax)
	value[0] = codec.KindBytes
	inv.Done(wire.Result{Value: value})
	if reply := c.receive(t); reply.Header.GetId() != waiting || len(reply.Values) != 1 || len(reply.Values[0]) != len(value) {
		t.Errorf("what was under way: %v", failure(reply))
	}
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
	c.closed(t)
	if err := <-h.ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c := h.dial(t)
	c.send(t, call("hold", 0))
	<-h.held
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Drain(ctx); err == nil || !strings.Contains(err.Error(), "1 requests") {
		t.Errorf("drain: %v", err)
	}
	c.closed(t)
}
