// Command multicast writes keys at some nodes in turn while the others hold them in their caches, and prints as JSON how long it
// took until a reader at each of the others was shown what was written, and what that took of the bus.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cloudburst/client"
)

type options struct {
	nats     string
	nodes    string
	varz     string
	ack      string
	keys     int
	updates  int
	bytes    int
	interval time.Duration
}

// patience bounds every wait.
const patience = 30 * time.Second

func main() {
	var o options
	flag.StringVar(&o.nats, "nats", "", "the NATS server; without nodes, what the simulation has to know of it is measured")
	flag.StringVar(&o.nodes, "nodes", "", "ADDRESS=TOKEN of every node, separated by commas")
	flag.StringVar(&o.varz, "varz", "", "where the NATS servers say what they have carried, separated by commas")
	flag.StringVar(&o.ack, "ack", "durable", "memory or durable")
	flag.IntVar(&o.keys, "keys", 32, "how many keys there are")
	flag.IntVar(&o.updates, "updates", 300, "how many updates are made")
	flag.IntVar(&o.bytes, "bytes", 100, "of a value")
	flag.DurationVar(&o.interval, "interval", 20*time.Millisecond, "from one update to the next")
	flag.Parse()
	do := measure
	if o.nodes == "" {
		do = constants
	}
	if err := do(o); err != nil {
		fmt.Fprintln(os.Stderr, "multicast:", err)
		os.Exit(1)
	}
}

// spread is of durations, in microseconds.
type spread struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// result is what is printed.
type result struct {
	Updates int `json:"updates"`
	// Each is until one other node's reader was shown an update, Last until all were, Acknowledged until its writer had its
	// answer.
	Each         spread `json:"each"`
	Last         spread `json:"last"`
	Acknowledged spread `json:"acknowledged"`
	// Bare is until a message that was sent on the bus with every update has arrived, with no store in between.
	Bare spread `json:"bare"`
	// What the servers sent and received for one update, without what they do while nothing is written.
	Messages float64 `json:"messages"`
	Bytes    float64 `json:"bytes"`
	// Quiet is the messages a second while nothing is written.
	Quiet float64 `json:"quiet"`
}

func measure(o options) error {
	acks := map[string]client.Ack{"memory": client.AckMemory, "durable": client.AckDurable}
	ack, ok := acks[o.ack]
	if !ok {
		return fmt.Errorf("no acknowledgement is called %q", o.ack)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	r, err := newRun(ctx, o)
	if err != nil {
		return err
	}
	for _, cloud := range r.clients {
		defer func() { _ = cloud.Close() }()
	}
	if r.bare, err = newBare(o); err != nil {
		return err
	}
	defer r.bare.close()
	for node := range r.clients {
		group.Go(func() error { return r.read(ctx, node) })
	}
	group.Go(func() error {
		defer stop()
		found, err := r.run(ctx, ack)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(found)
	})
	return group.Wait()
}

// run is one measurement: update i writes key i%keys at node i/keys%nodes, so that every key is written at every node.
type run struct {
	options
	clients []*client.Client
	names   []string
	bare    *bare

	mu      sync.Mutex
	shown   [][]time.Time // by update, which begins at 1, and node
	missing int           // how many are not shown yet of what was written
	settled chan struct{}
}

func newRun(ctx context.Context, o options) (*run, error) {
	r := &run{options: o, settled: make(chan struct{}, 1)}
	for node := range strings.SplitSeq(o.nodes, ",") {
		address, token, _ := strings.Cut(node, "=")
		cloud, err := client.Connect(ctx, client.WithAddress(address), client.WithToken(token))
		if err != nil {
			return nil, err
		}
		r.clients = append(r.clients, cloud)
	}
	for i := range o.keys {
		r.names = append(r.names, fmt.Sprintf("multicast:%d:%d", time.Now().UnixNano(), i))
	}
	r.shown = make([][]time.Time, 1+o.keys+o.updates)
	for i := range r.shown {
		r.shown[i] = make([]time.Time, len(r.clients))
	}
	return r, nil
}

// read takes what a node's reader is shown.
func (r *run) read(ctx context.Context, node int) error {
	for change, err := range r.clients[node].Watch(ctx, r.names...) {
		now := time.Now()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if !change.Exists() {
			continue // as it was before the first write
		}
		var value string
		if err := change.Decode(&value); err != nil {
			return err
		}
		number := 0
		if _, err := fmt.Sscanf(value, "%d", &number); err != nil || number >= len(r.shown) {
			return fmt.Errorf("node %d shows %.64q", node, value)
		}
		r.show(number, node, now)
	}
	return nil
}

// show takes note that a reader has been shown an update, and with it all before it of the same key.
func (r *run) show(number, node int, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; number > 0 && r.shown[number][node].IsZero(); number -= r.keys {
		r.shown[number][node] = now
		if r.missing--; r.missing == 0 {
			r.settled <- struct{}{}
		}
	}
}

// settle waits until all is shown everywhere.
func (r *run) settle(ctx context.Context) error {
	select {
	case <-r.settled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		r.mu.Lock()
		defer r.mu.Unlock()
		return fmt.Errorf("%d times a reader has not been shown what was written %v ago", r.missing, patience)
	}
}

// expect says how many updates are about to be made.
func (r *run) expect(updates int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.missing = updates * len(r.clients)
}

func (r *run) run(ctx context.Context, ack client.Ack) (*result, error) {
	// The first write of each key makes it; then it is read, and so cached, at every node.
	r.expect(r.keys)
	for number := 1; number <= r.keys; number++ {
		if err := r.put(ctx, number, ack); err != nil {
			return nil, err
		}
	}
	if err := r.settle(ctx); err != nil {
		return nil, err
	}
	for _, cloud := range r.clients {
		if _, err := cloud.GetAll(ctx, r.names...); err != nil {
			return nil, err
		}
	}
	duration := time.Duration(r.updates) * r.interval
	quiet, err := r.carriedIn(ctx, func() error { time.Sleep(duration); return nil })
	if err != nil {
		return nil, err
	}
	r.expect(r.updates)
	began := make([]time.Time, len(r.shown))
	took := make([]time.Duration, len(r.shown))
	busy, err := r.carriedIn(ctx, func() error {
		var puts errgroup.Group
		next := time.NewTicker(r.interval)
		defer next.Stop()
		for number := r.keys + 1; number < len(r.shown); number++ {
			<-next.C
			if err := r.bare.send(number); err != nil {
				return err
			}
			began[number] = time.Now()
			puts.Go(func() error {
				err := r.put(ctx, number, ack)
				took[number] = time.Since(began[number])
				return err
			})
		}
		if err := puts.Wait(); err != nil {
			return err
		}
		return r.settle(ctx)
	})
	if err != nil {
		return nil, err
	}
	return r.result(began, took, quiet, busy), nil
}

// writer is the node at which an update is made.
func (r *run) writer(number int) int { return number / r.keys % len(r.clients) }

func (r *run) put(ctx context.Context, number int, ack client.Ack) error {
	value := fmt.Sprintf("%-*d", r.bytes, number)
	return r.clients[r.writer(number)].PutAll(ctx, ack, client.Write{Key: r.names[(number-1)%r.keys], Value: value})
}

func (r *run) result(began []time.Time, took []time.Duration, quiet, busy traffic) *result {
	var each, last []time.Duration
	for number := r.keys + 1; number < len(r.shown); number++ {
		var latest time.Duration
		for node, at := range r.shown[number] {
			if node != r.writer(number) {
				each = append(each, at.Sub(began[number]))
				latest = max(latest, at.Sub(began[number]))
			}
		}
		last = append(last, latest)
	}
	// The bare messages are none of the store's.
	busy.messages -= 2 * float64(r.updates)
	busy.bytes -= 2 * bareBytes * float64(r.updates)
	n, share := float64(r.updates), busy.seconds/quiet.seconds
	return &result{
		Updates: r.updates, Each: spreadOf(each), Last: spreadOf(last), Acknowledged: spreadOf(took[r.keys+1:]),
		Bare:     spreadOf(r.bare.taken()),
		Messages: (busy.messages - share*quiet.messages) / n, Bytes: (busy.bytes - share*quiet.bytes) / n,
		Quiet: quiet.messages / quiet.seconds,
	}
}

func spreadOf(all []time.Duration) spread {
	slices.Sort(all)
	at := func(p float64) float64 { return float64(all[int(p*float64(len(all)-1))].Nanoseconds()) / 1e3 }
	return spread{at(0.5), at(0.99), at(1)}
}

// traffic is what the NATS servers have received and sent.
type traffic struct{ messages, bytes, seconds float64 }

// carriedIn returns what they carry while something is done.
func (r *run) carriedIn(ctx context.Context, do func() error) (traffic, error) {
	began := time.Now()
	before, err := r.carried(ctx)
	if err != nil {
		return traffic{}, err
	}
	if err := do(); err != nil {
		return traffic{}, err
	}
	after, err := r.carried(ctx)
	return traffic{after.messages - before.messages, after.bytes - before.bytes, time.Since(began).Seconds()}, err
}

func (r *run) carried(ctx context.Context) (sum traffic, err error) {
	for url := range strings.SplitSeq(r.varz, ",") {
		var said struct {
			InMessages  float64 `json:"in_msgs"`
			OutMessages float64 `json:"out_msgs"`
			InBytes     float64 `json:"in_bytes"`
			OutBytes    float64 `json:"out_bytes"`
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return traffic{}, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return traffic{}, err
		}
		err = json.NewDecoder(response.Body).Decode(&said)
		_ = response.Body.Close()
		if err != nil {
			return traffic{}, fmt.Errorf("%s: %w", url, err)
		}
		sum.messages += said.InMessages + said.OutMessages
		sum.bytes += said.InBytes + said.OutBytes
	}
	return sum, nil
}
