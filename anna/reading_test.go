package anna

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/anna/kernel"
	"cloudburst/anna/record"
	"cloudburst/anna/slots"
	"cloudburst/bus/embedded"
	"cloudburst/lattice"
)

// staged is a follower of a stream whose consumers bring what a script says, as those on a server that is behind, restarts, or loses
// something. What its leader says is the truth.
type staged struct {
	jetstream.Stream
	t        *testing.T
	server   *Server
	follower *follower
	scripts  []func(*puppet)

	mu        sync.Mutex
	puppets   []*puppet
	forgotten int
}

const (
	stagedRecords = 30
	stagePatience = time.Minute
)

// stage makes a stream of so many records, k1 to k30. Its follower has nothing yet.
func stage(t *testing.T, scripts ...func(*puppet)) *staged {
	t.Helper()
	bus, err := embedded.Start(t.Context(), embedded.Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Shutdown)
	conn, err := bus.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	s, err := New(Config{Streams: 1, Slots: 8}, conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.log.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	stage := &staged{Stream: s.log.streams[0], t: t, server: s, follower: s.followers[0], scripts: scripts}
	s.log.streams[0] = stage
	for i := range stagedRecords {
		stage.publish(fmt.Sprint("k", i+1))
	}
	return stage
}

// publish adds a record to the log.
func (s *staged) publish(key string) {
	state := lattice.Put(lattice.Timestamp{Time: uint64(time.Now().UnixMicro()) << 12}, []byte("x"))
	m := &nats.Msg{
		Subject: recordSubject(s.server.cfg.Prefix, 0),
		Data:    record.AppendEntry(record.AppendHead(nil, record.Head{Publisher: 7}), key, false, state),
	}
	if _, err := s.server.log.conn.JetStream.PublishMsg(s.t.Context(), m); err != nil {
		s.t.Error(err)
	}
}

// holds reports whether the kernel has a key.
func (s *staged) holds(key string) bool {
	shard := s.follower.shard
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	_, found := shard.kernel.Held(key)
	return found == kernel.Here
}

func (s *staged) holdsAll() bool {
	for i := range stagedRecords {
		if !s.holds(fmt.Sprint("k", i+1)) {
			return false
		}
	}
	return true
}

// check fails unless there have been consumers from just these sequences, and all have been forgotten.
func (s *staged) check(from ...uint64) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var began []uint64
	for _, p := range s.puppets {
		began = append(began, p.from)
	}
	if !slices.Equal(began, from) || s.forgotten != len(from) {
		s.t.Fatalf("consumers from %v, of which %d were forgotten; want %v", began, s.forgotten, from)
	}
}

func (s *staged) CreateConsumer(_ context.Context, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &puppet{stage: s, from: cfg.OptStartSeq, stopped: make(chan struct{}), closed: make(chan struct{})}
	if len(s.puppets) >= len(s.scripts) {
		return nil, fmt.Errorf("consumer %d is not in the play", len(s.puppets)+1)
	}
	p.script = s.scripts[len(s.puppets)]
	s.puppets = append(s.puppets, p)
	return p, nil
}

func (s *staged) DeleteConsumer(context.Context, string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgotten++
	return nil
}

// puppet is a consumer.
type puppet struct {
	jetstream.Consumer
	stage   *staged
	from    uint64
	script  func(*puppet)
	handler jetstream.MessageHandler
	count   uint64 // its own sequences

	stopped, closed chan struct{}
	stop            sync.Once
}

func (p *puppet) CachedInfo() *jetstream.ConsumerInfo { return &jetstream.ConsumerInfo{Name: "puppet"} }

func (p *puppet) Consume(handler jetstream.MessageHandler, _ ...jetstream.PullConsumeOpt) (jetstream.ConsumeContext, error) {
	p.handler = handler
	go func() {
		defer close(p.closed)
		p.script(p)
	}()
	return p, nil
}

func (p *puppet) Stop()                   { p.stop.Do(func() { close(p.stopped) }) }
func (p *puppet) Drain()                  { p.Stop() }
func (p *puppet) Closed() <-chan struct{} { return p.closed }

// bring brings those of some records that there are, the last with the news that there are no more.
func (p *puppet) bring(from, to uint64) {
	for sequence := from; sequence <= to; sequence++ {
		raw, err := p.stage.GetMsg(p.stage.t.Context(), sequence)
		if err != nil {
			continue
		}
		p.count++
		m := &brought{raw: raw, meta: &jetstream.MsgMetadata{NumPending: to - sequence}}
		m.meta.Sequence = jetstream.SequencePair{Stream: sequence, Consumer: p.count}
		p.handler(m)
	}
}

// wait is until the reader has had enough.
func (p *puppet) wait() { <-p.stopped }

// all is the script of a consumer on a server that has everything.
func all(p *puppet) {
	p.bring(p.from, stagedRecords)
	p.wait()
}

// brought is a message of a puppet.
type brought struct {
	jetstream.Msg
	raw  *jetstream.RawStreamMsg
	meta *jetstream.MsgMetadata
}

func (m *brought) Metadata() (*jetstream.MsgMetadata, error) { return m.meta, nil }
func (m *brought) Data() []byte                              { return m.raw.Data }
func (m *brought) Subject() string                           { return m.raw.Subject }

// read reads the stage's stream as it is followed, or as slots are loaded, until everything is said to be there.
func (s *staged) read(loading bool, pause func(looks int)) {
	s.t.Helper()
	var only slots.Bitmap
	if loading {
		which := make([]uint16, s.server.cfg.Slots)
		only = slots.NewBitmap(len(which))
		for slot := range which {
			which[slot] = uint16(slot)
			only.Set(uint16(slot))
		}
		s.server.kernels.step(s.follower.shard, &kernel.Assign{Slots: which, Tenure: slots.Joining})
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), stagePatience)
	defer cancel()
	looks := 0
	end, err := s.follower.read(ctx, 1, only, func(caughtUp bool) bool {
		if looks++; pause != nil {
			pause(looks)
		}
		if caughtUp && !s.holdsAll() {
			s.t.Error("everything is said to be there, and is not")
		}
		return caughtUp
	})
	if err != nil || end != stagedRecords {
		s.t.Fatalf("read to %d: %v", end, err)
	}
	if !s.holdsAll() {
		s.t.Fatal("records are missing")
	}
}

// eachWay runs a test for a stream that is followed and for slots that are loaded.
func eachWay(t *testing.T, test func(t *testing.T, loading bool)) {
	t.Helper()
	for name, loading := range map[string]bool{"followed": false, "loaded": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, loading)
		})
	}
}

// TestReplicaThatIsBehind: a consumer says that there is no more and brings nothing of what the leader has. It is not believed, and
// another goes on where it has ended.
func TestReplicaThatIsBehind(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, loading bool) {
		s := stage(t, func(p *puppet) {
			p.bring(1, 10)
			p.wait()
		}, all)
		s.read(loading, nil)
		s.check(1, 11)
	})
}

// TestReplicaThatCatchesUp: a consumer that brings the rest bit by bit stays.
func TestReplicaThatCatchesUp(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, loading bool) {
		var ready atomic.Bool
		s := stage(t, func(p *puppet) {
			p.bring(1, stagedRecords-2)
			ready.Store(true)
			p.wait()
		})
		next := uint64(stagedRecords - 1)
		s.read(loading, func(looks int) {
			// There are never followLooks in a row without a record, though as many in all.
			if looks%followLooks == 0 && ready.Load() && next <= stagedRecords {
				s.puppets[0].bring(next, next)
				next++
			}
		})
		s.check(1)
	})
}

// TestLostOnTheWay: what comes after a message that was lost is left out, and brought again with that by another consumer.
func TestLostOnTheWay(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, loading bool) {
		s := stage(t, func(p *puppet) {
			p.bring(1, 5)
			p.count++ // number 6
			p.bring(7, stagedRecords)
			p.wait()
		}, func(p *puppet) {
			if p.stage.holds("k7") {
				t.Error("what came after a gap was taken in")
			}
			all(p)
		})
		s.read(loading, nil)
		s.check(1, 6)
	})
}

// TestConsumerEnds: one that ends by itself is replaced.
func TestConsumerEnds(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, loading bool) {
		s := stage(t, func(p *puppet) { p.bring(1, 12) }, all)
		s.read(loading, nil)
		s.check(1, 13)
	})
}

// TestReplacedWhileItIsRead: a record is not there any more when its turn comes, since what is needed of it is
// beyond the end that was known now. The log is read on until that is there too.
func TestReplacedWhileItIsRead(t *testing.T) {
	t.Parallel()
	s := stage(t, func(p *puppet) {
		p.bring(1, 10)
		p.stage.publish("other")
		for i := 11; i <= 20; i++ {
			p.stage.publish(fmt.Sprint("k", i))
		}
		if err := p.stage.server.log.truncate(p.stage.t.Context(), 0, 21); err != nil {
			p.stage.t.Error(err)
		}
		p.bring(21, stagedRecords+1)
		p.wait()
	}, func(p *puppet) {
		p.bring(p.from, stagedRecords+11)
		p.wait()
	})
	ctx, cancel := context.WithTimeout(t.Context(), stagePatience)
	defer cancel()
	for passes, gap := 1, true; gap; passes++ {
		var err error
		if gap, err = s.follower.replay(ctx); err != nil || passes > 2 {
			t.Fatalf("pass %d: %v", passes, err)
		}
	}
	if !s.holdsAll() || !s.holds("other") {
		t.Fatal("records are missing")
	}
	s.check(1, stagedRecords+2)
}
