package resp_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// BenchmarkPipeline sends pipelines of 16 commands with one of 10,000 members or keys each; all of them exist already.
// Allocations are the whole process's.
func BenchmarkPipeline(b *testing.B) {
	const together, different = 16, 10_000
	for _, bench := range []struct{ name, command string }{
		{"sadd", "SADD set %d"},
		{"sismember", "SISMEMBER set %d"},
		{"zadd/same", "ZADD zset 1 %d"},
		{"incr", "INCR counter:%d"},
		{"set", "SET value:%d x"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			e := start(b, nil)
			c := e.dial(b)
			pipelines := make([]string, different/together)
			for i := range pipelines {
				var text strings.Builder
				for j := range together {
					words := strings.Fields(fmt.Sprintf(bench.command, i*together+j))
					fmt.Fprintf(&text, "*%d\r\n", len(words))
					for _, word := range words {
						fmt.Fprintf(&text, "$%d\r\n%s\r\n", len(word), word)
					}
				}
				pipelines[i] = text.String()
			}
			turn := func(pipeline string) {
				if _, err := io.WriteString(c.conn, pipeline); err != nil {
					b.Fatal(err)
				}
				for range together {
					line, err := c.in.ReadSlice('\n')
					if err != nil || line[0] == '-' {
						b.Fatalf("%q, %v", line, err)
					}
				}
			}
			for range 2 {
				for _, pipeline := range pipelines {
					turn(pipeline)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += together {
				turn(pipelines[i/together%len(pipelines)])
			}
		})
	}
}
