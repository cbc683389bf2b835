package executor

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"cloudburst/cache"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// What a function asks of its node. Each of these host calls is answered once, with a result or an error; when the worker has ended the
// answer goes nowhere.

// get answers from the cache where it can, on the goroutine that reads the worker's socket.
func (w *worker) get(id uint64, get *pb.Get) {
	keys, wait := get.GetKeys(), milliseconds(get.GetWaitMilliseconds())
	entries := make([]cache.Entry, len(keys))
	trace := w.trace()
	for i, key := range keys {
		entry, ok := w.e.store.Peek(key)
		if !ok || (entry.Absent() && wait > 0) {
			for _, key := range keys[i:] {
				trace.Read(key, true)
			}
			w.wait(id, wait, func(ctx context.Context) error {
				entries, err := w.e.store.Get(ctx, keys, wait)
				if err != nil {
					return fmt.Errorf("get %.200q: %w", keys, err)
				}
				w.replyCells(id, keys, entries)
				return nil
			})
			return
		}
		entries[i] = entry
		trace.Read(key, false)
	}
	w.replyCells(id, keys, entries)
}

// trace returns that of the invocation that the worker runs. A function that calls the host has been invoked.
func (w *worker) trace() *wire.Trace {
	if r := w.running.Load(); r != nil {
		return r.trace
	}
	return nil
}

func (w *worker) replyCells(id uint64, keys []string, entries []cache.Entry) {
	cells, values := cache.Cells(keys, entries)
	w.replyWith(&pb.Header{Id: id, Body: &pb.Header_Cells{Cells: cells}}, values)
}

func (w *worker) put(id uint64, put *pb.Put, values [][]byte) {
	writes, err := cache.Writes(put.GetCells(), values)
	for i := range writes {
		err = cmp.Or(err, wire.CheckWrite(writes[i].Key))
	}
	if err == nil {
		err = w.begin()
	}
	if err != nil {
		w.reply(id, err)
		return
	}
	w.e.store.PutAsync(writes, put.GetAck(), func(err error) {
		w.calls.Add(-1)
		w.reply(id, err)
	})
}

func (w *worker) delete(id uint64, del *pb.Delete) {
	for _, key := range del.GetKeys() {
		if err := wire.CheckRead(key); err != nil {
			w.reply(id, err)
			return
		}
	}
	w.wait(id, 0, func(ctx context.Context) error {
		err := w.e.store.Delete(ctx, del.GetKeys(), del.GetAck())
		if err == nil {
			w.reply(id, nil)
		}
		return err
	})
}

// wait runs a call that may wait on a goroutine of its own, bounded by what the function asks for and by the end of the worker.
func (w *worker) wait(id uint64, wait time.Duration, call func(context.Context) error) {
	if err := w.begin(); err != nil {
		w.reply(id, err)
		return
	}
	w.e.start(func() {
		ctx, cancel := context.WithTimeout(w.life, wait+hostCallMax)
		defer cancel()
		err := call(ctx)
		w.calls.Add(-1)
		if err != nil {
			w.reply(id, err)
		}
	})
}

// begin counts a call that may wait.
func (w *worker) begin() error {
	if w.calls.Add(1) > hostCallsMax {
		w.calls.Add(-1)
		return wire.Errorf(pb.Code_CODE_NO_RESOURCES, "the function waits for %d answers already, the limit", hostCallsMax)
	}
	return nil
}

// reply answers a host call without values. A nil error is success.
func (w *worker) reply(id uint64, err error) {
	switch {
	case id == 0: // no reply is wanted
	case err == nil:
		_ = w.sender.Send(&pb.Header{Id: id, Body: &pb.Header_Done{Done: &pb.Done{}}}, nil)
	default:
		_ = w.sender.Send(&pb.Header{Id: id, Body: &pb.Header_Error{Error: wire.AsError(err).Proto()}}, nil)
	}
}

// replyWith sends a reply, or the reason why it cannot be sent.
func (w *worker) replyWith(header *pb.Header, values [][]byte) {
	id := header.GetId()
	if err := w.sender.Send(header, values); err != nil && w.sender.Err() == nil {
		w.reply(id, err)
	}
}

func (w *worker) send(id uint64, to *pb.Send, values [][]byte) {
	if len(values) != 1 {
		w.reply(id, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "send takes one message, got %d", len(values)))
		return
	}
	if err := wire.CheckValue("a message", values[0]); err != nil {
		w.reply(id, err)
		return
	}
	if to.GetMember() != w.e.cfg.Member {
		w.reply(id, wire.Errorf(pb.Code_CODE_UNSUPPORTED, "send to %d of the node %.100q: a message travels only inside a node, and this is the node %s", to.GetNumber(), to.GetMember(), w.e.cfg.Member))
		return
	}
	from, mail := w.e.addresses(w, to.GetInvocation(), to.GetNumber())
	if mail == nil {
		w.e.stats.undelivered.Add(1)
		w.e.cfg.Logger.Debug("message dropped: nothing runs there", "from", from, "to", to.GetNumber())
		w.reply(id, nil)
		return
	}
	w.reply(id, mail.deliver(message{from: from, body: values[0]}))
}

// addresses returns the number of the invocation that sends a message, and the mailbox of the one that it is for; nil if none runs there.
func (e *Executor) addresses(w *worker, sender, to uint64) (uint64, *mailbox) {
	e.mu.Lock()
	defer e.mu.Unlock()
	from := w.number
	if s := w.slotOf(sender); s != nil {
		from = w.address(s)
	}
	target, level := e.workers[to&(1<<levelShift-1)], int(to>>levelShift)
	if target == nil || level >= len(target.slots) || target.lane.shares() {
		return from, nil
	}
	return from, &target.slots[level].mail
}

// mailboxOf returns the mailbox of the invocation whose Invoke frame had an id, or nil when it has ended.
func (w *worker) mailboxOf(id uint64) *mailbox {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	s := w.slotOf(id)
	if s == nil {
		return nil
	}
	return &s.mail
}

func (w *worker) receive(id uint64, receive *pb.Receive) {
	mail := w.mailboxOf(receive.GetInvocation())
	if mail == nil {
		w.reply(id, wire.Errorf(pb.Code_CODE_CANCELLED, "recv: the function that this thread belongs to has ended, so no message can reach it"))
		return
	}
	if err := w.begin(); err != nil {
		w.reply(id, err)
		return
	}
	mail.receive(int(receive.GetLimit()), milliseconds(receive.GetWaitMilliseconds()), func(messages []message) {
		w.calls.Add(-1)
		senders := make([]*pb.Sender, len(messages))
		bodies := make([][]byte, len(messages))
		for i, m := range messages {
			senders[i] = &pb.Sender{Member: w.e.cfg.Member, Number: m.from}
			bodies[i] = m.body
		}
		w.replyWith(&pb.Header{Id: id, Body: &pb.Header_Messages{Messages: &pb.Messages{Senders: senders}}}, bodies)
	})
}
