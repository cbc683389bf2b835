package executor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"time"

	"cloudburst/cache"
	"cloudburst/printed"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Bounds that no setting moves.
const (
	// mailboxMessagesMax bounds the messages that wait for one worker.
	mailboxMessagesMax = 4096
	// mailboxBytesMax bounds them together.
	mailboxBytesMax = 256 << 20
	// queueRetryAfter is when a caller may come back that was refused because a queue was full.
	queueRetryAfter = 100 * time.Millisecond
	// loadedMax bounds the functions that one worker holds; the worker is told to drop others beyond it.
	loadedMax = 1024
	// classesMax bounds the classes with an instance at one time, since each has a worker of its own.
	classesMax = 64
	// hostCallsMax bounds what the threads of one worker wait for at one time; one more is refused.
	hostCallsMax = 1024
	// logBytesMin is the least room for what functions print.
	logBytesMin = 1 << 20
	// slotWaitsMax bounds the waits of one invocation that are known at one time; others do not show.
	slotWaitsMax = 1024
	// waitedRunsMax bounds the runs of one of them.
	waitedRunsMax = 1 << 16
	// hostCallMax bounds one access to the store beyond the wait that the function itself asks for.
	hostCallMax = 60 * time.Second
)

// Config says how an executor runs functions. The zero value runs.
type Config struct {
	// Python is the interpreter of the workers; it must have the cloudburst package. Default "python3".
	Python string
	// Preload names modules that the zygote imports, if they are installed, so that workers find them warm.
	Preload []string
	// LibraryThreads is how many threads the numerical libraries of a worker start with (OpenMP, OpenBLAS, MKL and others), unless the
	// environment of this process says so for one. Default 1, since there are as many workers as cores.
	LibraryThreads int
	// WorkersMin is how many workers are kept. Default: one per core.
	WorkersMin int
	// WorkersMax bounds the workers that run functions (classes have their own bound). Default 256.
	WorkersMax int
	// WorkersSpare is how many workers may be up beyond WorkersMax in the stead of those whose functions wait for other runs. Default 64.
	WorkersSpare int
	// GrowAfter is how long a call waits before workers are added for those that are blocked. A worker is measured for twice as
	// long before it counts as blocked. Default 20ms.
	GrowAfter time.Duration
	// IdleTimeout is how long a worker beyond WorkersMin may be idle. Default 30s.
	IdleTimeout time.Duration
	// QueueMax bounds the invocations that wait for a worker; one more is refused. Default 65,536.
	QueueMax int
	// DepthMax bounds how many runs may be above one: the run whose function called it, the one whose function called that, and so on.
	// Default 1,000.
	DepthMax int
	// Timeout bounds the running of a function that names no timeout of its own. Default 5m.
	Timeout time.Duration
	// CancelGrace is how long a function may go on after it has been cancelled, to clean up; then its worker is replaced. Default 5s.
	CancelGrace time.Duration
	// ReferenceWait is how long an invocation waits for the key of a reference to appear. Default 10s.
	ReferenceWait time.Duration
	// Expected reports whether a run that is under way will leave its result under a key: a reference to it is waited for as long as
	// the invocation may take. Default: no key is.
	Expected func(key string) bool
	// LogBytes bounds the memory that the latest lines take that functions have printed; the oldest make room. Default 16 MiB.
	LogBytes int
	// Origin says of a run that is under way whose call it is and which run has called it. Default: nothing is known.
	Origin func(wire.RunID) (client uint64, parent wire.RunID, found bool)
	// StartTimeout bounds the start of the Python zygote. Default 30s.
	StartTimeout time.Duration
	// Member is the node's id among the members, which no other node has: the first half of the id of every invocation.
	Member string
	// Environment returns variables for the workers beyond those of this process, as NAME=VALUE. Default: none.
	Environment func() []string
	// Accept gets the connections that functions make to their node; it must not block. Default: they are closed.
	Accept func(*net.UnixConn)
	// Logger gets what the workers print. Default: discarded.
	Logger *slog.Logger
}

// WithDefaults returns c with the settings that are zero filled in.
func (c Config) WithDefaults() Config {
	c.Python = cmp.Or(c.Python, "python3")
	c.LibraryThreads = cmp.Or(c.LibraryThreads, 1)
	c.WorkersMin = cmp.Or(c.WorkersMin, runtime.NumCPU())
	c.WorkersMax = cmp.Or(c.WorkersMax, max(256, c.WorkersMin))
	c.WorkersSpare = cmp.Or(c.WorkersSpare, 64)
	c.GrowAfter = cmp.Or(c.GrowAfter, 20*time.Millisecond)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 30*time.Second)
	c.QueueMax = cmp.Or(c.QueueMax, 1<<16)
	c.DepthMax = cmp.Or(c.DepthMax, 1000)
	c.Timeout = cmp.Or(c.Timeout, 5*time.Minute)
	c.CancelGrace = cmp.Or(c.CancelGrace, 5*time.Second)
	c.ReferenceWait = cmp.Or(c.ReferenceWait, 10*time.Second)
	c.LogBytes = cmp.Or(c.LogBytes, printed.BytesDefault)
	c.StartTimeout = cmp.Or(c.StartTimeout, 30*time.Second)
	if c.Expected == nil {
		c.Expected = func(string) bool { return false }
	}
	if c.Environment == nil {
		c.Environment = func() []string { return nil }
	}
	if c.Accept == nil {
		c.Accept = func(conn *net.UnixConn) { _ = conn.Close() }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	if c.LibraryThreads < 1 {
		faults = append(faults, fmt.Errorf("library_threads %d: must be at least 1", c.LibraryThreads))
	}
	if c.WorkersMin < 1 {
		faults = append(faults, fmt.Errorf("workers_min %d: must be at least 1", c.WorkersMin))
	}
	if c.WorkersMax < c.WorkersMin {
		faults = append(faults, fmt.Errorf("workers_max %d: must be at least workers_min, %d", c.WorkersMax, c.WorkersMin))
	}
	if c.WorkersSpare < 1 {
		faults = append(faults, fmt.Errorf("workers_spare %d: must be at least 1", c.WorkersSpare))
	}
	if c.GrowAfter < time.Millisecond {
		faults = append(faults, fmt.Errorf("grow_after %v: must be at least 1ms", c.GrowAfter))
	}
	if c.QueueMax < 1 {
		faults = append(faults, fmt.Errorf("queue_max %d: must be at least 1", c.QueueMax))
	}
	if c.LogBytes < logBytesMin {
		faults = append(faults, fmt.Errorf("log_bytes %d: must be at least %d", c.LogBytes, logBytesMin))
	}
	if c.DepthMax < 1 {
		faults = append(faults, fmt.Errorf("depth_max %d: must be at least 1", c.DepthMax))
	}
	for name, d := range map[string]time.Duration{
		"idle_timeout": c.IdleTimeout, "timeout": c.Timeout, "cancel_grace": c.CancelGrace, "reference_wait": c.ReferenceWait, "start_timeout": c.StartTimeout,
	} {
		if d < 0 {
			faults = append(faults, fmt.Errorf("%s %v: must not be negative", name, d))
		}
	}
	return errors.Join(faults...)
}

// Store is what functions read and write: the node's cache.
type Store interface {
	Peek(key string) (cache.Entry, bool)
	Get(ctx context.Context, keys []string, wait time.Duration) ([]cache.Entry, error)
	PutAsync(writes []cache.Write, ack pb.Ack, done func(error))
	Delete(ctx context.Context, keys []string, ack pb.Ack) error
}

// Functions is where definitions come from: the registry.
type Functions interface {
	Function(ref string) (*pb.Function, error)
	Definition(ctx context.Context, f *pb.Function) ([]byte, error)
}
