"""The pool of workers: how it grows, in which order calls are served, and what a node says when it is saturated."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Callable

import cloudburst
from cloudburst.errors import DeadlineExceededError
from e2e.node import Node, until

Starter = Callable[..., Node]
CORES = os.cpu_count() or 1
FEW = 6  # workers beyond the cores that functions get that use the CPU: 2, and more where others keep them from the cores
ONE_WORKER = {"CLOUDBURST_EXECUTOR__WORKERS_MIN": "1", "CLOUDBURST_EXECUTOR__WORKERS_MAX": "1"}


def test_short_calls_leave_as_many_workers_as_cores(own_node: Starter) -> None:
    node = own_node()
    app = cloudburst.connect()
    same = app.function(lambda x: x, name="same")
    futures = [same.remote(i) for i in range(20_000)]
    assert [future.get() for future in futures] == list(range(20_000))
    assert node.json("status")["workers"] <= CORES + FEW


def test_functions_that_wait_run_side_by_side(own_node: Starter) -> None:
    """50 of them are under way at the same time, whatever they wait for, and those after them as well."""
    node = own_node()
    app = cloudburst.connect()

    @app.function
    def polls(key: str) -> bool:
        import time

        while cloudburst.context().get(key) is None:
            time.sleep(0.02)
        return True

    @app.function
    def waits(key: str) -> bool:
        return cloudburst.context().get(key, wait=60) is not None

    @app.function
    def reads(path: str) -> bool:
        import socket

        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            return connection.recv(1) == b"x"

    for function in (polls, waits):
        futures = [function.remote(function.name) for _ in range(50)]
        until(lambda: node.json("status")["workers_busy"] == 50, "50 functions that run at once", 60)
        app.put(function.name, 1)
        assert all(future.get() for future in futures)
    path = str(node.directory / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(50)
        futures = [reads.remote(path) for _ in range(50)]
        connections = [listener.accept()[0] for _ in futures]
        for connection in connections:
            connection.sendall(b"x")
            connection.close()
    assert all(future.get() for future in futures)


def test_functions_that_use_the_cpu_get_few_workers(own_node: Starter) -> None:
    node = own_node()
    app = cloudburst.connect()

    @app.function
    def burns(seconds: float) -> None:
        import time

        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    futures = [burns.remote(0.05) for _ in range(40 * CORES)]
    for future in futures:
        future.get()
    assert node.json("status")["workers"] <= CORES + FEW


def test_clients_are_served_in_turn(own_node: Starter) -> None:
    """A call of one client does not wait behind thousands of another one."""
    node = own_node(environment=ONE_WORKER)
    crowd, other = cloudburst.connect(), cloudburst.connect()

    @crowd.function
    def waits(key: str) -> bool:
        return cloudburst.context().get(key, wait=60) is not None

    @crowd.function
    def served() -> int:
        state = cloudburst.context()
        state.increment("served")
        return int(state.get("served"))

    gate = waits.remote("gate")
    many = [served.remote() for _ in range(3000)]
    until(lambda: node.json("status")["queued"] == 3000, "the crowd to queue up")
    one = other.lookup("served").remote()
    until(lambda: node.json("status")["queued"] == 3001, "the call of the other client to queue up")
    crowd.put("gate", 1)
    assert gate.get()
    assert one.get() <= 2, "it was the second to be served, at the latest"
    assert sorted(future.get() for future in many)[-1] == 3001


def test_a_saturated_node_says_what_waits_for_what(own_node: Starter) -> None:
    """One line when it begins and one when it ends; status, and the errors of calls that did not start, say it too."""
    node = own_node(environment=ONE_WORKER)
    app = cloudburst.connect()

    @app.function
    def waits(key: str) -> bool:
        return cloudburst.context().get(key, wait=60) is not None

    same = app.function(lambda x: x, name="same")
    gate = waits.remote("gate")
    futures = [same.remote(i) for i in range(5)]
    line = node.output.wait_for("saturated: calls wait for workers")
    what = "5 × same@1 wait for a worker; 1 of at most 1 workers are up (executor.workers_max) and run 1 × waits@1"
    assert what in line
    status = node.json("status")
    assert status["saturation"] == what
    assert status["saturated_since"] > status["started"]
    assert what in node.cli("status").stdout

    late = same.options(timeout=0.2).remote(5).exception()
    assert isinstance(late, DeadlineExceededError)
    assert "executor.workers_max" in str(late)
    assert "1 × waits@1" in str(late)
    impatient = same.options(queue_timeout=0.2).remote(5).exception()
    assert isinstance(impatient, DeadlineExceededError)
    assert "queue_timeout" in str(impatient)
    assert "1 × waits@1" in str(impatient)

    app.put("gate", 1)
    assert gate.get()
    assert [future.get() for future in futures] == list(range(5))
    node.output.wait_for("no longer saturated")
    assert str(node.output).count("saturated: calls wait for workers") == 1
    assert "saturation" not in node.json("status")


def test_a_limit_holds_up_only_its_own_function(own_node: Starter, tmp_path: Path) -> None:
    node = own_node()
    app = cloudburst.connect()

    @app.function(concurrency=1)
    def alone(path: str) -> None:
        import fcntl

        with open(path, "w") as file:  # noqa: PTH123
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if another one has it
            cloudburst.context().get("gate", wait=60)

    futures = [alone.remote(str(tmp_path / "lock")) for _ in range(20)]
    same = app.function(lambda x: x, name="same")
    assert same.remote(1).get() == 1
    status = node.json("status")
    assert (status["workers_busy"], status["queued"]) == (1, 19)
    app.put("gate", 1)
    for future in futures:
        future.get()
