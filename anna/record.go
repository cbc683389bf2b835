package anna

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"cloudburst/lattice"
	"cloudburst/wire"
)

// Fields of the messages of anna.proto.
const (
	recordKey, recordPublisher, recordState, recordChunked, recordWhole, recordSince = 1, 2, 3, 4, 5, 6
	chunkedUpload, chunkedCount, chunkedSize, chunkedType, chunkedLatest             = 1, 2, 3, 4, 5
	timestampTime, timestampWriter                                                   = 1, 2
)

// record is one message of the log. Written by hand: it is done for every publish, and for every key when a node starts.
type record struct {
	key       string // when the subject holds only its hash
	publisher uint64
	state     []byte // encoded
	chunked   *chunked
	whole     bool   // all records of the key up to since are merged in it
	since     uint64 // nothing of it lies before
}

// chunked says where a state is that is too large for one message.
type chunked struct {
	upload string
	count  int
	bytes  int
	kind   lattice.Type
	latest lattice.Timestamp
}

// appendRecord appends all of a record but its state, which comes last: appendState follows.
func appendRecord(to []byte, r *record) []byte {
	if r.key != "" {
		to = protowire.AppendTag(to, recordKey, protowire.BytesType)
		to = protowire.AppendString(to, r.key)
	}
	to = protowire.AppendTag(to, recordPublisher, protowire.Fixed64Type)
	to = protowire.AppendFixed64(to, r.publisher)
	if r.whole {
		to = protowire.AppendTag(to, recordWhole, protowire.VarintType)
		to = protowire.AppendVarint(to, 1)
	}
	to = appendVarintField(to, recordSince, r.since)
	if c := r.chunked; c != nil {
		body := protowire.AppendTag(nil, chunkedUpload, protowire.BytesType)
		body = protowire.AppendString(body, c.upload)
		body = appendVarintField(body, chunkedCount, uint64(c.count))
		body = appendVarintField(body, chunkedSize, uint64(c.bytes))
		body = appendVarintField(body, chunkedType, uint64(c.kind))
		stamp := appendVarintField(nil, timestampTime, c.latest.Time)
		stamp = appendVarintField(stamp, timestampWriter, c.latest.Writer)
		body = protowire.AppendTag(body, chunkedLatest, protowire.BytesType)
		body = protowire.AppendBytes(body, stamp)
		to = protowire.AppendTag(to, recordChunked, protowire.BytesType)
		to = protowire.AppendBytes(to, body)
	}
	return to
}

func appendRecordState(to []byte, s *lattice.State) []byte {
	to = protowire.AppendTag(to, recordState, protowire.BytesType)
	to = protowire.AppendVarint(to, uint64(wire.StateSize(s)))
	return wire.AppendState(to, s)
}

func appendVarintField(to []byte, number protowire.Number, v uint64) []byte {
	to = protowire.AppendTag(to, number, protowire.VarintType)
	return protowire.AppendVarint(to, v)
}

var errRecord = errors.New("malformed record")

// decodeRecord takes a message of the log apart. The record shares the message's bytes.
func decodeRecord(data []byte) (r record, err error) {
	err = eachField(data, func(number protowire.Number, v uint64, body []byte) error {
		switch number {
		case recordKey:
			r.key = string(body)
		case recordPublisher:
			r.publisher = v
		case recordState:
			r.state = body
			if body == nil {
				r.state = []byte{}
			}
		case recordWhole:
			r.whole = v != 0
		case recordSince:
			r.since = v
		case recordChunked:
			r.chunked, err = decodeChunked(body)
			return err
		}
		return nil
	})
	if err == nil && (r.state == nil) == (r.chunked == nil) {
		err = fmt.Errorf("%w: neither a state nor the place of its pieces", errRecord)
	}
	return r, err
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
