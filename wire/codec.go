package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/fxamacker/cbor/v2"
	"google.golang.org/protobuf/proto"

	"cloudburst/lattice"
	"cloudburst/wire/pb"
)

// Codecs: the first byte of every value. docs/internals/protocol.md says what follows each.
const (
	CodecPlain     byte = 1
	CodecArray     byte = 2
	CodecPickle    byte = 3
	CodecBytes     byte = 4
	CodecReference byte = 5
	CodecSequence  byte = 6
	CodecFailure   byte = 7
	CodecLattice   byte = 8
)

// sequenceElementsMax bounds the elements of one sequence.
const sequenceElementsMax = 1 << 20

// Reference stands for the value of a key in the arguments of a call.
type Reference struct {
	_   struct{} `cbor:",toarray"`
	Key string
	// Deserialize is false when the function wants the stored bytes instead of the value.
	Deserialize bool
}

// DecodeReference returns the reference that a value with CodecReference holds.
func DecodeReference(value []byte) (Reference, error) {
	var r Reference
	if err := cbor.Unmarshal(value[1:], &r); err != nil {
		return r, Errorf(pb.Code_CODE_INVALID_ARGUMENT, "an argument is a malformed reference: %v", err)
	}
	if r.Key == "" {
		return r, Errorf(pb.Code_CODE_INVALID_ARGUMENT, "an argument refers to a key without a name")
	}
	return r, nil
}

// EncodeReference is the inverse of DecodeReference.
func EncodeReference(r Reference) ([]byte, error) {
	body, err := cbor.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode reference to %q: %w", r.Key, err)
	}
	return append([]byte{CodecReference}, body...), nil
}

// SplitSequence returns the encoded elements of a value with CodecSequence, sharing its bytes.
func SplitSequence(value []byte) ([][]byte, error) {
	var elements [][]byte
	for rest := value[1:]; len(rest) > 0; {
		if len(rest) < 4 || uint64(binary.LittleEndian.Uint32(rest)) > uint64(len(rest)-4) {
			return nil, Errorf(pb.Code_CODE_INVALID_ARGUMENT, "an argument is a malformed sequence: element %d is cut off", len(elements))
		}
		if len(elements) == sequenceElementsMax {
			return nil, Errorf(pb.Code_CODE_TOO_LARGE, "an argument is a sequence of more than %d elements, the limit", sequenceElementsMax)
		}
		n := int(binary.LittleEndian.Uint32(rest))
		elements = append(elements, rest[4:4+n:4+n])
		rest = rest[4+n:]
	}
	return elements, nil
}

// JoinSequence is the inverse of SplitSequence.
func JoinSequence(elements [][]byte) []byte {
	value := []byte{CodecSequence}
	for _, e := range elements {
		value = binary.LittleEndian.AppendUint32(value, uint32(len(e)))
		value = append(value, e...)
	}
	return value
}

// EncodeFailure returns the value that stands for a run that failed, so that whoever waits for its result learns why.
func EncodeFailure(e *Error) ([]byte, error) {
	head, err := proto.Marshal(e.Proto())
	if err != nil {
		return nil, fmt.Errorf("encode failure: %w", err)
	}
	value := append([]byte{CodecFailure}, 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(value[1:], uint32(len(head)))
	value = append(value, head...)
	return append(value, e.Pickle...), nil
}

// DecodeFailure returns the error that a value stands for, or nil when it is not one of a failed run.
func DecodeFailure(value []byte) *Error {
	if len(value) < 5 || value[0] != CodecFailure {
		return nil
	}
	n := int(binary.LittleEndian.Uint32(value[1:]))
	if n > len(value)-5 {
		return Errorf(pb.Code_CODE_INTERNAL, "a stored failure is malformed")
	}
	head := new(pb.Error)
	if err := proto.Unmarshal(value[5:5+n], head); err != nil {
		return Errorf(pb.Code_CODE_INTERNAL, "a stored failure is malformed: %v", err)
	}
	e := &Error{Code: head.GetCode(), Message: head.GetMessage(), Exception: head.GetException()}
	if rest := value[5+n:]; len(rest) > 0 {
		e.Pickle = rest
	}
	return e
}

// EncodeLattice returns the value that carries a state: the only one of a cell that is neither LWW nor a set.
func EncodeLattice(s *lattice.State) []byte {
	value := make([]byte, 1, 1+StateSize(s))
	value[0] = CodecLattice
	return AppendState(value, s)
}

// DecodeLattice returns the state that a value carries. Values within it share its bytes.
func DecodeLattice(value []byte) (*lattice.State, error) {
	if len(value) == 0 || value[0] != CodecLattice {
		return nil, Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a value is not one of a lattice: it must start with codec byte %d", CodecLattice)
	}
	return DecodeState(value[1:])
}
