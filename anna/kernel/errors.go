package kernel

import (
	"errors"
	"fmt"
)

// Error says why a kernel has not done what a message asked for.
type Error struct {
	Reason  Reason
	Message string
}

// Reason is the kind of an Error.
type Reason uint8

const (
	// Invalid says that the write can never succeed as it is.
	Invalid Reason = iota
	// Mismatch says that the key holds a lattice of another type.
	Mismatch
	// Full says that a bound is reached, which the message names.
	Full
	// Unavailable says that the log did not persist the write in time.
	Unavailable
	// Moved says that the kernel is not a master of the key. Another is.
	Moved
	// Changed says that the key does not hold what the write expected.
	Changed
	// Behind says that the write was not made, since its key may hold something that is later than the stamp that it came with.
	Behind
)

// Error implements error.
func (e *Error) Error() string { return e.Message }

// ReasonOf returns the reason of an *Error that err is or wraps.
func ReasonOf(err error) (Reason, bool) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason, true
	}
	return 0, false
}

func errorf(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

var (
	errMoved   = errorf(Moved, "the key is with other masters now; try again")
	errChanged = errorf(Changed, "the key has been changed meanwhile; try again")
	errBehind  = errorf(Behind, "the key holds something later; try again")
)
