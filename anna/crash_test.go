package anna_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/bus/embedded"
	"cloudburst/lattice"
)

// crashDir makes the test binary the process that TestKill kills: it writes as fast as it can on this directory, and prints
// every key whose write was acknowledged as durable. crashFirst is the first value. When the log has been cut off it prints
// crashCut.
const (
	crashDir   = "ANNA_TEST_CRASH_DIR"
	crashFirst = "ANNA_TEST_CRASH_FIRST"
	crashCut   = "cut"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := writeUntilKilled(dir); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	verifyMain(m)
}

func writeUntilKilled(dir string) error {
	first, err := strconv.Atoi(os.Getenv(crashFirst))
	if err != nil {
		return err
	}
	ctx := context.Background()
	nats, err := embedded.Start(ctx, embedded.Config{DataDir: dir})
	if err != nil {
		return err
	}
	conn, err := nats.Connect(ctx)
	if err != nil {
		return err
	}
	server, err := anna.New(short(anna.Config{CompactRecords: 2}), conn)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Run(ctx) }()
	select {
	case <-server.Ready():
	case err := <-failed:
		return err
	}
	acknowledged := make(chan string, 1024)
	for w := range 16 {
		go func() {
			done := make(chan error, 1)
			for i := first; ; i++ {
				// Every key is written several times, so that the log is being cut off when the end comes.
				key, value := fmt.Sprintf("k%d-%d", w, i/4%50), fmt.Sprint(i)
				server.Write(&kernel.Write{Key: key, Delta: lattice.Put(lattice.Timestamp{}, []byte(value))},
					anna.CompletionFunc(func(_ int64, err error) { done <- err }))
				if err := <-done; err != nil {
					failed <- err
					return
				}
				acknowledged <- key + " " + value
			}
		}()
	}
	look := time.NewTicker(time.Millisecond)
	for cuts := uint64(0); ; {
		select {
		case err := <-failed:
			return err
		case line := <-acknowledged:
			_, _ = fmt.Fprintln(os.Stdout, line)
		case <-look.C:
			for now := server.Stats().Truncations; cuts < now; cuts++ {
				_, _ = fmt.Fprintln(os.Stdout, crashCut)
			}
		}
	}
}

// TestKill kills a process that writes, again and again on the same directory: whatever it said is durable is there afterwards.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acknowledged := map[string]int{}
	for round := range 3 {
		child := exec.CommandContext(t.Context(), os.Args[0])
		// Values grow, from round to round as well.
		child.Env = append(os.Environ(), crashDir+"="+dir, crashFirst+"="+strconv.Itoa(round*1_000_000))
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n, cuts, killed := 0, 0, false; lines.Scan(); n++ {
			if lines.Text() == crashCut {
				cuts++
				continue
			}
			key, value, _ := strings.Cut(lines.Text(), " ")
			var i int
			if _, err := fmt.Sscan(value, &i); err != nil {
				break // the last line may be cut off
			}
			acknowledged[key] = max(acknowledged[key], i)
			if n >= 2000*(round+1) && cuts >= 2 && !killed {
				killed = true
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil || child.ProcessState.ExitCode() == 1 {
			t.Fatalf("the child ended by itself: %v", child.ProcessState)
		}
		s := startServer(t, anna.Config{}, dir)
		for key, want := range acknowledged {
			var got int
			if value := s.get(t, key); value != "" {
				_, _ = fmt.Sscan(value, &got)
			}
			// A later write of the same key may have reached the log without its acknowledgement reaching us.
			if got < want {
				t.Fatalf("round %d: key %s holds %d, %d was acknowledged as durable", round, key, got, want)
			}
		}
		if len(acknowledged) < 400 {
			t.Fatalf("only %d keys", len(acknowledged))
		}
		s.stop()
	}
}

// TestAbandon recovers from a server that was never stopped, by a second one on the same log: its memory is lost, the log is
// not.
func TestAbandon(t *testing.T) {
	t.Parallel()
	first := startServer(t, anna.Config{}, "")
	first.put(t, "a", "1", kernel.Durable)
	second := first.beside(t, anna.Config{})
	if got := second.get(t, "a"); got != "1" {
		t.Fatalf("a is %q", got)
	}
	// Two masters of everything: each learns of the other's writes from the log.
	second.put(t, "a", "2", kernel.Durable)
	second.put(t, "b", "2", kernel.Durable)
	first.put(t, "c", "1", kernel.Durable)
	first.eventually(t, "a", "2")
	first.eventually(t, "b", "2")
	second.eventually(t, "c", "1")
}

func (r *running) eventually(t testing.TB, key, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got = r.get(t, key); got == want {
			return
		}
	}
	t.Fatalf("%s is %q, want %q", key, got, want)
}
