"""Invocations that are cancelled before they begin, while they are loaded, and just after their end."""

from __future__ import annotations

from typing import Any, Iterator, List

import pytest

from cloudburst.v1 import function_pb2
from worker_process import WorkerProcess, one_worker

PLAIN = function_pb2.CONVENTION_PLAIN


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    with one_worker() as worker:
        yield worker


def told(limit: int) -> List[int]:
    import gc

    from cloudburst.worker.cancel import Cancels

    (cancels,) = [each for each in gc.get_objects() if isinstance(each, Cancels)]
    return sorted(cancels.told)[:limit]


def test_a_cancel_that_comes_after_the_end_is_forgotten(worker: WorkerProcess) -> None:
    async def one() -> int:
        return 1

    worker.load("one", one, PLAIN, coroutine=True)
    worker.load("told", told, PLAIN)
    assert worker.call(("one",)) == 1
    with worker.at_once():
        worker.cancel(worker.ids)
        worker.invoke(("told", 10))
    assert worker.result() == []
    assert worker.call(("told", 10)) == []
    with worker.at_once():
        worker.cancel(worker.ids)
        worker.invoke(("told", 10))
    assert worker.result() == []


def test_a_coroutine_that_is_cancelled_before_its_first_step_is_answered(worker: WorkerProcess) -> None:
    async def short(seconds: float) -> float:
        import asyncio

        await asyncio.sleep(seconds)
        return seconds

    worker.load("short", short, PLAIN, coroutine=True)
    with worker.at_once():
        worker.invoke(("short", 0.5))
        worker.invoke(("short", 0.25))
        worker.cancel(worker.ids)
    header, _ = worker.read()
    assert header.id == worker.ids
    assert header.error.exception.type == "asyncio.exceptions.CancelledError"
    header, _ = worker.read()
    assert header.id == worker.ids - 1
    assert header.HasField("done")


class Signalled:
    """A coroutine function in whose loading the signal of a cancel comes."""

    def __reduce__(self) -> Any:
        def loaded() -> Any:
            import asyncio
            import signal

            from cloudburst.worker.cancel import SIGNAL

            async def waits() -> None:
                await asyncio.sleep(600)

            signal.raise_signal(SIGNAL)
            return waits

        return loaded, ()


def test_a_coroutine_that_is_cancelled_while_it_is_loaded(worker: WorkerProcess) -> None:
    worker.load("waits", Signalled(), PLAIN, coroutine=True)
    worker.load("told", told, PLAIN)
    with worker.at_once():
        worker.invoke(("waits",))
        worker.cancel(worker.ids)
    header, _ = worker.read()
    assert header.error.exception.type == "asyncio.exceptions.CancelledError"
    assert worker.call(("told", 10)) == []
