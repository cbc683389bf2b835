"""Processes are killed, and nothing that was acknowledged is lost."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict

import pytest

from cloudburst import errors
from cloudburst.client.client import CloudburstConnection
from e2e.node import SHORT_LOG, Node, until

Starter = Callable[..., Node]


def connect() -> CloudburstConnection:
    return CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)


def stored(cloud: CloudburstConnection, key: str) -> Any:
    """The value of a key, or None while there is none."""
    try:
        return cloud.get_object(key)
    except KeyError:
        return None


def hold(library: Any, key: str) -> int:
    """Say which process runs this, and wait for the word to go on."""
    library.put(f"{key}-pid", os.getpid())
    while library.get(f"{key}-go") is None:
        time.sleep(0.005)
    return os.getpid()


def test_a_worker_is_killed_in_mid_run(cloud: CloudburstConnection, name: str) -> None:
    f = cloud.register(hold, f"{name}-hold")
    echo = cloud.register(lambda _, x: x, f"{name}-echo")
    future = f(name)
    first = until(lambda: stored(cloud, f"{name}-pid"), "the first attempt")
    with ThreadPoolExecutor(4) as threads:
        others = threads.map(lambda i: echo(i).get(), range(200))
        os.kill(first, signal.SIGKILL)
        assert list(others) == list(range(200)), "no other run is disturbed"
    second = until(lambda: (pid := stored(cloud, f"{name}-pid")) != first and pid, "the second attempt")
    cloud.put_object(f"{name}-go", True)
    assert future.get() == second


def test_a_worker_is_killed_in_the_middle_of_a_dag(cloud: CloudburstConnection, name: str) -> None:
    cloud.register(lambda _, key: key, f"{name}-first")
    cloud.register(hold, f"{name}-hold")
    cloud.register(lambda _, pid: ("done", pid), f"{name}-last")
    names = [f"{name}-first", f"{name}-hold", f"{name}-last"]
    assert cloud.register_dag(name, names, list(zip(names, names[1:]))) == (True, 0)
    future = cloud.call_dag(name, {names[0]: [name]})
    first = until(lambda: stored(cloud, f"{name}-pid"), "the first attempt")
    os.kill(first, signal.SIGKILL)
    second = until(lambda: (pid := stored(cloud, f"{name}-pid")) != first and pid, "the second attempt")
    cloud.put_object(f"{name}-go", True)
    assert future.get() == ("done", second)


def test_a_function_that_always_kills_its_worker(cloud: CloudburstConnection, name: str) -> None:
    poison = cloud.register(lambda _: os.kill(os.getpid(), signal.SIGKILL), name)
    echo = cloud.register(lambda _, x: x, f"{name}-echo")
    with pytest.raises(errors.WorkerDiedError, match=name):
        poison().get()
    assert [echo(i).get() for i in range(50)] == list(range(50))


def test_the_node_is_killed_and_started_again(own_node: Starter, name: str) -> None:
    node = own_node()
    cloud = connect()
    cloud.register(lambda _, x: x + 1, "incr")
    cloud.register(lambda _, x: x * x, "sq")
    assert cloud.register_dag("both", ["incr", "sq"], [("incr", "sq")]) == (True, 0)
    for i in range(100):
        cloud.put_object(f"key-{i}", i)
    cloud.put_object("members", {"a", "b"})
    node.kill()
    node.start()
    assert cloud.call_dag("both", {"incr": [3]}).get() == 16, "the same connection goes on"
    assert [cloud.get_object(f"key-{i}") for i in range(100)] == list(range(100))
    assert sorted(cloud.get_object("members")) == ["a", "b"]
    fresh = connect()
    found = fresh.get_function("sq")
    assert found is not None
    assert found(5).get() == 25
    assert fresh.call_dag("both", {"incr": [1]}, direct_response=True) == 4


def test_the_node_is_killed_while_it_is_written_to(own_node: Starter) -> None:
    """Every write that was acknowledged is there, however often the node was killed, and the log cut off at its beginning."""
    node = own_node(environment=SHORT_LOG)
    cloud = connect()
    acknowledged: Dict[str, int] = {}
    enough = threading.Event()

    def write() -> None:
        for i in itertools.takewhile(lambda _: not enough.is_set(), itertools.count()):
            key = f"key-{i % 100 if i % 8 else i}"
            cloud.put_object(key, i)
            acknowledged[key] = i

    with ThreadPoolExecutor(1) as threads:
        writer = threads.submit(write)
        for _ in range(3):
            until(lambda: node.metric("cloudburst_anna_truncations_total") > 1, "the log to be cut off")
            node.kill()
            node.start()
        enough.set()
        writer.result()
    node.kill()
    node.start()
    assert {key: stored(cloud, key) for key in acknowledged} == acknowledged


def test_the_zygote_is_killed(own_node: Starter) -> None:
    node = own_node()
    cloud = connect()
    parent = cloud.register(lambda _: os.getppid(), "parent")
    zygote = parent().get()
    os.kill(zygote, signal.SIGKILL)
    after = until(lambda: (found := parent().get()) != zygote and found, "workers of another zygote")
    assert after in node.family()


def test_sigterm_drains(own_node: Starter) -> None:
    node = own_node()
    cloud = connect()

    def slow(library: Any) -> str:
        library.put("started", True)
        time.sleep(1)
        library.put("finished", "yes")
        return "done"

    f = cloud.register(slow, "slow")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: f().get())
        until(lambda: stored(cloud, "started"), "the function to run")
        node.signal(signal.SIGTERM)
        assert waiting.result() == "done", "what runs is finished"
    assert node.wait() == 0
    assert node.family() == [], "no worker is left behind"
    node.start()
    assert connect().get_object("finished") == "yes"


def test_a_second_signal_cuts(own_node: Starter) -> None:
    node = own_node()
    cloud = connect()

    def endless(library: Any) -> None:
        library.put("started", True)
        time.sleep(600)

    future = cloud.register(endless, "endless")()
    until(lambda: stored(cloud, "started"), "the function to run")
    node.signal(signal.SIGTERM)
    node.output.wait_for("(?i)drain")
    node.signal(signal.SIGTERM)
    assert node.wait(10) != 0
    until(lambda: node.family() == [], "all workers to end")
    with pytest.raises((errors.Error, ConnectionError, TimeoutError)):
        future.get(timeout=1)


def test_a_client_that_forks(node: Node, cloud: CloudburstConnection, name: str) -> None:
    """A connection made before a fork works on both sides of it."""
    echo = cloud.register(lambda _, x: x, name)
    assert echo(0).get() == 0
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if [echo(i).get() for i in range(100, 150)] == list(range(100, 150)):
                os.write(writes, b"well")
                status = 0
        finally:
            os._exit(status)
    assert [echo(i).get() for i in range(50)] == list(range(50))
    assert os.waitpid(child, 0)[1] == 0
    os.close(writes)
    assert os.read(reads, 10) == b"well"
    os.close(reads)
