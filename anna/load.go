package anna

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/anna/kernel"
	"cloudburst/anna/record"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// loadTimeout bounds the time without progress while one key is read from the log.
	loadTimeout = 10 * time.Second
	// lagPause is how long a server of the log that has not got a record yet is given to get it.
	lagPause = 5 * time.Millisecond
)

// load reads keys from the log for the kernels.
func (s *Server) load(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-s.loads:
			state, err := s.log.read(ctx, l)
			if err != nil {
				s.cfg.Logger.Warn("a key cannot be read from the log", "key", l.Key, "error", err)
				err = wire.Errorf(pb.Code_CODE_UNAVAILABLE, "%v; try again", err)
			}
			_, shard := s.shardOf(l.Key)
			s.step(shard, &kernel.Loaded{Key: l.Key, State: state, Sequences: l.Sequences, Err: err})
		}
	}
}

// read merges what some records say of a key. Those that have been cut off say nothing that is needed. A large value takes as long as its
// pieces do: each request has its own deadline, which is JetStream's where the context has none.
func (l *streams) read(ctx context.Context, want kernel.Load) (*lattice.State, error) {
	var state *lattice.State
	var lost piecesLost
	last := uint64(0)
	for _, sequence := range want.Sequences {
		data, err := l.record(ctx, want.Partition, sequence)
		if err != nil {
			return nil, err
		}
		r, e, err := record.Find(data, want.Key)
		if e == nil && err == nil {
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
				return nil, err
			}
			lost.err, lost.sequence, lost.since = err, sequence, max(lost.since, r.Since)
		case state == nil || alone:
			state = part
		default:
			state.Merge(part)
		}
		if err == nil && e.Whole && lost.sequence <= r.Since {
			lost = piecesLost{}
		}
	}
	return state, l.verify(ctx, want.Partition, &lost)
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

// piecesLost says that records have been left out whose pieces are not there. Another master may have just removed them, since a later
// record does without; or they were cut off before the record came, which was late then, and that nobody was told is there.
type piecesLost struct {
	err             error
	sequence, since uint64 // of the last such record, and the latest of all
}

// verify returns an error unless it does no harm that records were left out.
func (l *streams) verify(ctx context.Context, partition int, lost *piecesLost) error {
	if lost.err == nil {
		return nil
	}
	if held, err := l.end(ctx, partition); err != nil || held.first <= lost.since+1 {
		return lost.err
	}
	return nil
}

// removeUploads removes pieces that nobody needs any more.
func (s *Server) removeUploads(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case up := <-s.removals:
			if err := s.log.purge(ctx, up); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Warn("pieces of a large value that was replaced stay in the log until a later start", "upload", up.Name, "error", err)
				continue
			}
			s.stats.uploadsRemoved.Add(1)
		}
	}
}

// sweepUploads removes pieces that an earlier life has left behind.
func (s *Server) sweepUploads(ctx context.Context) {
	for partition := range s.cfg.Streams {
		shard := s.shards[partition%len(s.shards)]
		shard.mu.RLock()
		named := shard.kernel.Uploads()
		shard.mu.RUnlock()
		orphans, err := s.log.orphans(ctx, partition, func(name string) bool { return named[name] }, time.Now())
		if err != nil {
			if ctx.Err() == nil {
				s.cfg.Logger.Warn("the log was not searched for pieces that were left behind", "stream", s.cfg.streamName(partition), "error", err)
			}
			continue
		}
		for _, up := range orphans {
			select {
			case s.removals <- up:
			case <-ctx.Done():
				return
			}
		}
	}
}
