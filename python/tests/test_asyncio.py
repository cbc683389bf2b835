"""Futures where asyncio and concurrent.futures take theirs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import sys
import threading
import time
from typing import Any, List

import pytest

import cloudburst
from cloudburst import codec, errors
from cloudburst.connection import Connection
from cloudburst.future import Future
from cloudburst.request import Waiter
from echo_calls import ECHO, call, in_threads
from frame_server import FrameServer
from test_future import Held


def test_what_takes_coroutines_takes_futures(connection: Connection) -> None:
    async def main() -> None:
        assert await asyncio.create_task(call(connection, 1)) == 1
        assert await asyncio.ensure_future(call(connection, 2)) == 2
        assert await asyncio.gather(call(connection, 3), call(connection, 4)) == [3, 4]
        assert await asyncio.wait_for(call(connection, 5), 20) == 5
        assert await asyncio.shield(call(connection, 6)) == 6
        tasks = {asyncio.ensure_future(call(connection, i)) for i in range(10)}
        done, pending = await asyncio.wait(tasks, timeout=20)
        assert sorted(task.result() for task in done) == list(range(10))
        assert not pending
        found = [await each for each in asyncio.as_completed([call(connection, i) for i in range(5)])]
        assert sorted(found) == list(range(5))

    asyncio.run(main())
    assert asyncio.run(call(connection, 7)) == 7  # type: ignore[arg-type]


if sys.version_info >= (3, 11):

    def test_task_group(connection: Connection) -> None:
        async def main() -> List[Any]:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(call(connection, i)) for i in range(5)]
            return [task.result() for task in tasks]

        assert asyncio.run(main()) == list(range(5))


def test_one_future_in_several_tasks(connection: Connection, server: FrameServer) -> None:
    held = Held(server)

    async def main() -> None:
        future = call(connection, 1)
        first, second = asyncio.create_task(future), asyncio.create_task(future)
        third = asyncio.ensure_future(asyncio.wait_for(future, 20))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        held.release(1)
        assert await second == 1
        assert await third == 1
        assert await future == 1, "a task that was cancelled has only stopped waiting"

    asyncio.run(main())


def test_a_failure_in_tasks(connection: Connection, server: FrameServer) -> None:
    def fail(peer: Any, header: Any, values: Any) -> bool:
        peer.fail(header.id, errors.NoResourcesError("full"))
        return True

    server.handler = fail

    async def main() -> None:
        future = call(connection, 1)
        for _ in range(2):
            with pytest.raises(errors.NoResourcesError):
                await asyncio.create_task(future)
        assert isinstance((await asyncio.gather(future, return_exceptions=True))[0], errors.NoResourcesError)

    asyncio.run(main())


def test_loops_in_threads_await_one_future(connection: Connection, server: FrameServer) -> None:
    held = Held(server)
    future = call(connection, 1)
    asked = threading.Barrier(5)

    async def main() -> None:
        task = asyncio.create_task(future)
        await asyncio.sleep(0)
        asked.wait(20)
        assert await task == 1

    def run(thread: int) -> None:
        if thread == 4:
            asked.wait(20)
            held.release(1)
        else:
            asyncio.run(main())

    in_threads(5, run)
    assert future.get() == 1


def test_async_for_over_as_completed(connection: Connection, server: FrameServer) -> None:
    held = Held(server)

    async def main() -> None:
        futures = [call(connection, i) for i in range(4)]
        order = []
        held.release(2)
        async for future in cloudburst.as_completed(futures):
            order.append(await future)
            if len(order) < 4:
                held.release([2, 0, 3, 1][len(order)])
        assert order == [2, 0, 3, 1]
        assert [future async for future in cloudburst.as_completed([])] == []
        late = call(connection, "late")
        with pytest.raises(errors.DeadlineExceededError, match="1 of 2 futures"):
            async for _ in cloudburst.as_completed([futures[0], late], timeout=0.05):
                pass
        async for _ in cloudburst.as_completed(futures):
            break  # leaves nothing behind

    asyncio.run(main())


def test_wait_async(connection: Connection, server: FrameServer) -> None:
    held = Held(server)

    async def main() -> None:
        first, second = call(connection, 1), call(connection, 2)
        waiting = asyncio.ensure_future(cloudburst.wait_async([first, second], return_when=cloudburst.FIRST_COMPLETED))
        await asyncio.sleep(0)
        held.release(2)
        assert await waiting == ({second}, {first})
        assert await cloudburst.wait_async([first, second], timeout=0.02) == ({second}, {first})
        held.release(1)
        assert await cloudburst.wait_async([first, second]) == ({first, second}, set())
        with pytest.raises(errors.InvalidArgumentError):
            await cloudburst.wait_async([first], return_when="some day")
        with pytest.raises(errors.InvalidArgumentError):
            await cloudburst.wait_async([1])  # type: ignore[list-item]

    asyncio.run(main())


def test_concurrent_futures(connection: Connection, server: FrameServer) -> None:
    held = Held(server)
    futures = [call(connection, i) for i in range(3)]
    copies = [future.to_concurrent() for future in futures]
    assert not copies[0].done()
    assert not copies[0].cancel(), "it counts as running"
    held.release(1)
    done, pending = concurrent.futures.wait(copies, timeout=20, return_when=concurrent.futures.FIRST_COMPLETED)
    assert done == {copies[1]}
    assert pending == {copies[0], copies[2]}
    held.release(0)
    held.release(2)
    assert sorted(copy.result() for copy in concurrent.futures.as_completed(copies, timeout=20)) == [0, 1, 2]
    assert futures[0].to_concurrent().result(20) == 0, "of a future that is done"
    assert asyncio.run(_wrapped(call(connection, 4), held)) == 4


async def _wrapped(future: Future[Any], held: Held) -> Any:
    wrapped = asyncio.wrap_future(future.to_concurrent())
    held.release(4)
    return await wrapped


def test_callbacks(connection: Connection, server: FrameServer, caplog: pytest.LogCaptureFixture) -> None:
    held = Held(server)
    called: List[Future[Any]] = []
    both = threading.Semaphore(0)

    def note(future: Future[Any]) -> None:
        called.append(future)
        both.release()

    def broken(future: Future[Any]) -> None:
        raise ZeroDivisionError("in a callback")

    first, second = call(connection, 1), call(connection, 2)
    first.add_done_callback(broken)
    for future in (first, second, first):
        future.add_done_callback(note)
    with caplog.at_level(logging.ERROR, "cloudburst"):
        held.release(2)
        assert both.acquire(timeout=20)
        assert called == [second]
        held.release(1)
        assert both.acquire(timeout=20)
        assert both.acquire(timeout=20)
    assert called == [second, first, first]
    assert "in a callback" in caplog.text
    first.add_done_callback(note)
    assert called[3:] == [first], "at once, when it is done"
    _no_thread_is_left()


def test_callbacks_when_the_node_is_gone(connection: Connection, server: FrameServer, monkeypatch: Any) -> None:
    monkeypatch.setattr("cloudburst.transport._RECONNECT_SECONDS", 0.1)
    Held(server)
    future = call(connection, 1)
    copy = future.to_concurrent()
    server.close()
    with pytest.raises(errors.UnavailableError):
        copy.result(20)
    _no_thread_is_left()


def test_callbacks_when_the_node_starts_again(connection: Connection, server: FrameServer, monkeypatch: Any) -> None:
    """Longer than the pause between two looks at the deadlines."""
    monkeypatch.setattr("cloudburst.callbacks._LOOK_SECONDS", 0.05)
    Held(server)
    copies = [call(connection, i).to_concurrent() for i in range(3)]
    server.wait_for(lambda: len(server.calls()) == 3, "the calls")
    server.close()
    server.handler = None
    threading.Timer(0.5, server.restart).start()
    assert [copy.result(20) for copy in copies] == [0, 1, 2]
    _no_thread_is_left()


def test_callbacks_when_a_result_cannot_be_asked_for(connection: Connection, server: FrameServer, monkeypatch: Any) -> None:
    """The call has been answered, the result is under a key, and the node is gone by then."""
    monkeypatch.setattr("cloudburst.transport._RECONNECT_SECONDS", 0.1)
    held = Held(server)
    first = call(connection, 1)
    run_id, request = connection.call(ECHO, [codec.encode_parts(2)], 30.0)
    second: Future[Any] = Future.of_run(connection, run_id, request, result_key="elsewhere")

    def go_away(_: Future[Any]) -> None:
        held.release(2)
        connection.transport.wait(request, time.monotonic() + 20)
        server.close()
        assert request.channel is not None
        request.channel.wait(Waiter(), time.monotonic() + 20)  # until its end has been noticed

    copy = second.to_concurrent()
    first.add_done_callback(go_away)
    held.release(1)
    with pytest.raises(errors.UnavailableError):
        copy.result(20)
    _no_thread_is_left()


def test_callbacks_at_the_deadline(connection: Connection, server: FrameServer) -> None:
    Held(server)
    copy = call(connection, 1, -1.9).to_concurrent()
    with pytest.raises(errors.DeadlineExceededError):
        copy.result(20)


def test_callbacks_in_a_forked_child(connection: Connection, server: FrameServer) -> None:
    held = Held(server)
    first = call(connection, 1)
    copy = first.to_concurrent()
    child = os.fork()
    if child == 0:
        server.handler = None
        status = 1
        try:
            status = 0 if call(connection, 2).to_concurrent().result(20) == 2 else 1
        finally:
            os._exit(status)
    server.wait_for(lambda: len(held.calls) == 2, "the child's call")
    held.release(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    held.release(1)
    assert copy.result(20) == 1


def _no_thread_is_left() -> None:
    for thread in threading.enumerate():
        if thread.name == "cloudburst callbacks":
            thread.join(20)
            assert not thread.is_alive()
