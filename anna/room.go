package anna

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"cloudburst/anna/kernel"
	"cloudburst/anna/record"
	"cloudburst/bus"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// roomPause is how often the room of the log is looked at, and roomPauseShort how often when less than roomShort is left.
	roomPause      = 250 * time.Millisecond
	roomPauseShort = 20 * time.Millisecond
	roomShort      = 128 << 20
)

// room refuses writes that make the log grow when it has no room for them. What is kept back then is for deletes and for shortening the
// log, so that deleting makes room.
type room struct {
	log     *streams
	kernels *kernels
	logger  *slog.Logger

	refuse atomic.Pointer[wire.Error] // what writes are refused with; nil = they are made
	left   atomic.Int64               // bytes for what has not been published, as of the last look less what has been published since
	known  atomic.Bool                // left says something
}

// run looks at the room until ctx ends.
func (r *room) run(ctx context.Context) {
	for ctx.Err() == nil {
		pause := roomPause
		if left, known := r.look(); known && left < roomShort {
			pause = roomPauseShort
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// look asks how much room there is.
func (r *room) look() (left int64, known bool) {
	space, known := r.log.conn.Space()
	if !known {
		return 0, false // it is not started now, and what was true before is likely still
	}
	left = space.Left()
	for _, shard := range r.kernels.shards {
		shard.mu.RLock()
		left -= int64(shard.kernel.Stats().ChangesetBytes)
		shard.mu.RUnlock()
	}
	r.left.Store(left)
	r.known.Store(true)
	r.judge(left, space)
	return left, true
}

func (r *room) judge(left int64, space bus.Space) {
	full := r.refuse.Load() != nil
	short := left < space.Kept/8
	switch {
	case short && !full:
		r.refuse.Store(fullError(space))
		r.logger.Error("the log is full; writes are refused, deletes are taken", "bytes", space.Used, "limit", space.Limit, "kept", space.Kept,
			"disk_free", space.Free)
	case short:
		r.refuse.Store(fullError(space))
	case full && left > space.Kept/4: // not to and fro at every write
		r.refuse.Store(nil)
		r.logger.Info("the log has room again", "bytes", space.Used, "limit", space.Limit)
	}
}

func fullError(space bus.Space) *wire.Error {
	if space.Free < space.Limit-space.Used {
		return wire.Errorf(pb.Code_CODE_NO_RESOURCES, "the log is full: its disk has %d bytes left, and the last %d are kept for deletes; make room on the disk, or delete keys",
			space.Free, space.Kept)
	}
	return wire.Errorf(pb.Code_CODE_NO_RESOURCES, "the log is full: it holds %d bytes and may hold %d (%s), of which the last %d are kept for deletes; delete keys, or raise the limit",
		space.Used, space.Limit, space.Setting, space.Kept)
}

// kept returns the room that is kept for shortening the log while it has little room; 0 = it has enough.
func (r *room) kept() int {
	if space, known := r.log.conn.Space(); known && space.Left() < space.Kept {
		return int(space.Kept)
	}
	return 0
}

// spend takes note of what has been published.
func (r *room) spend(bytes int) {
	if r.left.Add(-int64(bytes)) < 0 && r.known.Load() && r.refuse.Load() == nil {
		r.look()
	}
}

// admit returns an error when there is no room for a write.
func (r *room) admit(w *kernel.Write) error {
	refusal := r.refuse.Load()
	if refusal == nil && !r.tooLarge(w) || w.Delete || w.Persist || w.Volatile {
		return nil
	}
	if refusal == nil {
		r.look() // the log may be full by now
		space, _ := r.log.conn.Space()
		refusal = fullError(space)
	}
	return refusal
}

// tooLarge reports whether a write alone would take more room than there is.
func (r *room) tooLarge(w *kernel.Write) bool {
	left := r.left.Load()
	if left > record.StateBytesMax || !r.known.Load() {
		return false
	}
	return int64(len(w.Put)) > left || w.Delta != nil && int64(w.Delta.Bytes()) > left
}

// Full returns why the store refuses writes for lack of room in the log; nil when it does not.
func (s *Server) Full() error {
	if refusal := s.room.refuse.Load(); refusal != nil {
		return refusal
	}
	return nil
}
