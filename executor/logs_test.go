package executor

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// pipeOf returns a pipe, its far end, and what has been taken from it.
func pipeOf(t *testing.T) (p *logPipe, write func(string), taken func() []string) {
	t.Helper()
	p, theirs, err := new(Executor).openLogPipe()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var lines []string
	p.take = func(line string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, line)
	}
	write = func(text string) {
		if text == "" {
			_ = theirs.Close()
		} else if _, err := theirs.WriteString(text); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { _ = theirs.Close() })
	return p, write, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(lines)
	}
}

func TestALogPipeIsRead(t *testing.T) {
	t.Parallel()
	p, write, taken := pipeOf(t)
	defer p.file.Close()
	expect := func(lines ...string) {
		t.Helper()
		if got := taken(); !slices.Equal(got, lines) {
			t.Errorf("taken: %q, want %q", got, lines)
		}
	}
	p.drain(true)
	if expect(); p.used.Load() {
		t.Error("nothing was written")
	}
	write("one\r\n\ntwo\nthr")
	p.drain(false)
	expect("one", "two")
	write("ee\nfour")
	p.drain(false)
	expect("one", "two", "three")
	p.drain(true)
	expect("one", "two", "three", "four")
	if !p.used.Load() {
		t.Error("something was written")
	}
}

// Lines come by themselves, and until the far end is closed or the deadline has passed. A long one is cut.
func TestALogPipeIsFollowed(t *testing.T) {
	t.Parallel()
	p, write, taken := pipeOf(t)
	var following sync.WaitGroup
	following.Go(p.follow)
	var want []string
	for n := range 2000 {
		want = append(want, fmt.Sprint("line ", n))
		write(want[n] + "\n")
		if n%7 == 0 {
			p.drain(false)
		}
	}
	long := strings.Repeat("x", logLineMax)
	write(long + "rest\nend")
	write("")
	following.Wait()
	if got := taken(); !slices.Equal(got, append(want, long, "rest", "end")) {
		t.Errorf("%d lines", len(got))
	}
	p.drain(true) // of a worker that has gone

	held, write, taken := pipeOf(t)
	write("before the end")
	following.Go(held.follow)
	_ = held.file.SetReadDeadline(time.Now().Add(time.Millisecond))
	following.Wait()
	if got := taken(); !slices.Equal(got, []string{"before the end"}) {
		t.Errorf("of a pipe that a child holds open: %q", got)
	}
}
