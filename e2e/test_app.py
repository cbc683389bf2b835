"""The modern face: decorators, futures that are awaited, composition, a context instead of a first argument."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, List

import pytest

import cloudburst
from cloudburst import errors
from e2e.node import Node, until


@pytest.fixture
def app(node: Node) -> cloudburst.App:
    return cloudburst.connect()


def test_functions(app: cloudburst.App, name: str) -> None:
    @app.function(name=name)
    def add(x: int, y: int = 10) -> int:
        return x + y

    assert add(1) == 11, "a plain call runs here"
    assert add.remote(1).get() == 11
    assert add.remote(1, y=2).get(timeout=20) == 3
    assert [future.get() for future in add.map(range(20), range(20))] == [2 * i for i in range(20)]
    assert app.lookup(name).remote(5).get() == 15
    with pytest.raises(errors.FunctionNotFoundError, match="cloudburst fn ls"):
        app.lookup(f"{name}-missing")


def test_calls_run_elsewhere(app: cloudburst.App, name: str) -> None:
    where = app.function(os.getpid, name=name)
    assert where() == os.getpid()
    assert where.remote().get() != os.getpid()


def test_a_program_that_is_started_again(node: Node, name: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    text = f"""
        import math
        import cloudburst
        app = cloudburst.connect()
        SCALE = {{"two": 2, "three": 3}}

        @app.function(name="{name}", retries=2)
        def area(r):
            \"\"\"The area of a circle, in several units.\"\"\"
            return {{key: round(math.pi * r * r * scale, 3) for key, scale in SCALE.items() if key not in ("one", "four")}}

        print(area.remote(1).get()["two"], area.ref)
    """

    def start(text: str) -> str:
        program.write_text(textwrap.dedent(text))
        return subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60).stdout

    assert start(text) == f"6.283 {name}@1\n"
    assert start(text) == f"6.283 {name}@1\n", "nothing has changed"
    assert start(text.replace('"two": 2', '"two": 3')) == f"9.425 {name}@2\n"
    assert start(text) == f"6.283 {name}@3\n"


def test_await(app: cloudburst.App, name: str) -> None:
    @app.function(name=name)
    def slowly(x: int) -> int:
        time.sleep(0.01)
        return x

    @app.function(name=f"{name}-fail")
    def fail() -> None:
        raise ValueError("awaited")

    async def main() -> List[int]:
        with pytest.raises(ValueError, match="awaited"):
            await fail.remote()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(app.function(time.sleep, name=f"{name}-sleep").remote(5), 0.05)
        assert await slowly.remote(-1) == -1
        return list(await asyncio.gather(*[slowly.remote(i) for i in range(100)]))

    assert asyncio.run(main()) == list(range(100))
    assert asyncio.run(main()) == list(range(100)), "another event loop"


def test_wait_and_as_completed(app: cloudburst.App, name: str) -> None:
    @app.function(name=name)
    def when(key: str, x: Any) -> Any:
        cloudburst.context().get(f"{key}-{x}", wait=30)
        return x

    futures = [when.remote(name, i) for i in range(3)]
    done, pending = cloudburst.wait(futures, timeout=0.05)
    assert not done
    assert len(pending) == 3
    app.put(f"{name}-2", True)
    done, pending = cloudburst.wait(futures, return_when=cloudburst.FIRST_COMPLETED)
    assert [future.get() for future in done] == [2]
    order = []
    for future in cloudburst.as_completed(futures):
        order.append(future.get())
        app.put(f"{name}-{2 - len(order)}", True)
    assert order == [2, 1, 0]


def test_composition(app: cloudburst.App, name: str) -> None:
    @app.function(name=f"{name}-incr")
    def incr(x: int) -> int:
        return x + 1

    @app.function(name=f"{name}-sq")
    def sq(x: int) -> int:
        return x * x

    @app.function(name=f"{name}-cube")
    def cube(x: int) -> int:
        return x**3

    @app.function(name=f"{name}-add")
    def add(x: int, y: int) -> int:
        return x + y

    both = incr >> sq
    assert both(3) == 16, "here"
    assert both.remote(3).get() == 16
    diamond = incr >> (sq, cube) >> add
    assert diamond.remote(2).get() == 9 + 27
    named = both.named(f"{name}-dag")
    assert named.remote(1).get() == 4
    assert app.lookup_dag(f"{name}-dag").remote(2).get() == 9
    with pytest.raises(errors.InvalidArgumentError, match="feed itself"):
        incr >> sq >> incr
    with pytest.raises(errors.DagNotFoundError):
        app.lookup_dag(f"{name}-missing")


def test_futures_and_references_as_arguments(app: cloudburst.App, name: str) -> None:
    @app.function(name=name)
    def total(*values: Any) -> Any:
        return sum(sum(value) if isinstance(value, list) else value for value in values)

    app.put(name, 40)
    assert total.remote(app.ref(name), 2).get() == 42
    assert total.remote(total.remote(1, 2), [total.remote(3), app.ref(name)]).get() == 46


def test_class_with_state(app: cloudburst.App, name: str) -> None:
    @app.function(name=name, init=(100,))
    class Account:
        def __init__(self, balance: int) -> None:
            self.balance = balance

        def run(self, amount: int) -> int:
            self.balance += amount
            return self.balance

    account: Any = Account
    with ThreadPoolExecutor(8) as threads:
        seen = sorted(threads.map(lambda _: account.remote(1).get(), range(100)))
    assert seen == list(range(101, 201)), "calls of one object run one after another"


def test_context(app: cloudburst.App, name: str) -> None:
    @app.function(name=name)
    def tour(key: str) -> Any:
        context = cloudburst.context()
        context.put(key, {"n": 1})
        before = context.get(key), context.get(f"{key}-none", "default")
        context.delete(key)
        return before, context.get(key), context.function, context.version, context.remaining > 0

    assert tour.remote(f"{name}-key").get() == (({"n": 1}, "default"), None, name, 1, True)
    with pytest.raises(RuntimeError, match="no function runs"):
        cloudburst.context()


def test_messages(app: cloudburst.App, name: str) -> None:
    @app.function(name=f"{name}-listen")
    def listen(key: str) -> Any:
        context = cloudburst.context()
        context.put(key, context.id)
        return [message for _, message in context.recv(30)]

    @app.function(name=f"{name}-speak")
    def speak(key: str, message: Any) -> None:
        context = cloudburst.context()
        context.send(context.get(key, wait=30), message)

    heard = listen.remote(name)
    speak.remote(name, {"any": "value"}).get()
    assert heard.get() == [{"any": "value"}]


def test_retries(app: cloudburst.App, name: str) -> None:
    @app.function(name=name, retries=3)
    def third_time_lucky(key: str) -> int:
        attempts: int = cloudburst.context().get(key, 0) + 1
        cloudburst.context().put(key, attempts)
        if attempts < 3:
            raise ConnectionError("not yet")
        return attempts

    assert third_time_lucky.remote(f"{name}-a").get() == 3

    @app.function(name=f"{name}-never", retries=2)
    def never(key: str) -> None:
        cloudburst.context().put(key, cloudburst.context().get(key, 0) + 1)
        raise ConnectionError("never")

    with pytest.raises(ConnectionError, match="never"):
        never.remote(f"{name}-b").get()
    assert app.get(f"{name}-b") == 3


def test_timeouts(app: cloudburst.App, name: str) -> None:
    sleep = app.function(time.sleep, name=name, timeout=0.2)
    with pytest.raises(TimeoutError, match=name):
        sleep.remote(30).get()
    with pytest.raises(TimeoutError):
        app.function(time.sleep, name=f"{name}-call").options(timeout=0.2).remote(30).get()
    assert sleep.remote(0).get() is None


def test_keys(app: cloudburst.App, name: str) -> None:
    app.put(f"{name}/a", 1)
    app.put(f"{name}/b", [2])
    assert app.get_many([f"{name}/a", f"{name}/b", f"{name}/c"]) == {f"{name}/a": 1, f"{name}/b": [2]}
    assert list(app.keys(f"{name}/")) == [f"{name}/a", f"{name}/b"]
    app.delete([f"{name}/a", f"{name}/b"])
    assert app.get(f"{name}/a", "gone") == "gone"
    assert list(app.keys(f"{name}/")) == []
    app.put(f"{name}/short", 1, ttl=0.2)
    until(lambda: app.get(f"{name}/short") is None, "the key to expire")
    timer = threading.Timer(0.05, app.put, (f"{name}/late", "here"))
    timer.start()
    assert app.get(f"{name}/late", wait=20) == "here"
    timer.join()


def test_results_under_a_key(app: cloudburst.App, name: str) -> None:
    double = app.function(lambda x: 2 * x, name=name)
    assert double.options(key=f"{name}-kept").remote(4).get() == 8
    assert until(lambda: app.get(f"{name}-kept"), "the result") == 8


def test_a_future_in_another_process(app: cloudburst.App, name: str) -> None:
    future = app.function(lambda x: x + 1, name=name).remote(1)
    program = f"import cloudburst; print(cloudburst.connect().get({future.key!r}, wait=20))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60).stdout == "2\n"


def test_a_closure_that_cannot_travel_is_named(app: cloudburst.App, name: str) -> None:
    guard = threading.Lock()

    @app.function(name=name)
    def guarded() -> None:
        with guard:
            pass

    with pytest.raises(errors.UnpicklableError, match="guard"):
        guarded.remote()


def test_in_a_notebook(node: Node) -> None:
    """Cells are executed one by one in one namespace, and redefine functions."""
    cells = [
        "import cloudburst\napp = cloudburst.connect()\nfactor = 2",
        "@app.function\ndef scaled(x):\n    return x * factor",
        "assert scaled.remote(4).get() == 8",
        "factor = 3\n@app.function\ndef scaled(x):\n    return x * factor",
        "assert scaled.remote(4).get() == 12",
        "async def cell():\n    return await scaled.remote(1)\nimport asyncio\nassert asyncio.run(cell()) == 3",
    ]
    program = textwrap.dedent(
        f"""
        import __main__
        for cell in {cells!r}:
            exec(compile(cell, "<cell>", "exec"), vars(__main__))
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_program_that_ends(node: Node) -> None:
    """A program need not close anything, and what it sent last has been sent."""
    program = "import cloudburst; cloudburst.connect().function(lambda: cloudburst.context().put('last-word', 1)).remote()"
    program = program.replace("function(lambda", "function(name='last')(lambda")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert cloudburst.connect().get("last-word", wait=20) == 1


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.UnavailableError, match=r"127\.0\.0\.1:1"):
        cloudburst.connect("127.0.0.1:1", timeout=1)


def test_what_put_has_stored_is_not_a_counter(app: cloudburst.App, name: str) -> None:
    """The error says which key and what to do, here and in a function; what is stored stays."""

    def count() -> None:
        cloudburst.context().increment(name)

    app.put(name, 5)
    reason = f"{name}.*delete"
    with pytest.raises(errors.LatticeMismatchError, match=reason):
        app.increment(name)
    with pytest.raises(errors.LatticeMismatchError, match=reason):
        app.function(count, name=name).remote().get()
    assert app.get(name) == 5
    app.delete(name)
    app.increment(name, 2)
    assert app.get(name) == 2


def test_functions_that_run_at_the_same_time_all_count(app: cloudburst.App, name: str) -> None:
    @app.function(name=f"{name}-visit")
    def visit(key: str) -> int:
        cloudburst.context().increment(key)
        seen: int = cloudburst.context().get(key)
        return seen

    seen = [future.get() for future in visit.map([name] * 200)]
    assert app.get(name) == 200
    assert min(seen) >= 1  # a function reads its own increment

    @app.function(name=f"{name}-too-far")
    def too_far(key: str) -> None:
        cloudburst.context().increment(key, 1 << 63)

    with pytest.raises(errors.InvalidArgumentError, match="an integer of 64 bits"):
        too_far.remote(name).get()
