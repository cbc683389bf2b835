"""Functions share state through the store, and what one writes the other reads."""

from __future__ import annotations

import functools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from cloudburst import errors
from cloudburst.client.client import CloudburstConnection
from cloudburst.shared.reference import CloudburstReference
from e2e.node import Node, until

EPOCH_SECONDS_MAX = 1.0


def is_current(read: Any, reference: Any, value: int) -> bool:
    return bool(read(reference).get() == value)


def test_a_reference_sees_what_anybody_wrote_last(cloud: CloudburstConnection, name: str) -> None:
    other = CloudburstConnection("127.0.0.1", "127.0.0.1", tid=3, local=True)
    read = cloud.register(lambda _, x: x, f"{name}-read")
    write = cloud.register(lambda library, key, x: library.put(key, x), f"{name}-write")
    reference = CloudburstReference(name, True)
    cloud.put_object(name, 0)
    assert read(reference).get() == 0
    for i in range(1, 40):
        if i % 2:
            other.put_object(name, i)
        else:
            write(name, i).get()
        until(functools.partial(is_current, read, reference, i), f"version {i}", EPOCH_SECONDS_MAX)
        assert cloud.get_object(name) == i


def test_a_function_reads_its_own_writes(cloud: CloudburstConnection, name: str) -> None:
    def write_and_read(library: Any, key: str) -> bool:
        for i in range(500):
            library.put(key, i)
            if library.get(key) != i:
                return False
        return True

    assert cloud.register(write_and_read, name)(name).get()


def test_functions_that_all_wait_for_each_other(cloud: CloudburstConnection, name: str) -> None:
    """Twenty functions that poll keys of each other do not starve one another."""

    def meet(library: Any, key: str, me: int, all_of_us: int) -> int:
        library.put(f"{key}-{me}", me)
        keys = [f"{key}-{i}" for i in range(all_of_us)]
        while None in library.get(keys).values():
            time.sleep(0.002)
        return me

    f = cloud.register(meet, name)
    assert [future.get() for future in [f(name, i, 20) for i in range(20)]] == list(range(20))


def test_functions_that_sleep_do_not_starve_others(cloud: CloudburstConnection, name: str) -> None:
    def sleep(library: Any, key: str) -> None:
        while library.get(key) is None:
            time.sleep(0.05)

    f = cloud.register(sleep, f"{name}-sleep")
    echo = cloud.register(lambda _, x: x, f"{name}-echo")
    asleep = [f(f"{name}-wake") for _ in range(30)]
    assert [echo(i).get() for i in range(100)] == list(range(100))
    cloud.put_object(f"{name}-wake", True)
    for future in asleep:
        future.get()


def test_messages_between_many(cloud: CloudburstConnection, name: str) -> None:
    """A ring of functions passes a token round, each waiting in recv for its neighbour."""

    def link(library: Any, key: str, me: int, size: int) -> Any:
        library.put(f"{key}-{me}", library.getid())
        neighbour = f"{key}-{(me + 1) % size}"
        while (target := library.get(neighbour)) is None:
            time.sleep(0.002)
        if me == 0:
            library.send(target, b"0")
        while not (messages := library.recv()):
            time.sleep(0.002)
        token = messages[0][1]
        if me != 0:
            library.send(target, token + b"," + str(me).encode())
        return token

    f = cloud.register(link, name)
    links = [f(name, i, 8) for i in range(8)]
    assert links[0].get() == b"0,1,2,3,4,5,6,7"
    assert links[7].get() == b"0,1,2,3,4,5,6"


def test_two_clients_of_one_name(cloud: CloudburstConnection, name: str) -> None:
    clients = [CloudburstConnection("127.0.0.1", "127.0.0.1", tid=0, local=True) for _ in range(2)]
    cloud.register(lambda _, x: x * 2, name)
    handles = [client.get_function(name) for client in clients]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda i: handles[i % 2](i).get(), range(1000)))
    assert answers == [2 * i for i in range(1000)]


def test_a_thousand_calls_from_64_threads(cloud: CloudburstConnection, name: str) -> None:
    cloud.register(lambda _, x: x + 1, f"{name}-incr")
    cloud.register(lambda _, x: x * x, f"{name}-sq")
    names = [f"{name}-incr", f"{name}-sq"]
    assert cloud.register_dag(name, names, [(names[0], names[1])]) == (True, 0)

    def call(i: int) -> Any:
        if i % 2:
            return cloud.call_dag(name, {names[0]: [i]}, direct_response=True)
        return cloud.call_dag(name, {names[0]: [i]}).get()

    with ThreadPoolExecutor(64) as threads:
        assert list(threads.map(call, range(1000))) == [(i + 1) ** 2 for i in range(1000)]


@pytest.mark.parametrize("size", [0, 1, 1 << 10, 1 << 20, 64 << 20], ids=["0", "1", "1 KiB", "1 MiB", "64 MiB"])
def test_payloads(cloud: CloudburstConnection, name: str, size: int) -> None:
    content = np.random.default_rng(size).bytes(size)
    echo = cloud.register(lambda _, x: x, name)
    assert echo(content).get() == content
    cloud.put_object(name, content)
    assert cloud.get_object(name) == content
    length = cloud.register(lambda _, x: len(x), f"{name}-length")
    assert length(CloudburstReference(name, True)).get() == size


def test_payloads_above_the_limit(cloud: CloudburstConnection, name: str) -> None:
    limit, size = 64 << 20, (64 << 20) + (1 << 20)
    make = cloud.register(lambda _, n: bytes(n), name)
    for attempt in (
        lambda: make(bytes(size)).get(),
        lambda: make(size).get(),
        lambda: cloud.put_object(name, bytes(size)),
    ):
        with pytest.raises(errors.TooLargeError, match=str(limit)) as raised:
            attempt()
        assert str(size)[:3] in str(raised.value), "the size is stated"
    assert make(3).get() == bytes(3)


def test_results_of_futures_are_forgotten(own_node: Any, name: str) -> None:
    """Resident memory is flat once ten thousand futures have had their time."""
    node: Node = own_node(environment={"CLOUDBURST_SCHEDULER__RESULT_TTL": "2s"})
    cloud = CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)
    make = cloud.register(lambda _, i: i.to_bytes(4, "big") * 1024, name)

    def futures(count: int) -> int:
        with ThreadPoolExecutor(8) as threads:
            keys = list(threads.map(lambda i: cloud.exec_func(name, [i]), range(count)))
        until(lambda: stored_results(node) <= 10, "all results to be forgotten", 40)
        with pytest.raises(KeyError):
            cloud.get_object(keys[0])
        return node.resident_bytes()

    assert make(1).get() == b"\0\0\0\1" * 1024
    rounds = [futures(10_000) for _ in range(4)]
    # A garbage collector's heap breathes; two rounds would add this much at least if they were not forgotten.
    kept = 2 * 10_000 * 4096
    assert min(rounds[2:]) - rounds[0] < kept * 3 / 4, [f"{resident >> 20} MiB" for resident in rounds]


def stored_results(node: Node) -> int:
    return int(node.metric("cloudburst_anna_reserved"))
