"""Calls as frames. The header of a call is the same each time but for four things: the request's id, the sizes of the
arguments, the id of the run, and no more; so the rest is made once for each way of calling a function.
"""

from __future__ import annotations

import os
from struct import Struct
from typing import Callable, List, Optional, Sequence, Tuple

from cloudburst.codec import Encoded
from cloudburst.errors import TooLargeError
from cloudburst.frame import HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX, Buffer
from cloudburst.request import Frame, Request, kept, next_id, varint
from cloudburst.v1 import frame_pb2

__all__ = ["RUN_ID_BYTES", "CallHead", "Shape", "new_run_id", "result_key", "run_of_key"]

Shape = Tuple[str, int, Tuple[str, ...]]
"""A function, the number of its positional arguments, and the names of its keyword arguments."""

RUN_ID_BYTES = 16

_GATHER_BYTES = 32 << 10  # payload from which a frame is sent in pieces instead of being copied together
_RESULT_PREFIX = "cloudburst/result/"

_pack_prefix = Struct("<II").pack
_unpack_prefix = Struct("<II").unpack_from
_PREFIX_BYTES = 8


_ONE_SIZE = [b"\x12\x01" + varint(size) for size in range(0x80)]


_PARENT = b"\x52" + varint(RUN_ID_BYTES)  # field 10 of a Call
_parent: Optional[Callable[[], Optional[bytes]]] = None  # returns the run whose function calls; None where no function runs


def set_parent(parent: Callable[[], Optional[bytes]]) -> None:
    """Have calls say whose function makes them, in a process that runs functions."""
    global _parent
    _parent = parent


def new_run_id() -> bytes:
    """Return the name of a new run. Never twice the same, also in processes that were forked."""
    return os.urandom(RUN_ID_BYTES)


def result_key(run_id: bytes) -> str:
    """Return the key under which the node keeps the result of a run, unless the caller has named one."""
    return _RESULT_PREFIX + run_id.hex()


def run_of_key(key: str) -> bytes:
    """Return the id of the run whose result the node keeps under a key; empty when the key does not say."""
    if not key.startswith(_RESULT_PREFIX):
        return b""
    try:
        run_id = bytes.fromhex(key[len(_RESULT_PREFIX) :])
    except ValueError:
        return b""
    # fromhex also takes blanks and capitals, which are in the key of no result.
    return run_id if len(run_id) == RUN_ID_BYTES and result_key(run_id) == key else b""


class CallHead:
    """What all calls of one kind share: target, shape of the arguments, options. Immutable."""

    __slots__ = ("_after", "_before", "_before_nested", "once", "what")

    def __init__(self, call: frame_pb2.Call, what: str, once: bool = False) -> None:
        """``call`` is without a run id. ``what`` says for people what is called. ``once``: it may run at most once."""
        self.what = what
        self.once = once
        self._after = call.SerializeToString()  # run_id is the first field, so all others come after it
        run_id_field = b"\x0a" + varint(RUN_ID_BYTES)
        size = len(run_id_field) + RUN_ID_BYTES + len(self._after)
        self._before = b"\x52" + varint(size) + run_id_field
        self._before_nested = b"\x52" + varint(size + len(_PARENT) + RUN_ID_BYTES) + run_id_field  # followed by a parent

    def _around(self) -> Tuple[bytes, bytes]:
        """Return what stands before the run id and after it."""
        parent = None if _parent is None else _parent()
        if parent is None:
            return self._before, self._after
        return self._before_nested, b"".join((self._after, _PARENT, parent))

    def request(self, run_id: bytes, values: Sequence[Encoded], deadline: float) -> Request:
        """Return the request of one run. Raises TooLargeError, stating size and limit."""
        number = varint(next_id())
        try:
            payload = values[0] if len(values) == 1 else b"".join(values)  # type: ignore[arg-type]
        except TypeError:  # a large argument is in pieces
            return self._large(number, run_id, values, deadline)
        total = len(payload)
        if total >= _GATHER_BYTES or type(payload) is not bytes:
            return self._large(number, run_id, values, deadline)
        packed = _ONE_SIZE[total] if total < 0x80 and len(values) == 1 else _packed(list(map(len, values)))
        before, after = (self._before, self._after) if _parent is None else self._around()
        header_bytes = 1 + len(number) + len(packed) + len(before) + RUN_ID_BYTES + len(after)
        frame = b"".join((_pack_prefix(header_bytes, total), b"\x08", number, packed, before, run_id, after, payload))
        if header_bytes > HEADER_BYTES_MAX:
            raise self._header_too_large(header_bytes)
        return Request(number, frame, len(frame), deadline, self.what)

    def _large(self, number: bytes, run_id: bytes, values: Sequence[Encoded], deadline: float) -> Request:
        sizes: List[int] = []
        parts: List[Buffer] = []
        for value in values:
            if isinstance(value, bytes):
                sizes.append(len(value))
                parts.append(value)
            else:
                sizes.append(sum(map(len, value)))
                parts += value
        total = sum(sizes)
        if total > PAYLOAD_BYTES_MAX:
            raise TooLargeError(
                f"{self.what}: the arguments are {total} bytes together; the limit is {PAYLOAD_BYTES_MAX} (128 MiB). Put them "
                "into the store and pass references"
            )
        packed = _packed(sizes)
        before, after = self._around()
        header_bytes = 1 + len(number) + len(packed) + len(before) + RUN_ID_BYTES + len(after)
        if header_bytes > HEADER_BYTES_MAX:
            raise self._header_too_large(header_bytes)
        parts.insert(0, b"".join((_pack_prefix(header_bytes, total), b"\x08", number, packed, before, run_id, after)))
        return Request(number, parts, 8 + header_bytes + total, deadline, self.what)

    def _header_too_large(self, size: int) -> TooLargeError:
        return TooLargeError(f"{self.what}: the header of the call is {size} bytes; the limit is {HEADER_BYTES_MAX} (1 MiB)")


def resent(frame: Frame) -> Frame:
    """Return the frame of a request as it is sent again: that of a call says so, and any other stays as it is."""
    first = frame if isinstance(frame, bytes) else frame[0]
    if not isinstance(first, bytes):
        return frame
    header_bytes, payload_bytes = _unpack_prefix(first)
    header = first[_PREFIX_BYTES : _PREFIX_BYTES + header_bytes]
    call = frame_pb2.Header.FromString(header)
    if not call.HasField("call") or call.call.resent:
        return frame
    call.call.resent = True
    header = call.SerializeToString()
    first = _pack_prefix(len(header), payload_bytes) + header + first[_PREFIX_BYTES + header_bytes :]
    return first if isinstance(frame, bytes) else [first, *frame[1:]]


def keep(request: Request) -> None:
    """After a call has been sent: hold on to no array that its caller may change."""
    frame = request.frame
    if frame is not None and not isinstance(frame, bytes):
        request.frame = kept(frame)


def _packed(sizes: Sequence[int]) -> bytes:
    if not sizes:
        return b""
    body = b"".join([varint(n) for n in sizes])
    return b"\x12" + varint(len(body)) + body
