"""Sessions of the store: what they promise, over a real node."""

from __future__ import annotations

import threading
from typing import Any, List

import pytest

import cloudburst
from anna.lattices import MapLattice as Dependencies
from anna.lattices import MaxIntLattice, MultiKeyCausalLattice, SetLattice, SingleKeyCausalLattice, VectorClock
from cloudburst import errors
from e2e.node import Node


def test_a_transaction(node: Node, name: str) -> None:
    with cloudburst.connect() as app:
        app.put(name, 1)
        app.increment(f"{name}-n", 5)
        with app.session("read_committed+item_cut") as s:
            assert s.get(name) == 1
            app.put(name, 2)
            assert s.get(name) == 1
            s.put(name, 3)
            s.increment(f"{name}-n")
            s.increment(f"{name}-n")
            s.put(f"{name}-max", MaxIntLattice(4))
            assert s.get_many([name, f"{name}-n", f"{name}-max"]) == {name: 3, f"{name}-n": 7, f"{name}-max": 4}
            assert app.get_many([name, f"{name}-n", f"{name}-max"]) == {name: 2, f"{name}-n": 5}
        assert app.get_many([name, f"{name}-n", f"{name}-max"]) == {name: 3, f"{name}-n": 7, f"{name}-max": 4}
        with pytest.raises(ZeroDivisionError), app.session("read_committed") as s:
            s.put(name, 4)
            s.delete(f"{name}-n")
            1 / 0  # noqa: B018
        assert app.get_many([name, f"{name}-n"]) == {name: 3, f"{name}-n": 7}


def test_session_guarantees(node: Node, name: str) -> None:
    with cloudburst.connect() as app:
        s = app.session()
        for n in range(3):
            s.put(name, n)
            s.put(f"{name}-set", SetLattice({b"%d" % n}))
            s.increment(f"{name}-n", 2)
            assert s.get(name) == n
        assert s.get(f"{name}-set") == [b"0", b"1", b"2"]
        app.delete([name, f"{name}-set", f"{name}-n"])
        assert s.get_many([name, f"{name}-set", f"{name}-n"]) == {}
        s.increment(f"{name}-n")
        assert (s.get(f"{name}-n"), app.get(f"{name}-n")) == (1, 1)
        s.delete(f"{name}-n")
        assert (s.get(f"{name}-n", "gone"), app.get(f"{name}-n", "gone")) == ("gone", "gone")
        with pytest.raises(errors.InvalidArgumentError):
            app.session("serializable")


def test_causal_sessions(node: Node, name: str) -> None:
    with cloudburst.connect() as app:
        ada, grace, reader = app.session("causal"), app.session("causal"), app.session("causal")
        ada.put(name, "ada's")
        grace.put(name, "grace's")  # who has not read ada's
        assert sorted(reader.concurrent(name)) == ["ada's", "grace's"]
        reader.put(name, "both")
        assert ada.get(name) == "both"
        assert ada.concurrent(name) == ["both"]
        with pytest.raises(errors.UnsupportedError):
            ada.put(name, MaxIntLattice(1))


def test_what_is_depended_on_is_waited_for(node: Node, name: str) -> None:
    with cloudburst.connect() as app, cloudburst.connect() as other:
        clock = VectorClock({"w": 1}, True)
        app.put(f"{name}-z", MultiKeyCausalLattice(clock, Dependencies({f"{name}-late": clock}), SetLattice({b"z"})))
        s = app.session("causal")
        assert s.get(f"{name}-z") == b"z"
        with pytest.raises(errors.DeadlineExceededError):
            s.get(f"{name}-late", timeout=0.1)
        late: List[Any] = []
        waiting = threading.Thread(target=lambda: late.append(s.get(f"{name}-late", timeout=60)))
        waiting.start()
        other.put(f"{name}-late", SingleKeyCausalLattice(clock, SetLattice({b"late"})))
        waiting.join()
        assert late == [b"late"]
