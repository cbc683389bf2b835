// Package descriptors keeps file descriptors back for the files of the log: a connection is refused before the log lacks one.
package descriptors

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	// LimitMin is how many descriptors a node needs at least: about 50 at rest, and the rest for workers and connections.
	LimitMin = 128

	reserveMin = 32
	reserveMax = 256
)

// Limit returns how many descriptors this process may have open at this moment. Go raises the limit to the hard one when a
// process starts; an operator may change it at any time (prlimit).
func Limit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<30 {
		return 1 << 30 // as good as no limit
	}
	return int(limit.Cur)
}

// Reserve returns how many descriptors of a limit are kept back for what is not a connection: a quarter, at least 32 and at most 256.
func Reserve(limit int) int { return min(max(limit/4, reserveMin), reserveMax) }

// Reserved reports whether a descriptor that the process has just got for a connection is one of those that are kept back. The
// system gives the lowest number that is free, so all lower ones are in use: nothing has to be counted.
func Reserved(descriptor int) bool {
	limit := Limit()
	return descriptor >= limit-Reserve(limit)
}

// Check returns an error when the limit is too low for a node.
func Check() error {
	if limit := Limit(); limit < LimitMin {
		return fmt.Errorf("this process may open %d files and sockets, and a node needs at least %d: raise the limit (ulimit -n, or LimitNOFILE of a systemd unit)",
			limit, LimitMin)
	}
	return nil
}

// Exhausted reports whether an error says that this process, or the system, has no descriptor or no memory left for another socket
// or file. It passes: what failed can be tried again.
func Exhausted(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)
}
