package executor

import (
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// invokeFrame builds the Invoke frames of one worker out of the same memory, since a header is not used after it has been
// sent. Owned by the goroutine that has reserved the worker.
//
// The Python worker recognises a frame whose like it has seen by its bytes: all but the id, the run id, the deadline and the
// attempt. It counts on the order of the fields that protobuf gives them.
type invokeFrame struct {
	id    uint64
	run   wire.RunID
	head  pb.Header
	body  pb.Header_Invoke
	order pb.Invoke
	steps []*pb.Step
}

func (f *invokeFrame) nextID() uint64 {
	f.id++
	return f.id
}

func (f *invokeFrame) header(id uint64, t *invocation) *pb.Header {
	steps := t.inv.Steps
	for len(f.steps) < len(steps) {
		f.steps = append(f.steps, new(pb.Step))
	}
	for i := range steps {
		to, from := f.steps[i], &steps[i]
		to.Function, to.Version = from.Function.GetName(), from.Function.GetVersion()
		to.Positional, to.Keywords, to.Spread = uint32(from.Positional), from.Keywords, from.Spread
	}
	f.run = t.inv.RunID // a copy, so that the invocation and its arguments are not held on to
	f.order.RunId = f.run[:]
	f.order.Steps = f.steps[:len(steps)]
	f.order.Level = t.inv.Level
	f.order.DeadlineMilliseconds = t.deadline.UnixMilli()
	f.order.Attempt = t.inv.Attempt
	f.order.StreamCredit = 0
	f.body.Invoke = &f.order
	f.head.Id, f.head.Body = id, &f.body
	return &f.head
}
