"""What the definitions of functions say of other functions: which version of them is called.

A definition is written before the function has a version. So where it mentions itself it has a mark, and where it is loaded the
mark means the version that is being loaded. Functions that mention each other are registered together: the mark between them
means what was registered together with the version that is being loaded. Any other function that is mentioned is registered
first, and its version is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Tuple

from cloudburst.codec import draft, encode_pickle, lasting
from cloudburst.connection import Connection
from cloudburst.v1 import function_pb2

if TYPE_CHECKING:
    from cloudburst.codec import Encoded
    from cloudburst.function import Registered

__all__ = ["ITSELF", "TOGETHER", "definitions_of", "loaded_as", "loading", "mention"]

ITSELF = "@"
TOGETHER = "@@"


class _Writing(threading.local):
    """What this thread's pickles are for."""

    found: Optional[Dict[int, Any]] = None  # functions that a draft mentions, by what is registered of them
    own: Optional[Registered] = None  # whose definition is written
    together: Tuple[Registered, ...] = ()
    loading: Optional[function_pb2.Function] = None  # whose definition is loaded


_now = _Writing()


def mention(function: Any) -> str:
    """Return what a pickle that is sent says of the version of a function."""
    registered: Registered = function._registered
    if _now.found is not None:
        _now.found.setdefault(id(registered), function)
        return registered.ref
    if _now.own is registered:
        return ITSELF
    if any(registered is each for each in _now.together):
        return TOGETHER
    connection = function._connection
    if _now.own is None and not registered.ref and function.is_local and connection and not connection.transport.closed:
        return str(function.ref)  # an argument: where it arrives it is to be this program's version
    return registered.ref


def definitions_of(function: Any, connection: Connection) -> List[Tuple[Any, Encoded, str]]:
    """Return the functions that are registered with one, itself the first, each with its definition and the name of the group.

    What else they mention has been registered when it returns. Raises UnpicklableError.
    """
    with contextlib.ExitStack() as stack:
        if function._description.convention == function_pb2.CONVENTION_CLASS:
            stack.enter_context(lasting())
        return _definitions(function, connection)


def _definitions(function: Any, connection: Connection) -> List[Tuple[Any, Encoded, str]]:
    found = _mentioned(function)
    together = [function]
    for key, other in found.items():
        if key == id(function._registered) or not other.is_local or other._connection not in (None, connection):
            continue
        if id(function._registered) in _mentioned(other):
            together.append(other)
    for key, other in found.items():
        outside = all(id(each._registered) != key for each in together)
        if outside and other.is_local and not other._registered.ref and other._connection in (None, connection):
            other.register()
    written = [_written(each, tuple(other._registered for other in together)) for each in together]
    if len(together) == 1:
        return [(function, written[0], "")]
    parts = sorted(
        each.name.encode() + b"\0" + each._description.SerializeToString(deterministic=True) + _joined(definition)
        for each, definition in zip(together, written)
    )
    group = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]
    return [(each, definition, group) for each, definition in zip(together, written)]


def _joined(value: Encoded) -> bytes:
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else b"".join(map(bytes, value))


def _mentioned(function: Any) -> Dict[int, Any]:
    before, _now.found = _now.found, {}
    try:
        with draft():
            encode_pickle(function._definition)
        return _now.found
    finally:
        _now.found = before


def _written(function: Any, together: Tuple[Registered, ...]) -> Encoded:
    before = _now.own, _now.together
    _now.own, _now.together = function._registered, together
    try:
        return encode_pickle(function._definition)
    finally:
        _now.own, _now.together = before


@contextlib.contextmanager
def loaded_as(function: function_pb2.Function) -> Iterator[None]:
    """Load the definition of a version meanwhile: the marks in it mean this one."""
    before, _now.loading = _now.loading, function
    try:
        yield
    finally:
        _now.loading = before


def loading() -> Optional[function_pb2.Function]:
    """Return the version whose definition this thread loads."""
    return _now.loading
