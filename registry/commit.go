package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// commit makes one change: prepare decides on it, looking at the state; the log takes it if the state is still the last.
//
//	decide on state n ── publish, expecting n ──► taken as n+1: apply it here, done
//	      ▲                                  └──► refused, or no answer: follow the log to its end
//	      └───────── not in there ◄── is the change in there after all? ── yes: done
//
// A refusal by prepare counts only on a state that is as new as the log was after the call began, so that what another node
// has just registered is never denied. commit returns a revision that is not above the change's, and above all that came before
// it.
func (r *Registry) commit(ctx context.Context, what string, prepare func(*state) (record, error)) (uint64, error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if err := r.await(ctx); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	select {
	case r.writing <- struct{}{}:
		defer func() { <-r.writing }()
	case <-ctx.Done():
		return 0, r.commitError(caller, what, ctx.Err())
	}

	// unanswered is a change whose publish, expecting unansweredBase, got no answer.
	var unanswered record
	var unansweredBase uint64
	synced := false
	for attempt := 0; ; attempt++ {
		r.mu.RLock()
		base := r.state.applied
		if unanswered.key != "" && base > unansweredBase {
			if r.state.holds(unanswered) {
				r.mu.RUnlock()
				return unansweredBase + 1, nil
			}
			// Something else came after that base, so it can never be taken any more.
			unanswered = record{}
		}
		rec, err := prepare(r.state)
		r.mu.RUnlock()
		if err != nil && synced {
			return 0, err
		}
		if err == nil {
			var revision uint64
			if revision, err = r.publish(ctx, rec, base); err == nil {
				r.applyOwn(rec, revision)
				return revision, nil
			}
			if permanent(err) {
				return 0, r.commitError(caller, what, err)
			}
			if !conflict(err) {
				unanswered, unansweredBase = rec, base
			}
		}
		if serr := r.Sync(ctx); serr != nil {
			if !pause(ctx, attempt) {
				return 0, r.commitError(caller, what, errors.Join(err, serr))
			}
			continue
		}
		synced = true
		if ctx.Err() != nil {
			return 0, r.commitError(caller, what, err)
		}
	}
}

// publish appends rec to the log if its last sequence is base, and returns the sequence that rec got.
func (r *Registry) publish(ctx context.Context, rec record, base uint64) (uint64, error) {
	value, err := rec.encode()
	if err != nil {
		return 0, fmt.Errorf("encode %s: %w", rec.key, err)
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	message := &nats.Msg{Subject: r.subject(rec.key), Data: value}
	ack, err := r.conn.JetStream.PublishMsg(ctx, message, jetstream.WithExpectLastSequence(base))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

func (r *Registry) subject(key string) string { return "$KV." + r.cfg.Bucket + "." + key }

// applyOwn takes in a change of this process, unless the watch was faster.
func (r *Registry) applyOwn(rec record, revision uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if revision > r.state.applied {
		_ = r.state.apply(rec, revision)
		r.notify()
	}
}

// permanent reports whether trying again cannot help: the log itself refused, and not because it had moved on.
func permanent(err error) bool {
	if wireError, ok := errors.AsType[*wire.Error](err); ok {
		return wireError != nil
	}
	refusal, ok := errors.AsType[*jetstream.APIError](err)
	return ok && refusal.Code >= 400 && refusal.Code < 500 && !conflict(err)
}

// conflict reports whether the log refused because its last sequence was not the expected one.
func conflict(err error) bool {
	refusal, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (refusal.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		refusal.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// commitError says what became of a change that was not acknowledged. caller is the context that the change came with.
func (r *Registry) commitError(caller context.Context, what string, err error) error {
	if caller.Err() != nil {
		return fmt.Errorf("%s: %w; it may or may not have happened", what, caller.Err())
	}
	if wireError, ok := errors.AsType[*wire.Error](err); ok {
		return fmt.Errorf("%s: %w", what, wireError)
	}
	if faults := r.conn.Faults(); len(faults) > 0 {
		err = fmt.Errorf("%w; %s", err, strings.Join(faults, "; "))
	}
	return wire.Errorf(pb.Code_CODE_UNAVAILABLE, "%s: the registry's log did not take it: %v", what, err)
}
