"""Calls inside calls, on a node with two workers: none of them waits for a worker that waits for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

import cloudburst
from cloudburst.errors import CycleError, DeadlineExceededError, TooDeepError, WorkerDiedError
from e2e.conftest import RUNNING
from e2e.node import Node

TWO_WORKERS = {"CLOUDBURST_EXECUTOR__WORKERS_MIN": "2", "CLOUDBURST_EXECUTOR__WORKERS_MAX": "2"}
PATIENCE = 100.0


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with two workers, for all tests here."""
    node = Node(tmp_path_factory.mktemp("two"), environment={**TWO_WORKERS, "CLOUDBURST_EXECUTOR__DEPTH_MAX": "450"})
    RUNNING.append(node)
    try:
        node.start()
        yield node
    finally:
        RUNNING.remove(node)
        node.kill()


@pytest.fixture
def app(two: Node) -> Iterator[cloudburst.App]:
    with cloudburst.connect(two.address, two.token) as connected:
        yield connected


@pytest.fixture
def leaf(app: cloudburst.App) -> Any:
    return app.function(lambda x: x, name="leaf")


def test_a_deep_recursion(app: cloudburst.App) -> None:
    @app.function
    def depth(n: int) -> int:
        return n and 1 + int(depth.remote(n - 1).get())

    assert depth.remote(400).get(PATIENCE) == 400
    with pytest.raises(TooDeepError, match=r"depth@.*450 \(executor.depth_max\)"):
        depth.remote(500).get(PATIENCE)


def test_each_function_of_a_recursion_recurses_as_deep_as_alone(app: cloudburst.App) -> None:
    @app.function
    def both(n: int) -> int:
        def inside(m: int) -> int:
            return inside(m - 1) if m else (n and 1 + int(both.remote(n - 1).get()))

        return inside(700)

    assert both.remote(10).get(PATIENCE) == 10


def test_many_parents_of_several_children(app: cloudburst.App, two: Node, leaf: Any) -> None:
    @app.function
    def parent(x: int) -> int:
        return sum(future.get() for future in [leaf.remote(x), leaf.remote(1), leaf.remote(2)])

    futures = [parent.remote(x) for x in range(300)]
    with cloudburst.connect(two.address, two.token) as other:
        trivial = other.function(lambda: "here", name="trivial")
        assert [trivial.remote().get(PATIENCE) for _ in range(20)] == ["here"] * 20
    assert [future.get(PATIENCE) for future in futures] == [x + 3 for x in range(300)]


def test_every_way_to_call_and_to_wait(app: cloudburst.App, leaf: Any) -> None:
    @app.function
    def incr(x: int) -> int:
        return x + 1

    @app.function
    def double(x: int) -> int:
        return 2 * x

    @app.function
    def way(kind: str) -> Any:
        if kind == "pipeline":
            return (incr >> double).remote(1).get()
        if kind == "map":
            return [future.get() for future in incr.map([1, 2, 3])]
        if kind == "argument":
            return incr.remote(incr.remote(incr.remote(1))).get()
        if kind == "in a list":
            return leaf.remote([incr.remote(1), incr.remote(2)]).get()
        if kind == "all":
            done, left = cloudburst.wait([incr.remote(1), incr.remote(2)])
            return sorted(future.get() for future in done), len(left)
        if kind == "exception":
            return incr.remote("text").exception()  # type: ignore[call-overload]
        if kind == "completed":
            return sorted(future.get() for future in cloudburst.as_completed([incr.remote(1), incr.remote(2)]))
        return incr.remote(1).get(timeout=90)

    expected = {"pipeline": 4, "map": [2, 3, 4], "argument": 4, "in a list": [2, 3], "all": ([2, 3], 0)}
    apart = {"completed": [2, 3], "timed": 2}  # these end before all is done, so that another worker has to help
    for kind, right in {**expected, **apart}.items():
        assert way.remote(kind).get(PATIENCE) == right, kind
    assert isinstance(way.remote("exception").get(PATIENCE), TypeError)
    # Two at a time hold both workers, and the only help comes from those that wait.
    for kind in expected:
        assert [future.get(PATIENCE) for future in way.map([kind] * 8)] == [expected[kind]] * 8, kind


def test_the_first_of_two(node: Node) -> None:
    """Such a wait does not help, so that the slow one is not in the way of the fast one; a worker is added."""
    app = cloudburst.connect(node.address, node.token)

    @app.function
    def slow(key: str) -> str:
        cloudburst.context().get(key, wait=PATIENCE)
        return "slow"

    @app.function
    def fast() -> str:
        return "fast"

    @app.function
    def first(key: str) -> List[str]:
        futures = [slow.remote(key), fast.remote()]
        done, left = cloudburst.wait(futures, return_when=cloudburst.FIRST_COMPLETED)
        cloudburst.context().put(key, True)
        return [future.get() for future in (*done, *left)]

    assert sorted(first.options(timeout=PATIENCE).remote("nested/first").get()) == ["fast", "slow"]


def test_a_child_that_ends_its_process(app: cloudburst.App) -> None:
    @app.function
    def dies() -> None:
        os._exit(7)

    @app.function
    def host() -> str:
        try:
            dies.remote().get()
        except WorkerDiedError as e:
            return str(e)
        return "lived"

    assert "dies@1" in host.remote().get(PATIENCE)


def test_a_child_that_outlives_its_deadline(app: cloudburst.App) -> None:
    @app.function(timeout=1)
    def sleeps() -> None:
        import time

        time.sleep(PATIENCE)

    @app.function
    def host() -> str:
        return type(sleeps.remote().exception()).__name__

    @app.function
    def impatient() -> None:
        sleeps.remote().get()

    assert [future.get(PATIENCE) for future in [host.remote(), host.remote()]] == ["DeadlineExceededError"] * 2
    with pytest.raises(DeadlineExceededError):
        impatient.options(timeout=0.5).remote().get(PATIENCE)


def test_a_lock_of_the_process_held_across_a_wait(app: cloudburst.App, tmp_path: Path) -> None:
    """On the thread that holds it the child can never have it: the deadline says so, unless another worker runs the child."""

    @app.function(inline=False)
    def apart() -> int:
        return os.getpid()

    @app.function
    def host() -> bool:
        return int(apart.remote().get()) != os.getpid()

    assert all(host.remote().get(PATIENCE) for _ in range(20))

    @app.function(timeout=2)
    def locks(path: str) -> str:
        import fcntl

        with open(path, "w") as file:  # noqa: PTH123
            fcntl.flock(file, fcntl.LOCK_EX)
            return "had it"

    @app.function
    def across(path: str) -> str:
        import fcntl

        with open(path, "w") as file:  # noqa: PTH123
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                return str(locks.remote(path).get())
            except DeadlineExceededError as e:
                return str(e)

    assert "locks@1" in across.remote(str(tmp_path / "lock")).get(PATIENCE)


@pytest.mark.parametrize(
    ("child_options", "parent_options", "runs"),
    [({"timeout": 2}, {}, 2), ({"inline": False}, {}, 1), ({}, {"retries": 0}, 1)],
    ids=["helps", "inline=False", "retries=0"],
)
def test_a_lock_of_the_only_worker(own_node: Callable[..., Node], child_options: Any, parent_options: Any, runs: int) -> None:
    """A nested child waits for the lock of its own thread until it is stopped. Its parent then runs again, without helping."""
    own_node(environment={"CLOUDBURST_EXECUTOR__WORKERS_MIN": "1", "CLOUDBURST_EXECUTOR__WORKERS_MAX": "1"})
    app = cloudburst.connect()

    @app.function(**child_options)
    def wants() -> int:
        import builtins
        import threading

        with builtins.__dict__.setdefault("lock", threading.Lock()):
            return os.getpid()

    @app.function
    def holds() -> bool:
        import builtins
        import threading

        cloudburst.context().increment("runs")
        with builtins.__dict__.setdefault("lock", threading.Lock()):
            return bool(wants.remote().get() != os.getpid())

    assert holds.options(**parent_options).remote().get(PATIENCE)
    assert app.get("runs") == runs


def test_threads_of_a_function_call(app: cloudburst.App, two: Node, leaf: Any) -> None:
    @app.function
    def threads() -> List[int]:
        from concurrent.futures import ThreadPoolExecutor

        def call(x: int) -> int:
            return int(leaf.remote(x).get())

        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(call, x) for x in range(20)]
            mine = [leaf.remote(x).get() for x in range(20)]
            return mine + [task.result() for task in asked]

    assert threads.remote().get(PATIENCE) == [*range(20), *range(20)]


def test_a_function_helps_while_its_threads_wait_for_something_else(app: cloudburst.App, leaf: Any) -> None:
    """Whichever thread reads a socket of the worker, the one that waits for a call gets its orders and its answer."""

    @app.function
    def busy(key: str) -> int:
        from concurrent.futures import ThreadPoolExecutor

        state = cloudburst.context()
        with ThreadPoolExecutor(2) as pool:
            late = pool.submit(state.get, f"{key}/late", wait=90)
            total = sum(leaf.remote(x).get() for x in range(50))
            state.put(f"{key}/late", 1000)
            return int(total) + int(late.result())

    futures = [busy.remote(f"nested/busy/{n}") for n in range(8)]
    assert [future.get(PATIENCE) for future in futures] == [sum(range(50)) + 1000] * 8


def test_a_cycle_is_named(app: cloudburst.App) -> None:
    @app.function
    def inner(key: str) -> Any:
        return cloudburst.Future(key).get()

    @app.function
    def outer() -> Any:
        return inner.remote(f"cloudburst/result/{cloudburst.context().run_id}").get()

    @app.function
    def own() -> Any:
        return cloudburst.Future(f"cloudburst/result/{cloudburst.context().run_id}").get()

    with pytest.raises(CycleError, match=r"outer@1\) waits for run"):
        outer.remote().get(PATIENCE)
    with pytest.raises(CycleError, match="own@1"):
        own.remote().get(PATIENCE)


def test_what_each_function_sees_is_its_own(app: cloudburst.App) -> None:
    """A function that is carried out while another one waits finds nothing of that one, and leaves nothing to it."""

    @app.function
    def child() -> Any:
        import os
        import sys

        me = cloudburst.context()
        found = os.getcwd(), os.environ.get("HOST"), sys.getrecursionlimit(), me.function  # noqa: PTH109
        os.chdir("/tmp")
        os.environ["CHILD"] = "here"
        sys.setrecursionlimit(sys.getrecursionlimit() + 500)
        print("child")
        me.send(me.id, "to the child")
        return found, me.recv(10), me.id[1]

    @app.function
    def host(n: int) -> Any:
        import contextlib
        import io
        import os

        me = cloudburst.context()
        before = os.getcwd()  # noqa: PTH109
        os.chdir("/")
        os.environ["HOST"] = "here"
        printed = io.StringIO()
        me.send(me.id, "to the host")
        with contextlib.redirect_stdout(printed):
            print("before")
            found, received, number = child.remote().get()
            print("after")
        mine = os.getcwd(), os.environ.get("HOST"), os.environ.get("CHILD"), printed.getvalue(), me.function  # noqa: PTH109
        return before, mine, found, [m for _, m in received], [m for _, m in me.recv(10)], number != me.id[1]

    for future in [host.remote(i) for i in range(20)]:
        before, mine, found, received, own, apart = future.get(PATIENCE)
        assert mine == ("/", "here", None, "before\nafter\n", "host")
        assert (found[0], found[1], found[3]) == (before, None, "child")
        assert received == ["to the child"]
        assert own == ["to the host"]
        assert apart
