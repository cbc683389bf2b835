package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"cloudburst/wire/pb"
)

// Limits of the stream. Crossing one in a frame ends the connection, since what follows cannot be trusted.
const (
	// HeaderBytesMax bounds the protobuf header of one frame.
	HeaderBytesMax = 1 << 20
	// PayloadBytesMax bounds all values of one frame together.
	PayloadBytesMax = 128 << 20
	// ValueBytesMax bounds the content of one value; ValueOverheadMax is what its encoding may add.
	ValueBytesMax    = 64 << 20
	ValueOverheadMax = 4 << 10

	prefixBytes = 8
	// readBufferBytes is one bufio.Reader per connection: room for several small frames in one read.
	readBufferBytes = 32 << 10
	// gatherBytes is the payload size from which a frame is written as a vector instead of being copied together.
	gatherBytes = 32 << 10
	// sliceAllocBytes is the most that a length taken from the stream makes us allocate before its bytes are there.
	sliceAllocBytes = 1 << 20
)

// ErrFrame is wrapped by every error about a stream that does not speak the protocol.
var ErrFrame = errors.New("malformed frame")

// Frame is one message of the protocol: a header and the values that belong to it. The values may share one buffer; they
// are immutable from the moment they are read.
type Frame struct {
	Header *pb.Header
	Values [][]byte
}

// FrameReader reads frames from a stream. Owned by one goroutine.
type FrameReader struct {
	buffered *bufio.Reader
	prefix   [prefixBytes]byte
	scratch  []byte
}

// NewFrameReader returns a reader of the frames in r.
func NewFrameReader(r io.Reader) *FrameReader {
	return &FrameReader{buffered: bufio.NewReaderSize(r, readBufferBytes)}
}

// NewFrameReaderFrom is NewFrameReader for a stream whose first bytes are in a bufio.Reader already, as after an HTTP upgrade.
func NewFrameReaderFrom(r *bufio.Reader) *FrameReader {
	return &FrameReader{buffered: r}
}

// Read returns the next frame. It returns io.EOF at the end between two frames, and an error wrapping ErrFrame when the
// stream breaks the protocol; the stream must then be closed.
func (r *FrameReader) Read() (Frame, error) {
	if _, err := io.ReadFull(r.buffered, r.prefix[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return Frame{}, fmt.Errorf("%w: stream ended inside a length prefix", ErrFrame)
		}
		return Frame{}, err
	}
	headerBytes := int(binary.LittleEndian.Uint32(r.prefix[0:]))
	payloadBytes := int(binary.LittleEndian.Uint32(r.prefix[4:]))
	if headerBytes > HeaderBytesMax {
		return Frame{}, fmt.Errorf("%w: header of %d bytes, the limit is %d", ErrFrame, headerBytes, HeaderBytesMax)
	}
	if payloadBytes > PayloadBytesMax {
		return Frame{}, fmt.Errorf("%w: payload of %d bytes, the limit is %d", ErrFrame, payloadBytes, PayloadBytesMax)
	}
	header, err := r.header(headerBytes)
	if err != nil {
		return Frame{}, err
	}
	payload, err := r.payload(payloadBytes)
	if err != nil {
		return Frame{}, err
	}
	values, err := cut(payload, header.GetSizes())
	if err != nil {
		return Frame{}, err
	}
	return Frame{Header: header, Values: values}, nil
}

// Buffered reports how many bytes have been read from the stream and not yet been returned.
func (r *FrameReader) Buffered() int { return r.buffered.Buffered() }

func (r *FrameReader) header(n int) (*pb.Header, error) {
	// A header that fits into the buffer is parsed in place; nothing of it is kept.
	if n <= r.buffered.Size() {
		raw, err := r.buffered.Peek(n)
		if err != nil {
			return nil, truncated("header", err)
		}
		header, err := decodeHeader(raw)
		if err != nil {
			return nil, err
		}
		_, err = r.buffered.Discard(n)
		return header, err
	}
	if cap(r.scratch) < n {
		r.scratch = make([]byte, n)
	}
	raw := r.scratch[:n]
	if _, err := io.ReadFull(r.buffered, raw); err != nil {
		return nil, truncated("header", err)
	}
	return decodeHeader(raw)
}

// payload reads n bytes into a buffer of their own. A large buffer grows with what arrives, so that a lying length costs
// the sender as much as it costs us.
func (r *FrameReader) payload(n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	payload := make([]byte, min(n, sliceAllocBytes))
	filled := 0
	for {
		if _, err := io.ReadFull(r.buffered, payload[filled:]); err != nil {
			return nil, truncated("payload", err)
		}
		if len(payload) == n {
			return payload, nil
		}
		filled = len(payload)
		grown := make([]byte, min(n, len(payload)*4))
		copy(grown, payload)
		payload = grown
	}
}

func truncated(part string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: stream ended inside a %s", ErrFrame, part)
	}
	return err
}

// cut returns payload as the values whose sizes are given.
func cut(payload []byte, sizes []uint32) ([][]byte, error) {
	if len(sizes) == 0 {
		if len(payload) != 0 {
			return nil, fmt.Errorf("%w: %d payload bytes belong to no value", ErrFrame, len(payload))
		}
		return nil, nil
	}
	values := make([][]byte, len(sizes))
	rest := payload
	for i, size := range sizes {
		if uint64(size) > uint64(len(rest)) {
			return nil, fmt.Errorf("%w: value %d of %d bytes reaches past the payload", ErrFrame, i, size)
		}
		values[i] = rest[:size:size]
		rest = rest[size:]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d payload bytes belong to no value", ErrFrame, len(rest))
	}
	return values, nil
}

// WriteFrame writes a frame to w in one system call, and returns buf, grown as needed, for the next frame. It sets
// header.Sizes. A frame that crosses a limit is an error wrapping ErrTooLarge, one with a string that is not UTF-8 an error wrapping
// ErrInvalidArgument; then nothing is written.
func WriteFrame(w io.Writer, buf []byte, header *pb.Header, values [][]byte) ([]byte, error) {
	header.Sizes = header.Sizes[:0]
	payloadBytes := 0
	for _, v := range values {
		header.Sizes = append(header.Sizes, uint32(min(len(v), PayloadBytesMax+1)))
		payloadBytes += len(v)
	}
	if payloadBytes > PayloadBytesMax {
		return buf, Errorf(pb.Code_CODE_TOO_LARGE, "the values of one message are %d bytes together; the limit is %d", payloadBytes, PayloadBytesMax)
	}
	var prefix [prefixBytes]byte
	buf = append(buf[:0], prefix[:]...)
	buf, err := appendHeader(buf, header)
	if err != nil {
		return buf, Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a key, a prefix or a name in the message is not UTF-8")
	}
	headerBytes := len(buf) - prefixBytes
	if headerBytes > HeaderBytesMax {
		return buf, Errorf(pb.Code_CODE_TOO_LARGE, "the header of one message is %d bytes; the limit is %d", headerBytes, HeaderBytesMax)
	}
	binary.LittleEndian.PutUint32(buf[0:], uint32(headerBytes))
	binary.LittleEndian.PutUint32(buf[4:], uint32(payloadBytes))
	if payloadBytes < gatherBytes {
		for _, v := range values {
			buf = append(buf, v...)
		}
		_, err = w.Write(buf)
		return buf, err
	}
	vector := make(net.Buffers, 0, 1+len(values))
	vector = append(vector, buf)
	for _, v := range values {
		if len(v) > 0 {
			vector = append(vector, v)
		}
	}
	_, err = vector.WriteTo(w)
	return buf, err
}

// CheckValue returns an error wrapping ErrTooLarge when a value crosses the limit, and one wrapping ErrInvalidArgument when
// it is none.
func CheckValue(what string, value []byte) error {
	switch {
	case len(value) == 0:
		return Errorf(pb.Code_CODE_INVALID_ARGUMENT, "%s has no bytes; a value starts with its codec byte", what)
	case len(value) > ValueBytesMax+ValueOverheadMax:
		return Errorf(pb.Code_CODE_TOO_LARGE, "%s is %d bytes; the limit is %d (64 MiB)", what, len(value), ValueBytesMax)
	}
	return nil
}
