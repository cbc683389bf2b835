package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrDataDirInUse is returned by Start when another process uses the data directory.
var ErrDataDirInUse = errors.New("data directory in use")

const lockName = "lock"

// directoryLock is an exclusive claim on a directory, which ends with the process whatever ends it.
type directoryLock struct {
	file *os.File
}

// Lock makes a data directory, if it is missing, and claims it for a process that needs no server in it. It fails with
// ErrDataDirInUse as Start does.
func Lock(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	lock, err := lockDirectory(dir)
	if err != nil {
		return nil, err
	}
	return func() { _ = lock.release() }, nil
}

func lockDirectory(dir string) (*directoryLock, error) {
	path := filepath.Join(dir, lockName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory %s: %w", dir, err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer file.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the data directory %s: %w", dir, err)
		}
		return nil, fmt.Errorf("%w: %s belongs to the running %s; stop it, or give this node another directory (--data)", ErrDataDirInUse, dir, holder(path))
	}
	lock := &directoryLock{file: file}
	// The number is only there to be shown. The file stays when the lock is released: removing it would let two processes
	// lock two files of the same name.
	if err := errors.Join(file.Truncate(0), write(file, strconv.Itoa(os.Getpid())+"\n")); err != nil && !errors.Is(err, unix.ENOSPC) {
		return nil, errors.Join(fmt.Errorf("lock the data directory %s: %w", dir, err), lock.release())
	}
	return lock, nil
}

func write(file *os.File, text string) error {
	_, err := file.WriteAt([]byte(text), 0)
	return err
}

// holder names the process that wrote the lock file.
func holder(path string) string {
	text, err := os.ReadFile(path)
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return "process " + pid
	}
	return "process that locked " + path
}

func (l *directoryLock) release() error {
	if l == nil || l.file == nil {
		return nil
	}
	file := l.file
	l.file = nil
	return file.Close()
}
