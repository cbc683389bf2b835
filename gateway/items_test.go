package gateway

import (
	"context"
	"errors"
	"testing"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func streamed(credit uint32) *pb.Header {
	header := call("yield", 0)
	header.GetCall().StreamCredit = credit
	return header
}

func credit(id uint64, items uint32) *pb.Header {
	return &pb.Header{Body: &pb.Header_Credit{Credit: &pb.Credit{Id: id, Items: items}}}
}

// yielding returns a house with a generator function that is held.
func yielding(t *testing.T) *house {
	h := open(t, Config{})
	h.registry.functions["yield"] = &pb.Function{Name: "yield", Version: 1, Runtime: pb.Runtime_RUNTIME_PYTHON, Generator: true}
	return h
}

// Items go to the client as far as its credit goes, and the answer after them.
func TestItemsGoToTheClient(t *testing.T) {
	t.Parallel()
	h := yielding(t)
	c := h.dial(t)
	id := c.send(t, streamed(2))
	inv := <-h.held
	told := make(chan uint32, 4)
	if n := inv.Items.Connect(func(n uint32) { told <- n }); n != 2 {
		t.Fatalf("connected with %d", n)
	}
	for i := range uint32(2) {
		if err := inv.Items.Item(number(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := inv.Items.Item(number(2)); err == nil {
		t.Error("an item without credit")
	}
	for i := range uint32(2) {
		if reply := c.receive(t); reply.Header.GetItem() == nil || reply.Header.GetId() != id || numberOf(reply.Values[0]) != i {
			t.Fatalf("item %d: %v", i, reply.Header)
		}
	}
	c.send(t, credit(id, 3))
	if n := <-told; n != 3 {
		t.Errorf("told of %d", n)
	}
	inv.Items.Disconnect()
	inv.Done(wire.Result{Value: number(9)})
	if reply := c.receive(t); reply.Header.GetDone() == nil || reply.Header.GetId() != id {
		t.Fatalf("the answer: %v", reply.Header)
	}
	await(t, "nothing outstanding", func() bool { return h.outstanding.Load() == 0 })
	c.send(t, credit(id, 1)) // crosses the end, and is ignored
	if reply := c.do(t, call("echo", 0)); reply.Header.GetDone() == nil {
		t.Errorf("the connection: %v", reply.Header)
	}
}

// The run of a client that wants no more, or has left, is cancelled.
func TestItemsAreEnded(t *testing.T) {
	t.Parallel()
	h := yielding(t)
	for _, leave := range []bool{false, true} {
		c := h.dial(t)
		id := c.send(t, streamed(2))
		inv := <-h.held
		if leave {
			_ = c.Close()
		} else {
			c.send(t, credit(id, 0))
		}
		await(t, "the run is cancelled", func() bool {
			_, cancelled := inv.Trace.Cancelled()
			return cancelled
		})
		inv.Done(wire.Result{Value: number(0)})
	}
	await(t, "nothing outstanding", func() bool { return h.outstanding.Load() == 0 })
}

// A node that drains cancels the runs of a client that leaves, and so does not wait for them.
func TestTheRunsOfAClientThatLeavesWhileTheNodeDrains(t *testing.T) {
	t.Parallel()
	h := yielding(t)
	c := h.dial(t)
	plain, both := call("hold", 0), streamed(2)
	plain.GetCall().CancelOnDisconnect, both.GetCall().CancelOnDisconnect = true, true
	for _, header := range []*pb.Header{plain, both, streamed(2)} {
		c.send(t, header)
	}
	invocations := []*wire.Invocation{<-h.held, <-h.held, <-h.held}
	drained := make(chan error, 1)
	go func() { drained <- h.Drain(context.Background()) }()
	await(t, "the drain", h.draining.Load)
	_ = c.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	for _, inv := range invocations {
		if _, cancelled := inv.Trace.Cancelled(); !cancelled {
			t.Errorf("run %v goes on", inv.RunID)
		}
		inv.Done(wire.Result{Value: number(0)})
	}
}

// A node that closes the connections itself leaves it to the scheduler what becomes of the runs.
func TestTheRunsOfAConnectionThatTheNodeCloses(t *testing.T) {
	t.Parallel()
	h := yielding(t)
	c := h.dial(t)
	plain := call("hold", 0)
	plain.GetCall().CancelOnDisconnect = true
	for _, header := range []*pb.Header{plain, streamed(2)} {
		c.send(t, header)
	}
	invocations := []*wire.Invocation{<-h.held, <-h.held}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Drain(over); err == nil {
		t.Error("drained while runs are under way")
	}
	if err := <-h.ended; err != nil {
		t.Error(err)
	}
	for _, inv := range invocations {
		if reason, cancelled := inv.Trace.Cancelled(); cancelled {
			t.Errorf("run %v is cancelled: %s", inv.RunID, reason)
		}
		inv.Done(wire.Result{Value: number(0)})
	}
}

// A call that is refused because its run streams already does not keep that run from ending with the connection.
func TestARefusedCallLeavesTheRunTied(t *testing.T) {
	t.Parallel()
	h := yielding(t)
	c := h.dial(t)
	first := streamed(2)
	c.send(t, first)
	inv := <-h.held
	again := streamed(2)
	again.GetCall().RunId, again.GetCall().CancelOnDisconnect = first.GetCall().GetRunId(), true
	if err := failure(c.do(t, again)); !errors.Is(err, wire.ErrInvalidArgument) {
		t.Errorf("joined: %v", err)
	}
	_ = c.Close()
	await(t, "the run is cancelled", func() bool {
		_, cancelled := inv.Trace.Cancelled()
		return cancelled
	})
	inv.Done(wire.Result{Value: number(0)})
}

func TestItemsAreRefused(t *testing.T) {
	t.Parallel()
	h := yielding(t)
	c := h.dial(t)
	if reply := c.do(t, streamed(wire.ItemsAheadMax+1)); !errors.Is(failure(reply), wire.ErrInvalidArgument) {
		t.Errorf("too much credit: %v", failure(reply))
	}
	plain := call("echo", 0)
	plain.GetCall().StreamCredit = 1
	if reply := c.do(t, plain); !errors.Is(failure(reply), wire.ErrInvalidArgument) {
		t.Errorf("of a function that yields nothing: %v", failure(reply))
	}
	for range streamedMax {
		c.send(t, streamed(1))
	}
	if reply := c.do(t, streamed(1)); !errors.Is(failure(reply), wire.ErrNoResources) {
		t.Errorf("one run too many: %v", failure(reply))
	}
	for range streamedMax {
		(<-h.held).Done(wire.Result{Value: number(0)})
		c.receive(t)
	}
}
