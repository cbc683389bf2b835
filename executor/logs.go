package executor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"cloudburst/printed"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// logLineMax cuts a line that a worker prints past Python's own streams.
	logLineMax = 64 << 10
	// logReadBytes is how much is read at once of what workers write past Python's own streams.
	logReadBytes = 8 << 10
)

// running says what a worker runs, without holding on to its arguments.
type running struct {
	steps []wire.Step
	run   wire.RunID
	trace *wire.Trace
}

// Follow returns a follower of what functions print. What they have written until now is there.
func (e *Executor) Follow(q printed.Query, limit int) *printed.Follower {
	e.Gather()
	return e.printed.Follow(q, limit)
}

// PrintedRuns returns the runs that have printed and whose ids begin with hexadecimal digits, two at most.
func (e *Executor) PrintedRuns(prefix string) []wire.RunID { return e.printed.Runs(prefix) }

// Gather takes in what workers have written past Python's own streams until now.
func (e *Executor) Gather() {
	e.mu.Lock()
	idle, busy := make([]*worker, 0, len(e.workers)), make([]*worker, 0, len(e.workers))
	for _, w := range e.workers {
		if !w.busy() {
			idle = append(idle, w)
		} else {
			busy = append(busy, w)
		}
	}
	e.mu.Unlock()
	for _, w := range idle {
		w.pipe.drain(true)
	}
	for _, w := range busy {
		w.pipe.drain(false)
	}
}

// Printed returns a reading of what is kept of what functions print.
func (e *Executor) Printed() printed.Stats { return e.printed.Stats() }

// log takes what user code printed through Python's own streams.
func (w *worker) log(log *pb.Log) {
	from := printed.Source{Function: log.GetFunction(), Version: log.GetVersion(), Worker: w.number, Stream: log.GetStream()}
	copy(from.Run[:], log.GetRunId())
	w.e.printed.Add(from, log.GetText())
	stream := "stdout"
	if from.Stream == pb.Stream_STREAM_STDERR {
		stream = "stderr"
	}
	run := from.Run.String()
	for line := range strings.SplitSeq(strings.TrimSuffix(log.GetText(), "\n"), "\n") {
		w.e.cfg.Logger.Info(line, "function", from.Function, "version", from.Version, "run", run, "worker", w.number, "stream", stream)
	}
}

// wrote takes a line that the process or one of its children has written past Python's own streams. It belongs to what the worker runs, or
// has run last.
func (w *worker) wrote(line string) {
	from := printed.Source{Worker: w.number}
	attributes := []any{"worker", w.number, "stream", "process"}
	if r := w.running.Load(); r != nil {
		from.Run = r.run
		if len(r.steps) == 1 { // which of several has written it, only the process knows
			from.Function, from.Version = r.steps[0].Function.GetName(), r.steps[0].Function.GetVersion()
		}
		attributes = append(attributes, "functions", stepNames(r.steps), "run", r.run.String())
	}
	w.e.printed.Add(from, line)
	w.e.cfg.Logger.Info(line, attributes...)
}

// logPipe is what a worker and its children write past Python's own streams. What needs to know what has been written until
// now reads it; a goroutine of its own reads when something comes.
type logPipe struct {
	file *os.File
	raw  syscall.RawConn
	take func(line string)
	used *atomic.Bool // of the executor: a worker has written something

	mu     sync.Mutex
	buffer []byte
	line   []byte // the beginning of a line whose end has not come
}

// openLogPipe returns a pipe, and the end that a worker writes to.
func (e *Executor) openLogPipe() (p *logPipe, theirs *os.File, err error) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("log pipe of a worker: %w", err)
	}
	raw, err := ours.SyscallConn()
	if err != nil {
		_, _ = ours.Close(), theirs.Close()
		return nil, nil, fmt.Errorf("log pipe of a worker: %w", err)
	}
	return &logPipe{file: ours, raw: raw, used: &e.pipesUsed}, theirs, nil
}

// follow reads until nothing can be written any more, or the deadline of the file.
func (p *logPipe) follow() {
	defer p.file.Close()
	for open := true; open; {
		err := p.raw.Read(func(descriptor uintptr) (done bool) {
			p.mu.Lock()
			defer p.mu.Unlock()
			var n int
			n, open = p.read(descriptor)
			return n > 0 || !open
		})
		open = open && err == nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
}

// drain reads what is there. With whole, a line whose end has not come counts as one.
func (p *logPipe) drain(whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.raw.Control(func(descriptor uintptr) { // it fails when the worker has gone
		for {
			if n, open := p.read(descriptor); n == 0 || !open {
				return
			}
		}
	})
	if whole {
		p.end()
	}
}

// read takes some of what is there, and reports how much it was and whether more may come. p.mu is held.
func (p *logPipe) read(descriptor uintptr) (n int, open bool) {
	if p.buffer == nil {
		p.buffer = make([]byte, logReadBytes)
	}
	n, err := unix.Read(int(descriptor), p.buffer)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Read(int(descriptor), p.buffer)
	}
	if err != nil {
		return 0, errors.Is(err, unix.EAGAIN)
	}
	if n == 0 {
		return 0, false
	}
	p.used.Store(true)
	for rest := p.buffer[:n]; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte{'\n'})
		room := logLineMax - len(p.line)
		if len(line) > room {
			line, after, ended = line[:room], rest[room:], true
		}
		p.line, rest = append(p.line, line...), after
		if ended {
			p.end()
		}
	}
	return n, true
}

// end takes a line. p.mu is held.
func (p *logPipe) end() {
	if line := bytes.TrimRight(p.line, "\r"); len(line) > 0 {
		p.take(string(line))
	}
	p.line = p.line[:0]
}
