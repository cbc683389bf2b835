package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cloudburst/cache"
	"cloudburst/registry"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Bounds that no setting moves.
const (
	// chainStepsMax bounds the functions of one invocation: it keeps a worker, and its header has a limit.
	chainStepsMax = 128
	// chainBytesMax is how large the arguments of a run may be together before its functions are invoked one by one, so that
	// none of them fails for the arguments of another.
	chainBytesMax = wire.PayloadBytesMax / 2
	// continuationsMax bounds how many calls may follow one another.
	continuationsMax = 16
	// waitersMax bounds the calls that wait for one run.
	waitersMax = 1024
	// plansMax bounds the plans that are kept; beyond it they are made again.
	plansMax = 4096
	// pendingMax bounds the calls that wait for the registry to say whether their function exists.
	pendingMax = 4096
	// labelBytesMax bounds the label of a run.
	labelBytesMax = 200
	// recentBytesMin has room for a run that failed with the longest texts that an error has.
	recentBytesMin = 1 << 20
	// syncTimeout bounds the wait for the registry after a name was not found.
	syncTimeout = 2 * time.Second
	// retryDelayMin is the pause before the first retry of a function that says nothing of it; it doubles up to retryDelayMax.
	retryDelayMin = 20 * time.Millisecond
	retryDelayMax = time.Second
	// backoffMax bounds the pause that a function asks for before its first retry; that doubles up to backoffLongest.
	backoffMax     = 24 * time.Hour
	backoffLongest = time.Minute
	// lossesUnsaid is how often an invocation is run again because its worker was lost, where nothing says how often it may.
	lossesUnsaid = 2
	// uncountedMax bounds the attempts of an invocation that do not count: the worker ended before it was given the invocation, or by another.
	uncountedMax = 16
	// gatesMax bounds the rate limits, of functions and of values of their keys, that are looked after; sweepEvery is how often those are
	// forgotten that hold nothing, when there are so many.
	gatesMax   = 1 << 16
	sweepEvery = time.Second
	// marksMax is how many times of starts are kept for one limit.
	marksMax = 64
	// endsMax is how many attempts an error describes, and endBytesMax how long what it says of one that raised.
	endsMax     = 8
	endBytesMax = 200
)

// Config says how runs are scheduled. The zero value runs.
type Config struct {
	// Timeout bounds a run whose call names no timeout; functions that were registered with longer ones extend it. Default 5m.
	Timeout time.Duration
	// TimeoutMax is the longest timeout that a call may ask for. Default 24h.
	TimeoutMax time.Duration
	// ResultTTL is how long a result is kept that is stored under its run's id. Default 10m.
	ResultTTL time.Duration
	// ResultsMax bounds these results, and ResultsBytesMax the bytes that they take; the oldest make room. Default 65,536 and
	// 1 GiB.
	ResultsMax, ResultsBytesMax int
	// RunsMax bounds the runs in flight; one more is refused. Default 65,536.
	RunsMax int
	// RecentRuns bounds the runs that have ended and are still shown, and RecentBytes the memory that they take; the oldest make
	// room. Runs that failed or were cancelled have as much room of their own. Default 8,192 and 16 MiB.
	RecentRuns, RecentBytes int
	// Policy places invocations when there is a choice. Default: Locality.
	Policy Policy
	// Logger gets what goes wrong in the background. Default: discarded.
	Logger *slog.Logger
}

// WithDefaults returns c with the settings that are zero filled in.
func (c Config) WithDefaults() Config {
	c.Timeout = cmp.Or(c.Timeout, 5*time.Minute)
	c.TimeoutMax = cmp.Or(c.TimeoutMax, 24*time.Hour)
	c.ResultTTL = cmp.Or(c.ResultTTL, 10*time.Minute)
	c.ResultsMax = cmp.Or(c.ResultsMax, 1<<16)
	c.ResultsBytesMax = cmp.Or(c.ResultsBytesMax, 1<<30)
	c.RunsMax = cmp.Or(c.RunsMax, 1<<16)
	c.RecentRuns = cmp.Or(c.RecentRuns, 1<<13)
	c.RecentBytes = cmp.Or(c.RecentBytes, 16<<20)
	if c.Policy == nil {
		c.Policy = Locality{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	if c.Timeout < time.Millisecond {
		faults = append(faults, fmt.Errorf("timeout %v: must be at least 1ms", c.Timeout))
	}
	if c.TimeoutMax < c.Timeout {
		faults = append(faults, fmt.Errorf("timeout_max %v: must be at least timeout, %v", c.TimeoutMax, c.Timeout))
	}
	if c.ResultTTL < time.Second {
		faults = append(faults, fmt.Errorf("result_ttl %v: must be at least 1s", c.ResultTTL))
	}
	if c.ResultsMax < 1 {
		faults = append(faults, fmt.Errorf("results_max %d: must be at least 1", c.ResultsMax))
	}
	if c.ResultsBytesMax < 2*wire.ValueBytesMax {
		faults = append(faults, fmt.Errorf("results_bytes_max %d: must be at least %d, two of the largest values", c.ResultsBytesMax, 2*wire.ValueBytesMax))
	}
	if c.RunsMax < 1 {
		faults = append(faults, fmt.Errorf("runs_max %d: must be at least 1", c.RunsMax))
	}
	if c.RecentRuns < 1 {
		faults = append(faults, fmt.Errorf("recent_runs %d: must be at least 1", c.RecentRuns))
	}
	if c.RecentBytes < recentBytesMin {
		faults = append(faults, fmt.Errorf("recent_bytes %d: must be at least %d", c.RecentBytes, recentBytesMin))
	}
	return errors.Join(faults...)
}

// Functions is where functions and DAGs come from: the registry. Function and DAG answer from memory.
type Functions interface {
	Function(ref string) (*pb.Function, error)
	DAG(name string) (*registry.DAG, error)
	// Sync returns when everything that was registered before is known here.
	Sync(ctx context.Context) error
}

// Executor runs invocations. Invoke does not block, and the invocation's Done is called exactly once. Cancel ends
// invocations whose traces say that they are cancelled; those that the executor does not have, or no more, do not matter to it.
type Executor interface {
	Invoke(inv *wire.Invocation)
	Cancel(invs []*wire.Invocation)
}

// Store is where results are kept: the node's cache. PutAsync and Peek do not block.
type Store interface {
	Peek(key string) (cache.Entry, bool)
	PutAsync(writes []cache.Write, ack pb.Ack, done func(error))
	Delete(ctx context.Context, keys []string, ack pb.Ack) error
}
