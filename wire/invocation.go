package wire

import (
	"encoding/hex"
	"time"

	"cloudburst/wire/pb"
)

// RunID names a run; chosen at random by the client, so that a call sent twice is recognised.
type RunID [16]byte

// String returns the id in hexadecimal.
func (id RunID) String() string { return hex.EncodeToString(id[:]) }

// Step is one function of an invocation.
type Step struct {
	Function *pb.Function
	// Positional is the number of positional arguments; Spread names those whose tuples are spread.
	Positional int
	Spread     []uint32
	Keywords   []string
}

// Invocation is one or several functions in a row that one worker runs. The scheduler makes it, an executor takes it; both
// live in one process, so it is passed by pointer. Immutable once it has been handed over.
type Invocation struct {
	RunID    RunID
	Steps    []Step
	Values   [][]byte // the steps' arguments, one step after another
	Level    pb.Level
	Deadline time.Time
	// Client is whose call it is. Invocations of several clients that wait for a worker are served in turn.
	Client uint64
	// Depth is the number of runs above this one.
	Depth int
	// Priority decides which of its client's invocations go first when they wait for a worker: those with the highest.
	Priority int32
	// QueueTimeout is how long it may wait for a worker; 0 is until its deadline.
	QueueTimeout time.Duration
	// Attempt is 1, and one more for each attempt before that has failed and counts. Again: an executor has had it before, so it is let in
	// ahead of others, into a full queue too.
	Attempt uint32
	Again   bool
	// Once says that it may run at most once.
	Once bool
	// Along says that it has lost a worker to another invocation in it.
	Along bool
	// Items takes what the last step yields, if its result is streamed; then the Result of Done has no value to speak of.
	Items *Items
	// Trace is where the executor notes how it goes, and sees that it has been cancelled.
	Trace *Trace
	// Done is called exactly once, on any goroutine, and must not block.
	Done func(Result)
}

// Result is what an invocation or a run ends with: a value or an error, never both.
type Result struct {
	Value []byte
	Err   *Error
	Lost  Loss // of an invocation; then Err says how the worker ended
}

// Loss says what the end of a worker means for an invocation that it had.
type Loss uint8

const (
	// NotLost says that a worker has answered, or was stopped on purpose.
	NotLost Loss = iota
	// LostRunning says that the worker ended while it ran the invocation, which may be the reason.
	LostRunning
	// LostUnstarted says that the worker ended before it read the invocation, so that it has had no effect.
	LostUnstarted
	// LostAlong says that the worker ended because of another invocation in it.
	LostAlong
)
