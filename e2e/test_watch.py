"""Lattices in and out, several keys at once, and watches, from the modern face."""

from __future__ import annotations

import threading
from typing import List

import pytest

import cloudburst
from anna.lattices import CounterLattice, MaxIntLattice, OrderedSetLattice, SetLattice
from cloudburst import errors
from e2e.node import Node


def test_lattices_in_and_out(node: Node, name: str) -> None:
    with cloudburst.connect() as app:
        app.put(f"{name}-max", MaxIntLattice(3))
        app.put(f"{name}-max", MaxIntLattice(9))
        app.put(f"{name}-max", MaxIntLattice(5))
        assert app.get(f"{name}-max") == 9
        assert app.lattice(f"{name}-max") == MaxIntLattice(9)
        app.put_many({f"{name}-set": SetLattice({b"a"}), f"{name}-counter": CounterLattice().add(5), f"{name}-x": [1, 2]})
        app.put(f"{name}-set", SetLattice({b"b"}))
        assert app.get_many([f"{name}-set", f"{name}-counter", f"{name}-x", f"{name}-none"]) == {
            f"{name}-set": [b"a", b"b"],
            f"{name}-counter": 5,
            f"{name}-x": [1, 2],
        }
        app.put(f"{name}-scores", OrderedSetLattice(scores={b"ada": 2.0, b"grace": 1.0}))
        assert app.get(f"{name}-scores") == [(b"grace", 1.0), (b"ada", 2.0)]
        assert app.lattice(f"{name}-none") is None
        with pytest.raises(errors.LatticeMismatchError):
            app.put(f"{name}-max", SetLattice({b"a"}))


def test_increments_are_counted_by_the_store(node: Node, name: str) -> None:
    with cloudburst.connect() as app:
        for _ in range(20):
            app.increment(name)
        app.increment(name, -5)
        app.increment(name, 0)
        assert app.get(name) == 15
        counter = app.lattice(name)
        assert isinstance(counter, CounterLattice)
        assert len(counter.counts) == 1
        with pytest.raises(errors.InvalidArgumentError):
            app.increment(name, 1 << 64)


def test_a_watch_sees_every_change(node: Node, name: str) -> None:
    with cloudburst.connect() as app, cloudburst.connect() as other:
        app.put(name, 1)
        changes = app.watch(name, f"{name}-b", timeout=30)
        assert [tuple(next(changes)), tuple(next(changes))] == [(name, 1, True, False), (f"{name}-b", None, False, False)]
        other.put(f"{name}-b", "x")
        assert next(changes) == (f"{name}-b", "x", True, False)
        app.put(name, 2)  # on the connection of the watch
        assert next(changes) == (name, 2, True, False)
        other.delete(name)
        assert next(changes) == (name, None, False, False)
        changes.close()  # type: ignore[attr-defined]
        app.put(name, 3)
        assert app.get(name) == 3
        with pytest.raises(errors.DeadlineExceededError):
            list(app.watch(name, timeout=0.05))
        with pytest.raises(errors.InvalidArgumentError):
            app.watch()


def test_a_watch_beside_other_threads(node: Node, name: str) -> None:
    with cloudburst.connect() as app:
        app.put(name, 0)
        seen: List[int] = []

        def follow() -> None:
            for change in app.watch(name, timeout=30):
                seen.append(change.value)
                if change.value == 200:
                    return

        follower = threading.Thread(target=follow)
        follower.start()
        for n in range(1, 201):
            app.put(name, n)
            assert app.get(name) == n
        follower.join()
        assert seen == sorted(set(seen))
        assert seen[-1] == 200


def test_a_slow_loop_lags_and_gets_the_last(node: Node, name: str) -> None:
    with cloudburst.connect() as app, cloudburst.connect() as other:
        lagged, last = False, -1
        for change in app.watch(name, timeout=30):
            if not change.exists:
                for n in range(3000):
                    other.put(name, n, ack="memory")
                    app.get(name)  # takes in the changes
                continue
            assert change.value > last
            assert change.value == last + 1 or change.lagged
            lagged, last = lagged or change.lagged, change.value
            if last == 2999:
                break
        assert lagged


def test_a_watch_goes_on_when_the_node_comes_back(own_node: object, name: str) -> None:
    own = own_node()  # type: ignore[operator]
    with cloudburst.connect() as app:
        app.put(name, 1)
        changes = app.watch(name, timeout=60)
        assert next(changes) == (name, 1, True, False)
        own.kill()
        own.start()
        assert next(changes) == (name, 1, True, True)
