package client

import (
	"context"
	"fmt"

	"cloudburst/codec"
	"cloudburst/wire"
)

// Future is the result of a run, which may still be under way. It is safe for concurrent use.
type Future struct {
	client  *Client
	request *request
	id      wire.RunID
}

// ID returns the run's id in hexadecimal, as the node's log and the function's context show it.
func (f *Future) ID() string { return f.id.String() }

// Key returns the key under which the node keeps the result for a while, for [Client.Get] and references to it.
func (f *Future) Key() string { return f.id.ResultKey() }

// Ref returns a reference to the result, for arguments of other calls. A future as an argument is the same.
func (f *Future) Ref() Ref { return Ref{Key: f.Key()} }

// String names the run and says whether it goes on.
func (f *Future) String() string {
	state := "running"
	select {
	case <-f.request.done:
		if state = "done"; f.request.err != nil {
			state = "failed"
		}
	default:
	}
	return fmt.Sprintf("future of run %s, %v: %s", f.ID(), f.request, state)
}

// Done is closed when the result is there.
func (f *Future) Done() <-chan struct{} { return f.request.done }

// Get waits for the result and stores it in the value that out points to, as [Client.Get] does. It fails with what the run
// failed with: after ErrExecution, the [Exception] of the [Error] has the remote traceback. It may be called again, also after
// ctx ended.
func (f *Future) Get(ctx context.Context, out any) error {
	if err := f.client.await(ctx, f.request); err != nil {
		return err
	}
	if f.request.err != nil {
		return f.request.err
	}
	values := f.request.reply.Values
	if len(values) != 1 {
		return fmt.Errorf("%v: %w", f.request, malformed("a result of %d values", len(values)))
	}
	return wrap(f.request, codec.Decode(values[0], out))
}

// Get waits for the result of a run and returns it as a T; any takes whatever there is.
func Get[T any](ctx context.Context, f *Future) (T, error) {
	var out T
	err := f.Get(ctx, &out)
	return out, err
}
