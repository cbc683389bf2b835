"""Coroutine and generator functions: they run, and generators stream, as far as their clients take the items."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any, AsyncIterator, Iterator, List

import pytest

import cloudburst
from cloudburst import errors
from cloudburst.client.client import CloudburstConnection
from e2e.node import Node, until


@pytest.fixture
def app(node: Node) -> cloudburst.App:
    return cloudburst.connect()


def count(app: cloudburst.App, name: str) -> Any:
    """A generator function that counts in the store what it has begun to yield, and says when it has ended."""

    def counting(key: str, n: int, size: int = 0) -> Iterator[Any]:
        context = cloudburst.context()
        try:
            for i in range(n):
                context.increment(key)
                yield b"x" * size if size else i
        finally:
            context.put(f"{key}-ended", True)

    return app.function(counting, name=name)


def test_coroutine_and_generator_functions(app: cloudburst.App) -> None:
    @app.function
    async def fetch(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    @app.function
    def numbers(n: int) -> Iterator[int]:
        yield from range(n)

    @app.function
    async def slow_numbers(n: int) -> AsyncIterator[int]:
        for i in range(n):
            await asyncio.sleep(0)
            yield i

    class Total:
        def __init__(self) -> None:
            self.total = 0

        async def run(self, x: int) -> int:
            await asyncio.sleep(0)
            self.total += x
            return self.total

    class Countdown:
        def run(self, n: int) -> Iterator[int]:
            yield from range(n, 0, -1)

    assert fetch.remote(1).get() == 2
    assert [future.get() for future in fetch.map(range(5))] == [1, 2, 3, 4, 5]
    assert numbers.remote(3).get() == [0, 1, 2]
    assert slow_numbers.remote(3).get() == [0, 1, 2]
    total = app.function(Total)
    assert [total.remote(i).get() for i in (1, 2, 3)] == [1, 3, 6]
    countdown = app.function(Countdown)
    assert countdown.remote(3).get() == [3, 2, 1]
    assert list(countdown.stream(3)) == [3, 2, 1]
    assert app.lookup("fetch").remote(4).get() == 5
    assert list(app.lookup("numbers").stream(4)) == [0, 1, 2, 3]


def test_plain_calls_are_pythons_own(app: cloudburst.App) -> None:
    @app.function
    async def fetch(x: int) -> int:
        return x + 1

    @app.function
    def numbers(n: int) -> Iterator[int]:
        yield from range(n)

    assert asyncio.run(fetch(1)) == 2
    assert list(numbers(3)) == [0, 1, 2]


def test_in_pipelines(app: cloudburst.App, name: str) -> None:
    @app.function(name=f"{name}-incr")
    async def incr(x: int) -> int:
        return x + 1

    @app.function(name=f"{name}-numbers")
    def numbers(n: int) -> Iterator[int]:
        yield from range(n)

    @app.function(name=f"{name}-evens")
    async def evens(values: List[int]) -> AsyncIterator[int]:
        for value in values:
            if value % 2 == 0:
                yield value

    @app.function(name=f"{name}-total")
    def total(values: List[int]) -> int:
        return sum(values)

    pipeline = incr >> numbers >> evens >> total
    assert pipeline.remote(6).get() == 12, "a generator gives a list to what follows it"
    assert pipeline(6) == 12
    streamed = incr >> numbers >> evens
    assert list(streamed.stream(6)) == [0, 2, 4, 6], "the last function's items are streamed"
    assert streamed.remote(6).get() == [0, 2, 4, 6]


def test_the_published_interface(cloud: CloudburstConnection, name: str) -> None:
    async def fetch(library: Any, x: int) -> int:
        return x + 1

    def numbers(library: Any, n: int) -> Iterator[int]:
        yield from range(n)

    assert cloud.register(fetch, f"{name}-fetch")(1).get() == 2
    assert cloud.register(numbers, f"{name}-numbers")(3).get() == [0, 1, 2]


def test_what_coroutines_raise(app: cloudburst.App, name: str) -> None:
    @app.function(name=f"{name}-fails")
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError("in a coroutine")

    @app.function(name=f"{name}-returns")
    async def returns() -> Any:
        return threading.Lock()

    with pytest.raises(ZeroDivisionError, match="in a coroutine"):
        fails.remote().get()
    with pytest.raises(errors.UnpicklableError, match=f"the result of {name}-returns@1"):
        returns.remote().get()


def test_nothing_of_a_coroutine_goes_on_in_the_next_run(app: cloudburst.App, name: str) -> None:
    async def leaves(key: str) -> None:
        async def late() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                cloudburst.context().put(key, "cancelled")

        task = asyncio.ensure_future(late())
        await asyncio.sleep(0)
        assert not task.done()

    class Leaves:
        async def run(self, key: str) -> None:
            await leaves(key)

    app.function(Leaves, name=name).remote(f"{name}-key").get()
    assert app.get(f"{name}-key", wait=20) == "cancelled"


def test_a_producer_waits_for_its_client(app: cloudburst.App, name: str) -> None:
    counting = count(app, name)
    items = counting.stream(name, 1000)
    assert next(items) == 0
    until(lambda: app.get(name) == 65, "64 items are on their way, and the next one waits")
    assert [next(items) for _ in range(31)] == list(range(1, 32))
    until(lambda: app.get(name) == 97, "as many more as have been taken")
    assert list(items) == list(range(32, 1000))
    assert app.get(name) == 1000
    assert app.get(f"{name}-ended", wait=20)


def test_large_items_are_bounded_by_their_bytes(app: cloudburst.App, name: str) -> None:
    counting = count(app, name)
    items = counting.stream(name, 40, 4 << 20)
    assert len(next(items)) == 4 << 20
    until(lambda: app.get(name) >= 5, "16 MiB are on their way")
    assert app.get(name) <= 6
    assert [len(item) for item in items] == [4 << 20] * 39


def test_closing_ends_the_run(app: cloudburst.App, node: Node, name: str) -> None:
    counting = count(app, name)
    with counting.stream(f"{name}-with", 1000) as items:
        assert next(items) == 0
    assert app.get(f"{name}-with-ended", wait=20)
    for item in counting.stream(f"{name}-loop", 1000):
        assert item == 0
        break
    gc.collect()
    assert app.get(f"{name}-loop-ended", wait=20)
    other = cloudburst.connect(node.address, node.token)
    items = other.lookup(name).stream(f"{name}-lost", 1000)
    assert next(items) == 0
    other.close()
    assert app.get(f"{name}-lost-ended", wait=20), "the end of the connection"
    assert app.get(f"{name}-lost") < 1000


@pytest.mark.parametrize("kind", ["sleeps", "computes", "async"])
def test_closing_interrupts_a_function_between_two_items(app: cloudburst.App, name: str, kind: str) -> None:
    def sleeps(key: str) -> Iterator[int]:
        yield 1
        try:
            cloudburst.context().put(f"{key}-between", True)
            threading.Event().wait(3600)
        except cloudburst.Cancelled as e:
            cloudburst.context().put(key, e.reason)
            raise

    def computes(key: str) -> Iterator[int]:
        yield 1
        try:
            cloudburst.context().put(f"{key}-between", True)
            while True:
                pass
        except cloudburst.Cancelled as e:
            cloudburst.context().put(key, e.reason)
            raise

    async def waits(key: str) -> AsyncIterator[int]:
        yield 1
        try:
            cloudburst.context().put(f"{key}-between", True)
            await asyncio.sleep(3600)
        finally:
            cloudburst.context().put(key, "takes no more items")

    yields: Any = {"sleeps": sleeps, "computes": computes, "async": waits}[kind]
    with app.function(yields, name=name).stream(name) as items:
        assert next(items) == 1
        assert app.get(f"{name}-between", wait=20)
    assert "takes no more items" in app.get(name, wait=20)
    (run,) = app.runs(function=name)
    assert run.state == "cancelled"
    assert "takes no more items" in str(run.error)


def test_an_error_after_items(app: cloudburst.App, name: str) -> None:
    @app.function(name=name, retries=3)
    def fails(key: str) -> Iterator[Any]:
        cloudburst.context().increment(key)
        yield 1
        yield 2
        raise ZeroDivisionError("after two items")

    @app.function(name=f"{name}-unpicklable")
    def unpicklable() -> Iterator[Any]:
        yield 1
        yield threading.Lock()

    items = fails.stream(name)
    assert next(items) == 1
    assert next(items) == 2
    with pytest.raises(ZeroDivisionError, match="after two items"):
        next(items)
    assert app.get(name) == 1, "what has yielded is not tried again"
    items = unpicklable.stream()
    assert next(items) == 1
    with pytest.raises(errors.UnpicklableError, match=f"an item of {name}-unpicklable@1"):
        next(items)


def test_tried_again_before_the_first_item(app: cloudburst.App, name: str) -> None:
    @app.function(name=name, retries=3)
    def late(key: str) -> Iterator[int]:
        context = cloudburst.context()
        context.increment(key)
        if context.get(key) < 3:
            raise ZeroDivisionError
        yield context.get(key)

    assert list(late.stream(name)) == [3]


def test_a_worker_that_dies_after_items(app: cloudburst.App, name: str) -> None:
    @app.function(name=name)
    def dies(key: str) -> Iterator[int]:
        import os

        cloudburst.context().increment(key)
        yield 1
        os._exit(3)

    items = dies.stream(name)
    assert next(items) == 1
    with pytest.raises(errors.WorkerDiedError, match="1 items of it have been sent"):
        next(items)
    assert app.get(name) == 1


def test_async_for_and_several_streams(app: cloudburst.App, name: str) -> None:
    @app.function(name=name)
    async def numbers(first: int, n: int) -> AsyncIterator[int]:
        for i in range(first, first + n):
            await asyncio.sleep(0)
            yield i

    async def taken(first: int) -> List[int]:
        return [item async for item in numbers.stream(first, 200)]

    async def main() -> None:
        assert await asyncio.gather(*map(taken, range(5))) == [list(range(i, i + 200)) for i in range(5)]
        async with numbers.stream(0, 1000) as items:
            async for item in items:
                if item == 100:
                    break

    asyncio.run(main())


def test_streams_inside_functions(app: cloudburst.App, name: str) -> None:
    @app.function(name=f"{name}-numbers")
    def numbers(n: int) -> Iterator[int]:
        yield from range(n)

    @app.function(name=f"{name}-total")
    def total(n: int) -> int:
        return sum(numbers.stream(n))

    @app.function(name=f"{name}-squares")
    def squares(n: int) -> Iterator[int]:
        for number in numbers.stream(n):
            yield number * number

    assert total.remote(500).get() == sum(range(500))
    assert list(squares.stream(300)) == [i * i for i in range(300)]


def test_what_cannot_be_streamed(app: cloudburst.App, name: str) -> None:
    @app.function(name=f"{name}-plain")
    def plain(values: List[int]) -> int:
        return len(values)

    with pytest.raises(errors.InvalidArgumentError, match="call it with remote"):
        plain.stream([1])

    @app.function(name=f"{name}-numbers")
    def numbers(n: int) -> Iterator[int]:
        yield from range(n)

    with pytest.raises(errors.InvalidArgumentError, match="not a generator function"):
        list((numbers >> plain).stream(3))
    with pytest.raises(errors.InvalidArgumentError, match="contradict"):
        numbers.options(key=f"{name}-key", store=False)


def test_many_coroutines_run_at_once_in_one_worker(app: cloudburst.App, name: str) -> None:
    @app.function(name=name)
    async def meet(key: str, n: int) -> int:
        import os

        context = cloudburst.context()
        context.increment(key)
        while context.get(key) < n:
            await asyncio.sleep(0.005)
        return os.getpid()

    assert len({future.get() for future in meet.map([name] * 100, [100] * 100)}) == 1


def test_concurrency_bounds_coroutines(app: cloudburst.App, name: str) -> None:
    @app.function(name=name, concurrency=3)
    async def counted(key: str) -> int:
        context = cloudburst.context()
        context.increment(key)
        await asyncio.sleep(0.01)
        running: int = context.get(key)
        context.increment(key, -1)
        return running

    assert max(future.get() for future in counted.map([name] * 20)) <= 3
    assert app.get(name) == 0


def test_each_coroutine_has_its_own_context(app: cloudburst.App, name: str) -> None:
    @app.function(name=name)
    async def own(i: int) -> Any:
        async def deeper() -> str:
            await asyncio.sleep(0)
            return cloudburst.context().run_id

        before = cloudburst.context().run_id
        inner = await asyncio.create_task(deeper())
        threaded = await asyncio.get_running_loop().run_in_executor(None, lambda: cloudburst.context().run_id)
        print(f"line of {i}")
        return before, inner, threaded, cloudburst.context().run_id, cloudburst.context().function

    futures = own.map(range(30))
    for future in futures:
        run_id = future.key.rpartition("/")[2]
        assert future.get() == (run_id, run_id, run_id, run_id, name)


def test_functions_are_awaited_inside_coroutines(app: cloudburst.App, name: str) -> None:
    @app.function(name=f"{name}-sq")
    def sq(x: int) -> int:
        return x * x

    @app.function(name=f"{name}-slow")
    async def slow(x: int) -> int:
        await asyncio.sleep(0.001)
        return x

    @app.function(name=f"{name}-all")
    async def all_of(n: int) -> List[int]:
        squares = await asyncio.gather(*sq.map(range(n)))
        tasks = [asyncio.create_task(slow.remote(i)) for i in range(n)]
        return squares + [await task for task in tasks]

    assert all_of.remote(5).get() == [0, 1, 4, 9, 16, 0, 1, 2, 3, 4]
    assert all(future.get() == [0, 1, 0, 1] for future in all_of.map([2] * 20))


def test_a_coroutine_that_awaits_itself(app: cloudburst.App, name: str) -> None:
    @app.function(name=name)
    async def depth(n: int) -> int:
        return 1 + await cloudburst.connect().lookup(name).remote(n - 1) if n else 0

    assert depth.remote(150).get() == 150


def test_the_deadline_of_one_coroutine_is_its_own(app: cloudburst.App, name: str) -> None:
    @app.function(name=name, timeout=1)
    async def waits(key: str, stubborn: bool) -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cloudburst.context().put(key, "cancelled")
            raise
        return ""

    @app.function(name=f"{name}-mixed")
    async def mixed(key: str, seconds: float) -> int:
        import os

        cloudburst.context().increment(key)
        await asyncio.sleep(seconds)
        return os.getpid()

    with pytest.raises(errors.DeadlineExceededError, match="its deadline"):
        waits.remote(name, False).get()
    assert app.get(name) == "cancelled"
    key = f"{name}-started"
    long = mixed.remote(key, 1.5)
    late = mixed.options(timeout=0.5).remote(key, 3600)
    until(lambda: app.get(key) == 2, "both run")
    with pytest.raises(errors.DeadlineExceededError):
        late.get()
    pid = mixed.remote(key, 0).get()
    assert long.get() == pid, "the worker goes on"


def test_a_blocked_loop_is_replaced_and_the_others_run_again(app: cloudburst.App, name: str) -> None:
    @app.function(name=name)
    async def mixed(key: str, block: bool) -> int:
        import time

        context = cloudburst.context()
        context.increment(key)
        while not block and context.get(key) < 3:
            await asyncio.sleep(0.005)
        if block and context.get(key) < 4:
            time.sleep(3600)
        return context.attempt

    first = mixed.remote(name, False)
    until(lambda: app.get(name) == 1, "the first runs")
    blocks = mixed.options(timeout=0.5).remote(name, True)
    assert first.get(60) == 1, "it is run again in another worker, and that does not count"
    assert app.get(name) == 3
    with pytest.raises(errors.DeadlineExceededError):
        blocks.get()


def test_messages_are_not_for_coroutines(app: cloudburst.App, name: str) -> None:
    @app.function(name=name)
    async def receives(how: str) -> Any:
        context = cloudburst.context()
        return context.id if how == "id" else context.recv()

    for how in ("id", "recv"):
        with pytest.raises(errors.UnsupportedError, match="coroutine"):
            receives.remote(how).get()


def test_coroutines_raise_side_by_side(app: cloudburst.App, name: str) -> None:
    @app.function(name=name)
    async def odd(i: int) -> int:
        await asyncio.sleep(0.001)
        if i % 2:
            raise ZeroDivisionError(i)
        return i

    futures = odd.map(range(20))
    for i, future in enumerate(futures):
        error = future.exception()
        assert (type(error), error.args) == (ZeroDivisionError, (i,)) if i % 2 else future.get() == i  # type: ignore[union-attr]
