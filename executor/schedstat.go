package executor

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is the view of a worker's process that the kernel gives.
type process struct {
	pid  int
	conn *net.UnixConn // the node's end of its socket
}

// usage is what threads have had of the cores.
type usage struct {
	ran    time.Duration // on a core
	waited time.Duration // for a core; a wait counts once it is over
	turns  int64         // how often one began to run
}

func (u usage) plus(other usage) usage {
	return usage{u.ran + other.ran, u.waited + other.waited, u.turns + other.turns}
}

// since returns what was used after an earlier time; negative numbers when a thread has ended meanwhile.
func (u usage) since(before usage) usage {
	return usage{u.ran - before.ran, u.waited - before.waited, u.turns - before.turns}
}

// used returns what the threads of the process have had since each of them began.
func (p process) used() (usage, error) {
	var sum usage
	err := p.threads("schedstat", func(text []byte) { sum = sum.plus(schedstat(text)) })
	return sum, err
}

// ready reports whether a thread of the process runs on a core or waits for one right now, or the node has not read yet what the
// process has sent: then it waits for the node.
func (p process) ready() bool {
	ready := p.unread() > 0
	err := p.threads("stat", func(text []byte) { ready = ready || threadReady(text) })
	return ready && err == nil
}

// unread returns how many bytes wait in the socket.
func (p process) unread() int {
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n
}

// threads reads a file of each thread. A thread that ends meanwhile is left out; so are all when the kernel does not have the file.
func (p process) threads(file string, take func([]byte)) error {
	directory := "/proc/" + strconv.Itoa(p.pid) + "/task/"
	threads, err := os.Open(directory)
	if err != nil {
		return fmt.Errorf("threads of a worker: %w", err)
	}
	defer threads.Close()
	ids, err := threads.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("threads of a worker: %w", err)
	}
	for _, id := range ids {
		text, err := os.ReadFile(directory + id + "/" + file)
		switch {
		case err == nil:
			take(text)
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESRCH):
			return fmt.Errorf("a thread of a worker: %w", err)
		}
	}
	return nil
}

// schedstat reads a schedstat file: nanoseconds on a core, nanoseconds ready for one, and turns. See Documentation/scheduler/sched-stats.rst
// of Linux.
func schedstat(text []byte) usage {
	var numbers [3]int64
	for i, field := range bytes.Fields(text) {
		if n, err := strconv.ParseInt(string(field), 10, 64); i < len(numbers) && err == nil {
			numbers[i] = n
		}
	}
	return usage{time.Duration(numbers[0]), time.Duration(numbers[1]), numbers[2]}
}

// threadReady reports whether a stat file is that of a thread in the state R. The state follows the name, which is in parentheses and
// may contain more of them.
func threadReady(stat []byte) bool {
	at := bytes.LastIndexByte(stat, ')')
	return at >= 0 && at+2 < len(stat) && stat[at+2] == 'R'
}
