// Command zipf writes and reads keys of a store that speaks the Redis protocol, drawn from a Zipf distribution of any exponent, and
// prints what it got through as JSON. Exponent 0 draws all keys alike; with 4 nearly all commands go to one.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sort"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

type options struct {
	address, password string
	command           string
	exponent          float64
	keys              int
	connections       int
	pipeline          int
	bytes             int
	duration          time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.address, "address", "127.0.0.1:7379", "the server")
	flag.StringVar(&o.password, "password", "", "its password")
	flag.StringVar(&o.command, "command", "SET", "SET, GET or INCR")
	flag.Float64Var(&o.exponent, "exponent", 0, "of the distribution")
	flag.IntVar(&o.keys, "keys", 100_000, "how many keys there are")
	flag.IntVar(&o.connections, "connections", 50, "how many clients there are")
	flag.IntVar(&o.pipeline, "pipeline", 16, "commands that a client sends at a time")
	flag.IntVar(&o.bytes, "bytes", 100, "of a value")
	flag.DurationVar(&o.duration, "duration", 2*time.Second, "of the measurement")
	flag.Parse()
	if err := measure(o); err != nil {
		fmt.Fprintln(os.Stderr, "zipf:", err)
		os.Exit(1)
	}
}

// result is what is printed. Latencies are of whole pipelines, in microseconds.
type result struct {
	Commands  int     `json:"commands"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50"`
	P99       float64 `json:"p99"`
}

func measure(o options) error {
	draw := cumulative(o.keys, o.exponent)
	value := string(slices.Repeat([]byte("x"), o.bytes))
	all := make([][]time.Duration, o.connections)
	began := time.Now()
	group, ctx := errgroup.WithContext(context.Background())
	for i := range all {
		group.Go(func() error {
			took, err := converse(ctx, o, draw, value, began.Add(o.duration), uint64(i))
			all[i] = took
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	elapsed := time.Since(began)
	latencies := slices.Concat(all...)
	if len(latencies) == 0 {
		return errors.New("nothing was answered")
	}
	slices.Sort(latencies)
	at := func(p float64) float64 { return float64(latencies[int(p*float64(len(latencies)-1))].Microseconds()) }
	n := len(latencies) * o.pipeline
	return json.NewEncoder(os.Stdout).Encode(result{n, float64(n) / elapsed.Seconds(), at(0.5), at(0.99)})
}

// cumulative returns the distribution function of the keys, the most frequent first.
func cumulative(keys int, exponent float64) []float64 {
	sums := make([]float64, keys)
	sum := 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -exponent)
		sums[i] = sum
	}
	for i := range sums {
		sums[i] /= sum
	}
	return sums
}

// converse is one client.
func converse(ctx context.Context, o options, draw []float64, value string, end time.Time, seed uint64) ([]time.Duration, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", o.address)
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", o.address, err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(end.Add(time.Minute)); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 64<<10)
	if o.password != "" {
		if _, err := conn.Write(encode(nil, "AUTH", o.password)); err != nil {
			return nil, err
		}
		if err := discard(in); err != nil {
			return nil, fmt.Errorf("say the password: %w", err)
		}
	}
	random := rand.New(rand.NewPCG(seed, 1))
	names := "zipf:"
	if o.command == "INCR" {
		names = "count:" // what SET has written is not a number
	}
	var took []time.Duration
	var out []byte
	for time.Now().Before(end) {
		out = out[:0]
		for range o.pipeline {
			key := names + strconv.Itoa(sort.SearchFloat64s(draw, random.Float64()))
			if o.command == "SET" {
				out = encode(out, o.command, key, value)
			} else {
				out = encode(out, o.command, key)
			}
		}
		began := time.Now()
		if _, err := conn.Write(out); err != nil {
			return nil, err
		}
		for range o.pipeline {
			if err := discard(in); err != nil {
				return nil, err
			}
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

func encode(to []byte, words ...string) []byte {
	to = append(to, '*')
	to = strconv.AppendInt(to, int64(len(words)), 10)
	for _, word := range words {
		to = append(to, "\r\n$"...)
		to = strconv.AppendInt(to, int64(len(word)), 10)
		to = append(to, "\r\n"...)
		to = append(to, word...)
	}
	return append(to, "\r\n"...)
}

// discard reads one reply, which is an error when the server says so.
func discard(in *bufio.Reader) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	switch line[0] {
	case '-':
		return fmt.Errorf("the server says: %s", line[1:])
	case '$':
		n, err := strconv.Atoi(string(line[1 : len(line)-2]))
		if err != nil || n < 0 {
			return err
		}
		_, err = io.CopyN(io.Discard, in, int64(n+2))
		return err
	}
	return nil
}
