"""Requests that a node answers again and again, until they are ended."""

from __future__ import annotations

import contextlib
import time
from typing import Iterator, Optional, Protocol, TypeVar

from cloudburst.connection import Connection
from cloudburst.errors import DeadlineExceededError
from cloudburst.request import LOST, Inbox, Request, new_request
from cloudburst.v1 import frame_pb2

__all__ = ["FOREVER_SECONDS", "Arrivals", "pushed", "start", "unwatch"]

FOREVER_SECONDS = 1e9

T_co = TypeVar("T_co", covariant=True)


class Arrivals(Inbox, Protocol[T_co]):
    """What has arrived and was not taken yet."""

    def take(self) -> Optional[T_co]: ...


def start(connection: Connection, request: Request, arrivals: Inbox) -> None:
    """Start a request whose replies go to an inbox, unless it has been started."""
    if request.channel is None:
        request.arrived = arrivals
        connection.transport.start(request)


def pushed(
    connection: Connection, request: Request, id: int, arrivals: Arrivals[T_co], seconds: float, what: str
) -> Iterator[T_co]:
    """Start a request, unless it has been, and yield what arrives, until its last reply.

    When the loop is left before, the node is told.

    Raises what the request failed with, and DeadlineExceededError when no ``what`` comes for some seconds.
    """
    start(connection, request, arrivals)
    transport = connection.transport
    try:
        while True:
            deadline = time.monotonic() + seconds
            try:
                transport.wait(request, deadline)
            except DeadlineExceededError:
                raise DeadlineExceededError(f"{request.what}: no {what} in {seconds} s") from None
            while True:
                channel = request.channel
                connection.arrived()
                with channel.lock if channel is not None else contextlib.nullcontext():
                    one = arrivals.take()
                if one is None:
                    break
                yield one
            if request.header is not None or request.error is not None:
                request.answer()
                return
            if channel is not None and request.state != LOST:
                channel.rearm(request)
    finally:
        transport.forget(request)
        if request.header is None and request.error is None:
            unwatch(request, id)


def unwatch(request: Request, id: int) -> None:
    """Tell the node that a request is to end. It sends what is left, and its last reply."""
    end = frame_pb2.Header()
    end.unwatch.id = id
    with contextlib.suppress(Exception):
        unwatched = new_request(end, (), time.monotonic() + 1.0, "unwatch", again=False)
        if request.channel is not None and request.channel.send(unwatched):
            request.channel.forget(unwatched)
