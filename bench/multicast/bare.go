package main

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// bareBytes is the size of a bare message.
const bareBytes = 8

// bare sends messages over the bus without a store: what they take is what the machine and the bus take at that time.
type bare struct {
	from, to *nats.Conn

	mu    sync.Mutex
	began map[uint64]time.Time
	took  []time.Duration
}

func newBare(o options) (*bare, error) {
	b := &bare{began: map[uint64]time.Time{}}
	var err error
	if b.from, err = nats.Connect(o.nats); err != nil {
		return nil, err
	}
	if b.to, err = nats.Connect(o.nats); err == nil {
		if _, err = b.to.Subscribe("bench.bare", b.arrived); err == nil {
			err = b.to.Flush()
		}
	}
	if err != nil {
		b.close()
	}
	return b, err
}

func (b *bare) close() {
	b.from.Close()
	if b.to != nil {
		b.to.Close()
	}
}

func (b *bare) send(number int) error {
	b.mu.Lock()
	b.began[uint64(number)] = time.Now()
	b.mu.Unlock()
	return b.from.Publish("bench.bare", binary.LittleEndian.AppendUint64(nil, uint64(number)))
}

func (b *bare) arrived(m *nats.Msg) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.took = append(b.took, time.Since(b.began[binary.LittleEndian.Uint64(m.Data)]))
}

// taken returns how long those took that have arrived.
func (b *bare) taken() []time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.took
}
