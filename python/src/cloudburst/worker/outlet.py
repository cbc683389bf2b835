"""Where the items go that a generator function yields while its client takes them one by one."""

from __future__ import annotations

from collections import deque
from typing import Any, AsyncIterator, Callable, Deque, Iterator

from cloudburst import codec, frame
from cloudburst.errors import Error
from cloudburst.v1 import frame_pb2
from cloudburst.worker import failure
from cloudburst.worker.channel import Channel
from cloudburst.worker.invocation import Invocation

__all__ = ["Outlet", "streamed"]

BYTES_AHEAD_MAX = 16 << 20
"""How many bytes the items that the client has not taken may be together, before the next one waits."""


class Outlet:
    """The items of one invocation on their way out. The function's thread puts them; the thread that reads grants credit."""

    def __init__(self, channel: Channel, invocation: Invocation, credit: int) -> None:
        self._channel = channel
        self._invocation = invocation
        self._head = invocation.id + frame_pb2.Header(item=frame_pb2.Item()).SerializeToString()
        self._sizes: Deque[int] = deque()  # of the items that the client has not taken
        # Each is changed by one thread at a time: by the one that puts, or by the one that reads the socket.
        self._sent = 0
        self._sent_bytes = 0
        self._granted = credit
        self._taken_bytes = 0

    def put(self, item: Any) -> None:
        """Send an item, once there is room for it at the client."""
        try:
            encoded = codec.encode_parts(item)
        except Error as e:
            raise failure.ResultError(e, "an item")
        if not self._ready():
            self._channel.read_until(self._ready)
        size = codec.size_of(encoded)
        self._sizes.append(size)
        self._sent += 1
        self._sent_bytes += size
        self._channel.send_parts(frame.pack_raw(self._head, (encoded,)))

    def grant(self, items: int) -> None:
        """Take note that the client has taken so many items."""
        for _ in range(min(items, len(self._sizes))):
            self._taken_bytes += self._sizes.popleft()
        self._granted += items

    def _ready(self) -> bool:
        ahead = self._sent_bytes - self._taken_bytes
        return self._sent < self._granted and (ahead < BYTES_AHEAD_MAX or not self._sizes)


def streamed(call: Callable[..., Any], outlet: Outlet, to_end: Callable[[Any], Any]) -> Callable[..., None]:
    """Return what calls a generator function and puts what it yields into an outlet. ``to_end`` runs a coroutine."""

    def put_all(*args: Any, **kwargs: Any) -> None:
        items = call(*args, **kwargs)
        if hasattr(items, "__anext__"):
            to_end(_put_async(items, outlet))
        else:
            _put(items, outlet)

    return put_all


def _put(items: Iterator[Any], outlet: Outlet) -> None:
    try:
        for item in items:
            outlet.put(item)
    finally:  # Cancelled may come while an item waits for room; the generator does not see that, and is closed
        close = getattr(items, "close", None)
        if close is not None:
            close()


async def _put_async(items: AsyncIterator[Any], outlet: Outlet) -> None:
    try:
        async for item in items:
            outlet.put(item)
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()
