package kernel_test

import (
	"fmt"
	"testing"

	"cloudburst/anna/kernel"
	"cloudburst/lattice"
)

// value is as long as the values of the published measurements.
var value = make([]byte, 100)

func mergeKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("key:%012d", i)
	}
	return keys
}

// BenchmarkMerge merges writes into one kernel: one core's share of the work without the log.
func BenchmarkMerge(b *testing.B) {
	members := mergeKeys(1000)
	kinds := []struct {
		name  string
		write func(i int, w *kernel.Write)
	}{
		{"value", func(_ int, w *kernel.Write) { w.Delta = lattice.Put(lattice.Timestamp{}, value) }},
		{"counter", func(_ int, w *kernel.Write) { w.Add = 1 }},
		{"set", func(i int, w *kernel.Write) {
			w.Delta = lattice.SetAdd(lattice.Timestamp{}, []byte(members[i/7%len(members)]))
		}},
	}
	for _, kind := range kinds {
		for _, n := range []int{1, 100_000} {
			b.Run(fmt.Sprintf("%s/keys=%d", kind.name, n), func(b *testing.B) {
				k := newKernel(func(*kernel.Config) {})
				keys := mergeKeys(n)
				var out kernel.Effects
				var w kernel.Write
				merge := func(i int) {
					at := kernel.Moment{Wall: int64(i + 1), Elapsed: int64(i + 1)}
					w = kernel.Write{Key: keys[i%n], Ack: kernel.Memory}
					kind.write(i, &w)
					k.Step(at, &w, &out)
					for _, p := range out.Publishes {
						k.Step(at, &kernel.Acknowledged{Publish: p.ID, Sequence: uint64(i + 1)}, &out)
					}
					out.Reset()
				}
				for i := range n {
					merge(i)
				}
				b.ReportAllocs()
				for i := n; b.Loop(); i++ {
					merge(i)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "merges/s")
			})
		}
	}
}
