package contexts

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is what a process is recognised by: a number alone is given again.
type Process struct {
	ID int `json:"id,omitempty"`
	// Started is when it started, in clock ticks since the machine did; 0 where that cannot be told.
	Started uint64 `json:"started,omitempty"`
	// Boot is the run of the machine, Namespace the one in which its number counts.
	Host      string `json:"host,omitempty"`
	Boot      string `json:"boot,omitempty"`
	Namespace string `json:"namespace,omitempty"`
}

func thisProcess() Process {
	host, _ := os.Hostname()
	p := Process{ID: os.Getpid(), Host: host, Boot: bootID()}
	p.Namespace, _ = os.Readlink("/proc/self/ns/pid")
	p.Started, _ = startOf(p.ID)
	return p
}

func bootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
}

// startOf returns when a process started; an error wrapping fs.ErrNotExist when there is none of the number.
func startOf(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	const fieldsBehindName, startTime = 20, 19 // field 22 of all; the name, in parentheses, may have blanks
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < fieldsBehindName {
		return 0, nil
	}
	if state := string(fields[0]); state == "Z" || state == "X" { // it has ended, and its parent has not noticed yet
		return 0, fs.ErrNotExist
	}
	return strconv.ParseUint(string(fields[startTime]), 10, 64)
}

// Gone reports whether it is certain that the node of a context does not run: it has ended in order, or its process is not there any
// more. A node on another machine that shares the user's home directory, or in another container, may always be running.
func (c Context) Gone() bool {
	if c.Stopped {
		return true
	}
	p, here := c.Process, thisProcess()
	switch {
	case p.ID == 0: // left by an earlier version, which did not say
		return refuses(c.Address)
	case p.Host != here.Host:
		return false
	case p.Boot != here.Boot:
		return true
	case p.Namespace != here.Namespace:
		return false
	}
	started, err := startOf(p.ID)
	if here.Started == 0 { // there is no /proc
		return errors.Is(unix.Kill(p.ID, 0), unix.ESRCH)
	}
	return errors.Is(err, fs.ErrNotExist) || err == nil && started != p.Started
}

const dialTimeout = time.Second

// Answers reports whether anything takes connections at the address of a context.
func (c Context) Answers() bool {
	conn, err := net.DialTimeout("tcp", hostPort(c.Address), dialTimeout)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// refuses reports whether it is certain that nothing listens at an address.
func refuses(address string) bool {
	conn, err := net.DialTimeout("tcp", hostPort(address), dialTimeout)
	if err == nil {
		_ = conn.Close()
	}
	return errors.Is(err, unix.ECONNREFUSED)
}

func hostPort(address string) string {
	_, rest, found := strings.Cut(address, "://")
	if found {
		return rest
	}
	return address
}
