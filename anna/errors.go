package anna

import (
	"errors"
	"hash/fnv"

	"cloudburst/anna/kernel"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

var (
	errStopping = wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the node is stopping")
	// errMoved says that a node is not a master of a key. Another is.
	errMoved = wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the key is with other masters now; try again")
	// errChanged says that a key does not hold what a write expected.
	errChanged = wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the key has been changed meanwhile; try again")
	// errBehind says that a write was not made, since its key may hold something that is later than the stamp that it came with.
	errBehind = wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the key holds something later; try again")
)

// coded gives an error of a kernel the code that clients and other nodes know it by.
func coded(err error) error {
	if err == nil {
		return nil
	}
	reason, ok := kernel.ReasonOf(err)
	if !ok {
		return err
	}
	code := pb.Code_CODE_UNAVAILABLE
	switch reason {
	case kernel.Moved:
		return errMoved
	case kernel.Changed:
		return errChanged
	case kernel.Behind:
		return errBehind
	case kernel.Invalid:
		code = pb.Code_CODE_INVALID_ARGUMENT
	case kernel.Mismatch:
		code = pb.Code_CODE_LATTICE_MISMATCH
	case kernel.Full:
		code = pb.Code_CODE_NO_RESOURCES
	case kernel.Unavailable:
	}
	return &wire.Error{Code: code, Message: err.Error()}
}

// isSentinel reports whether an error is one that a forwarder acts on, so that nothing may be added to it.
func isSentinel(err error) bool {
	return errors.Is(err, errMoved) || errors.Is(err, errChanged) || errors.Is(err, errBehind)
}

// failure returns the answer to another node whose request has failed.
func failure(err error) *pb.Answer {
	switch {
	case errors.Is(err, errMoved):
		return &pb.Answer{Moved: true}
	case errors.Is(err, errChanged):
		return &pb.Answer{Changed: true}
	case errors.Is(err, errBehind):
		return &pb.Answer{Behind: true}
	}
	return &pb.Answer{Error: wire.AsError(err).Proto()}
}

// fingerprint returns a number that stands for what a key holds, never 0.
func fingerprint(s *lattice.State) uint64 {
	if s == nil {
		s = new(lattice.State)
	}
	h := fnv.New64a()
	_, _ = h.Write(wire.AppendState(nil, s)) // never fails
	return h.Sum64() | 1
}
