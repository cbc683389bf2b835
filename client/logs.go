package client

import (
	"context"
	"encoding/hex"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Bounds of the lines that wait for the loop over them. Beyond them the oldest are dropped.
const (
	linesMax      = 20_000
	linesBytesMax = 16 << 20
)

// LogLine is a line that a function has printed.
type LogLine struct {
	// At is when the node got it.
	At       time.Time `json:"at"`
	Run      string    `json:"run"`
	Function string    `json:"function,omitempty"` // empty when it is not known which of the run's functions printed it
	Version  uint64    `json:"version,omitempty"`
	// Stream is "stdout", "stderr", or "process" for what a library or a child process has written to descriptor 1 or 2.
	Stream string `json:"stream"`
	Text   string `json:"text"` // without the end of the line
	// Dropped is how many lines are missing before this one, because the reader was too slow or the node has forgotten them.
	Dropped uint64 `json:"dropped,omitempty"`
}

// LogsOf says which lines are meant: those that all of its fields fit. The zero value means the latest of all lines.
type LogsOf struct {
	// Run is the id of a run in hexadecimal: its lines, and those of the runs below it. The beginning is enough when only one run that has
	// printed begins so.
	Run string
	// Function is a name, for all versions, or a name and a version, "sq@3".
	Function string
	// Own means the runs that this client has called over its connection of now, and the runs below them.
	Own bool
	// Follow goes on with the lines that come: those of a run until it has ended, others until the loop is left.
	Follow bool
	// Limit is how many of the lines that are there already are wanted at most, the latest. Default 1,000; at most 10,000.
	Limit int
}

// Logs walks over lines that functions have printed, in the order in which they came to the node. When a run has ended, all that it
// has printed is there. An error comes last; ErrUnavailable when the connection breaks, after which the caller decides whether to
// begin again.
func (c *Client) Logs(ctx context.Context, of LogsOf) iter.Seq2[LogLine, error] {
	return func(yield func(LogLine, error) bool) {
		r, err := of.request()
		if err == nil {
			err = c.start(r)
		}
		if err != nil {
			yield(LogLine{}, err)
			return
		}
		defer c.unwatch(r)
		if !of.Follow {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, c.options.requestTimeout)
			defer cancel()
		}
		for ended := false; !ended; {
			select {
			case <-r.lines.arrived:
			case <-r.done:
				ended = true
			case <-ctx.Done():
				yield(LogLine{}, watchEnded(r, ctx.Err()))
				return
			}
			for _, line := range r.lines.take() {
				if !yield(line, nil) {
					return
				}
			}
		}
		if r.err != nil {
			yield(LogLine{}, wrap(r, r.err))
		}
	}
}

func (of LogsOf) request() (*request, error) {
	get := &pb.GetLogs{Function: of.Function, Follow: of.Follow, Own: of.Own, Limit: wireLimit(of.Limit)}
	digits := len(of.Run)
	switch id, err := hex.DecodeString(of.Run + "0"[:digits%2]); {
	case err != nil || digits > 2*len(wire.RunID{}):
		return nil, invalid("logs: the id of a run is %d hexadecimal digits, got %q", 2*len(wire.RunID{}), of.Run)
	case digits == 2*len(wire.RunID{}):
		get.RunId = id
	default:
		get.Prefix = strings.ToLower(of.Run)
	}
	return &request{
		verb: "logs", name: of.Run + of.Function, deadline: time.Now().Add(watchForever),
		header: &pb.Header{Body: &pb.Header_GetLogs{GetLogs: get}},
		lines:  &lineInbox{arrived: make(chan struct{}, 1)},
	}, nil
}

// logLines takes in a reply to a request for lines.
func (c *Client) logLines(id uint64, lines *pb.LogLines) {
	c.mu.Lock()
	r := c.pending[id]
	c.mu.Unlock()
	if r == nil || r.lines == nil {
		c.sayUnwatch(id) // it was given up while it was on its way
		return
	}
	r.lines.put(lines)
}

// lineInbox holds the lines that a loop has not taken yet.
type lineInbox struct {
	arrived chan struct{} // holds one token

	mu      sync.Mutex
	lines   []LogLine
	bytes   int
	dropped uint64
}

func (b *lineInbox) put(lines *pb.LogLines) {
	b.mu.Lock()
	b.dropped += lines.GetDropped()
	for _, line := range lines.GetLines() {
		b.lines = append(b.lines, LogLine{
			At: time.UnixMicro(line.GetAtMicroseconds()), Run: hex.EncodeToString(line.GetRunId()),
			Function: line.GetFunction(), Version: line.GetVersion(), Stream: streamName(line.GetStream()), Text: line.GetText(),
			Dropped: b.dropped,
		})
		b.dropped = 0
		b.bytes += len(line.GetText())
	}
	n := 0
	for ; len(b.lines)-n > linesMax || b.bytes > linesBytesMax && len(b.lines)-n > 1; n++ {
		b.bytes -= len(b.lines[n].Text)
		b.lines[n+1].Dropped += b.lines[n].Dropped + 1
	}
	b.lines = slices.Delete(b.lines, 0, n)
	b.mu.Unlock()
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

func (b *lineInbox) take() []LogLine {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.lines
	b.lines, b.bytes = nil, 0
	return lines
}

func streamName(s pb.Stream) string {
	switch s {
	case pb.Stream_STREAM_STDOUT:
		return "stdout"
	case pb.Stream_STREAM_STDERR:
		return "stderr"
	}
	return "process"
}
