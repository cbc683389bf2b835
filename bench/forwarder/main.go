// The forwarder is the floor under a call: the sockets and processes of a two-function DAG and nothing else.
//
// It listens on TCP for clients and starts one Python worker per connection of a client on a Unix socket pair; a request is
// sent to the worker, its answer to the worker again, and the second answer to the client. Messages are length-prefixed bytes.
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
)

// messageMax bounds one message.
const messageMax = 1 << 20

func main() {
	python := flag.String("python", "python3", "interpreter of the workers")
	script := flag.String("worker", "", "the workers' program")
	workers := flag.Int("workers", 1, "how many workers the clients share")
	flag.Parse()
	fmt.Fprintln(os.Stderr, "forwarder:", run(*python, *script, *workers))
	os.Exit(1)
}

// run serves until it fails.
func run(python, script string, workers int) error {
	idle := make(chan net.Conn, workers)
	for range workers {
		worker, err := start(python, script)
		if err != nil {
			return fmt.Errorf("start worker: %w", err)
		}
		idle <- worker
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	// The end of standard input is the end of the program: it never outlives the one that measures.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go serve(client, idle)
	}
}

// start forks a worker whose standard input and output are one end of a socket pair.
func start(python, script string) (net.Conn, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	command := exec.Command(python, script)
	command.Stdin, command.Stderr = theirs, os.Stderr
	if err := command.Start(); err != nil {
		return nil, err
	}
	return net.FileConn(ours)
}

// serve answers one client until it goes.
func serve(client net.Conn, idle chan net.Conn) {
	defer client.Close()
	requests := bufio.NewReader(client)
	buf := make([]byte, 0, 4096)
	for {
		message, err := read(requests, buf)
		if err != nil {
			return
		}
		worker := <-idle
		for range 2 {
			if _, err = worker.Write(message); err != nil {
				return
			}
			if message, err = read(worker, message); err != nil {
				return
			}
		}
		idle <- worker
		if _, err := client.Write(message); err != nil {
			return
		}
		buf = message
	}
}

// read returns the next message with its length in front, in buf where it fits.
func read(r io.Reader, buf []byte) ([]byte, error) {
	if cap(buf) < messageMax {
		buf = make([]byte, messageMax)
	}
	buf = buf[:messageMax]
	n := 0
	for n < 4 {
		m, err := r.Read(buf[n:])
		if err != nil {
			return nil, err
		}
		n += m
	}
	size := 4 + int(binary.LittleEndian.Uint32(buf))
	if size > messageMax {
		return nil, fmt.Errorf("a message of %d bytes; the limit is %d", size, messageMax)
	}
	if _, err := io.ReadFull(r, buf[n:max(n, size)]); err != nil {
		return nil, err
	}
	return buf[:size], nil
}
