package codec

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/proto"

	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Codecs: the first byte of every value. docs/internals/protocol.md says what follows each.
const (
	KindPlain     byte = 1
	KindArray     byte = 2
	KindPickle    byte = 3
	KindBytes     byte = 4
	KindReference byte = 5
	KindSequence  byte = 6
	KindFailure   byte = 7
	KindLattice   byte = 8
	KindComposed  byte = 9
)

// sequenceElementsMax bounds the elements of one sequence.
const sequenceElementsMax = 1 << 20

// DecodeReference returns the reference that a value of KindReference holds.
func DecodeReference(value []byte) (Ref, error) {
	d := decoder{data: value[1:]}
	r, err := d.reference()
	switch {
	case err != nil:
		return r, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "an argument is a malformed reference: %v", err)
	case r.Key == "":
		return r, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "an argument refers to a key without a name")
	}
	return r, nil
}

// reference reads the key and whether its value is wanted decoded.
func (d *decoder) reference() (r Ref, err error) {
	h, err := d.head()
	if err != nil {
		return r, err
	}
	if h.major != majorArray || h.n != 2 {
		return r, malformed("it is not a pair")
	}
	if h, err = d.head(); err != nil {
		return r, err
	}
	if h.major != majorText {
		return r, malformed("its key is not a string")
	}
	if r.Key, err = d.text(h); err != nil {
		return r, err
	}
	last, err := d.take(1)
	if err != nil {
		return r, err
	}
	if d.left() > 0 || last[0] != simpleTrue && last[0] != simpleFalse {
		return r, malformed("it does not end with a boolean")
	}
	r.Raw = last[0] == simpleFalse
	return r, nil
}

// EncodeReference is the inverse of DecodeReference.
func EncodeReference(r Ref) []byte {
	value := AppendText(appendHead([]byte{KindReference}, majorArray, 2), r.Key)
	if r.Raw {
		return append(value, simpleFalse)
	}
	return append(value, simpleTrue)
}

// HasElements reports whether a value is made of elements, any of which may be a reference.
func HasElements(value []byte) bool {
	return len(value) > 0 && (value[0] == KindSequence || value[0] == KindComposed)
}

// SplitSequence returns the encoded elements of a value with KindSequence or KindComposed, sharing its bytes.
func SplitSequence(value []byte) ([][]byte, error) {
	var elements [][]byte
	for rest := value[1:]; len(rest) > 0; {
		if len(rest) < 4 || uint64(binary.LittleEndian.Uint32(rest)) > uint64(len(rest)-4) {
			return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "an argument is a malformed sequence: element %d is cut off", len(elements))
		}
		if len(elements) == sequenceElementsMax {
			return nil, wire.Errorf(pb.Code_CODE_TOO_LARGE, "an argument is a sequence of more than %d elements, the limit", sequenceElementsMax)
		}
		n := int(binary.LittleEndian.Uint32(rest))
		elements = append(elements, rest[4:4+n:4+n])
		rest = rest[4+n:]
	}
	return elements, nil
}

// JoinSequence is the inverse of SplitSequence, for KindSequence.
func JoinSequence(elements [][]byte) []byte { return JoinElements(KindSequence, elements) }

// JoinElements is the inverse of SplitSequence.
func JoinElements(kind byte, elements [][]byte) []byte {
	value := []byte{kind}
	for _, e := range elements {
		value = binary.LittleEndian.AppendUint32(value, uint32(len(e)))
		value = append(value, e...)
	}
	return value
}

// EncodeFailure returns the value that stands for a run that failed, so that a reader of its result learns why.
func EncodeFailure(e *wire.Error) ([]byte, error) {
	head, err := proto.Marshal(e.Proto())
	if err != nil {
		return nil, fmt.Errorf("encode failure: %w", err)
	}
	value := append([]byte{KindFailure}, 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(value[1:], uint32(len(head)))
	value = append(value, head...)
	return append(value, e.Pickle...), nil
}

// DecodeFailure returns the error that a value stands for, or nil when it is not one of a failed run.
func DecodeFailure(value []byte) *wire.Error {
	if len(value) < 5 || value[0] != KindFailure {
		return nil
	}
	n := int(binary.LittleEndian.Uint32(value[1:]))
	if n > len(value)-5 {
		return wire.Errorf(pb.Code_CODE_INTERNAL, "a stored failure is malformed")
	}
	head := new(pb.Error)
	if err := proto.Unmarshal(value[5:5+n], head); err != nil {
		return wire.Errorf(pb.Code_CODE_INTERNAL, "a stored failure is malformed: %v", err)
	}
	e := &wire.Error{Code: head.GetCode(), Message: head.GetMessage(), Exception: head.GetException()}
	if rest := value[5+n:]; len(rest) > 0 {
		e.Pickle = rest
	}
	return e
}

// EncodeLattice returns the value that carries a state: the only one of a cell that is neither LWW nor a set.
func EncodeLattice(s *lattice.State) []byte {
	value := make([]byte, 1, 1+wire.StateSize(s))
	value[0] = KindLattice
	return wire.AppendState(value, s)
}

// DecodeLattice returns the state that a value carries. Values within it share its bytes.
func DecodeLattice(value []byte) (*lattice.State, error) {
	if len(value) == 0 || value[0] != KindLattice {
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a value is not one of a lattice: it must start with codec byte %d", KindLattice)
	}
	return wire.DecodeState(value[1:])
}
