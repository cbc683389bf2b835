// Package record is the format of the records of the store's log (proto/cloudburst/anna.proto). It is written by hand, since a record
// is encoded for every publish and decoded for every record when a node starts.
package record

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"cloudburst/lattice"
	"cloudburst/wire"
)

// StateBytesMax bounds what one key may hold, encoded.
const StateBytesMax = 1 << 30

// Fields of the messages of anna.proto.
const (
	recordPublisher, recordSince, recordEntry                            = 1, 2, 3
	entryKey, entryState, entryChunked, entryWhole                       = 1, 2, 3, 4
	chunkedUpload, chunkedCount, chunkedSize, chunkedType, chunkedLatest = 1, 2, 3, 4, 5
	timestampTime, timestampWriter                                       = 1, 2
)

// Head is what a record says of itself. Its entries follow.
type Head struct {
	// Publisher is the kernel that published the record.
	Publisher uint64
	// Since is a sequence of the log: the record, and the chunks that it names, come after it.
	Since uint64
}

// Entry is what a record says of one key.
type Entry struct {
	// Key shares the bytes of the record.
	Key string
	// State is encoded, and shares the bytes of the record; nil = it is in Chunks.
	State  []byte
	Chunks *Chunks
	// Whole says that all records of the key up to Head.Since are merged in the state.
	Whole bool
}

// Chunks says where a state is that is too large for one message of the log.
type Chunks struct {
	// Upload names the chunks, Count is how many there are, and Bytes how many bytes they have together.
	Upload       string
	Count, Bytes int
	// Type is that of the state's lattice, and Latest its latest stamp.
	Type   lattice.Type
	Latest lattice.Timestamp
}

// AppendHead appends the head of a record. Its entries come next, by AppendEntry and AppendChunked.
func AppendHead(to []byte, r Head) []byte {
	to = protowire.AppendTag(to, recordPublisher, protowire.Fixed64Type)
	to = protowire.AppendFixed64(to, r.Publisher)
	return appendVarintField(to, recordSince, r.Since)
}

// AppendEntry appends what a record says of a key whose state is in the record.
func AppendEntry(to []byte, key string, whole bool, state *lattice.State) []byte {
	bytes := wire.StateSize(state)
	to = appendEntry(to, key, whole, entryState, bytes)
	return wire.AppendState(to, state)
}

// AppendChunked appends what a record says of a key whose state is in chunks.
func AppendChunked(to []byte, key string, whole bool, c *Chunks) []byte {
	body := appendChunks(nil, c)
	to = appendEntry(to, key, whole, entryChunked, len(body))
	return append(to, body...)
}

// appendEntry appends an entry up to the content of its last field, which is so many bytes long.
func appendEntry(to []byte, key string, whole bool, last protowire.Number, bytes int) []byte {
	size := protowire.SizeTag(entryKey) + protowire.SizeBytes(len(key)) + protowire.SizeTag(last) + protowire.SizeBytes(bytes)
	if whole {
		size += protowire.SizeTag(entryWhole) + 1
	}
	to = protowire.AppendTag(to, recordEntry, protowire.BytesType)
	to = protowire.AppendVarint(to, uint64(size))
	to = protowire.AppendTag(to, entryKey, protowire.BytesType)
	to = protowire.AppendString(to, key)
	if whole {
		to = appendVarintField(to, entryWhole, 1)
	}
	to = protowire.AppendTag(to, last, protowire.BytesType)
	return protowire.AppendVarint(to, uint64(bytes))
}

func appendChunks(to []byte, c *Chunks) []byte {
	to = protowire.AppendTag(to, chunkedUpload, protowire.BytesType)
	to = protowire.AppendString(to, c.Upload)
	to = appendVarintField(to, chunkedCount, uint64(c.Count))
	to = appendVarintField(to, chunkedSize, uint64(c.Bytes))
	to = appendVarintField(to, chunkedType, uint64(c.Type))
	stamp := appendVarintField(nil, timestampTime, c.Latest.Time)
	stamp = appendVarintField(stamp, timestampWriter, c.Latest.Writer)
	to = protowire.AppendTag(to, chunkedLatest, protowire.BytesType)
	return protowire.AppendBytes(to, stamp)
}

func appendVarintField(to []byte, number protowire.Number, v uint64) []byte {
	to = protowire.AppendTag(to, number, protowire.VarintType)
	return protowire.AppendVarint(to, v)
}

// ErrMalformed says that a record cannot be decoded.
var ErrMalformed = errors.New("malformed record")

// Decode decodes a record, whose bytes must not change afterwards. It calls take with each entry in turn, and stops with the error that
// take returns.
func Decode(data []byte, take func(*Entry) error) (r Head, err error) {
	err = eachField(data, func(number protowire.Number, v uint64, body []byte) error {
		switch number {
		case recordPublisher:
			r.Publisher = v
		case recordSince:
			r.Since = v
		case recordEntry:
			var e Entry
			if err := decodeEntry(body, &e); err != nil {
				return err
			}
			return take(&e)
		}
		return nil
	})
	return r, err
}

// Find returns what a record says of a key; nil = nothing.
func Find(data []byte, key string) (Head, *Entry, error) {
	var found *Entry
	r, err := Decode(data, func(e *Entry) error {
		if e.Key == key {
			found = e
		}
		return nil
	})
	return r, found, err
}

func decodeEntry(data []byte, e *Entry) error {
	err := eachField(data, func(number protowire.Number, v uint64, body []byte) (err error) {
		switch number {
		case entryKey:
			e.Key = unsafe.String(unsafe.SliceData(body), len(body))
		case entryWhole:
			e.Whole = v != 0
		case entryState:
			e.State = body
			if body == nil {
				e.State = []byte{}
			}
		case entryChunked:
			e.Chunks, err = decodeChunks(body)
		}
		return err
	})
	if err == nil && (len(e.Key) == 0 || (e.State == nil) == (e.Chunks == nil)) {
		err = fmt.Errorf("%w: an entry without a key, or with neither a state nor the place of its chunks", ErrMalformed)
	}
	return err
}

func decodeChunks(data []byte) (*Chunks, error) {
	c := new(Chunks)
	err := eachField(data, func(number protowire.Number, v uint64, body []byte) error {
		switch number {
		case chunkedUpload:
			c.Upload = string(body)
		case chunkedCount:
			c.Count = int(min(v, math.MaxInt32))
		case chunkedSize:
			c.Bytes = int(min(v, math.MaxInt64))
		case chunkedType:
			c.Type = lattice.Type(min(v, math.MaxUint8))
		case chunkedLatest:
			return eachField(body, func(number protowire.Number, v uint64, _ []byte) error {
				switch number {
				case timestampTime:
					c.Latest.Time = v
				case timestampWriter:
					c.Latest.Writer = v
				}
				return nil
			})
		}
		return nil
	})
	if err == nil && (c.Upload == "" || c.Count < 1 || c.Bytes < 1 || c.Bytes > StateBytesMax) {
		err = fmt.Errorf("%w: %d chunks of %d bytes together", ErrMalformed, c.Count, c.Bytes)
	}
	return c, err
}

// eachField walks over the fields of a message.
func eachField(data []byte, field func(number protowire.Number, v uint64, body []byte) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(n))
		}
		data = data[n:]
		var v uint64
		var body []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(data)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(data)
		case protowire.BytesType:
			body, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(number, kind, data)
		}
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(n))
		}
		data = data[n:]
		if err := field(number, v, body); err != nil {
			return err
		}
	}
	return nil
}

// DecodeState decodes a state and copies its value, so that the record, which may be much larger, is not kept in memory for that.
func DecodeState(data []byte) (*lattice.State, error) {
	s, err := wire.DecodeState(data)
	if err != nil {
		return nil, err
	}
	if lww, ok := s.Lattice.(*lattice.LWW); ok {
		lww.Value = bytes.Clone(lww.Value)
	}
	return s, nil
}
