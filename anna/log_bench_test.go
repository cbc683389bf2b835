package anna_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/bus"
	"cloudburst/bus/embedded"
)

// The log without the store on it: what JetStream itself does with as many streams, subjects and bytes is the measure of the
// store's durable writes and of its recovery.
const (
	bareStreams  = 4
	bareSubjects = 1_000_000
)

// bareLog is a server with streams that are kept as the store's are.
type bareLog struct {
	conn    *bus.Conn
	streams []jetstream.Stream
	stop    func()
}

func startBareLog(b *testing.B, dir string) *bareLog {
	b.Helper()
	nats, err := embedded.Start(context.Background(), embedded.Config{DataDir: dir})
	if err != nil {
		b.Fatal(err)
	}
	l := &bareLog{}
	if l.conn, err = nats.Connect(b.Context()); err != nil {
		b.Fatal(err)
	}
	l.stop = func() {
		l.conn.Close()
		nats.Shutdown()
	}
	for i := range bareStreams {
		stream, err := l.conn.JetStream.CreateOrUpdateStream(b.Context(), jetstream.StreamConfig{
			Name: fmt.Sprint("bare-", i), Subjects: []string{fmt.Sprintf("bare.%d.>", i)}, AllowDirect: true,
		})
		if err != nil {
			b.Fatal(err)
		}
		l.streams = append(l.streams, stream)
	}
	return l
}

// publish publishes n messages with so many on their way at a time, and returns how long each took to be acknowledged.
func (l *bareLog) publish(b *testing.B, n, window int) []time.Duration {
	b.Helper()
	conn, inbox := l.conn.NATS, nats.NewInbox()
	began, took := make([]time.Time, n), make([]time.Duration, n)
	slots, refused := make(chan struct{}, window), make(chan string, 1)
	sub, err := conn.Subscribe(inbox+".*", func(m *nats.Msg) {
		i, err := strconv.Atoi(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
		if err != nil || !strings.Contains(string(m.Data), `"seq"`) {
			select {
			case refused <- string(m.Data):
			default:
			}
		}
		took[i] = time.Since(began[i])
		<-slots
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		b.Fatal(err)
	}
	for i := range n {
		slots <- struct{}{}
		subject := fmt.Sprintf("bare.%d.%d.key:%012d", i%bareStreams, i%1024, i%bareSubjects)
		began[i] = time.Now()
		if err := conn.PublishRequest(subject, inbox+"."+strconv.Itoa(i), value100); err != nil {
			b.Fatal(err)
		}
	}
	for range window {
		slots <- struct{}{}
	}
	select {
	case answer := <-refused:
		b.Fatal("the log refuses: ", answer)
	default:
	}
	return took
}

// BenchmarkLogPublish publishes as many at a time as BenchmarkPutDurable has callers, and as many as the log takes.
func BenchmarkLogPublish(b *testing.B) {
	for _, window := range []int{64, 4096} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			l := startBareLog(b, b.TempDir())
			defer l.stop()
			l.publish(b, 1000, window)
			b.ResetTimer()
			cpu := processorTime(b)
			reportRate(b, cpu, l.publish(b, b.N, window))
		})
	}
}

// reportRate reports writes a second, how long one took, and what it cost, client and log and all, given the processor time before.
func reportRate(b *testing.B, cpu time.Duration, took []time.Duration) {
	b.Helper()
	b.StopTimer()
	b.ReportMetric(float64((processorTime(b)-cpu).Nanoseconds())/1e3/float64(b.N), "cpu-µs/put")
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkLogReplay fills a log once and reads all of it b.N times, from a server that starts anew.
func BenchmarkLogReplay(b *testing.B) {
	dir := b.TempDir()
	l := startBareLog(b, dir)
	l.publish(b, recoverRecords, 4096)
	l.stop()
	for b.Loop() {
		cpu := processorTime(b)
		l = startBareLog(b, dir)
		arrived := make(chan int, bareStreams)
		for _, stream := range l.streams {
			consumer, err := stream.OrderedConsumer(b.Context(), jetstream.OrderedConsumerConfig{})
			if err != nil {
				b.Fatal(err)
			}
			count := 0
			consume, err := consumer.Consume(func(m jetstream.Msg) {
				count++
				if meta, err := m.Metadata(); err == nil && meta.NumPending == 0 {
					arrived <- count
				}
			}, jetstream.PullMaxMessagesWithBytesLimit(5000, 16<<20))
			if err != nil {
				b.Fatal(err)
			}
			defer consume.Stop()
		}
		total := 0
		for range bareStreams {
			total += <-arrived
		}
		if total != recoverRecords {
			b.Fatalf("%d messages of %d", total, recoverRecords)
		}
		b.StopTimer()
		b.ReportMetric(float64((processorTime(b) - cpu).Milliseconds()), "cpu-ms")
		l.stop()
		b.StartTimer()
	}
	b.ReportMetric(recoverRecords*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
