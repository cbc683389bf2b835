package anna

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

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
			state, sequence, err := s.log.read(ctx, l)
			if err != nil {
				s.cfg.Logger.Warn("a key cannot be read from the log", "key", l.Key, "error", err)
				err = wire.Errorf(pb.Code_CODE_UNAVAILABLE, "%v; try again", err)
			}
			_, shard := s.shardOf(l.Key)
			s.step(shard, &Loaded{Key: l.Key, State: state, Sequence: sequence, Err: err})
		}
	}
}

// read merges all records of a key that matter. It is not content before it has seen the one that the kernel knows of, since the server
// that answers may be behind. A large value takes as long as its pieces do: each request has its own deadline, which is JetStream's
// where the context has none.
func (l *streams) read(ctx context.Context, want Load) (*lattice.State, uint64, error) {
	since := time.Now()
	subject := string(appendRecordSubject(nil, l.cfg.Prefix, want.Partition, want.Slot, want.Key))
	var state *lattice.State
	var lost piecesLost
	sequence := max(want.Base, 1) - 1
	for {
		raw, err := l.streams[want.Partition].GetMsg(ctx, sequence+1, jetstream.WithGetMsgSubject(subject))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			if sequence >= want.Sequence {
				return state, sequence, l.verify(ctx, want.Partition, &lost)
			}
			// The record may also have been replaced while this was read, or forgotten; then there is another, or none.
			last, err := l.streams[want.Partition].GetLastMsgForSubject(ctx, subject)
			if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && last.Sequence <= sequence {
				return state, max(sequence, want.Sequence), l.verify(ctx, want.Partition, &lost)
			}
			if time.Since(since) > loadTimeout {
				return nil, 0, fmt.Errorf("record %d of stream %s has not come for %v", want.Sequence, l.cfg.streamName(want.Partition), loadTimeout)
			}
			select {
			case <-time.After(lagPause):
				continue
			case <-ctx.Done():
				return nil, 0, ctx.Err()
			}
		case err != nil:
			return nil, 0, fmt.Errorf("read the records of the key: %w", err)
		}
		r, part, err := l.decode(ctx, want, raw.Data)
		alone := r.whole && sequence <= r.since
		sequence, since = raw.Sequence, time.Now()
		switch {
		case err != nil:
			err = fmt.Errorf("record %d of stream %s: %w", raw.Sequence, l.cfg.streamName(want.Partition), err)
			if !errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil, 0, err
			}
			lost.err, lost.since = err, max(lost.since, r.since)
		case state == nil || alone:
			state = part
		default:
			state.Merge(part)
		}
		if alone && err == nil {
			lost = piecesLost{}
		}
		if sequence >= want.Sequence {
			return state, sequence, l.verify(ctx, want.Partition, &lost)
		}
	}
}

// piecesLost says that records have been left out whose pieces are not there. Another master may have just removed them, since a later
// record does without; or they were cut off before the record came, which was late then, and that nobody was told is there.
type piecesLost struct {
	err   error
	since uint64
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

func (l *streams) decode(ctx context.Context, want Load, data []byte) (r record, state *lattice.State, err error) {
	switch r, err = decodeRecord(data); {
	case err != nil:
	case r.chunked != nil:
		state, err = l.download(ctx, want.Partition, want.Slot, r.chunked)
	default:
		state, err = wire.DecodeState(r.state)
	}
	return r, state, err
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
