package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"cloudburst/wire/pb"
)

// Sentinels, one per code. errors.Is(err, wire.ErrKeyNotFound) holds for every *Error with that code.
var (
	// ErrInvalidArgument says that the request can never succeed as it is.
	ErrInvalidArgument = errors.New("invalid argument")
	// ErrUnauthenticated says that the token is missing or wrong.
	ErrUnauthenticated = errors.New("unauthenticated")
	// ErrFunctionNotFound says that no function of that name (and version) is registered.
	ErrFunctionNotFound = errors.New("function not found")
	// ErrDAGNotFound says that no DAG of that name is registered.
	ErrDAGNotFound = errors.New("dag not found")
	// ErrDAGExists says that the name of a DAG is taken.
	ErrDAGExists = errors.New("dag exists")
	// ErrKeyNotFound says that nothing is stored under a key.
	ErrKeyNotFound = errors.New("key not found")
	// ErrExecution says that user code raised.
	ErrExecution = errors.New("execution error")
	// ErrWorkerDied says that the process running a function ended before it answered.
	ErrWorkerDied = errors.New("worker died")
	// ErrDeadlineExceeded says that a deadline passed before there was an answer.
	ErrDeadlineExceeded = errors.New("deadline exceeded")
	// ErrNoResources says that a queue or a pool is full; the message names its bound.
	ErrNoResources = errors.New("no resources")
	// ErrTooLarge says that a value is larger than its named limit.
	ErrTooLarge = errors.New("too large")
	// ErrUnavailable says that the node is stopping, is not there, or does not reach its log.
	ErrUnavailable = errors.New("unavailable")
	// ErrUnsupported says that this version does not do what the request asks for.
	ErrUnsupported = errors.New("unsupported")
	// ErrLatticeMismatch says that a key holds a lattice of another type.
	ErrLatticeMismatch = errors.New("lattice mismatch")
	// ErrIncompatible says that client and node have versions that cannot work together.
	ErrIncompatible = errors.New("incompatible")
	// ErrCancelled says that the caller gave up the request.
	ErrCancelled = errors.New("cancelled")
	// ErrInternal says that the fault is the node's.
	ErrInternal = errors.New("internal error")
	// ErrOutcomeUnknown says that the worker of a function that may run at most once was lost: whether it took effect is not known.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrCycle says that runs wait for each other.
	ErrCycle = errors.New("cycle of runs")
	// ErrTooDeep says that there are more calls inside calls than may be.
	ErrTooDeep = errors.New("calls nested too deep")
	// ErrRunNotFound says that the node does not know a run of that id, or not any more.
	ErrRunNotFound = errors.New("run not found")
)

// retryAfterMax bounds what another process says about when to come back.
const retryAfterMax = 24 * time.Hour

type errorRow struct {
	code     pb.Code
	sentinel error
	status   int
}

// errorRows is the one place where a sentinel, its code and its HTTP status meet. The Python half is cloudburst.errors.
var errorRows = [...]errorRow{
	{pb.Code_CODE_INVALID_ARGUMENT, ErrInvalidArgument, http.StatusBadRequest},
	{pb.Code_CODE_UNAUTHENTICATED, ErrUnauthenticated, http.StatusUnauthorized},
	{pb.Code_CODE_FUNCTION_NOT_FOUND, ErrFunctionNotFound, http.StatusNotFound},
	{pb.Code_CODE_DAG_NOT_FOUND, ErrDAGNotFound, http.StatusNotFound},
	{pb.Code_CODE_DAG_EXISTS, ErrDAGExists, http.StatusConflict},
	{pb.Code_CODE_KEY_NOT_FOUND, ErrKeyNotFound, http.StatusNotFound},
	{pb.Code_CODE_EXECUTION, ErrExecution, http.StatusUnprocessableEntity},
	{pb.Code_CODE_WORKER_DIED, ErrWorkerDied, http.StatusBadGateway},
	{pb.Code_CODE_DEADLINE_EXCEEDED, ErrDeadlineExceeded, http.StatusGatewayTimeout},
	{pb.Code_CODE_NO_RESOURCES, ErrNoResources, http.StatusTooManyRequests},
	{pb.Code_CODE_TOO_LARGE, ErrTooLarge, http.StatusRequestEntityTooLarge},
	{pb.Code_CODE_UNAVAILABLE, ErrUnavailable, http.StatusServiceUnavailable},
	{pb.Code_CODE_UNSUPPORTED, ErrUnsupported, http.StatusNotImplemented},
	{pb.Code_CODE_LATTICE_MISMATCH, ErrLatticeMismatch, http.StatusConflict},
	{pb.Code_CODE_INCOMPATIBLE, ErrIncompatible, http.StatusUpgradeRequired},
	{pb.Code_CODE_CANCELLED, ErrCancelled, 499},
	{pb.Code_CODE_INTERNAL, ErrInternal, http.StatusInternalServerError},
	{pb.Code_CODE_OUTCOME_UNKNOWN, ErrOutcomeUnknown, http.StatusBadGateway},
	{pb.Code_CODE_CYCLE, ErrCycle, http.StatusConflict},
	{pb.Code_CODE_TOO_DEEP, ErrTooDeep, http.StatusUnprocessableEntity},
	{pb.Code_CODE_RUN_NOT_FOUND, ErrRunNotFound, http.StatusNotFound},
}

// Error is an error as it crosses a boundary: its code decides what errors.Is answers, its message is for people.
type Error struct {
	Code    pb.Code
	Message string
	// Exception is set with CODE_EXECUTION: what user code raised.
	Exception *pb.RemoteException
	// Pickle is the raised exception itself, pickled; nil when it could not be.
	Pickle []byte
	// RetryAfter is how long to wait before the next try, where that is known; 0 elsewhere.
	RetryAfter time.Duration
}

// Errorf returns an *Error with the code.
func Errorf(code pb.Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error implements error.
func (e *Error) Error() string {
	if e.Exception != nil && e.Message == "" {
		return e.Exception.GetType() + ": " + e.Exception.GetMessage()
	}
	return e.Message
}

// Is reports whether target is the sentinel of e's code. An error that says that a deadline passed, or that the caller gave up, is
// that of package context as well, whether this process or another noticed it.
func (e *Error) Is(target error) bool {
	switch target {
	case context.DeadlineExceeded:
		return e.Code == pb.Code_CODE_DEADLINE_EXCEEDED
	case context.Canceled:
		return e.Code == pb.Code_CODE_CANCELLED
	}
	for i := range errorRows {
		if errorRows[i].code == e.Code {
			return errorRows[i].sentinel == target
		}
	}
	return false
}

// Proto returns e as it goes into a frame; its pickle, if any, is the frame's value.
func (e *Error) Proto() *pb.Error {
	return &pb.Error{
		Code: e.Code, Message: e.Message, Exception: e.Exception,
		RetryAfterMilliseconds: uint64((e.RetryAfter + time.Millisecond - 1) / time.Millisecond),
	}
}

// ErrorFromFrame returns the error that a frame carries, or nil when it carries none.
func ErrorFromFrame(f Frame) *Error {
	body := f.Header.GetError()
	if body == nil {
		return nil
	}
	e := &Error{
		Code: body.GetCode(), Message: body.GetMessage(), Exception: body.GetException(),
		RetryAfter: time.Duration(min(body.GetRetryAfterMilliseconds(), uint64(retryAfterMax/time.Millisecond))) * time.Millisecond,
	}
	if len(f.Values) > 0 {
		e.Pickle = f.Values[0]
	}
	return e
}

// CodeOf returns the code that stands for err: its own, that of the sentinel it wraps, or CODE_INTERNAL. It is the only
// place where an error becomes a code.
func CodeOf(err error) pb.Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return pb.Code_CODE_DEADLINE_EXCEEDED
	case errors.Is(err, context.Canceled):
		return pb.Code_CODE_CANCELLED
	}
	for i := range errorRows {
		if errors.Is(err, errorRows[i].sentinel) {
			return errorRows[i].code
		}
	}
	return pb.Code_CODE_INTERNAL
}

// AsError returns err as an *Error, keeping its code and its whole message.
func AsError(err error) *Error {
	if e, ok := err.(*Error); ok { //nolint:errorlint // a wrapped one would lose the words around it
		return e
	}
	wrapped := &Error{Code: CodeOf(err), Message: err.Error()}
	if e, ok := errors.AsType[*Error](err); ok {
		wrapped.Exception, wrapped.Pickle, wrapped.RetryAfter = e.Exception, e.Pickle, e.RetryAfter
	}
	return wrapped
}

// HTTPStatus returns the HTTP status that stands for a code.
func HTTPStatus(code pb.Code) int {
	for i := range errorRows {
		if errorRows[i].code == code {
			return errorRows[i].status
		}
	}
	return http.StatusInternalServerError
}

// CodeName returns the name of a code as programs read it, such as "key_not_found"; "ok" for none.
func CodeName(code pb.Code) string {
	if code == pb.Code_CODE_UNSPECIFIED {
		return "ok"
	}
	return strings.ToLower(strings.TrimPrefix(code.String(), "CODE_"))
}
