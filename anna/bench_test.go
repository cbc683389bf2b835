package anna_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/lattice"
)

// value100 is as long as the values of the published measurements.
var value100 = make([]byte, 100)

func benchKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("key:%012d", i)
	}
	return keys
}

// BenchmarkPutDurable makes durable writes from 64 callers through the log.
func BenchmarkPutDurable(b *testing.B) {
	s := startServer(b, anna.Config{}, "")
	b.ResetTimer()
	cpu := processorTime(b)
	reportRate(b, cpu, putDurable(b, s, benchKeys(100_000), b.N))
}

// BenchmarkOverwrite is BenchmarkPutDurable for keys that have been overwritten a hundred times each and more, so that the log is as long
// as it is to be and its beginning is being cut off.
func BenchmarkOverwrite(b *testing.B) {
	s := startServer(b, anna.Config{}, "")
	keys := benchKeys(10_000)
	for s.server.Stats().Truncations == 0 {
		putDurable(b, s, keys, 100*len(keys))
	}
	b.ResetTimer()
	cpu := processorTime(b)
	reportRate(b, cpu, putDurable(b, s, keys, b.N))
}

// putDurable makes n writes and returns how long each took.
func putDurable(b *testing.B, s *running, keys []string, n int) []time.Duration {
	b.Helper()
	const callers = 64
	var next atomic.Int64
	latencies := make([][]time.Duration, callers)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			done := make(chan error, 1)
			finish := anna.CompletionFunc(func(_ int64, err error) { done <- err })
			for {
				i := next.Add(1)
				if i > int64(n) {
					return
				}
				began := time.Now()
				s.server.Write(&kernel.Write{Key: keys[(i*7919)%int64(len(keys))], Delta: lattice.Put(lattice.Timestamp{}, value100)}, finish)
				if err := <-done; err != nil {
					b.Error(err)
					return
				}
				latencies[c] = append(latencies[c], time.Since(began))
			}
		})
	}
	wg.Wait()
	return slices.Concat(latencies...)
}

// BenchmarkGet reads from the server without a cache.
func BenchmarkGet(b *testing.B) {
	s := startServer(b, anna.Config{}, "")
	keys := benchKeys(1000)
	for _, key := range keys {
		s.put(b, key, string(value100), kernel.Memory)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		read := func(*lattice.State) {}
		for i := 0; pb.Next(); i++ {
			if !s.server.View(keys[i%len(keys)], read) {
				b.Error("not in memory")
				return
			}
		}
	})
}

// processorTime returns what the process has used of all cores: it says more than the wall clock on a machine that is shared.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// recoverRecords is how many keys, or messages, are read from a log at the start.
const recoverRecords = 1_000_000

// BenchmarkRecover fills a log once and replays it b.N times.
func BenchmarkRecover(b *testing.B) {
	const records = recoverRecords
	dir := b.TempDir()
	s := startServer(b, anna.Config{}, dir)
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			done := make(chan error, 256)
			for i := w; i < records; i += 64 {
				s.server.Write(&kernel.Write{Key: fmt.Sprintf("key:%012d", i), Delta: lattice.Put(lattice.Timestamp{}, slices.Clone(value100)), Ack: kernel.Durable},
					anna.CompletionFunc(func(_ int64, err error) { done <- err }))
				if i >= 64*16 {
					if err := <-done; err != nil {
						b.Error(err)
						return
					}
				}
			}
			for range 16 {
				if err := <-done; err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s.stop()
	for b.Loop() {
		cpu := processorTime(b)
		s = startServer(b, anna.Config{}, dir)
		b.ReportMetric(float64((processorTime(b) - cpu).Milliseconds()), "cpu-ms")
		if keys := s.server.Stats().Keys; keys != records {
			b.Fatalf("%d keys", keys)
		}
		b.StopTimer()
		b.ReportMetric(float64(s.server.Stats().ReplayMilliseconds), "replay-ms")
		began := time.Now()
		keys, _, err := s.server.Scan(context.Background(), "key:", "", 10)
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "first-scan-ms")
		if err != nil || len(keys) != 10 {
			b.Fatal(keys, err)
		}
		s.stop()
		b.StartTimer()
	}
}
