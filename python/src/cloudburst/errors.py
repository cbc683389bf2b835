"""What can go wrong, as exceptions: one class per ``Code`` of ``proto/cloudburst/v1/error.proto``.

Every exception of this package derives from :class:`Error`; where Python has a built-in exception of the same meaning the
class derives from that too, so that ``except KeyError`` and ``except TimeoutError`` do what they say.

What user code raised comes back as the exception itself, with a :class:`RemoteTraceback` as its ``__cause__``, or as that of
the last of the causes that it has. Only when it cannot be rebuilt here does an :class:`ExecutionError` stand for it, which says
why.
"""

from __future__ import annotations

import concurrent.futures
import pickle
import sys
from typing import ClassVar, Mapping, Optional, Sequence, Union

from cloudburst.v1 import error_pb2

__all__ = [
    "AuthenticationError",
    "Cancelled",
    "CancelledError",
    "CodecError",
    "CycleError",
    "DagExistsError",
    "DagNotFoundError",
    "DeadlineExceededError",
    "Error",
    "ExecutionError",
    "FrameError",
    "FunctionNotFoundError",
    "IncompatibleError",
    "InternalError",
    "InvalidArgumentError",
    "KeyNotFoundError",
    "LatticeMismatchError",
    "NoResourcesError",
    "OutcomeUnknownError",
    "RemoteTraceback",
    "RunNotFoundError",
    "TooDeepError",
    "TooLargeError",
    "UnavailableError",
    "UnpicklableError",
    "UnsupportedError",
    "WorkerDiedError",
    "code_of",
    "error_class",
    "exception_from",
]

Buffer = Union[bytes, bytearray, memoryview]

_CODEC_PICKLE = 3


class Error(Exception):
    """Base of all exceptions that Cloudburst itself raises. ``str()`` says what was tried and what to do next."""

    code: ClassVar[int] = error_pb2.CODE_INTERNAL

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class InvalidArgumentError(Error, ValueError):
    """The request can never succeed as it is."""

    code = error_pb2.CODE_INVALID_ARGUMENT


class AuthenticationError(Error, PermissionError):
    """The token is missing or wrong."""

    code = error_pb2.CODE_UNAUTHENTICATED


class FunctionNotFoundError(Error, LookupError, RuntimeError):
    """No function of that name (and version) is registered."""

    code = error_pb2.CODE_FUNCTION_NOT_FOUND


class DagNotFoundError(Error, LookupError, RuntimeError):
    """No DAG of that name is registered."""

    code = error_pb2.CODE_DAG_NOT_FOUND


class DagExistsError(Error, ValueError):
    """The name of a DAG is taken."""

    code = error_pb2.CODE_DAG_EXISTS


class KeyNotFoundError(Error, KeyError):
    """Nothing is stored under a key."""

    code = error_pb2.CODE_KEY_NOT_FOUND


class ExecutionError(Error, RuntimeError):
    """User code raised an exception that cannot be rebuilt in this process.

    ``type``, ``exception_message``, ``traceback``, ``function`` and ``version`` describe it.
    """

    code = error_pb2.CODE_EXECUTION

    def __init__(
        self,
        message: str = "",
        type: str = "",
        exception_message: str = "",
        traceback: str = "",
        function: str = "",
        version: int = 0,
    ) -> None:
        super().__init__(message)
        self.type = type
        self.exception_message = exception_message
        self.traceback = traceback
        self.function = function
        self.version = version


class WorkerDiedError(Error, RuntimeError):
    """The process that ran the function ended before it answered, as often as the function may be run. The message says how."""

    code = error_pb2.CODE_WORKER_DIED


if sys.version_info >= (3, 11):  # where concurrent.futures has no TimeoutError of its own

    class DeadlineExceededError(Error, TimeoutError):
        """A wait was longer than its deadline."""

        code = error_pb2.CODE_DEADLINE_EXCEEDED

else:

    class DeadlineExceededError(Error, concurrent.futures.TimeoutError, TimeoutError):
        """A wait was longer than its deadline."""

        code = error_pb2.CODE_DEADLINE_EXCEEDED


class NoResourcesError(Error, RuntimeError):
    """A queue or a pool is at its limit.

    ``retry_after`` is how many seconds to wait before the next try, or None where the node cannot know.
    """

    code = error_pb2.CODE_NO_RESOURCES
    retry_after: Optional[float] = None


class TooLargeError(Error, ValueError):
    """A value or a message crosses its limit."""

    code = error_pb2.CODE_TOO_LARGE


class UnavailableError(Error, ConnectionError):
    """The node cannot be reached, is draining, or is cut off from its log."""

    code = error_pb2.CODE_UNAVAILABLE


class UnsupportedError(Error, NotImplementedError):
    """The request is understood, and this version cannot do it."""

    code = error_pb2.CODE_UNSUPPORTED


class LatticeMismatchError(Error, TypeError):
    """The key holds a lattice of another type."""

    code = error_pb2.CODE_LATTICE_MISMATCH


class IncompatibleError(Error, RuntimeError):
    """Two versions cannot work together."""

    code = error_pb2.CODE_INCOMPATIBLE


class CancelledError(Error, concurrent.futures.CancelledError):
    """The caller gave up."""

    code = error_pb2.CODE_CANCELLED


class Cancelled(BaseException):
    """Raised in a function whose run is cancelled, so that it can clean up; what it returns after that is dropped.

    It derives from BaseException, as KeyboardInterrupt does, so that ``except Exception`` lets it pass. ``run_id`` is the run,
    32 hexadecimal digits, ``function`` the function in which it is raised, as in "sq@3", and ``reason`` says who has cancelled
    the run, and why. The caller that waits for the run gets a :class:`CancelledError`.
    """

    def __init__(self, run_id: str = "", function: str = "", reason: str = "") -> None:
        super().__init__(run_id, function, reason)
        self.run_id = run_id
        self.function = function
        self.reason = reason

    def __str__(self) -> str:
        return self.reason or f"run {self.run_id} of {self.function} is cancelled"


class InternalError(Error, RuntimeError):
    """A fault of Cloudburst's own."""

    code = error_pb2.CODE_INTERNAL


class OutcomeUnknownError(Error, RuntimeError):
    """The worker of a function that may run at most once (``retries=0``) was lost. Whether it took effect is not known."""

    code = error_pb2.CODE_OUTCOME_UNKNOWN


class CycleError(Error, RuntimeError):
    """Runs wait for each other, so that none of them would ever end. The message names them."""

    code = error_pb2.CODE_CYCLE


class TooDeepError(Error, RecursionError):
    """More calls inside calls than may be."""

    code = error_pb2.CODE_TOO_DEEP


class RunNotFoundError(Error, LookupError):
    """The node does not know a run of that id, or not any more."""

    code = error_pb2.CODE_RUN_NOT_FOUND


class CodecError(InvalidArgumentError):
    """Bytes that are not a value, or a value that cannot be loaded in this process."""


class UnpicklableError(InvalidArgumentError, pickle.PicklingError):
    """An object that cannot be pickled. The message names the variable, attribute or element at fault."""


class FrameError(InvalidArgumentError, ConnectionError):
    """A stream that does not speak the protocol. It must be closed."""


class RemoteTraceback(Exception):
    """The last ``__cause__`` of an exception that was raised on a worker; its text is the traceback there."""

    def __init__(self, traceback: str) -> None:
        super().__init__(traceback)
        self.traceback = traceback

    def __str__(self) -> str:
        return self.traceback


_CLASSES: Mapping[int, type[Error]] = {
    c.code: c
    for c in (
        InvalidArgumentError,
        AuthenticationError,
        FunctionNotFoundError,
        DagNotFoundError,
        DagExistsError,
        KeyNotFoundError,
        ExecutionError,
        WorkerDiedError,
        DeadlineExceededError,
        NoResourcesError,
        TooLargeError,
        UnavailableError,
        UnsupportedError,
        LatticeMismatchError,
        IncompatibleError,
        CancelledError,
        InternalError,
        OutcomeUnknownError,
        CycleError,
        TooDeepError,
        RunNotFoundError,
    )
}


def error_class(code: int) -> type[Error]:
    """Return the exception class that stands for a ``Code``. A code from a newer node is an :class:`InternalError`."""
    return _CLASSES.get(code, InternalError)


def qualified_name(kind: type) -> str:
    """Return the name of a class with its module: ``retry_on`` is compared by it with what a worker says of an exception."""
    return f"{kind.__module__}.{kind.__qualname__}"


def code_of(exception: BaseException) -> int:
    """Return the ``Code`` that stands for an exception: its own, or ``CODE_EXECUTION`` for one of user code."""
    return exception.code if isinstance(exception, Error) else error_pb2.CODE_EXECUTION


def exception_from(error: error_pb2.Error, values: Sequence[Buffer] = ()) -> Exception:
    """Return the exception that an ``Error`` header and the values of its frame stand for, ready to be raised.

    With ``CODE_EXECUTION`` this is the very exception that user code raised whenever its pickle loads here, and an
    :class:`ExecutionError` otherwise. Never an exception that would end the process, such as ``SystemExit``.
    """
    if error.code != error_pb2.CODE_EXECUTION:
        known = error_class(error.code)(error.message)
        if isinstance(known, NoResourcesError) and error.retry_after_milliseconds:
            known.retry_after = error.retry_after_milliseconds / 1000
        return known
    remote = error.exception
    cause = RemoteTraceback(_quoted(remote)) if remote.traceback else None
    try:
        exception = _unpickled(values[0]) if values else None
        why = ""
    except Exception as e:  # its class is not known here, say
        exception, why = None, f" (it is described here, since it cannot be rebuilt: {type(e).__name__}: {e})"
    if exception is None:
        exception = ExecutionError(
            (error.message or f"{remote.type}: {remote.message}") + why,
            type=remote.type,
            exception_message=remote.message,
            traceback=remote.traceback,
            function=remote.function,
            version=remote.version,
        )
    _first_cause(exception).__cause__ = cause
    return exception


def _first_cause(exception: BaseException) -> BaseException:
    """Return the end of the chain of causes: the traceback goes there, so that a cause that was given stays the cause."""
    met = {id(exception)}
    while exception.__cause__ is not None and id(exception.__cause__) not in met:
        exception = exception.__cause__
        met.add(id(exception))
    return exception


def _quoted(remote: error_pb2.RemoteException) -> str:
    name = f"{remote.function}@{remote.version}" if remote.version else remote.function
    head = f"\nin function {name}:\n" if name else "\n"
    return f'{head}"""\n{remote.traceback.rstrip()}\n"""'


def _unpickled(value: Buffer) -> Optional[Exception]:
    """Return the exception that a value holds. None for what may not be raised here; raises what loading it raises."""
    if len(value) < 2 or value[0] != _CODEC_PICKLE:
        return None
    exception = pickle.loads(memoryview(value)[1:])
    return exception if isinstance(exception, Exception) else None
