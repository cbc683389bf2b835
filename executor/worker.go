package executor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// errNoWorker says that a worker cannot be started now; later it may.
var errNoWorker = errors.New("no worker can be started now")

// worker is the executor's end of one Python process.
type worker struct {
	e      *Executor
	number uint64
	lane   *lane
	zygote *zygote // whose child it is
	conn   *net.UnixConn
	sender *wire.Sender
	exited chan string     // the zygote's word on how it ended
	life   context.Context // of what the worker waits for
	end    context.CancelFunc
	pipe   *logPipe
	born   time.Time
	calls  atomic.Int32 // what it waits for

	// Guarded by Executor.mu.
	slots     []*slot // of what it runs: each but the last waits for the one after it. Empty while the worker is idle
	free      []*slot // that have been used and are kept
	condemned bool    // killed because one of its invocations ran for too long; it is not idle then
	gone      bool
	pid       int
	idleSince time.Time

	// dispatching is held by the goroutine that dispatches to a worker that runs several invocations at once.
	dispatching sync.Mutex
	// Owned by the goroutine that has reserved the last slot, which dispatches the invocation in it.
	loaded map[functionKey]struct{}
	frame  invokeFrame

	running atomic.Pointer[running] // what the log lines belong to
	retired atomic.Bool             // told to end
	heard   bool                    // it has sent something; owned by read
}

// spawn starts a worker in a lane. It can be given work at once: what is sent before the process is up waits in its socket.
// e.mu is held.
func (e *Executor) spawn(l *lane) (*worker, error) {
	now := time.Now()
	if e.zygote == nil || e.stopped || now.Before(e.spawnAfter) {
		return nil, errNoWorker
	}
	w, err := e.fork(l, now)
	if err != nil {
		e.spawnAfter = now.Add(min(spawnBackoffMin<<min(e.spawnFails, 10), spawnBackoffMax))
		e.spawnFails++
		e.cfg.Logger.Error("a worker cannot be started", "error", err, "again_in", e.spawnAfter.Sub(now))
		return nil, err
	}
	e.workers[w.number] = w
	l.size++
	e.stats.started.Add(1)
	e.goroutines.Go(w.read)
	e.goroutines.Go(w.pipe.follow)
	return w, nil
}

func (e *Executor) fork(l *lane, now time.Time) (*worker, error) {
	ours, theirs, err := socketPair(syscall.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	pipe, logsIn, err := e.openLogPipe()
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	defer logsIn.Close()
	sender, err := wire.NewSender(ours)
	if err == nil {
		e.numbers++
		err = e.zygote.fork(e.numbers, e.cfg.Member, theirs, logsIn, e.clients.theirs)
	}
	if err != nil {
		_, _ = ours.Close(), pipe.file.Close()
		return nil, fmt.Errorf("fork a worker: %w", err)
	}
	w := &worker{
		e: e, number: e.numbers, lane: l, zygote: e.zygote, conn: ours, sender: sender, pipe: pipe, born: now,
		exited: make(chan string, 1), loaded: make(map[functionKey]struct{}), idleSince: now,
	}
	pipe.take = w.wrote
	w.life, w.end = context.WithCancel(e.life)
	return w, nil
}

// socketPair returns a connected pair: our end for Go, the other as a file for the process to be started.
func socketPair(kind int) (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), "executor"), os.NewFile(uintptr(fds[1]), "worker")
	defer mine.Close()
	conn, err := net.FileConn(mine)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	return conn.(*net.UnixConn), theirs, nil
}

func (w *worker) holds(f *pb.Function) bool {
	_, ok := w.loaded[keyOf(f)]
	return ok
}

// load sends a definition that an invocation needs, and makes the worker drop the other versions of the function.
func (w *worker) load(t *invocation, f *pb.Function, definition []byte) error {
	for key := range w.loaded {
		if (key.name == f.GetName() || len(w.loaded) >= loadedMax) && !t.needs(key) {
			delete(w.loaded, key)
			// A failed send shows again at the next one, and as the end of the worker.
			_ = w.sender.Send(&pb.Header{Body: &pb.Header_Unload{Unload: &pb.Unload{Name: key.name, Version: key.version}}}, nil)
		}
	}
	header := &pb.Header{Body: &pb.Header_Load{Load: &pb.Load{Function: f}}}
	if err := w.sender.Send(header, [][]byte{definition}); err != nil {
		return loadError(f, err)
	}
	w.loaded[keyOf(f)] = struct{}{}
	return nil
}

// invoke sends an invocation.
func (w *worker) invoke(t *invocation) error {
	t.slot.running = &running{steps: t.inv.Steps, run: t.inv.RunID, trace: t.inv.Trace}
	w.running.Store(t.slot.running)
	id := w.frame.nextID()
	t.slot.id.Store(id)
	if err := t.cancelled(); err != nil { // looked at after the id is there, as Cancel looks for the id after that is noted
		return err
	}
	header := w.frame.header(id, t)
	if t.inv.Items != nil {
		w.frame.order.StreamCredit = w.connect(t, id)
	}
	return w.sender.Send(header, t.inv.Values)
}

// read takes what the worker sends until its socket ends.
func (w *worker) read() {
	frames := wire.NewFrameReader(w.conn)
	for {
		frame, err := frames.Read()
		if err == nil {
			w.heard = true
			err = w.take(frame)
		}
		if err != nil {
			if errors.Is(err, wire.ErrFrame) && !errors.Is(err, net.ErrClosed) {
				w.e.cfg.Logger.Warn("worker broke the protocol and is stopped", "worker", w.number, "error", err)
				w.kill()
			}
			w.e.died(w, err)
			return
		}
	}
}

// take handles one frame from the worker.
func (w *worker) take(frame wire.Frame) error {
	h := frame.Header
	switch body := h.GetBody().(type) {
	case *pb.Header_Done:
		if len(frame.Values) != 1 {
			return fmt.Errorf("%w: an invocation was answered with %d values", wire.ErrFrame, len(frame.Values))
		}
		r := wire.Result{Value: frame.Values[0]}
		if err := wire.CheckValue("the result", r.Value); err != nil {
			r = wire.Result{Err: wire.AsError(err)}
		}
		return w.answer(h.GetId(), r)
	case *pb.Header_Error:
		return w.answer(h.GetId(), wire.Result{Err: wire.ErrorFromFrame(frame)})
	case *pb.Header_Item:
		return w.item(h.GetId(), frame.Values)
	case *pb.Header_Get:
		w.get(h.GetId(), body.Get)
	case *pb.Header_Put:
		w.put(h.GetId(), body.Put, frame.Values)
	case *pb.Header_Delete:
		w.delete(h.GetId(), body.Delete)
	case *pb.Header_Send:
		w.send(h.GetId(), body.Send, frame.Values)
	case *pb.Header_Receive:
		w.receive(h.GetId(), body.Receive)
	case *pb.Header_Wait:
		return w.awaits(h.GetId(), body.Wait)
	case *pb.Header_Waited:
		w.waited(h.GetId(), body.Waited)
	case *pb.Header_Log:
		w.log(body.Log)
	default:
		return fmt.Errorf("%w: a worker sent %T", wire.ErrFrame, body)
	}
	return nil
}

func (w *worker) answer(id uint64, r wire.Result) error {
	if w.e.pipesUsed.Load() {
		w.pipe.drain(true) // it belongs to this invocation, and comes before its result
	}
	if !w.e.answered(w, id, r) {
		return fmt.Errorf("%w: invocation %d was answered, which the worker does not run", wire.ErrFrame, id)
	}
	return nil
}

// retire tells an idle worker to end, by ending its socket.
func (w *worker) retire() {
	w.retired.Store(true)
	_ = w.conn.CloseWrite()
}

// kill ends the process at once, with what it has started. The zygote does it, for a process id is only its parent's to use.
func (w *worker) kill() {
	w.zygote.killWorker(w.number)
	_ = w.conn.Close()
}

// close ends what belongs to a worker that has ended.
func (w *worker) close() {
	w.end()
	_ = w.conn.Close()
	_ = w.pipe.file.SetReadDeadline(time.Now().Add(logDrainWait))
}

// exit returns how the process ended, as far as the zygote has said.
func (w *worker) exit() string {
	select {
	case how := <-w.exited:
		return how
	case <-time.After(exitNoticeWait):
		return "closed its socket"
	}
}
