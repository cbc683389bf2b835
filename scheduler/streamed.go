package scheduler

import (
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// checkStreamed returns why the result of a call cannot be streamed, whatever it calls, or nil.
func checkStreamed(q *submission) error {
	switch {
	case q.call.GetContinuation() != nil:
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: what is streamed has no one result that a continuation could take; call it without stream_credit", targetOf(q.call))
	case q.call.GetOutputKey() != "":
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: what is streamed is not stored, so that the key %.100q would stay empty; call it without stream_credit", targetOf(q.call), q.call.GetOutputKey())
	}
	return nil
}

// checkYields returns why the result of a run cannot be streamed, or nil.
func (r *run) checkYields() error {
	if r.items == nil {
		return nil
	}
	last := r.plan.functions[r.plan.chains[r.plan.sink].end-1]
	if last.GetGenerator() {
		return nil
	}
	return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: %s@%d is not a generator function, so its result comes at once; call it with remote", targetOf(r.call), last.GetName(), last.GetVersion())
}

// yielded returns how many items of an invocation are with the client.
func (inv *invocation) yielded() uint64 {
	if inv.sent.Items == nil {
		return 0
	}
	return inv.sent.Items.Sent()
}
