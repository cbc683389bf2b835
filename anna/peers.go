package anna

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"cloudburst/bus"
)

// peers sends messages to the other nodes of the store, over the bus.
type peers struct {
	conn   *bus.Conn
	prefix string
	self   string // this member
}

// slotSubject is where the masters of a slot are asked; the bus chooses one of them.
func (p *peers) slotSubject(slot uint16) string {
	return p.prefix + ".ask." + strconv.Itoa(int(slot))
}

// nodeSubject is where one member gets messages of a kind.
func (p *peers) nodeSubject(member, kind string) string {
	return p.prefix + ".node." + member + "." + kind
}

// send sends a message, in parts if it is large. The sender chooses the id, which is the same for all parts. Answers go to reply, if that
// is not empty.
func (p *peers) send(subject, reply string, id uint64, m proto.Message) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode a message to another node: %w", err)
	}
	return p.sendEncoded(subject, reply, id, data)
}

func (p *peers) sendEncoded(subject, reply string, id uint64, data []byte) error {
	return cutParts(id, data, func(part []byte) error {
		if reply == "" {
			return p.conn.NATS.Publish(subject, part) // PublishRequest would refuse that
		}
		return p.conn.NATS.PublishRequest(subject, reply, part)
	})
}
