"""The same connection in event loops."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from cloudburst import errors
from cloudburst.connection import Connection
from cloudburst.future import Future
from echo_calls import call, in_threads
from frame_server import FrameServer


def test_await(connection: Connection, server: FrameServer) -> None:
    async def main() -> None:
        assert await call(connection, 1) == 1
        assert await asyncio.gather(*[call(connection, i) for i in range(200)]) == list(range(200))
        assert [await call(connection, i) for i in range(20)] == list(range(20))

    assert call(connection, 1).get() == 1
    before = threading.active_count()
    asyncio.run(main())
    asyncio.run(main())
    assert threading.active_count() == before
    assert len(server.peers) == 1


def test_await_while_threads_call(connection: Connection) -> None:
    async def main() -> None:
        async def client(n: int) -> None:
            for i in range(100):
                assert await call(connection, (n, i)) == (n, i)

        await asyncio.gather(*[client(n) for n in range(10)])

    def run(thread: int) -> None:
        if thread < 2:
            asyncio.run(main())
        else:
            for i in range(200):
                assert call(connection, (thread, i)).get(30) == (thread, i)

    in_threads(6, run)


def test_await_and_get_in_one_loop(connection: Connection) -> None:
    async def main() -> None:
        first, second = call(connection, "first"), call(connection, "second")
        waiting = asyncio.ensure_future(_awaited(first))
        await asyncio.sleep(0)
        assert second.get(10) == "second", "a plain wait inside a loop reads for itself"
        assert await waiting == "first"

    asyncio.run(main())


async def _awaited(future: Future[Any]) -> Any:
    return await future


def test_await_with_a_timeout(connection: Connection, server: FrameServer) -> None:
    server.handler = lambda peer, header, values: True

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_awaited(call(connection, 1)), 0.05)
        server.handler = None
        assert await call(connection, 2) == 2
        with pytest.raises(errors.DeadlineExceededError):
            server.handler = lambda peer, header, values: True
            await call(connection, 3, -1.95)

    asyncio.run(main())


def test_await_survives_the_server(connection: Connection, server: FrameServer) -> None:
    server.handler = lambda peer, header, values: peer.number == 1

    async def main() -> None:
        future = call(connection, "again")
        waiting = asyncio.ensure_future(_awaited(future))
        await asyncio.sleep(0.02)
        threading.Thread(target=server.restart).start()
        assert await waiting == "again"

    asyncio.run(main())
