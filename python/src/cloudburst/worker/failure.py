"""What user code raised, as it travels: described for every language, and pickled for Python."""

from __future__ import annotations

import importlib.metadata
import linecache
import pickletools
import tokenize
import traceback
from pathlib import Path
from typing import List, Tuple

from cloudburst import codec
from cloudburst.codec import _explain
from cloudburst.errors import Error, TooLargeError, qualified_name
from cloudburst.v1 import error_pb2

__all__ = ["ResultError", "describe"]

# Looked at only when something fails, and wanted then without the cost of an import: a zygote has them loaded.
_WARM = (importlib.metadata, linecache, pickletools, tokenize, _explain)

NAME_MAX = 1 << 10
MESSAGE_MAX = 16 << 10
"""The longest message that travels, in characters; the rest is cut."""
TRACEBACK_MAX = 64 << 10
"""The longest traceback; its middle is cut."""

_BASES_MAX = 64  # classes that an exception derives from which are told

_OURS = str(Path(__file__).parent)


class ResultError(Exception):
    """What a function has returned, or yielded, cannot travel, for the reason that ``error`` says."""

    def __init__(self, error: Error, what: str = "the result") -> None:
        super().__init__()
        self.error = error
        self.what = what


def describe(exception: BaseException, function: str, version: int) -> Tuple[error_pb2.Error, List[bytes]]:
    """Return an exception as an ``Error`` and the values of its frame. Raises nothing, whatever the exception does."""
    try:
        if isinstance(exception, ResultError):
            return _describe_result(exception.error, exception.what, function, version)
        name = _name(exception)
        return _described(exception, f"function {function}@{version} raised {name}: {_message(exception)}", function, version)
    except BaseException as e:  # an exception whose own methods raise, or no memory is left
        return _undescribed(type(exception).__name__, type(e).__name__, function, version), []


def _describe_result(reason: Error, what: str, function: str, version: int) -> Tuple[error_pb2.Error, List[bytes]]:
    message = f"{what} of {function}@{version}: {_message(reason)}"
    if isinstance(reason, TooLargeError):
        return error_pb2.Error(code=error_pb2.CODE_TOO_LARGE, message=message), []
    exception = type(reason)(message)
    exception.__cause__ = reason
    return _described(exception, message, function, version)


def _described(exception: BaseException, message: str, function: str, version: int) -> Tuple[error_pb2.Error, List[bytes]]:
    values: List[bytes] = []
    try:
        values.append(codec.encode_exception(exception))
    except Error as e:
        message = f"{message} (it is described here, since it cannot travel itself: {_message(e)})"
    error = error_pb2.Error(code=error_pb2.CODE_EXECUTION, message=message)
    remote = error.exception
    remote.type, remote.message, remote.traceback = _name(exception), _message(exception), _traceback(exception)
    remote.function, remote.version = function, version
    remote.bases.extend(_qualified(base) for base in type(exception).__mro__[:_BASES_MAX])
    return error, values


def _undescribed(name: str, why: str, function: str, version: int) -> error_pb2.Error:
    message = f"(it could not be described: {why})"
    return error_pb2.Error(
        code=error_pb2.CODE_EXECUTION,
        message=f"function {function}@{version} raised {name} {message}",
        exception=error_pb2.RemoteException(type=name, message=message, function=function, version=version),
    )


def _name(exception: BaseException) -> str:
    kind = type(exception)
    local = kind.__module__ in ("builtins", "__main__")
    return _printable(kind.__qualname__ if local else f"{kind.__module__}.{kind.__qualname__}")[:NAME_MAX]


def _qualified(kind: type) -> str:
    """The name by which the scheduler knows a class: that in ``retry_on`` of a function."""
    return _printable(qualified_name(kind))[:NAME_MAX]


def _message(exception: BaseException) -> str:
    try:
        message = str(exception)
    except Exception as e:
        message = f"(its str() raised {type(e).__name__})"
    if len(message) > MESSAGE_MAX:
        message = f"{message[:MESSAGE_MAX]}… ({len(message)} characters in all)"
    return _printable(message)


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _traceback(exception: BaseException) -> str:
    try:
        described = traceback.TracebackException.from_exception(exception)
        _leave_out_ours(described, 0)
        text = _printable("".join(described.format()))
    except RecursionError:  # a very long chain of causes
        return ""
    if len(text) > TRACEBACK_MAX:
        half = TRACEBACK_MAX // 2
        text = f"{text[:half]}\n  … {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return text


def _leave_out_ours(described: traceback.TracebackException, level: int) -> None:
    described.stack = traceback.StackSummary.from_list([f for f in described.stack if not f.filename.startswith(_OURS)])
    if level == 100:
        return
    for cause in (described.__cause__, described.__context__, *(getattr(described, "exceptions", None) or ())):
        if cause is not None:
            _leave_out_ours(cause, level + 1)
