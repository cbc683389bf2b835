"""A client's way to its node: one channel at a time, and another one when it breaks.

No request waits longer than its deadline, and none is done twice that must not be: a call carries the id of its run and
attaches to it, reads and writes of values may be repeated, and anything else that a broken channel leaves unanswered
fails with an error that says so.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import time
import weakref
from collections import deque
from threading import Lock
from typing import Any, Deque, Generator, Optional

from cloudburst import blocking
from cloudburst.blocking import Awaited
from cloudburst.call import resent
from cloudburst.channel import Channel, settle
from cloudburst.endpoint import Endpoint, Locate
from cloudburst.errors import (
    CancelledError,
    DeadlineExceededError,
    Error,
    NoResourcesError,
    UnavailableError,
)
from cloudburst.handshake import dial
from cloudburst.request import ANSWERED, LOST, WAITING, Request
from cloudburst.v1 import frame_pb2

__all__ = ["OUTSTANDING_BYTES_MAX", "OUTSTANDING_MAX", "ArgumentsGoneError", "Transport"]

OUTSTANDING_MAX = 1 << 14
"""How many requests of one client may wait for their answers at one time."""
OUTSTANDING_BYTES_MAX = 1 << 30
"""How many bytes they may be together."""

_CONNECT_SECONDS = 10.0  # for one attempt to connect
_RECONNECT_SECONDS = 30.0  # for all attempts to connect again, before the threads that wait are told
_BACKOFF_SECONDS_MIN = 0.02
_BACKOFF_SECONDS_MAX = 1.0
_RESENDS_MAX = 8  # of one request
_FLUSH_SECONDS = 1.0  # for the node to take what has been sent, when a client ends
_ROOM_SECONDS = 0.05  # for the oldest request, before it is looked again whether there is room for another
_DRAIN_FROM = 256  # outstanding requests from which answers are taken in while sending


class ArgumentsGoneError(UnavailableError):
    """A request that cannot be sent again because its arguments were not kept."""


class Transport:
    """Carries requests to a node. Safe for concurrent use and across a fork."""

    def __init__(self, locate: Locate) -> None:
        self._locate = locate
        self._channel: Optional[Channel] = None
        self._connecting = Lock()
        self._lost: Deque[Request] = deque()  # to be sent again on the next channel
        self._was_connected = False
        self._closed = False
        _transports.add(self)

    def __del__(self) -> None:
        channel = self._channel
        if channel is not None and not self._closed:  # it is closed when the interpreter ends, where abandon could not run
            channel.abandon()

    @property
    def endpoint(self) -> Endpoint:
        """Where the node is, or would be looked for now."""
        return self._locate()

    @property
    def closed(self) -> bool:
        """Whether this program has closed it."""
        return self._closed

    def poll(self) -> None:
        """Take in what the node has sent, so that the end of the channel is noticed."""
        channel = self._channel
        if channel is not None:
            channel.poll()

    def connect(self, deadline: float) -> None:
        """Connect if there is no channel. Raises UnavailableError, AuthenticationError or IncompatibleError."""
        self._connected(deadline)

    def start(self, request: Request) -> None:
        """Send a request. Raises UnavailableError or another error when the node cannot be reached."""
        while True:
            channel = self._channel
            if channel is None or channel.failure is not None:
                channel = self._connected(request.deadline)
            if len(channel.pending) >= _DRAIN_FROM or channel.pending_bytes + request.size > OUTSTANDING_BYTES_MAX:
                self._make_room(channel, request)
            if request.attempts < 0:
                # It must not be sent into a channel whose end has not been noticed yet.
                channel.poll()
            if channel.send(request):
                return

    def wait(self, request: Request, deadline: float, awaited: Optional[Awaited] = None) -> None:
        """Return when a request has been answered. ``awaited`` says for which runs it waits.

        Raises DeadlineExceededError, or UnavailableError when the node is gone.
        """
        while request.state != ANSWERED:
            if request.state == LOST:
                self.recover(request, deadline)
                continue
            channel = request.channel
            assert channel is not None
            if awaited is None or (strategy := blocking.strategy()) is None:
                channel.wait(request, deadline)
            else:
                strategy.wait(channel, request, deadline, awaited)
            if request.state == WAITING and time.monotonic() >= deadline:
                raise DeadlineExceededError(f"{request.what}: no answer in time")

    def ask(self, request: Request) -> frame_pb2.Header:
        """Send a request, wait until its deadline, and return the header of the answer. Raises what the request failed with."""
        self.start(request)
        try:
            self.wait(request, request.deadline)
        except BaseException:
            self.forget(request)
            raise
        return request.answer()

    def done(self, request: Request) -> bool:
        """Report whether a request has been answered, without waiting."""
        if request.state == WAITING and request.channel is not None:
            request.channel.poll()
        return request.state == ANSWERED

    def forget(self, request: Request) -> None:
        """Give a request up: an answer that comes later is dropped, and it is not sent again."""
        if request.channel is not None:
            request.channel.forget(request)
        with contextlib.suppress(ValueError):
            self._lost.remove(request)

    def recover(self, request: Request, deadline: float) -> None:
        """Send a lost request again, on a new channel if need be. Returns once it is not lost any more."""
        channel = self._connected(min(deadline, time.monotonic() + _RECONNECT_SECONDS))
        with self._lock(deadline):
            # Not resent with the others: lost in a parent process, or at this moment.
            if request.state == LOST:
                with contextlib.suppress(ValueError):
                    self._lost.remove(request)
                self._resend(channel, request)

    def wait_async(self, request: Request, deadline: float) -> Generator[Any, None, None]:
        """Like :meth:`wait`, for ``yield from`` in a coroutine of the running event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        while request.state != ANSWERED:
            if request.state == LOST:
                # Connecting blocks; it is rare enough to borrow a thread for it.
                yield from loop.run_in_executor(None, self.recover, request, deadline)
                continue
            channel = request.channel
            assert channel is not None
            waiter = channel.awaitable(loop, request)
            if waiter is None:
                continue
            timer = loop.call_later(max(0.0, deadline - time.monotonic()), settle, waiter)
            try:
                yield from waiter
            finally:
                timer.cancel()
            if request.state == WAITING and time.monotonic() >= deadline:
                raise DeadlineExceededError(f"{request.what}: no answer in time")

    def close(self) -> None:
        """End the channel. What has been sent is done; a thread that still waits for an answer gets CancelledError."""
        self._closed = True
        channel = self._channel
        if channel is not None:
            channel.flush(time.monotonic() + _FLUSH_SECONDS)
            channel.fail(_closed())

    def _connected(self, deadline: float) -> Channel:
        with self._lock(deadline):
            channel = self._channel
            if channel is not None and channel.failure is None:
                return channel
            if self._closed:
                raise _closed()
            channel = self._channel = self._dial(deadline)
            self._was_connected = True
            for request in list(_taken(self._lost)):
                if request.state == LOST:
                    self._resend(channel, request)
            return channel

    def _dial(self, deadline: float) -> Channel:
        """Connect; again and again if there has been a channel before, for the node may be starting."""
        until = min(deadline, time.monotonic() + _RECONNECT_SECONDS)
        backoff = _BACKOFF_SECONDS_MIN
        while True:
            try:
                endpoint = self._locate()
                channel = Channel(*dial(endpoint, min(deadline, time.monotonic() + _CONNECT_SECONDS)), self._lost)
                channel.own = endpoint.socket is not None
                return channel
            except UnavailableError:
                pause = backoff * random.uniform(0.5, 1.0)
                if not self._was_connected or self._closed or time.monotonic() + pause >= until:
                    raise
            time.sleep(pause)
            backoff = min(2 * backoff, _BACKOFF_SECONDS_MAX)

    def _resend(self, channel: Channel, request: Request) -> None:
        """Send a lost request again, or answer it with the reason why not."""
        request.attempts += 1
        lost = f"{request.what}: the connection to the node was lost before the answer"
        if request.frame is None:
            error: Error = ArgumentsGoneError(f"{lost}, and the arguments were too large to be kept for another try")
        elif request.attempts > _RESENDS_MAX:
            error = UnavailableError(f"{lost} {request.attempts} times")
        elif time.monotonic() >= request.deadline:
            error = UnavailableError(f"{lost}, and the deadline passed before there was another")
        else:
            request.frame = resent(request.frame)
            if not channel.send(request):
                self._lost.append(request)
            return
        request.error = error
        request.state = ANSWERED

    @contextlib.contextmanager
    def _lock(self, deadline: float) -> Generator[None, None, None]:
        lock = self._connecting
        if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise UnavailableError("no connection to the node could be had before the deadline")
        try:
            yield
        finally:
            lock.release()

    def _make_room(self, channel: Channel, request: Request) -> None:
        """Take in answers, so that they do not pile up at the node, and wait while too many requests are outstanding."""
        channel.poll()
        while channel.failure is None and (
            len(channel.pending) >= OUTSTANDING_MAX
            or channel.pending_bytes + request.size > OUTSTANDING_BYTES_MAX > request.size
        ):
            if time.monotonic() >= request.deadline:
                raise NoResourcesError(
                    f"{request.what}: {len(channel.pending)} requests with {channel.pending_bytes} bytes wait for their "
                    f"answers; the limits are {OUTSTANDING_MAX} and {OUTSTANDING_BYTES_MAX}"
                )
            channel.wait_for_oldest(min(request.deadline, time.monotonic() + _ROOM_SECONDS))

    def _forked(self) -> None:
        self._connecting = Lock()
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.disown()
        self._lost.clear()


def _taken(requests: Deque[Request]) -> Generator[Request, None, None]:
    while True:
        try:
            yield requests.popleft()
        except IndexError:
            return


def _closed() -> CancelledError:
    return CancelledError("the connection has been closed by this program")


_transports: weakref.WeakSet[Transport] = weakref.WeakSet()


def _after_fork() -> None:
    for transport in list(_transports):
        transport._forked()


def _at_exit() -> None:
    for transport in list(_transports):
        with contextlib.suppress(Exception):
            transport.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
