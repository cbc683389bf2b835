package anna

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"cloudburst/anna/record"
)

// What nodes say to each other may be larger than a message of the bus: then it is cut into parts. Every message is
//
//	id     u64, little-endian: of what it is a part of, chosen by the sender
//	index  u32
//	count  u32
//	the part
const (
	partHead = 16
	// partBytes is the size of a part; a server of the bus takes twice as much by default.
	partBytes = 512 << 10
	// assembliesMax bounds what is being put together at a time, and assemblyTimeout how long.
	assembliesMax   = 256
	assemblyTimeout = 30 * time.Second
)

// cutParts hands the messages that carry data to send.
func cutParts(id uint64, data []byte, send func(message []byte) error) error {
	count := max(1, (len(data)+partBytes-1)/partBytes)
	for i := range count {
		part := data[i*partBytes : min(len(data), (i+1)*partBytes)]
		message := make([]byte, partHead, partHead+len(part))
		binary.LittleEndian.PutUint64(message, id)
		binary.LittleEndian.PutUint32(message[8:], uint32(i))
		binary.LittleEndian.PutUint32(message[12:], uint32(count))
		if err := send(append(message, part...)); err != nil {
			return err
		}
	}
	return nil
}

var errPart = errors.New("malformed part of a message")

// assemblies puts parts together. Safe for concurrent use.
type assemblies struct {
	mu   sync.Mutex
	open map[assemblyKey]*assembly
}

// assemblyKey names what is being put together: ids are chosen by their senders, who are told apart by where they want the answer.
type assemblyKey struct {
	sender string
	id     uint64
}

type assembly struct {
	parts [][]byte
	left  int
	bytes int
	began time.Time
}

// add takes a message and returns what it completes, nil if nothing.
func (a *assemblies) add(sender string, message []byte, now time.Time) (id uint64, data []byte, err error) {
	if len(message) < partHead {
		return 0, nil, errPart
	}
	id = binary.LittleEndian.Uint64(message)
	index := binary.LittleEndian.Uint32(message[8:])
	count := binary.LittleEndian.Uint32(message[12:])
	part := message[partHead:]
	if count == 1 && index == 0 {
		return id, part, nil
	}
	if index >= count || count > record.StateBytesMax/partBytes+1 || len(part) > partBytes {
		return 0, nil, errPart
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == nil {
		a.open = map[assemblyKey]*assembly{}
	}
	key := assemblyKey{sender, id}
	whole := a.open[key]
	if whole == nil {
		if len(a.open) >= assembliesMax {
			a.sweep(now)
		}
		if len(a.open) >= assembliesMax {
			return 0, nil, errors.New("too many large messages at a time")
		}
		whole = &assembly{parts: make([][]byte, count), left: int(count), began: now}
		a.open[key] = whole
	}
	if len(whole.parts) != int(count) || whole.parts[index] != nil {
		delete(a.open, key)
		return 0, nil, errPart
	}
	whole.parts[index] = part
	whole.bytes += len(part)
	if whole.left--; whole.left > 0 {
		return id, nil, nil
	}
	delete(a.open, key)
	data = make([]byte, 0, whole.bytes)
	for _, p := range whole.parts {
		data = append(data, p...)
	}
	return id, data, nil
}

// decode takes a message, and decodes what it completes into a protocol message. It reports whether there is a whole one, even if that
// cannot be decoded.
func (a *assemblies) decode(sender string, message []byte, into proto.Message, now time.Time) (id uint64, complete bool, err error) {
	id, data, err := a.add(sender, message, now)
	if err != nil || data == nil {
		return id, false, err
	}
	return id, true, proto.Unmarshal(data, into)
}

// sweep gives up on what has not been completed in time. The caller holds a.mu.
func (a *assemblies) sweep(now time.Time) {
	for key, whole := range a.open {
		if now.Sub(whole.began) > assemblyTimeout {
			delete(a.open, key)
		}
	}
}
