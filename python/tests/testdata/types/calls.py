"""What a type checker says of calls. A line that must fail names what the error says."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Counter, Iterator, List

from typing_extensions import assert_type

import cloudburst
from cloudburst import Function, Future, Ref

app = cloudburst.connect()


@app.function
def sq(x: int) -> int:
    return x * x


@app.function(retries=3, timeout=10)
def add(x: int, y: int = 0) -> int:
    return x + y


@app.function
def name() -> str:
    return ""


@app.function
def merged(counts: List[Counter[str]], most: int) -> str:
    return ""


@app.function
def total(numbers: List[int]) -> float:
    return sum(numbers)


@app.function
def untyped(x, y=1):  # type: ignore[no-untyped-def]
    return x


class Account:
    def __init__(self, balance: int) -> None:
        self.balance = balance

    def run(self, amount: int) -> str:
        return str(self.balance + amount)


account = app.function(Account, init=(100,))

# Calls.
assert_type(sq(3), int)
assert_type(sq.remote(3), Future[int])
assert_type(sq.remote(x=3).get(), int)
assert_type(add.remote(1, y=2).result(timeout=1), int)
assert_type(account.remote(5), Future[str])
assert_type(app.function(Account, name="a", init=(1,)).remote(amount=5), Future[str])
assert_type(sq.options(timeout=3, key="k").remote(3), Future[int])
assert_type(sq.bind(3).remote().get(), int)
assert_type(app.lookup("sq"), Function[..., Any])
app.lookup("sq").remote(1, "2", three=3)
untyped.remote("anything", y=2)
sq("a")  # error: incompatible type "str"
sq.remote("a")  # error: argument type "str"
sq.remote(1, 2)  # error: argument types "int", "int"
sq.remote()  # error: require at least one argument
sq.remote(y=1)  # error: argument type "int"
add.remote(1, y="2")  # error: argument types "int", "str"
account.remote("a")  # error: argument type "str"
account.remote(1, 2)  # error: argument types "int", "int"
sq.options(timeout=3).remote("a")  # error: argument type "str"


async def in_asyncio() -> None:
    assert_type(await sq.remote(3), int)
    assert_type(await asyncio.create_task(sq.remote(3)), int)
    assert_type(await asyncio.wait_for(sq.remote(3), 10), int)
    first, second = await asyncio.gather(sq.remote(3), name.remote())
    assert_type(first, int)
    assert_type(second, str)
    async for future in cloudburst.as_completed(sq.map([1, 2])):
        assert_type(future, Future[int])
    assert_type(sq.remote(3).to_concurrent().result(), int)


# Functions whose plain calls return something that has yet to run.


@app.function
async def fetch(x: int, y: int = 0) -> str:
    return str(x)


@app.function(timeout=10)
def items(n: int) -> Iterator[int]:
    yield from range(n)


@app.function
async def async_items(n: int) -> AsyncIterator[int]:
    yield n


async def not_yet_run() -> None:
    assert_type(await fetch(1), str)
    assert_type(await fetch.remote(1, y=2), str)
    assert_type(fetch.remote(1).get(), str)
    assert_type(fetch.map([1])[0].get(), str)
    assert_type(items(3), Iterator[int])
    assert_type(items.remote(3).get(), List[int])
    assert_type(next(items.stream(3)), int)
    assert_type(async_items.remote(3).get(), List[int])
    async for item in async_items.stream(3):
        assert_type(item, int)
    assert_type((sq >> fetch).remote(3).get(), str)
    assert_type((items >> total).remote(3).get(), float)
    assert_type((async_items >> total).remote(3).get(), float)
    assert_type(next((sq >> items).stream(3)), int)
    fetch.remote("a")  # error: argument type "str"
    items.remote("a")  # error: argument type "str"
    fetch >> sq  # error: Unsupported operand types


# Futures and references as arguments.
sq.remote(sq.remote(3))
sq.remote(app.ref("key"))
sq.remote(Ref[int]("key"))
add.remote(1, sq.remote(3))
add.remote(sq.remote(3), sq.remote(3))
total.remote([1, 2])
total.remote([sq.remote(1), app.ref("key")])
total.remote(sq.map([1, 2]))
counts: List[Future[Counter[str]]] = []
merged.remote(counts, 10)
sq.remote(name.remote())  # error: incompatible type "Future[str]"
add.remote(1, name.remote())  # error: incompatible type "Future[str]"
total.remote([name.remote()])  # error: incompatible type "Future[str]"

# One call for each element.
assert_type(sq.map([1, 2]), List[Future[int]])
assert_type(add.map([1], range(3)), List[Future[int]])
sq.map(["a"])  # error: incompatible type "str"
add.map([1], ["a"])  # error: incompatible type "str"


async def waiting() -> None:
    assert_type(await sq.remote(3), int)


def several() -> None:
    futures = sq.map([1, 2])
    assert_type([future.get() for future in cloudburst.as_completed(futures)], List[int])
