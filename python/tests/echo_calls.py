"""Calls as the tests of the connection make them: of a server that echoes, below both faces of the SDK."""

from __future__ import annotations

import threading
from typing import Any, Callable, List

from cloudburst import codec
from cloudburst.call import CallHead
from cloudburst.connection import Connection
from cloudburst.endpoint import locator
from cloudburst.future import Future
from cloudburst.v1 import frame_pb2
from frame_server import FrameServer


def connection_at(server: FrameServer) -> Connection:
    return Connection(locator(server.address, "token"))


def _head() -> CallHead:
    call = frame_pb2.Call(function="echo")
    call.arguments.add(positional=1)
    return CallHead(call, "call echo")


ECHO = _head()


def call(connection: Connection, value: Any, seconds: float = 30.0) -> Future[Any]:
    run_id, request = connection.call(ECHO, [codec.encode_parts(value)], seconds)
    return Future.of_run(connection, run_id, request)


def in_threads(count: int, run: Callable[[int], None]) -> None:
    """Run a function in threads at the same time, each with its number; raise what one of them raised."""
    failures: List[BaseException] = []

    def guarded(i: int) -> None:
        try:
            run(i)
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=guarded, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    if failures:
        raise failures[0]
