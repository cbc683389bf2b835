package anna

import (
	"context"
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
			state, err := k.log.read(ctx, l)
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
