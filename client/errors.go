package client

import (
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Error is what a request or a run failed with. errors.Is tells its kind, and errors.As gives the rest: after ErrExecution its
// Exception holds the type, the message and the remote traceback of what user code raised.
type Error = wire.Error

// Exception describes what user code raised.
type Exception = pb.RemoteException

// What a request can fail with, for errors.Is.
var (
	// ErrInvalidArgument says that the request can never succeed as it is.
	ErrInvalidArgument = wire.ErrInvalidArgument
	// ErrUnauthenticated says that the token is missing or wrong.
	ErrUnauthenticated = wire.ErrUnauthenticated
	// ErrFunctionNotFound says that no function of that name (and version) is registered.
	ErrFunctionNotFound = wire.ErrFunctionNotFound
	// ErrDAGNotFound says that no DAG of that name is registered.
	ErrDAGNotFound = wire.ErrDAGNotFound
	// ErrDAGExists says that the name of a DAG is taken.
	ErrDAGExists = wire.ErrDAGExists
	// ErrKeyNotFound says that nothing is stored under a key.
	ErrKeyNotFound = wire.ErrKeyNotFound
	// ErrExecution says that user code raised.
	ErrExecution = wire.ErrExecution
	// ErrWorkerDied says that the process running a function ended before it answered.
	ErrWorkerDied = wire.ErrWorkerDied
	// ErrDeadlineExceeded says that a deadline passed before there was an answer.
	ErrDeadlineExceeded = wire.ErrDeadlineExceeded
	// ErrNoResources says that a queue or a pool is full; the message names its bound.
	ErrNoResources = wire.ErrNoResources
	// ErrTooLarge says that a value is larger than its named limit.
	ErrTooLarge = wire.ErrTooLarge
	// ErrUnavailable says that the node is stopping, is not there, or does not reach its log.
	ErrUnavailable = wire.ErrUnavailable
	// ErrUnsupported says that this version does not do what the request asks for.
	ErrUnsupported = wire.ErrUnsupported
	// ErrLatticeMismatch says that a key holds a lattice of another type.
	ErrLatticeMismatch = wire.ErrLatticeMismatch
	// ErrIncompatible says that client and node have versions that cannot work together.
	ErrIncompatible = wire.ErrIncompatible
	// ErrCancelled says that the caller gave up, or that the client was closed.
	ErrCancelled = wire.ErrCancelled
	// ErrInternal says that the fault is the node's.
	ErrInternal = wire.ErrInternal
	// ErrOutcomeUnknown says that the worker of a function that may run at most once was lost: whether it took effect is not known.
	ErrOutcomeUnknown = wire.ErrOutcomeUnknown
	// ErrRunNotFound says that the node does not know a run of that id, or not any more.
	ErrRunNotFound = wire.ErrRunNotFound
)
