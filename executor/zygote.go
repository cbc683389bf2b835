package executor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// zygoteMessageMax bounds one message on the control socket.
	zygoteMessageMax = 64 << 10
	// zygoteStderrKept is how much of the zygote's last words an error message repeats.
	zygoteStderrKept = 2 << 10
	zygoteModule     = "cloudburst.worker.zygote"
	// zygoteWriteMax bounds the wait for a zygote that does not read, which is then given up.
	zygoteWriteMax = time.Second
	// zygoteEndWait is how long the zygote may take to end its workers and what these have started.
	zygoteEndWait = 3 * time.Second
)

// zygote is the warm Python process from which workers are forked. Its control socket carries one JSON object per packet:
//
//	zygote: {"ready": true, "python": "3.11", "path": ["/srv/lib"], "pid": 12}
//	us:     {"fork": 7, "member": "5HqX…"} with three descriptors: the worker's socket, its log pipe, and what it sends connections over
//	zygote: {"forked": 7, "pid": 34}, later {"exited": 7, "pid": 34, "signal": 9} or {… "code": 1} or {… "error": "…"}
//	us:     {"kill": 7} or {"interrupt": 7}
//
// The end of the socket ends the zygote and all its workers.
type zygote struct {
	command *exec.Cmd
	control *net.UnixConn
	stderr  *tail
	waited  chan struct{} // closed when the process has ended

	mu sync.Mutex // one writer at a time
}

type zygoteNotice struct {
	Ready  bool   `json:"ready"`
	Python string `json:"python"`
	// Path is from where the workers import, besides Python's own directories.
	Path   []string `json:"path"`
	Pid    int      `json:"pid"`
	Forked uint64   `json:"forked"`
	Exited uint64   `json:"exited"`
	Signal int      `json:"signal"`
	Code   int      `json:"code"`
	Error  string   `json:"error"`
}

type zygoteOrder struct {
	Fork   uint64 `json:"fork,omitempty"`
	Member string `json:"member,omitempty"`
	Kill   uint64 `json:"kill,omitempty"`
	// Interrupt is a worker that is to look at its socket.
	Interrupt uint64 `json:"interrupt,omitempty"`
}

// startZygote starts the process and waits until it is ready.
func startZygote(ctx context.Context, cfg Config) (*zygote, zygoteNotice, error) {
	ours, theirs, err := socketPair(syscall.SOCK_SEQPACKET)
	if err != nil {
		return nil, zygoteNotice{}, err
	}
	defer theirs.Close()
	z := &zygote{
		command: exec.Command(cfg.Python, "-m", zygoteModule),
		control: ours,
		stderr:  &tail{},
		waited:  make(chan struct{}),
	}
	z.command.ExtraFiles = []*os.File{theirs} // descriptor 3
	z.command.Env = append(os.Environ(), cfg.Environment()...)
	z.command.Env = append(z.command.Env, threadVariables(cfg.LibraryThreads, os.LookupEnv)...)
	z.command.Env = append(z.command.Env, "CLOUDBURST_PRELOAD="+strings.Join(cfg.Preload, ","))
	if _, set := os.LookupEnv("PYTHONSAFEPATH"); !set {
		// The node's working directory must not provide modules: one called like a part of Python would break every function.
		// Programs that functions start are not to inherit this.
		z.command.Env = append(z.command.Env, "PYTHONSAFEPATH=1", "CLOUDBURST_UNSET=PYTHONSAFEPATH")
	}
	// A process group of its own keeps a terminal's Ctrl-C from the workers: they end by being drained. There is no Pdeathsig,
	// since it would fire with the thread that has started the process.
	z.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := z.command.StderrPipe()
	if err != nil {
		_ = ours.Close()
		return nil, zygoteNotice{}, fmt.Errorf("start the Python workers: %w", err)
	}
	if err := z.command.Start(); err != nil {
		_ = ours.Close()
		return nil, zygoteNotice{}, fmt.Errorf("start the Python workers with %s: %w; name another interpreter with --python", cfg.Python, err)
	}
	_ = theirs.Close() // so that the end of the process is the end of the socket
	go z.wait(pipe, cfg)
	notice, err := z.awaitReady(ctx, cfg)
	if err != nil {
		z.kill()
		<-z.waited
		return nil, zygoteNotice{}, fmt.Errorf("start the Python workers with %s: %w%s", cfg.Python, err, z.lastWords())
	}
	return z, notice, nil
}

// threadVariables returns the variables that say how many threads numerical libraries start, but for those that are set.
func threadVariables(threads int, set func(string) (string, bool)) []string {
	var variables []string
	for _, name := range []string{
		"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
		"NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS",
	} {
		if _, ok := set(name); !ok {
			variables = append(variables, name+"="+strconv.Itoa(threads))
		}
	}
	return variables
}

func (z *zygote) wait(stderr io.Reader, cfg Config) {
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		z.stderr.add(lines.Text())
		cfg.Logger.Warn(lines.Text(), "stream", "zygote")
	}
	_, _ = io.Copy(io.Discard, stderr)
	_ = z.command.Wait()
	close(z.waited)
}

func (z *zygote) awaitReady(ctx context.Context, cfg Config) (zygoteNotice, error) {
	deadline := time.Now().Add(cfg.StartTimeout)
	stop := context.AfterFunc(ctx, func() { _ = z.control.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := z.control.SetReadDeadline(deadline); err != nil {
		return zygoteNotice{}, err
	}
	notice, err := z.read()
	switch {
	case ctx.Err() != nil:
		return notice, ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return notice, fmt.Errorf("not ready after %v", cfg.StartTimeout)
	case errors.Is(err, io.EOF):
		return notice, errors.New("it ended at once; is the cloudburst package installed there?")
	case err != nil:
		return notice, err
	case !notice.Ready:
		return notice, fmt.Errorf("unexpected first message %+v", notice)
	}
	return notice, z.control.SetReadDeadline(time.Time{})
}

// lastWords returns what the process printed last, as the end of an error message.
func (z *zygote) lastWords() string {
	if words := z.stderr.String(); words != "" {
		return "; it printed: " + words
	}
	return ""
}

// read returns the next notice.
func (z *zygote) read() (zygoteNotice, error) {
	var notice zygoteNotice
	packet := make([]byte, zygoteMessageMax)
	n, err := z.control.Read(packet)
	if err != nil {
		return notice, err
	}
	if n == 0 {
		return notice, io.EOF
	}
	if err := json.Unmarshal(packet[:n], &notice); err != nil {
		return notice, fmt.Errorf("zygote sent %q: %w", packet[:n], err)
	}
	return notice, nil
}

// fork asks for a worker that speaks on socket, prints to logs, and sends connections to its node over clients.
func (z *zygote) fork(number uint64, member string, socket, logs, clients *os.File) error {
	return z.send(zygoteOrder{Fork: number, Member: member}, unix.UnixRights(int(socket.Fd()), int(logs.Fd()), int(clients.Fd())))
}

// killWorker ends a worker at once, with what it has started.
func (z *zygote) killWorker(number uint64) {
	// When this cannot be said the zygote has ended, and the worker with it.
	_ = z.send(zygoteOrder{Kill: number}, nil)
}

// interruptWorker has the main thread of a worker look at its socket.
func (z *zygote) interruptWorker(number uint64) {
	_ = z.send(zygoteOrder{Interrupt: number}, nil)
}

func (z *zygote) send(order zygoteOrder, rights []byte) error {
	packet, err := json.Marshal(order)
	if err != nil {
		return err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if err := z.control.SetWriteDeadline(time.Now().Add(zygoteWriteMax)); err != nil {
		return err
	}
	_, _, err = z.control.WriteMsgUnix(packet, rights, nil)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = z.command.Process.Kill() // it is stuck; the workers end with it, and another is started
	}
	return err
}

// end ends the zygote and its workers, and returns when it is done.
func (z *zygote) end() {
	_ = z.control.Close()
	select {
	case <-z.waited:
	case <-time.After(zygoteEndWait):
		z.kill()
		<-z.waited
	}
}

// kill ends the zygote at once; the kernel ends its workers then.
func (z *zygote) kill() {
	_ = z.control.Close()
	_ = z.command.Process.Kill()
}

// tail keeps the last lines of a stream. Safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text string
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text += line + "\n"
	if extra := len(t.text) - zygoteStderrKept; extra > 0 {
		t.text = t.text[extra:]
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.text)
}
