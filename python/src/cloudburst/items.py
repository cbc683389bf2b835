"""The items of a run whose result is streamed: what a generator function yields there, one after another here."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, AsyncIterator, Deque, Generic, Iterator, Optional, Sequence, TypeVar

from cloudburst.codec import Buffer, decode
from cloudburst.errors import DagNotFoundError
from cloudburst.request import LOST, Request, new_request
from cloudburst.v1 import frame_pb2

if TYPE_CHECKING:
    from cloudburst.connection import Connection

__all__ = ["AHEAD", "Inbox", "Items", "start_items"]

T = TypeVar("T")

AHEAD = 64
"""How many items may be on their way, or here, that the program has not taken."""

_CREDIT_BYTES = 1 << 20  # items of so many bytes that have been taken are told to the node without waiting for more
_NOTHING: Any = object()


class Inbox:
    """Items that have come and have not been taken. Its channel's lock guards it."""

    def __init__(self) -> None:
        self.values: Deque[Buffer] = deque()

    def __len__(self) -> int:
        return len(self.values)

    def put(self, header: frame_pb2.Header, values: Sequence[Buffer]) -> None:
        self.values.extend(values)


class Items(Iterator[T], AsyncIterator[T], Generic[T]):
    """What a generator function yields on the node, as it is yielded: ``for item in f.stream(x)``, or ``async for``.

    The function runs ahead of the program by 64 items, or 16 MiB of them if that is less, and then waits where it yields until
    more are taken. What it raises is raised here after the items before it. ``close``, or the end of a ``with``, cancels the
    run; so does dropping the iterator, and losing the connection. One thread or task may use it at a time.
    """

    def __init__(self, connection: Connection, request: Request, inbox: Inbox) -> None:
        self._connection = connection
        self._request = request
        self._inbox = inbox
        self._taken = 0  # items that the node has not been told of
        self._taken_bytes = 0
        self._ended = False
        self._dag = b""

    def of_dag(self, dag: bytes) -> Items[T]:
        """Note which pipeline without a name the run is of, for the node may have dropped it."""
        self._dag = dag
        return self

    def __iter__(self) -> Items[T]:
        return self

    def __next__(self) -> T:
        while True:
            item = self._take()
            if item is not _NOTHING:
                return item  # type: ignore[no-any-return]
            if self._ended:
                raise StopIteration
            with self._closing_on_failure():
                self._connection.transport.wait(self._request, self._request.deadline)

    def __aiter__(self) -> Items[T]:
        return self

    async def __anext__(self) -> T:
        while True:
            item = self._take()
            if item is not _NOTHING:
                return item  # type: ignore[no-any-return]
            if self._ended:
                raise StopAsyncIteration
            await _Answer(self)

    def close(self) -> None:
        """Take no more items, and cancel the run if it has not ended. A second call does nothing."""
        if not self._ended:
            self._ended = True
            self._connection.transport.forget(self._request)
            if self._request.header is None and self._request.error is None:
                self._tell(0)

    async def aclose(self) -> None:
        """The same as :meth:`close`, by the name that it has in asynchronous generators."""
        self.close()

    def __enter__(self) -> Items[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Items[T]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # A finalizer may run in a thread that is using the channel; then another thread closes.
        with contextlib.suppress(Exception):
            if self._ended:
                return
            channel = self._request.channel
            if channel is None or channel.at_rest():
                self.close()
            else:
                closing = Items[T](self._connection, self._request, self._inbox)
                self._ended = True
                threading.Thread(target=closing.close, name="cloudburst items", daemon=True).start()

    def __repr__(self) -> str:
        return f"<items of {self._request.what}{' (ended)' if self._ended else ''}>"

    def _take(self) -> Any:
        """Return the next item if it is here. Raises what the run failed with once all items before have been taken."""
        if self._ended:
            return _NOTHING
        request = self._request
        answered = request.header is not None or request.error is not None
        value: Optional[Buffer] = None
        channel = request.channel
        with channel.lock if channel is not None else contextlib.nullcontext():
            if self._inbox.values:
                value = self._inbox.values.popleft()
        if value is not None:
            self._taken += 1
            self._taken_bytes += len(value)
            if self._taken >= AHEAD // 2 or self._taken_bytes >= _CREDIT_BYTES:
                self._grant()
            self._connection.arrived()
            with self._closing_on_failure():
                return decode(value)
        if answered:
            self._ended = True
            if self._dag and request.frame is not None and isinstance(request.failure(), DagNotFoundError):
                dag, self._dag = self._dag, b""  # once
                self._request = self._connection.call_again(request, dag)
                self._ended = False
                return _NOTHING
            request.answer()
            return _NOTHING
        # Nothing is here, so the function may be waiting for the node to be told what has been taken.
        self._grant()
        if channel is not None and request.state != LOST:
            channel.rearm(request)
        return _NOTHING

    def _grant(self) -> None:
        if self._taken:
            taken, self._taken, self._taken_bytes = self._taken, 0, 0
            self._tell(taken)

    def _tell(self, items: int) -> None:
        header = frame_pb2.Header()
        header.credit.id = self._request_id
        header.credit.items = items
        told = new_request(header, (), self._request.deadline, "credit", again=False)
        channel = self._request.channel
        if channel is not None and channel.send(told):
            channel.forget(told)

    @property
    def _request_id(self) -> int:
        number = 0
        for at, byte in enumerate(self._request.number):
            number |= (byte & 0x7F) << 7 * at
        return number

    @contextlib.contextmanager
    def _closing_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise


class _Answer:
    """Awaits the next answer to a request of items. A task that is cancelled takes no more of them."""

    def __init__(self, items: Items[Any]) -> None:
        self._items = items

    def __await__(self) -> Any:
        request = self._items._request
        with self._items._closing_on_failure():
            yield from self._items._connection.transport.wait_async(request, request.deadline)


def start_items(connection: Connection, request: Request) -> Items[Any]:
    """Send a call whose header asks for items, and return them."""
    inbox = Inbox()
    request.arrived = inbox
    request.attempts = -1  # sent again it would yield the same items again
    connection.transport.start(request)
    return Items(connection, request, inbox)
