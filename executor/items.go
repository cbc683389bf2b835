package executor

import (
	"fmt"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// connect makes the worker the one that the client's credit for the items of an invocation goes to, and returns how many may come
// before more credit does.
func (w *worker) connect(t *invocation, id uint64) (credit uint32) {
	return t.inv.Items.Connect(func(items uint32) {
		// A failed send shows again at the next one, and as the end of the worker.
		_ = w.sender.Send(&pb.Header{Body: &pb.Header_Credit{Credit: &pb.Credit{Id: id, Items: items}}}, nil)
	})
}

// item passes on what a function has yielded.
func (w *worker) item(id uint64, values [][]byte) error {
	if len(values) != 1 {
		return fmt.Errorf("%w: an item of %d values", wire.ErrFrame, len(values))
	}
	t := w.invocationOf(id)
	if t == nil || t.inv.Items == nil {
		return fmt.Errorf("%w: an item of invocation %d, whose result is not streamed", wire.ErrFrame, id)
	}
	if err := wire.CheckValue("an item", values[0]); err != nil {
		return fmt.Errorf("%w: %w", wire.ErrFrame, err)
	}
	if err := t.inv.Items.Item(values[0]); err != nil {
		return fmt.Errorf("%w: %w", wire.ErrFrame, err)
	}
	return nil
}

// invocationOf returns what the worker runs whose Invoke frame had an id, or nil.
func (w *worker) invocationOf(id uint64) *invocation {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	if s := w.slotOf(id); s != nil {
		return s.t
	}
	return nil
}
