package anna

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"cloudburst/wire/pb"
)

const (
	mastersGroup = "masters"
	// inboxMax bounds the requests of other nodes that wait for an answer; further ones are lost, and asked again.
	inboxMax = 1 << 15
)

// inbox takes the requests of other nodes, for this member and for the slots that it serves.
type inbox struct {
	peers   *peers
	logger  *slog.Logger
	waiting chan *nats.Msg
	parts   assemblies
	// answer does what is asked for. It calls reply at most once, now or later.
	answer func(ask *pb.Ask, reply func(*pb.Answer))

	mu     sync.Mutex
	slots  []*nats.Subscription
	member *nats.Subscription
}

func newInbox(p *peers, logger *slog.Logger, slots int, answer func(*pb.Ask, func(*pb.Answer))) *inbox {
	return &inbox{peers: p, logger: logger, waiting: make(chan *nats.Msg, inboxMax), slots: make([]*nats.Subscription, slots), answer: answer}
}

// open takes requests for this member.
func (b *inbox) open() (stop func(), err error) {
	b.member, err = b.peers.conn.NATS.ChanSubscribe(b.peers.nodeSubject(b.peers.self, "ask"), b.waiting)
	if err != nil {
		return nil, fmt.Errorf("take requests of the other nodes of the store: %w", err)
	}
	return func() { _ = b.member.Unsubscribe() }, nil // fails only when the connection is closed
}

// closeMember takes no more requests for this member. A node that sends one learns at once that it cannot be answered.
func (b *inbox) closeMember() { _ = b.member.Drain() } // fails only when the connection is closed

// listen takes requests for slots.
func (b *inbox) listen(slots []uint16) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, slot := range slots {
		if b.slots[slot] != nil {
			continue
		}
		sub, err := b.peers.conn.NATS.ChanQueueSubscribe(b.peers.slotSubject(slot), mastersGroup, b.waiting)
		if err != nil {
			return fmt.Errorf("take requests for slot %d: %w", slot, err)
		}
		b.slots[slot] = sub
	}
	return nil
}

// unlisten takes no more requests for slots.
func (b *inbox) unlisten(slots []uint16) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, slot := range slots {
		if sub := b.slots[slot]; sub != nil {
			// Requests that are on their way to this node still arrive, and are told that others are the masters now.
			_ = sub.Drain() // fails only when the connection is closed
			b.slots[slot] = nil
		}
	}
}

// run answers requests until ctx ends. It is one goroutine, so that the requests of one node keep their order.
func (b *inbox) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-b.waiting:
			ask := new(pb.Ask)
			id, complete, err := b.parts.decode(m.Reply, m.Data, ask, time.Now())
			if err != nil {
				b.logger.Warn("a request of another node cannot be decoded", "error", err)
			}
			if complete && err == nil {
				b.answer(ask, func(answer *pb.Answer) { b.reply(m.Reply, id, answer) })
			}
		}
	}
}

func (b *inbox) reply(to string, id uint64, answer *pb.Answer) {
	if to == "" {
		return
	}
	answer.Member = b.peers.self
	if err := b.peers.send(to, "", id, answer); err != nil {
		b.logger.Warn("another node gets no answer", "error", err)
	}
}
