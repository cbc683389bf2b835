package wire

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"cloudburst/wire/pb"
)

// Numbers of the fields that are read and written by hand, as in frame.proto.
const (
	headerID    protowire.Number = 1
	headerSizes protowire.Number = 2
	headerDone  protowire.Number = 4
	headerCall  protowire.Number = 10

	callRunID     protowire.Number = 1
	callFunction  protowire.Number = 2
	callDAG       protowire.Number = 3
	callArguments protowire.Number = 4
	callLevel     protowire.Number = 5
	callTimeout   protowire.Number = 6
	callStore     protowire.Number = 7
	callOutputKey protowire.Number = 8

	argumentsFunction   protowire.Number = 1
	argumentsPositional protowire.Number = 2
	argumentsKeywords   protowire.Number = 3
)

// done is the body of every answer without one of its own that is read. Immutable.
var done = &pb.Header_Done{Done: &pb.Done{}}

// answerHeader and callHeader are headers with all that belongs to them, so that each is one allocation.
type answerHeader struct {
	header pb.Header
	sizes  [1]uint32
}

type callHeader struct {
	header    pb.Header
	sizes     [4]uint32
	body      pb.Header_Call
	call      pb.Call
	runID     RunID
	function  pb.Call_Function
	dag       pb.Call_Dag
	arguments [1]pb.Arguments
	list      [1]*pb.Arguments
}

// decodeHeader parses a header. Calls and answers, which are nearly all there are, are parsed by hand; whatever is unusual
// about one leaves it to the generated code, which also knows what is wrong with it.
func decodeHeader(raw []byte) (*pb.Header, error) {
	if header := decodeHot(raw); header != nil {
		return header, nil
	}
	header := new(pb.Header)
	if err := proto.Unmarshal(raw, header); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrFrame, err)
	}
	return header, nil
}

// decodeHot returns the header of a call or of an answer, or nil.
func decodeHot(raw []byte) *pb.Header {
	var id uint64
	var sizes, body []byte
	var kind protowire.Number
	for len(raw) > 0 {
		field, form, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return nil
		}
		raw = raw[n:]
		switch {
		case field == headerID && form == protowire.VarintType:
			id, n = protowire.ConsumeVarint(raw)
		case field == headerSizes && form == protowire.BytesType && sizes == nil:
			sizes, n = protowire.ConsumeBytes(raw)
		case (field == headerDone || field == headerCall) && form == protowire.BytesType && kind == 0:
			kind = field
			body, n = protowire.ConsumeBytes(raw)
		default:
			return nil
		}
		if n < 0 {
			return nil
		}
		raw = raw[n:]
	}
	switch {
	case kind == headerCall:
		return decodeCall(id, sizes, body)
	case kind == headerDone && len(body) == 0:
		h := new(answerHeader)
		h.header.Id, h.header.Body = id, done
		return withSizes(&h.header, h.sizes[:0], sizes)
	}
	return nil
}

func withSizes(header *pb.Header, room []uint32, packed []byte) *pb.Header {
	for len(packed) > 0 {
		size, n := protowire.ConsumeVarint(packed)
		if n < 0 {
			return nil
		}
		packed = packed[n:]
		room = append(room, uint32(size))
	}
	header.Sizes = room
	return header
}

func decodeCall(id uint64, sizes, raw []byte) *pb.Header {
	h := new(callHeader)
	h.header.Id, h.header.Body = id, &h.body
	h.body.Call = &h.call
	for len(raw) > 0 {
		field, form, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return nil
		}
		raw = raw[n:]
		var number uint64
		var bytes []byte
		switch form {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(raw)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(raw)
		default:
			return nil
		}
		if n < 0 || !h.set(field, form, number, bytes) {
			return nil
		}
		raw = raw[n:]
	}
	return withSizes(&h.header, h.sizes[:0], sizes)
}

// set sets a field of the call. It reports false when that is not for it to do.
func (h *callHeader) set(field protowire.Number, form protowire.Type, number uint64, bytes []byte) bool {
	if form == protowire.VarintType {
		switch field {
		case callLevel:
			h.call.Level = pb.Level(int32(number))
		case callTimeout:
			h.call.TimeoutMilliseconds = number
		case callStore:
			h.call.Store = number != 0
		default:
			return false
		}
		return true
	}
	switch field {
	case callRunID:
		if len(bytes) != len(h.runID) {
			return false
		}
		copy(h.runID[:], bytes)
		h.call.RunId = h.runID[:]
		return true
	case callArguments:
		return h.add(bytes)
	case callFunction:
		h.function.Function = string(bytes)
		h.call.Target = &h.function
	case callDAG:
		h.dag.Dag = string(bytes)
		h.call.Target = &h.dag
	case callOutputKey:
		h.call.OutputKey = string(bytes)
	default:
		return false
	}
	return utf8.Valid(bytes)
}

// add adds the arguments of one function.
func (h *callHeader) add(raw []byte) bool {
	a := &h.arguments[0]
	if len(h.call.Arguments) > 0 {
		a = new(pb.Arguments)
		h.call.Arguments = append(h.call.Arguments, a)
	} else {
		h.list[0] = a
		h.call.Arguments = h.list[:]
	}
	for len(raw) > 0 {
		field, form, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return false
		}
		raw = raw[n:]
		switch {
		case field == argumentsPositional && form == protowire.VarintType:
			var number uint64
			number, n = protowire.ConsumeVarint(raw)
			a.Positional = uint32(number)
		case (field == argumentsFunction || field == argumentsKeywords) && form == protowire.BytesType:
			var name []byte
			name, n = protowire.ConsumeBytes(raw)
			if !utf8.Valid(name) {
				return false
			}
			if field == argumentsFunction {
				a.Function = string(name)
			} else {
				a.Keywords = append(a.Keywords, string(name))
			}
		default:
			return false
		}
		if n < 0 {
			return false
		}
		raw = raw[n:]
	}
	return true
}

// appendHeader appends a header as it is sent. The answers without a body are written by hand.
func appendHeader(buf []byte, header *pb.Header) ([]byte, error) {
	if _, ok := header.GetBody().(*pb.Header_Done); !ok {
		return proto.MarshalOptions{}.MarshalAppend(buf, header)
	}
	if header.GetId() != 0 {
		buf = protowire.AppendVarint(protowire.AppendTag(buf, headerID, protowire.VarintType), header.GetId())
	}
	if sizes := header.GetSizes(); len(sizes) > 0 {
		bytes := 0
		for _, size := range sizes {
			bytes += protowire.SizeVarint(uint64(size))
		}
		buf = protowire.AppendVarint(protowire.AppendTag(buf, headerSizes, protowire.BytesType), uint64(bytes))
		for _, size := range sizes {
			buf = protowire.AppendVarint(buf, uint64(size))
		}
	}
	return protowire.AppendVarint(protowire.AppendTag(buf, headerDone, protowire.BytesType), 0), nil
}
