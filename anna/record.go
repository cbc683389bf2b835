package anna

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

// stateBytesMax bounds what one key may hold, encoded.
const stateBytesMax = 1 << 30

// Fields of the messages of anna.proto.
const (
	recordPublisher, recordSince, recordEntry                            = 1, 2, 3
	entryKey, entryState, entryChunked, entryWhole                       = 1, 2, 3, 4
	chunkedUpload, chunkedCount, chunkedSize, chunkedType, chunkedLatest = 1, 2, 3, 4, 5
	timestampTime, timestampWriter                                       = 1, 2
)

// record is one message of the log, but for its entries. Written by hand: it is done for every publish, and for every record when a
// node starts.
type record struct {
	publisher uint64
	since     uint64 // nothing of it lies before
}

// entry is what a record says of one key.
type entry struct {
	key     string // shares the bytes of the record
	state   []byte // encoded
	chunked *chunked
	whole   bool // all records of the key up to record.since are merged in it
}

// chunked says where a state is that is too large for one message.
type chunked struct {
	upload string
	count  int
	bytes  int
	kind   lattice.Type
	latest lattice.Timestamp
}

// appendRecord appends all of a record but its entries, which come last: appendEntry follows.
func appendRecord(to []byte, r record) []byte {
	to = protowire.AppendTag(to, recordPublisher, protowire.Fixed64Type)
	to = protowire.AppendFixed64(to, r.publisher)
	return appendVarintField(to, recordSince, r.since)
}

// appendEntry appends what a record says of a key. Its state is in c if there is one.
func appendEntry(to []byte, e *Entry, c *chunked) []byte {
	var body []byte
	size := protowire.SizeTag(entryKey) + protowire.SizeBytes(len(e.Key))
	if e.Whole {
		size += protowire.SizeTag(entryWhole) + 1
	}
	state := 0
	if c != nil {
		body = appendChunked(nil, c)
		size += protowire.SizeTag(entryChunked) + protowire.SizeBytes(len(body))
	} else {
		state = wire.StateSize(e.State)
		size += protowire.SizeTag(entryState) + protowire.SizeBytes(state)
	}
	to = protowire.AppendTag(to, recordEntry, protowire.BytesType)
	to = protowire.AppendVarint(to, uint64(size))
	to = protowire.AppendTag(to, entryKey, protowire.BytesType)
	to = protowire.AppendString(to, e.Key)
	if e.Whole {
		to = appendVarintField(to, entryWhole, 1)
	}
	if c != nil {
		to = protowire.AppendTag(to, entryChunked, protowire.BytesType)
		return protowire.AppendBytes(to, body)
	}
	to = protowire.AppendTag(to, entryState, protowire.BytesType)
	to = protowire.AppendVarint(to, uint64(state))
	return wire.AppendState(to, e.State)
}

func appendChunked(to []byte, c *chunked) []byte {
	to = protowire.AppendTag(to, chunkedUpload, protowire.BytesType)
	to = protowire.AppendString(to, c.upload)
	to = appendVarintField(to, chunkedCount, uint64(c.count))
	to = appendVarintField(to, chunkedSize, uint64(c.bytes))
	to = appendVarintField(to, chunkedType, uint64(c.kind))
	stamp := appendVarintField(nil, timestampTime, c.latest.Time)
	stamp = appendVarintField(stamp, timestampWriter, c.latest.Writer)
	to = protowire.AppendTag(to, chunkedLatest, protowire.BytesType)
	return protowire.AppendBytes(to, stamp)
}

func appendVarintField(to []byte, number protowire.Number, v uint64) []byte {
	to = protowire.AppendTag(to, number, protowire.VarintType)
	return protowire.AppendVarint(to, v)
}

var errRecord = errors.New("malformed record")

// decodeRecord takes a message of the log apart. Each of its entries, which share its bytes, is given to take.
func decodeRecord(data []byte, take func(*entry) error) (r record, err error) {
	err = eachField(data, func(number protowire.Number, v uint64, body []byte) error {
		switch number {
		case recordPublisher:
			r.publisher = v
		case recordSince:
			r.since = v
		case recordEntry:
			var e entry
			if err := decodeEntry(body, &e); err != nil {
				return err
			}
			return take(&e)
		}
		return nil
	})
	return r, err
}

// entryOf returns what a record says of a key; nil = nothing.
func entryOf(data []byte, key string) (record, *entry, error) {
	var found *entry
	r, err := decodeRecord(data, func(e *entry) error {
		if e.key == key {
			found = e
		}
		return nil
	})
	return r, found, err
}

func decodeEntry(data []byte, e *entry) error {
	err := eachField(data, func(number protowire.Number, v uint64, body []byte) (err error) {
		switch number {
		case entryKey:
			e.key = unsafe.String(unsafe.SliceData(body), len(body))
		case entryWhole:
			e.whole = v != 0
		case entryState:
			e.state = body
			if body == nil {
				e.state = []byte{}
			}
		case entryChunked:
			e.chunked, err = decodeChunked(body)
		}
		return err
	})
	if err == nil && (len(e.key) == 0 || (e.state == nil) == (e.chunked == nil)) {
		err = fmt.Errorf("%w: an entry without a key, or with neither a state nor the place of its pieces", errRecord)
	}
	return err
}

func decodeChunked(data []byte) (*chunked, error) {
	c := new(chunked)
	err := eachField(data, func(number protowire.Number, v uint64, body []byte) error {
		switch number {
		case chunkedUpload:
			c.upload = string(body)
		case chunkedCount:
			c.count = int(min(v, math.MaxInt32))
		case chunkedSize:
			c.bytes = int(min(v, math.MaxInt64))
		case chunkedType:
			c.kind = lattice.Type(min(v, math.MaxUint8))
		case chunkedLatest:
			return eachField(body, func(number protowire.Number, v uint64, _ []byte) error {
				switch number {
				case timestampTime:
					c.latest.Time = v
				case timestampWriter:
					c.latest.Writer = v
				}
				return nil
			})
		}
		return nil
	})
	if err == nil && (c.upload == "" || c.count < 1 || c.bytes < 1 || c.bytes > stateBytesMax) {
		err = fmt.Errorf("%w: %d pieces of %d bytes together", errRecord, c.count, c.bytes)
	}
	return c, err
}

// eachField walks over the fields of a message.
func eachField(data []byte, field func(number protowire.Number, v uint64, body []byte) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return fmt.Errorf("%w: %w", errRecord, protowire.ParseError(n))
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
			return fmt.Errorf("%w: %w", errRecord, protowire.ParseError(n))
		}
		data = data[n:]
		if err := field(number, v, body); err != nil {
			return err
		}
	}
	return nil
}

// decodeOwnState decodes a state whose bytes are lent, such as those of a message that is much larger than its value.
func decodeOwnState(data []byte) (*lattice.State, error) {
	s, err := wire.DecodeState(data)
	if err != nil {
		return nil, err
	}
	if lww, ok := s.Lattice.(*lattice.LWW); ok {
		lww.Value = bytes.Clone(lww.Value)
	}
	return s, nil
}
