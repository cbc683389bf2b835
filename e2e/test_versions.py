"""Versions of functions: a program may be started any number of times, whatever its functions and classes say of each other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, List

import pytest

import cloudburst
from cloudburst import errors
from e2e.node import Node

PROGRAM = """
import abc
import enum
import sys

import cloudburst

app = cloudburst.connect()


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...

    @abc.abstractmethod
    def sides(self): ...


class Color(enum.Enum):
    RED = 1


class Square(Shape):
    def area(self):
        return Color.RED

    def sides(self):
        return Shape, Square


@app.function
def fib(n):
    return n if n < 2 else fib.remote(n - 1).get() + fib.options(timeout=30).remote(n - 2).get()


@app.function
def even(n):
    return True if n == 0 else odd.remote(n - 1).get()


@app.function
def odd(n):
    return False if n == 0 else even.remote(n - 1).get()


@app.function
def leaf(x):
    return x + 1


@app.function
def apply(function, x):
    return function.remote(x).get()


@app.function
def top(x):
    return leaf.remote(x).get() == apply.remote(leaf, x).get()


@app.function
class Tally:
    def __init__(self):
        self.calls = 0
        self.shape = Square()

    def run(self):
        self.calls += 1
        return self.calls, Tally.ref


def made():
    @app.function
    def inner(n):
        return 0 if n == 0 else 1 + inner.remote(n - 1).get()

    return inner


inner = made()
if "backwards" in sys.argv:
    odd.remote(1).get()
assert fib.remote(4).get() == 3
assert even.remote(4).get() and not even.remote(3).get()
assert top.remote(1).get()
assert inner.remote(3).get() == 3
print(*Tally.remote().get(), *(f.ref for f in (fib, even, odd, leaf, apply, top, inner)))
"""


def started(node: Node, path: Path, *arguments: str) -> List[str]:
    done = subprocess.run(
        [sys.executable, str(path), *arguments], env=node._environment({}), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


def test_a_program_is_started_again(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    functions = ["fib", "even", "odd", "leaf", "apply", "top", "inner"]
    first = [f"{name}@1" for name in functions]
    try:
        assert started(node, path) == ["1", "Tally@1", *first]
        assert started(node, path, "backwards") == ["2", "Tally@1", *first], "the object of a class is kept"
        assert {f["name"]: f["version"] for f in node.json("fn", "ls")}.items() >= {
            **dict.fromkeys(functions, 1),
            "Tally": 1,
        }.items()
        # What has changed has another version, and so has what mentions it.
        path.write_text(PROGRAM.replace("x + 1", "1 + x"))
        changed = {"leaf": "leaf@2", "top": "top@2"}
        assert started(node, path) == ["3", "Tally@1", *(changed.get(name, f"{name}@1") for name in functions)]
    finally:
        node.cli("fn", "rm", *functions, "Tally")


def test_another_class_of_the_name(node: Node, name: str) -> None:
    with cloudburst.connect() as app:

        class Tally:
            calls = 0

            def run(self) -> Any:
                self.calls += 1
                return "one", self.calls

        class Other:
            def run(self) -> str:
                return "other"

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            one = app.function(Tally, name=name)
            assert one.remote().get() == ("one", 1)
        other = app.function(Other, name=name)
        with pytest.warns(RuntimeWarning, match=f"{name}@2 is another class than {name}@1") as caught:
            assert other.remote().get() == "other"
        assert caught[0].filename == __file__
        assert one.remote().get() == ("one", 2), "a program keeps the version that it has registered, and its object"


def test_another_python(node: Node, name: str) -> None:
    """A function that no worker can run is refused, and what is registered under its name stays the latest."""
    with cloudburst.connect() as app:
        works = app.function(lambda: 1, name=name)
        assert works.remote().get() == 1
        there = node.json("status")["python_version"]
        stranger: Any = app.function(lambda: 2, name=name)
        stranger._description.python_version = "3.99"
        with pytest.raises(errors.IncompatibleError, match=f"this program runs Python 3.99.*run Python {there}.*--python"):
            stranger.remote()
        assert app.lookup(name).remote().get() == 1
        assert works.register() == f"{name}@1"


def test_pipelines_are_deployed_again_and_go(node: Node, name: str) -> None:
    with cloudburst.connect() as app:
        a: Any = app.function(lambda x: x + 1, name=f"{name}-a")
        b: Any = app.function(lambda x: x * 10, name=f"{name}-b")
        (a >> b).named(name).register()
        assert app.lookup_dag(name).remote(1).get() == 20
        assert (b >> a).named(name).remote(1).get() == 11
        assert app.lookup_dag(name).remote(1).get() == 11
        assert (a >> b).remote(1).get() == 20, "one without a name"

        refused = node.cli("fn", "rm", f"{name}-a", check=False)
        assert (refused.returncode, f"used by dag {name}; " in refused.stderr, "--force" in refused.stderr) == (1, True, True)
        assert (a >> b).remote(1).get() == 20
        node.cli("dag", "rm", name)
        node.cli("fn", "rm", f"{name}-a")
        assert not [dag["name"] for dag in node.json("dag", "ls", "--all") if f"{name}-a" in dag["name"]]
        a.register()
        (a >> b).named(name).register()
        node.cli("fn", "rm", "--force", f"{name}-a", f"{name}-b")
        assert not [dag for dag in node.json("dag", "ls") if dag["name"] == name]


def test_pipelines_without_a_name_are_few_and_come_back(node: Node, name: str) -> None:
    bound = 256  # registry.AnonymousDAGsMax
    with cloudburst.connect() as app:
        steps: List[Any] = [app.function(adder(n), name=f"{name}-{n}") for n in range(18)]
        first = steps[0] >> steps[1]
        assert first.remote(0).get() == 1
        streamed = steps[0] >> app.function(squares, name=f"{name}-squares")
        assert list(streamed.stream(3)) == [0, 1, 4]
        others = [a >> b for a in steps for b in steps if a is not b][1 : bound + 40]
        for pipeline in others[:50]:
            pipeline.remote(0).get()
        for n in range(100, 150):
            (app.function(adder(n), name=f"{name}-0") >> steps[1]).remote(0).get()
        for pipeline in others[50:]:
            pipeline.register()

        assert not [dag for dag in node.json("dag", "ls") if dag["name"].startswith(name)]
        kept = {dag["name"] for dag in node.json("dag", "ls", "--all") if dag.get("anonymous")}
        assert len(kept) == bound
        assert first.name not in kept

        # Waited for, and looked at: the future of a call finds out for itself.
        assert first.remote(0).get(timeout=30) == 1
        gone = [pipeline for pipeline in others if pipeline.name not in kept][:3]
        futures = [pipeline.remote(1000) for pipeline in gone]
        keys = [future.key for future in futures]
        done, waiting = cloudburst.wait(futures, timeout=30)
        assert (len(done), len(waiting)) == (3, 0)
        assert [future.get() for future in futures] == [app.get(key) for key in keys]
        assert list(streamed.stream(3)) == [0, 1, 4]
        assert asyncio.run(awaited(others[3].remote(0))) == others[3](0)


def adder(n: int) -> Any:
    return lambda x: x + n


def squares(n: int) -> Any:
    for i in range(n):
        yield i * i


async def awaited(future: Any) -> Any:
    return await future
