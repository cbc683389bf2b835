package node

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

func logPipe(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = reader.Close(), writer.Close() })
	return reader, writer
}

func TestALogThatIsNotReadHoldsNothingUp(t *testing.T) {
	t.Parallel()
	reader, writer := logPipe(t)
	reported := make(chan uint64, 16)
	l := NewLogWriter(writer, 1<<20, func(lines uint64) { reported <- lines })
	const count = 40_000 // 4 MB; neither the pipe nor the buffer has room for half of it
	for i := range count {
		if n, err := fmt.Fprintf(l, "%099d\n", i); n != 100 || err != nil {
			t.Fatal(n, err)
		}
	}
	dropped := l.Stats().Dropped
	if dropped < count/2 || dropped > count {
		t.Fatalf("%d of %d lines were dropped", dropped, count)
	}
	// What is there arrives whole and in order, and then how many are missing is told, once.
	scanner := bufio.NewScanner(reader)
	for i := range count - dropped {
		if !scanner.Scan() || scanner.Text() != fmt.Sprintf("%099d", i) {
			t.Fatalf("line %d is %q (%v)", i, scanner.Text(), scanner.Err())
		}
	}
	if n := <-reported; n != dropped {
		t.Errorf("%d lines were reported as dropped, of %d", n, dropped)
	}
	fmt.Fprintln(l, "after")
	if !scanner.Scan() || scanner.Text() != "after" {
		t.Errorf("then came %q", scanner.Text())
	}
	l.Close()
	if s := l.Stats(); s.Written != count-dropped+1 || s.Dropped != dropped {
		t.Errorf("counted %+v", s)
	}
	if len(reported) != 0 {
		t.Error("the same lines were reported twice")
	}
}

func TestClosingALogDoesNotWaitForItsReader(t *testing.T) {
	t.Parallel()
	_, writer := logPipe(t)
	l := NewLogWriter(writer, 1<<20, nil)
	if _, err := l.Write([]byte(strings.Repeat("x", 1<<20))); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() { l.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(20 * logCloseMax):
		t.Fatal("Close waits for a pipe that is not read")
	}
	if _, err := l.Write([]byte("late\n")); err != nil || l.Stats().Dropped != 2 {
		t.Errorf("after Close: %v, %+v", err, l.Stats())
	}
}

func TestALogThatIsClosedIsWhole(t *testing.T) {
	t.Parallel()
	reader, writer := logPipe(t)
	l := NewLogWriter(writer, 1<<20, nil)
	text := strings.Repeat(strings.Repeat("long", 2000)+"\nshort\n", 20)
	got := make(chan string)
	go func() {
		all, _ := io.ReadAll(reader)
		got <- string(all)
	}()
	if _, err := io.WriteString(l, text); err != nil {
		t.Fatal(err)
	}
	l.Close()
	_ = writer.Close()
	if all := <-got; all != text {
		t.Errorf("%d bytes arrived, of %d", len(all), len(text))
	}
}

// full takes nothing until it is emptied.
type full struct{ room chan struct{} }

func (f full) Write(p []byte) (int, error) {
	select {
	case <-f.room:
		return len(p), nil
	default:
		return 0, errors.New("no space left on device")
	}
}

func TestALogThatCannotBeWrittenIsCounted(t *testing.T) {
	t.Parallel()
	room := make(chan struct{}, 1)
	reported := make(chan uint64, 1)
	l := NewLogWriter(full{room}, 1<<20, func(lines uint64) { reported <- lines })
	fmt.Fprint(l, "one\ntwo\n")
	for deadline := time.Now().Add(20 * time.Second); l.Stats().Dropped < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("counted %+v", l.Stats())
		}
	}
	room <- struct{}{}
	fmt.Fprintln(l, "three")
	if n := <-reported; n != 2 {
		t.Errorf("%d lines were reported as dropped", n)
	}
	l.Close()
}
