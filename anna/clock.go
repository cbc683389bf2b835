package anna

import (
	"context"
	"time"

	"cloudburst/anna/kernel"
)

// clockRest is how long a kernel's clock sleeps at most: what is due later need not wake it when it comes up.
const clockRest = time.Second

// clocks returns the machine's clocks, which one reading tells.
func clocks() func() kernel.Moment {
	began := time.Now()
	return func() kernel.Moment {
		now := time.Now()
		return kernel.Moment{Wall: now.UnixMicro(), Elapsed: now.Sub(began).Microseconds()}
	}
}

// wall is what stamps and expiries go by, in Unix microseconds.
func (k *kernels) wall() int64 { return k.now().Wall }

// clock lets time pass in a kernel.
func (k *kernels) clock(ctx context.Context, shard *shard) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-shard.poke:
		}
		at := k.now()
		now := at.Elapsed
		shard.mu.RLock()
		wake := shard.kernel.Wake(at)
		shard.mu.RUnlock()
		if k.state.Load() == replaying {
			// What seems to have expired may have been written again further on in the log.
			wake = now + clockRest.Microseconds()
		}
		if wake <= now {
			k.step(shard, &kernel.Tick{})
			shard.mu.RLock()
			wake = shard.kernel.Wake(at)
			shard.mu.RUnlock()
		}
		wake = min(max(wake, now+clockGrain.Microseconds()), now+clockRest.Microseconds())
		shard.armed.Store(wake)
		timer.Reset(time.Duration(wake-now) * time.Microsecond)
	}
}

// clockGrain is how long the clock sleeps at least: what falls due within it is done together.
const clockGrain = time.Millisecond

// alarm wakes the clock because something is due sooner than it knew.
func (s *shard) alarm() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}
