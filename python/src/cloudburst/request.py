"""What a client asks of a node, and the answer to it.

A request is in one of three states. WAITING: it is on its way on one channel. ANSWERED: the answer, or why there will be
none, is there. LOST: its channel broke before the answer, and it may be sent again.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Protocol, Sequence, Union

from cloudburst.codec import Encoded
from cloudburst.errors import Buffer, FrameError, exception_from
from cloudburst.frame import pack
from cloudburst.v1 import frame_pb2

if TYPE_CHECKING:
    from cloudburst.channel import Channel

__all__ = [
    "ANSWERED",
    "DONE",
    "LOST",
    "WAITING",
    "Callback",
    "Frame",
    "Inbox",
    "Request",
    "Waiter",
    "new_request",
    "next_id",
    "varint",
]

WAITING, ANSWERED, LOST = 0, 1, 2

Frame = Union[bytes, List[Buffer]]
Callback = Callable[["Request"], Any]

# Ids are never used twice in a process, so that an answer that comes late can reach no other request on any channel.
next_id = itertools.count(1).__next__

DONE = frame_pb2.Header(done=frame_pb2.Done())
"""The header of an answer that is nothing but done."""

_COPY_BYTES_MAX = 1 << 20

_BYTE = [bytes((n,)) for n in range(0x80)]


def varint(n: int) -> bytes:
    """Return a number as protobuf writes it."""
    if n < 0x80:
        return _BYTE[n]
    if n < 0x4000:
        return bytes((n & 0x7F | 0x80, n >> 7))
    if n < 0x200000:
        return bytes((n & 0x7F | 0x80, n >> 7 & 0x7F | 0x80, n >> 14))
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


class Inbox(Protocol):
    """Takes the replies to a request before the last one, with the lock of its channel held."""

    def put(self, header: frame_pb2.Header, values: Sequence[Buffer]) -> None: ...

    def __len__(self) -> int: ...


class Sleeper(Protocol):
    """What wakes a thread that sleeps: a lock, or something like it."""

    def release(self) -> None: ...


class Waiter:
    """What threads can wait for on a channel: that the state is no longer WAITING."""

    __slots__ = ("sleepers", "state")

    def __init__(self) -> None:
        self.state = WAITING
        self.sleepers: Optional[List[Sleeper]] = None  # one for each thread that sleeps; guarded by the channel


class Request(Waiter):
    """One request and, later, its answer. The fields belong to the channel while the state is WAITING."""

    __slots__ = (
        "arrived",
        "attempts",
        "callbacks",
        "channel",
        "deadline",
        "error",
        "frame",
        "header",
        "number",
        "size",
        "values",
        "what",
    )

    def __init__(self, number: bytes, frame: Frame, size: int, deadline: float, what: str) -> None:
        self.state = WAITING
        self.sleepers = None
        self.number = number  # the id, as it stands in headers
        self.frame: Optional[Frame] = frame  # None once it has been answered
        self.size = size
        self.deadline = deadline  # a reading of time.monotonic
        self.what = what  # says for people what is asked
        self.channel: Optional[Channel] = None
        self.header: Optional[frame_pb2.Header] = None
        self.values: Sequence[Buffer] = ()
        self.error: Optional[Exception] = None  # why there is no answer
        self.callbacks: Optional[List[Callback]] = None  # called once when the state leaves WAITING, with no lock held
        self.arrived: Optional[Inbox] = None  # takes the replies before the last one, if there may be several
        self.attempts = 0  # how often it has been sent again; -1 = it must not be

    def __repr__(self) -> str:
        return f"<{self.what}: {('waiting', 'answered', 'lost')[self.state]}>"

    def failure(self) -> Optional[Exception]:
        """Return what an answered request failed with, or None."""
        if self.error is None and self.header is not None and self.header.HasField("error"):
            self.error = exception_from(self.header.error, self.values)
        return self.error

    def answer(self) -> frame_pb2.Header:
        """Return the header of the answer. Raises what the request failed with."""
        failure = self.failure()
        if failure is not None:
            raise failure
        header = self.header
        if header is None:
            raise FrameError(f"{self.what}: the answer has not come")
        return header


def new_request(
    header: frame_pb2.Header, values: Sequence[Encoded], deadline: float, what: str, *, again: bool = True
) -> Request:
    """Return a request of any kind. Its large values are not copied, so it must be answered before they change.

    ``again`` says whether it may be sent a second time when its channel breaks. Raises TooLargeError.
    """
    header.id = next_id()
    parts = pack(header, values)
    first = parts[0]
    if len(parts) == 1 and type(first) is bytes:
        request = Request(varint(header.id), first, len(first), deadline, what)
    else:
        request = Request(varint(header.id), parts, sum(map(len, parts)), deadline, what)
    if not again:
        request.attempts = -1
    return request


def kept(frame: List[Buffer]) -> Optional[Frame]:
    """Return a frame that stays as it is whatever its caller does with the arrays in it; None when it is too large to copy."""
    shared = [part for part in frame if not isinstance(part, bytes)]
    if not shared:
        return frame
    if sum(map(len, shared)) > _COPY_BYTES_MAX:
        return None
    return [part if isinstance(part, bytes) else bytes(part) for part in frame]
