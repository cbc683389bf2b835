package node

import (
	"bytes"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// logBufferBytes is the default of log.buffer_bytes_max, and logBufferBytesMin the least that it may be: room for the longest
	// lines, which are those that functions print.
	logBufferBytes    = 4 << 20
	logBufferBytesMin = 256 << 10
	// logWriteBytes is how much is written at once to what may be full: a pipe that poll reports as writable takes as much
	// without a wait (PIPE_BUF).
	logWriteBytes = 4 << 10
	// logPoll is how often a writer whose reader is slow looks whether it has been closed.
	logPoll = 100 * time.Millisecond
	// logCloseMax is how long Close waits for a slow reader.
	logCloseMax = time.Second
)

// LogStats counts the lines of a log.
type LogStats struct {
	Written uint64 // lines that were written
	Dropped uint64 // lines for which there was no room, or that could not be written
}

// LogWriter passes lines on to a descriptor on a goroutine of its own, so that no caller of Write ever waits for what reads them: lines
// beyond its bound are dropped and counted. Safe for concurrent use. Close ends the goroutine.
type LogWriter struct {
	max     int
	written atomic.Uint64
	dropped atomic.Uint64
	ended   chan struct{}

	mu      sync.Mutex
	changed sync.Cond // pending, closed
	pending []byte
	writing int // bytes that the goroutine has taken and not written yet
	closed  bool
	told    uint64 // lines that were dropped and have been reported
	report  func(lines uint64)
	out     logOutput
}

// NewLogWriter returns a writer to w that holds at most bufferMax bytes for it. When lines are written again after some were
// dropped it calls report with the number of these; report may write to it, and may be nil.
func NewLogWriter(w io.Writer, bufferMax int, report func(lines uint64)) *LogWriter {
	l := &LogWriter{max: bufferMax, ended: make(chan struct{}), report: report, out: newLogOutput(w)}
	l.changed.L = &l.mu
	go l.run()
	return l
}

// Write implements io.Writer: p is taken whole, or dropped. It never waits and never fails.
func (l *LogWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.pending)+l.writing+len(p) > l.max {
		l.dropped.Add(lines(p))
		return len(p), nil
	}
	l.pending = append(l.pending, p...)
	l.changed.Signal()
	return len(p), nil
}

// Stats returns a reading of the counters.
func (l *LogWriter) Stats() LogStats {
	return LogStats{Written: l.written.Load(), Dropped: l.dropped.Load()}
}

// Close writes what is still held, for as long as the reader takes it within a second, and ends the writer. What comes later is dropped.
func (l *LogWriter) Close() {
	l.mu.Lock()
	l.closed = true
	l.changed.Signal()
	l.mu.Unlock()
	l.out.end(time.Now().Add(logCloseMax))
	<-l.ended
}

func (l *LogWriter) run() {
	defer close(l.ended)
	var batch []byte
	for {
		l.mu.Lock()
		for len(l.pending) == 0 && !l.closed {
			l.changed.Wait()
		}
		batch, l.pending = l.pending, batch[:0]
		l.writing = len(batch)
		l.mu.Unlock()
		if len(batch) == 0 { // closed
			return
		}
		left := l.out.write(batch)
		l.mu.Lock()
		l.writing = 0
		l.mu.Unlock()
		l.dropped.Add(lines(left))
		l.written.Add(lines(batch[:len(batch)-len(left)]))
		if len(left) == 0 {
			l.tell()
		}
		if cap(batch) > l.max/8 {
			batch = nil // it is seldom as large as that
		}
	}
}

// tell reports what was dropped before the lines that have just been written, unless others wait already.
func (l *LogWriter) tell() {
	l.mu.Lock()
	dropped := l.dropped.Load()
	news := dropped - l.told
	if len(l.pending) > 0 || l.closed || news == 0 || l.report == nil {
		l.mu.Unlock()
		return
	}
	l.told = dropped
	l.mu.Unlock()
	l.report(news)
}

// lines counts the lines that p ends or leaves open.
func lines(p []byte) uint64 {
	n := bytes.Count(p, []byte{'\n'})
	if len(p) > 0 && p[len(p)-1] != '\n' {
		n++
	}
	return uint64(n)
}

// logOutput is where a LogWriter writes to. Owned by its goroutine, except for end.
type logOutput struct {
	w        io.Writer
	fd       int           // of a pipe, a terminal or the like, which may be full; else -1
	deadline *atomic.Int64 // after which it does not wait for room any more, in nanoseconds; 0 = there is none
}

func newLogOutput(w io.Writer) logOutput {
	o := logOutput{w: w, fd: -1, deadline: new(atomic.Int64)}
	if file, ok := w.(*os.File); ok {
		if info, err := file.Stat(); err == nil && !info.Mode().IsRegular() {
			o.fd = int(file.Fd())
		}
	}
	return o
}

// end bounds all waits for room from now on.
func (o logOutput) end(deadline time.Time) { o.deadline.Store(deadline.UnixNano()) }

// write writes p and returns what of it could not be written.
func (o logOutput) write(p []byte) (left []byte) {
	for len(p) > 0 {
		piece := p
		if o.fd >= 0 {
			if !o.awaitRoom() {
				return p
			}
			piece = p[:min(len(p), logWriteBytes)]
			if at := bytes.LastIndexByte(piece, '\n'); at >= 0 {
				piece = piece[:at+1]
			}
		}
		n, err := o.w.Write(piece)
		p = p[n:]
		if err != nil {
			return p
		}
	}
	return nil
}

// awaitRoom waits until the descriptor takes bytes, or an error says that it never will, which the write then meets. It
// reports false when the writer is to end before.
func (o logOutput) awaitRoom() bool {
	poll := []unix.PollFd{{Fd: int32(o.fd), Events: unix.POLLOUT}}
	for {
		n, err := unix.Poll(poll, int(logPoll/time.Millisecond))
		if n > 0 || err != nil && err != unix.EINTR {
			return true
		}
		if at := o.deadline.Load(); at != 0 && time.Now().UnixNano() >= at {
			return false
		}
	}
}
