package anna

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"cloudburst/anna/kernel"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// load reads keys from the log for the kernels.
func (k *kernels) load(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-k.loads:
			state, end, err := k.log.read(ctx, l)
			if end != 0 {
				err = cmp.Or(err, k.follow(ctx, l.Partition, end))
			}
			if err != nil {
				k.cfg.Logger.Warn("a key cannot be read from the log", "key", l.Key, "error", err)
				err = wire.Errorf(pb.Code_CODE_UNAVAILABLE, "%v; try again", err)
			}
			_, shard := k.shardOf(l.Key)
			k.step(shard, &kernel.Loaded{Key: l.Key, State: state, Sequences: l.Sequences, Err: err})
		}
	}
}

// removeUploads removes chunks that are not needed any more.
func (k *kernels) removeUploads(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case up := <-k.removals:
			if err := k.log.purge(ctx, up); err != nil && ctx.Err() == nil {
				k.cfg.Logger.Warn("chunks of a large value that was replaced stay in the log until a later start", "upload", up.Name, "error", err)
				continue
			}
			k.stats.uploadsRemoved.Add(1)
		}
	}
}

// sweepUploads removes chunks that an earlier life has left behind.
func (k *kernels) sweepUploads(ctx context.Context) {
	for partition := range k.cfg.Streams {
		shard := k.shards[partition%len(k.shards)]
		shard.mu.RLock()
		named := shard.kernel.Uploads()
		shard.mu.RUnlock()
		orphans, err := k.log.orphans(ctx, partition, func(name string) bool { return named[name] }, time.Now())
		if err != nil {
			if ctx.Err() == nil {
				k.cfg.Logger.Warn("the log was not searched for chunks that were left behind", "stream", k.cfg.streamName(partition), "error", err)
			}
			continue
		}
		for _, up := range orphans {
			select {
			case k.removals <- up:
			case <-ctx.Done():
				return
			}
		}
	}
}

// follow waits until the kernel of a partition has merged what its stream held up to a sequence.
func (k *kernels) follow(ctx context.Context, partition int, end uint64) error {
	shard := k.shards[partition%len(k.shards)]
	position := func() uint64 {
		shard.mu.RLock()
		defer shard.mu.RUnlock()
		return shard.kernel.Position(partition)
	}
	for since := time.Now(); position() < end; {
		if time.Since(since) > loadTimeout {
			return fmt.Errorf("what has taken the place of its records in stream %s has not come for %v", k.cfg.streamName(partition), loadTimeout)
		}
		k.behind(partition)
		select {
		case <-time.After(lagPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
