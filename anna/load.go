package anna

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/anna/kernel"
	"cloudburst/anna/record"
	"cloudburst/lattice"
)

const (
	// loadTimeout bounds the time without progress while one key is read from the log.
	loadTimeout = 10 * time.Second
	// lagPause is how long a server of the log that has not got a record yet is given to get it.
	lagPause = 5 * time.Millisecond
)

// read merges what some records say of a key. Records that have been cut off, or whose chunks are gone, are left out: what is needed of
// them has been written again. Then end is where the stream ended after that was seen, 0 otherwise: unless the kernel has merged all up to
// there, the record that took their place may be one that it has not heard of, and what was read is not all that the key holds. A large
// value takes as long as its chunks do: each request has its own deadline, which is JetStream's where the context has none.
func (l *streams) read(ctx context.Context, want kernel.Load) (state *lattice.State, end uint64, err error) {
	var lost chunksLost
	cut, last := false, uint64(0)
	for _, sequence := range want.Sequences {
		data, err := l.record(ctx, want.Partition, sequence)
		if err != nil {
			return nil, 0, err
		}
		r, e, err := record.Find(data, want.Key)
		if e == nil && err == nil {
			cut = true
			continue
		}
		var part *lattice.State
		if err == nil {
			part, err = l.stateOf(ctx, want, e)
		}
		alone := err == nil && e.Whole && last <= r.Since
		last = sequence
		switch {
		case err != nil:
			err = fmt.Errorf("record %d of stream %s: %w", sequence, l.cfg.streamName(want.Partition), err)
			if !errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil, 0, err
			}
			lost.err, lost.sequence, lost.since = err, sequence, max(lost.since, r.Since)
		case state == nil || alone:
			state = part
		default:
			state.Merge(part)
		}
		if err == nil && e.Whole && lost.sequence <= r.Since {
			lost = chunksLost{}
		}
	}
	if !cut && lost.err == nil {
		return state, 0, nil
	}
	held, err := l.end(ctx, want.Partition)
	switch {
	case err != nil:
		return nil, 0, cmp.Or(lost.err, err)
	case held.first <= lost.since+1:
		err = lost.err
	}
	return state, held.end, err
}

// record returns the record of a sequence, nothing if it has been cut off. The server that answers may be behind, and not have it yet.
func (l *streams) record(ctx context.Context, partition int, sequence uint64) ([]byte, error) {
	for since := time.Now(); ; {
		raw, err := l.streams[partition].GetMsg(ctx, sequence)
		if err == nil {
			return raw.Data, nil
		}
		if !errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, fmt.Errorf("read record %d of stream %s: %w", sequence, l.cfg.streamName(partition), err)
		}
		if held, err := l.end(ctx, partition); err == nil && held.first > sequence {
			return nil, nil
		}
		if time.Since(since) > loadTimeout {
			return nil, fmt.Errorf("record %d of stream %s has not come for %v", sequence, l.cfg.streamName(partition), loadTimeout)
		}
		select {
		case <-time.After(lagPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *streams) stateOf(ctx context.Context, want kernel.Load, e *record.Entry) (*lattice.State, error) {
	if e.Chunks != nil {
		return l.download(ctx, want.Partition, want.Slot, e.Chunks)
	}
	return record.DecodeState(e.State)
}

// chunksLost says that records have been left out whose chunks are not there. Another master may have just removed them, since a later
// record does without; or they were cut off before the record came, which was late, and which no node had announced.
type chunksLost struct {
	err             error
	sequence, since uint64 // of the last such record, and the latest of all
}
