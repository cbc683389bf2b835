package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	constantTries    = 2000
	constantMessages = 200_000
	constantBytes    = 200
	// constantQuantiles are taken, up to the 99th percentile: what is beyond it is the machine's other work.
	constantQuantiles = 12
)

// found is how long things take on a bus, in microseconds.
type found struct {
	// Hop is from one node to another and Log from a publish at the log to its being stored: quantiles of equal distance.
	Hop []float64 `json:"hop"`
	Log []float64 `json:"log"`
	// Message is how long the server is busy with one message from or to one node.
	Message float64 `json:"message"`
}

// constants measures what the simulation has to know of a bus.
func constants(o options) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	here, err := nats.Connect(o.nats)
	if err != nil {
		return err
	}
	defer here.Close()
	there, err := nats.Connect(o.nats)
	if err != nil {
		return err
	}
	defer there.Close()
	hops, err := measureHops(here, there)
	if err != nil {
		return err
	}
	log, err := measureLog(ctx, here, hops[len(hops)/2])
	if err != nil {
		return err
	}
	message, err := measureMessages(ctx, here, there)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found{quantilesOf(hops), quantilesOf(log), message})
}

// measureHops returns how long a message takes, in order.
func measureHops(here, there *nats.Conn) ([]time.Duration, error) {
	payload := make([]byte, constantBytes)
	sub, err := there.Subscribe("bench.hop", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := there.Flush(); err != nil {
		return nil, err
	}
	took := make([]time.Duration, constantTries)
	for i := range took {
		began := time.Now()
		if _, err := here.Request("bench.hop", payload, patience); err != nil {
			return nil, err
		}
		took[i] = time.Since(began) / 2
	}
	slices.Sort(took)
	return took, nil
}

// measureLog returns how long the log takes to store a record, in order. Its answer to a publish takes a hop in addition.
func measureLog(ctx context.Context, here *nats.Conn, hop time.Duration) ([]time.Duration, error) {
	js, err := jetstream.New(here)
	if err != nil {
		return nil, err
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "bench", Subjects: []string{"bench.log.*"}}); err != nil {
		return nil, err
	}
	took := make([]time.Duration, constantTries)
	for i := range took {
		began := time.Now()
		if _, err := js.Publish(ctx, fmt.Sprintf("bench.log.%d", i%100), make([]byte, constantBytes)); err != nil {
			return nil, err
		}
		took[i] = max(time.Since(began)-hop, 0)
	}
	slices.Sort(took)
	return took, js.DeleteStream(ctx, "bench")
}

// measureMessages returns how long a message takes when there are many, in microseconds.
func measureMessages(ctx context.Context, here, there *nats.Conn) (float64, error) {
	arrived, all := 0, make(chan struct{})
	sub, err := there.Subscribe("bench.message", func(*nats.Msg) {
		if arrived++; arrived == constantMessages {
			close(all)
		}
	})
	if err != nil {
		return 0, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return 0, err
	}
	if err := there.Flush(); err != nil {
		return 0, err
	}
	payload, began := make([]byte, constantBytes), time.Now()
	for range constantMessages {
		if err := here.Publish("bench.message", payload); err != nil {
			return 0, err
		}
	}
	select {
	case <-all:
	case <-ctx.Done():
		return 0, fmt.Errorf("%d messages do not arrive: %w", constantMessages, ctx.Err())
	}
	return float64(time.Since(began).Nanoseconds()) / 1e3 / (2 * constantMessages), nil
}

func quantilesOf(took []time.Duration) []float64 {
	all := make([]float64, constantQuantiles)
	for i := range all {
		at := 0.99 * float64(i) / (constantQuantiles - 1) * float64(len(took)-1)
		all[i] = float64(took[int(at)].Nanoseconds()) / 1e3
	}
	return all
}
