"""The items of runs whose results are streamed, from a server that sends them as the test says."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any, Iterator, List

import pytest

import cloudburst
from cloudburst import codec, errors
from cloudburst.v1 import frame_pb2
from frame_server import FrameServer, Peer


class Producer:
    """Sends items to the call that asked for them, and notes the credit that comes back."""

    def __init__(self, server: FrameServer) -> None:
        self.server = server
        self.credits: List[int] = []
        self.id = 0
        self.peer: Any = None
        server.handler = self.handle

    def handle(self, peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        if header.HasField("call") and header.call.stream_credit:
            self.peer, self.id = peer, header.id
            return True
        if header.HasField("credit"):
            assert header.credit.id == self.id
            self.credits.append(header.credit.items)
            return True
        return False

    def send(self, *items: Any) -> None:
        self.server.wait_for(lambda: self.id, "the call")
        for item in items:
            self.peer.reply(self.id, codec.encode(item), item=frame_pb2.Item())

    def end(self) -> None:
        self.peer.result(self.id, None)

    def credit(self, items: int) -> None:
        self.server.wait_for(lambda: sum(self.credits) >= items, f"credit for {items} items, and had {self.credits}")

    def closed(self) -> None:
        self.server.wait_for(lambda: 0 in self.credits, "the end of the credit")


@pytest.fixture
def producer(server: FrameServer) -> Producer:
    return Producer(server)


@pytest.fixture
def numbers(app: cloudburst.App) -> Any:
    @app.function
    def numbers(n: int) -> Iterator[int]:
        yield from range(n)

    return numbers


def test_items_come_in_order(producer: Producer, numbers: Any, server: FrameServer) -> None:
    items = numbers.stream(3)
    server.wait_for(lambda: bool(server.calls()), "the call")
    call = server.calls()[0]
    assert (call.stream_credit, call.store) == (64, False)
    producer.send(0, 1)
    assert next(items) == 0
    assert next(items) == 1
    producer.send(2)
    producer.end()
    assert list(items) == [2]
    assert list(items) == []
    items.close()
    assert 0 not in producer.credits, "nothing is told to a run that has ended"


def test_credit_comes_back_as_items_are_taken(producer: Producer, numbers: Any) -> None:
    items = numbers.stream(64)
    producer.send(*range(64))
    for expected in range(31):
        assert next(items) == expected
    assert producer.credits == []
    assert next(items) == 31
    producer.credit(32)
    for expected in range(32, 64):
        assert next(items) == expected
    producer.credit(64)
    producer.send("more")
    producer.end()
    assert list(items) == ["more"]


def test_large_items_are_told_at_once(producer: Producer, numbers: Any) -> None:
    items = numbers.stream(2)
    sending = threading.Thread(target=lambda: producer.send(b"x" * (2 << 20), b"y" * (2 << 20)))
    sending.start()
    assert next(items) == b"x" * (2 << 20)
    producer.credit(1)
    assert next(items) == b"y" * (2 << 20)
    producer.credit(2)
    sending.join(20)
    producer.end()
    assert list(items) == []


def test_an_error_comes_after_the_items_before_it(producer: Producer, numbers: Any) -> None:
    items = numbers.stream(3)
    producer.send(1, 2)
    producer.peer.fail(producer.id, errors.NoResourcesError("full"))
    assert next(items) == 1
    assert next(items) == 2
    with pytest.raises(errors.NoResourcesError, match="full"):
        next(items)
    assert list(items) == []


def test_async_for(producer: Producer, numbers: Any) -> None:
    async def main() -> None:
        items = numbers.stream(5)
        got = []
        producer.send(0)
        async for item in items:
            got.append(item)
            if item < 4:
                producer.send(item + 1)
            else:
                producer.end()
        assert got == [0, 1, 2, 3, 4]
        assert "ended" in repr(items)

    asyncio.run(main())


def test_several_loops_and_tasks_at_once(connection: Any, server: FrameServer, app: cloudburst.App) -> None:
    def produce(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        if header.HasField("credit"):
            return True
        if not header.HasField("call"):
            return False
        for i in range(50):
            peer.reply(header.id, codec.encode(i), item=frame_pb2.Item())
        peer.result(header.id, None)
        return True

    server.handler = produce
    numbers = app.function(_numbers, name="numbers")

    async def taken() -> List[int]:
        return [item async for item in numbers.stream(50)]

    async def main() -> None:
        assert await asyncio.gather(*[taken() for _ in range(10)]) == [list(range(50))] * 10

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert [item for item in numbers.stream(50)] == list(range(50))
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def _numbers(n: int) -> Iterator[int]:
    yield from range(n)


def test_closing(producer: Producer, numbers: Any, connection: Any) -> None:
    with numbers.stream(9) as items:
        producer.send(1)
        assert next(items) == 1
    producer.closed()
    assert list(items) == []
    producer.send(2)  # crosses the end, and is dropped


def test_leaving_the_loop_closes(producer: Producer, numbers: Any) -> None:
    items = numbers.stream(9)
    producer.send(1)
    for _ in items:
        break
    del items
    gc.collect()
    producer.closed()


def test_cancelling_a_task_closes(producer: Producer, numbers: Any) -> None:
    async def main() -> None:
        items = numbers.stream(9)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(items.__anext__(), 0.02)

    asyncio.run(main())
    producer.closed()


def test_a_broken_connection_ends_the_items(producer: Producer, numbers: Any, server: FrameServer) -> None:
    items = numbers.stream(9)
    producer.send(1)
    assert next(items) == 1
    producer.peer.close()
    with pytest.raises(errors.UnavailableError):
        next(items)
    assert len(server.calls()) == 1, "it is not sent again"


def test_the_deadline(producer: Producer, numbers: Any) -> None:
    items = numbers.options(timeout=0.01).stream(9)
    items._request.deadline -= 1.9
    with pytest.raises(errors.DeadlineExceededError):
        next(items)
    producer.closed()


def test_only_generator_functions(app: cloudburst.App) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="not a generator function"):
        app.function(lambda x: x, name="plain").stream(1)
