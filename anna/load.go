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

// read merges all records of a key. It is not content before it has seen the one that the kernel knows of, since the server
// that answers may be behind. A large value takes as long as its pieces do: each request has its own deadline, which is JetStream's
// where the context has none.
func (l *streams) read(ctx context.Context, want Load) (*lattice.State, uint64, error) {
	since := time.Now()
	subject := string(appendRecordSubject(nil, l.cfg.Prefix, want.Partition, want.Slot, want.Key))
	var state *lattice.State
	sequence := uint64(0)
	for {
		raw, err := l.streams[want.Partition].GetMsg(ctx, sequence+1, jetstream.WithGetMsgSubject(subject))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			if sequence >= want.Sequence {
				return state, sequence, nil
			}
			// The record may also have been replaced while this was read, or forgotten; then there is another, or none.
			last, err := l.streams[want.Partition].GetLastMsgForSubject(ctx, subject)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return state, max(sequence, want.Sequence), nil
			}
			if err == nil && last.Sequence <= sequence {
				return state, max(sequence, want.Sequence), nil
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
		part, err := l.decode(ctx, want, raw.Data)
		if err != nil {
			return nil, 0, fmt.Errorf("record %d of stream %s: %w", raw.Sequence, l.cfg.streamName(want.Partition), err)
		}
		sequence, since = raw.Sequence, time.Now()
		if state == nil {
			state = part
		} else {
			state.Merge(part)
		}
		if sequence >= want.Sequence {
			return state, sequence, nil
		}
	}
}

func (l *streams) decode(ctx context.Context, want Load, data []byte) (*lattice.State, error) {
	r, err := decodeRecord(data)
	if err != nil {
		return nil, err
	}
	if r.chunked != nil {
		return l.download(ctx, want.Partition, want.Slot, r.chunked)
	}
	return wire.DecodeState(r.state)
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
