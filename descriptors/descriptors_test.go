package descriptors_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"cloudburst/descriptors"
)

// lower sets the limit of this process for a test, which therefore does not run beside others.
func lower(t *testing.T, limit uint64) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTheLastDescriptorsAreKeptBack(t *testing.T) {
	lower(t, 128)
	if err := descriptors.Check(); err != nil {
		t.Error(err)
	}
	var held []*os.File
	defer func() {
		for _, file := range held {
			_ = file.Close()
		}
	}()
	reserved := 0
	for {
		file, err := os.Open(os.DevNull)
		if err != nil {
			if !descriptors.Exhausted(err) {
				t.Fatal(err)
			}
			break
		}
		held = append(held, file)
		if descriptors.Reserved(int(file.Fd())) {
			reserved++
		} else if reserved > 0 {
			t.Fatal("a descriptor is free after one that is kept back")
		}
	}
	if want := descriptors.Reserve(128); reserved != want {
		t.Errorf("%d descriptors are kept back, want %d", reserved, want)
	}
}

func TestALimitThatIsTooLow(t *testing.T) {
	lower(t, descriptors.LimitMin-1)
	if err := descriptors.Check(); err == nil || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("got %v", err)
	}
}

func TestReserve(t *testing.T) {
	for limit, want := range map[int]int{128: 32, 256: 64, 1024: 256, 1 << 30: 256} {
		if got := descriptors.Reserve(limit); got != want {
			t.Errorf("of %d: %d, want %d", limit, got, want)
		}
	}
}

func TestRefusalsAreLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	r := descriptors.Refusals{Logger: slog.New(slog.NewTextHandler(&log, nil)), Port: "here"}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		r.Failed(ended, fmt.Errorf("accept: %w", unix.EMFILE))
		reason, attributes := descriptors.Scarce()
		r.Refused(reason, attributes...)
	}
	r.Accepted()
	if lines := strings.Count(log.String(), "\n"); lines != 1 {
		t.Errorf("%d lines, want 1:\n%s", lines, &log)
	}
}
