"""Programs written for the published interface run unchanged."""

from __future__ import annotations

import time
from typing import Any, Callable

import numpy as np
import pytest

import cloudburst
from anna.lattices import ListBasedOrderedSet, LWWPairLattice, OrderedSetLattice, SetLattice
from cloudburst.client.client import CloudburstConnection
from cloudburst.shared.future import CloudburstFuture
from cloudburst.shared.proto.cloudburst_pb2 import DAG_ALREADY_EXISTS, MULTI, NO_SUCH_DAG, NORMAL, DagCall
from cloudburst.shared.reference import CloudburstReference
from cloudburst.shared.serializer import Serializer
from e2e.node import Node, until


def test_first_steps(node: Node) -> None:
    cloud = CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)
    sq = cloud.register(lambda _, x: x * x, "sq")
    assert sq(2).get() == 4
    cloud.register(lambda _, x: x + 1, "incr")
    assert cloud.register_dag("f", ["incr", "sq"], [("incr", "sq")]) == (True, 0)
    assert cloud.call_dag("f", {"incr": [3]}).get() == 16
    assert cloud.call_dag("f", {"incr": 3}, direct_response=True) == 16


def test_handles(cloud: CloudburstConnection, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.register(lambda _, x, y: x - y, name)
    handle = cloud.get_function(name)
    assert handle is not None
    assert handle.get_name() == name
    future = handle(10, 3)
    assert isinstance(future, CloudburstFuture)
    assert future.get() == 7
    assert future.get() == 7, "a future can be asked again"
    cloud.list(name)
    assert name in capsys.readouterr().out
    assert cloud.get_function(name + "-not-there") is None
    assert name in capsys.readouterr().out, "what is missing is named"


def test_exec_func_returns_the_key_of_the_result(cloud: CloudburstConnection, name: str) -> None:
    cloud.register(lambda _, x: x * 3, name)
    key = cloud.exec_func(name, [14])
    assert until(lambda: cloud.get_object(key), "the result") == 42


def test_class_with_state(cloud: CloudburstConnection, name: str) -> None:
    class Account:
        def __init__(self, library: Any, balance: int) -> None:
            self.balance = balance

        def run(self, library: Any, amount: int) -> int:
            self.balance += amount
            return self.balance

    account = cloud.register((Account, (100,)), name)
    assert [account(5).get() for _ in range(3)] == [105, 110, 115]


def test_diamond_and_spread_tuples(cloud: CloudburstConnection, name: str) -> None:
    source, left, right, sink, pair = (f"{name}-{part}" for part in ("source", "left", "right", "sink", "pair"))
    cloud.register(lambda _, x: x + 1, source)
    cloud.register(lambda _, x: x * 2, left)
    cloud.register(lambda _, x: x * 3, right)
    cloud.register(lambda _, scale, a, b: scale * (a + b), sink)
    links = [(source, left), (source, right), (left, sink), (right, sink)]
    assert cloud.register_dag(f"{name}-diamond", [source, left, right, sink], links) == (True, 0)
    assert cloud.call_dag(f"{name}-diamond", {source: 1, sink: [10]}).get() == 100
    cloud.register(lambda _, x: (x, x + 5), pair)
    cloud.register(lambda _, a, b: b - a, f"{name}-spread")
    assert cloud.register_dag(f"{name}-two", [pair, f"{name}-spread"], [(pair, f"{name}-spread")]) == (True, 0)
    assert cloud.call_dag(f"{name}-two", {pair: [7]}).get() == 5


def test_dag_errors(cloud: CloudburstConnection, name: str) -> None:
    cloud.register(lambda _, x: x, f"{name}-a")
    cloud.register(lambda _, x: x, f"{name}-b")
    with pytest.raises(RuntimeError, match=f"{name}-missing"):
        cloud.register_dag(name, [f"{name}-a", f"{name}-missing"], [(f"{name}-a", f"{name}-missing")])
    assert cloud.register_dag(name, [f"{name}-a", f"{name}-b"], [(f"{name}-a", f"{name}-b")]) == (True, 0)
    assert cloud.register_dag(name, [f"{name}-a"], []) == (False, DAG_ALREADY_EXISTS)
    with pytest.raises(RuntimeError, match=f"{name}-unknown"):
        cloud.call_dag(f"{name}-unknown", {})
    assert cloud.delete_dag(name) == (True, 0)
    assert cloud.delete_dag(name) == (False, NO_SUCH_DAG)
    with pytest.raises(RuntimeError, match=name):
        cloud.call_dag(name, {f"{name}-a": [1]})


@pytest.mark.parametrize(
    ("functions", "links", "reason"),
    [
        (["a", "b"], [("a", "b"), ("b", "a")], "cycl"),
        (["a", "b"], [], "sink"),
        (["a", "a"], [], "twice|duplicate"),
        ([], [], "no function|empty"),
    ],
)
def test_impossible_dags_are_refused_with_the_reason(
    cloud: CloudburstConnection, name: str, functions: list[str], links: list[tuple[str, str]], reason: str
) -> None:
    for function in ("a", "b"):
        cloud.register(lambda _, x: x, function)
    with pytest.raises(Exception, match=f"(?i){reason}"):
        cloud.register_dag(name, functions, links)


def test_continuation_and_output_key(cloud: CloudburstConnection, name: str) -> None:
    cloud.register(lambda _, x: x + 1, f"{name}-incr")
    cloud.register(lambda _, y, x: y * x, f"{name}-times")
    assert cloud.register_dag(f"{name}-first", [f"{name}-incr"], []) == (True, 0)
    assert cloud.register_dag(f"{name}-second", [f"{name}-times"], []) == (True, 0)
    then = cloud.call_dag(f"{name}-second", {f"{name}-times": [10]}, dry_run=True)
    assert isinstance(then, DagCall)
    first = cloud.call_dag(f"{name}-first", {f"{name}-incr": [4]}, continuation=then, output_key=f"{name}-kept")
    assert first.get() == 50
    assert cloud.get_object(f"{name}-kept") == 50


def test_references_and_futures_as_arguments(cloud: CloudburstConnection, name: str) -> None:
    add = cloud.register(lambda _, x, y: x + y, name)
    cloud.put_object(f"{name}-key", 40)
    assert add(CloudburstReference(f"{name}-key", True), 2).get() == 42
    assert add(add(1, 2), add(3, 4)).get() == 10
    total = cloud.register(lambda _, values: sum(values), f"{name}-sum")
    assert total([CloudburstReference(f"{name}-key", True), 2]).get() == 42
    cloud.put_object(f"{name}-raw", b"\x00\xff")
    raw = cloud.register(lambda _, x: (type(x).__name__, bytes(x)), f"{name}-as-stored")
    assert raw(CloudburstReference(f"{name}-raw", False)).get() == ("bytes", b"\x00\xff")


def test_user_library(cloud: CloudburstConnection, name: str) -> None:
    def library_tour(library: Any, prefix: str) -> Any:
        library.put(f"{prefix}-one", [1, 2])
        library.put(f"{prefix}-two", "zwei")
        one = library.get(f"{prefix}-one")
        both = library.get([f"{prefix}-one", f"{prefix}-two", f"{prefix}-none"])
        return one, both, library.get(f"{prefix}-none"), library.getid()

    one, both, none, identity = cloud.register(library_tour, name)(name).get()
    assert one == [1, 2]
    assert both == {f"{name}-one": [1, 2], f"{name}-two": "zwei", f"{name}-none": None}
    assert none is None
    member, number = identity
    assert isinstance(member, str)
    assert isinstance(number, int)
    assert cloud.get_object(f"{name}-two") == "zwei"


def test_messages_between_running_functions(cloud: CloudburstConnection, name: str) -> None:
    def listener(library: Any, key: str) -> Any:
        library.put(key, library.getid())
        while True:
            messages = library.recv()
            if messages:
                return messages[0][1]

    def speaker(library: Any, key: str, message: bytes) -> Any:
        while (identity := library.get(key)) is None:
            pass
        library.send(identity, message)
        return "sent"

    heard = cloud.register(listener, f"{name}-listener")(f"{name}-id")
    said = cloud.register(speaker, f"{name}-speaker")(f"{name}-id", b"hello")
    assert said.get() == "sent"
    assert heard.get() == b"hello"


def test_lattices(cloud: CloudburstConnection, name: str) -> None:
    store = cloud.kvs_client

    def revealed(key: str) -> Any:
        lattice = store.get([key])[key]
        assert lattice is not None
        return lattice.reveal()

    assert store.get(f"{name}-none") == {f"{name}-none": None}
    assert store.put(f"{name}-lww", LWWPairLattice(1, Serializer().dump("first")))
    assert store.put(f"{name}-lww", LWWPairLattice(0, b"too old")) == {f"{name}-lww": False}
    assert Serializer().load(revealed(f"{name}-lww")) == "first"
    assert store.put(f"{name}-set", SetLattice({b"a"}))
    assert store.put(f"{name}-set", SetLattice({b"b"}))
    assert revealed(f"{name}-set") == {b"a", b"b"}
    cloud.put_object(f"{name}-object", {1, 2, 3})
    assert sorted(cloud.get_object(f"{name}-object")) == [1, 2, 3], "a set is read back as a list"


def test_lattices_as_values(cloud: CloudburstConnection, name: str) -> None:
    """A lattice that put_object or the user library keeps is handed back as it is: so functions publish where they are."""

    def publish(library: Any, key: str) -> Any:
        library.put(key, LWWPairLattice(0, b"here"))
        found = library.get([key])[key]
        return found.reveal(), type(library.get(key)).__name__

    assert cloud.register(publish, name)(f"{name}-key").get() == (b"here", "LWWPairLattice")
    assert cloud.get_object(f"{name}-key") == LWWPairLattice(0, b"here")
    assert cloud.put_object(f"{name}-set", SetLattice({b"a"})) == {f"{name}-set": True}
    assert cloud.get_object(f"{name}-set") == SetLattice({b"a"})
    cloud.kvs_client.put(f"{name}-ordered", OrderedSetLattice(ListBasedOrderedSet([b"b", b"a"])))
    assert cloud.get_object(f"{name}-ordered") == [b"a", b"b"]


@pytest.mark.parametrize("clock", [lambda: 0, lambda: int(time.time() * 10), lambda: time.time_ns() // 1000, time.time_ns])
def test_of_two_puts_the_later_wins(cloud: CloudburstConnection, name: str, clock: Callable[[], int]) -> None:
    """Whatever clock a program stamps with, also after the store has stamped; a put without effect does not report success."""
    store = cloud.kvs_client
    timestamp = clock()
    for value in (b"zz", b"aa"):
        assert store.put(name, LWWPairLattice(timestamp, value)) == {name: True}
        assert cloud.get_object(name) == value
    cloud.put_object(name, "stamped by the store")
    assert cloud.get_object(name) == "stamped by the store"
    took_effect = store.put(name, LWWPairLattice(clock(), b"after"))[name]
    assert took_effect is (timestamp > 0)
    assert cloud.get_object(name) == (b"after" if took_effect else "stamped by the store")
    with cloudburst.connect() as app:
        app.delete(name)
        assert store.put(name, LWWPairLattice(timestamp, b"again")) == {name: True}
        assert app.get(name) == b"again", "a tombstone does not hide what is put after it"


def test_references_that_upstream_functions_return(cloud: CloudburstConnection, name: str) -> None:
    cloud.put_object(f"{name}-key", 41)
    cloud.register(lambda _, key: CloudburstReference(key, True), f"{name}-one")
    cloud.register(lambda _, key: [CloudburstReference(key, True), 1], f"{name}-list")
    cloud.register(lambda _, *values: list(values), f"{name}-sink")
    links = [(f"{name}-one", f"{name}-sink"), (f"{name}-list", f"{name}-sink")]
    cloud.register_dag(name, [f"{name}-one", f"{name}-list", f"{name}-sink"], links)
    for source in ("one", "list"):
        link = (f"{name}-{source}", f"{name}-sink")
        cloud.register_dag(f"{name}-chain-{source}", list(link), [link])
    arguments = {f"{name}-one": f"{name}-key", f"{name}-list": f"{name}-key"}
    assert cloud.call_dag(name, arguments).get() == [41, [41, 1]]
    assert cloud.call_dag(f"{name}-chain-one", {f"{name}-one": f"{name}-key"}).get() == [41]
    assert cloud.call_dag(f"{name}-chain-list", {f"{name}-list": f"{name}-key"}).get() == [[41, 1]]


def test_tuples_and_sets(cloud: CloudburstConnection, name: str) -> None:
    f = cloud.register(lambda _, *arguments: list(arguments), name)
    assert f((1, 2), 3).get() == [1, 2, 3]
    cloud.register_dag(f"{name}-dag", [name], [])
    assert cloud.call_dag(f"{name}-dag", {name: (1, 2)}).get() == [1, 2]
    members = cloud.register(lambda _: {1}, f"{name}-set")
    future = members()
    assert future.get() == [1]
    assert cloud.get_object(future.obj_id) == [1]


def test_a_call_as_a_message(cloud: CloudburstConnection, name: str) -> None:
    """A program may write the message of a continuation itself."""
    cloud.register(lambda _, *arguments: [*arguments], name)
    cloud.register_dag(f"{name}-dag", [name], [])
    then = DagCall(name=f"{name}-dag", output_key=f"{name}-kept")
    then.function_args[name].values.extend(Serializer().dump(value, serialize=False) for value in ("text", 5))
    assert cloud.call_dag(f"{name}-dag", {name: [1]}, continuation=then).get() == ["text", 5, [1]]
    assert cloud.get_object(f"{name}-kept") == ["text", 5, [1]]


def test_arrays_by_reference(cloud: CloudburstConnection, name: str) -> None:
    array = np.arange(12.0).reshape(3, 4)
    cloud.put_object(name, array)
    np.testing.assert_array_equal(cloud.get_object(name), array)
    mean = cloud.register(lambda _, x: float(x.mean()), name)
    assert mean(CloudburstReference(name, True)).get() == 5.5


def test_what_is_not_built_says_so(cloud: CloudburstConnection, name: str) -> None:
    """Nothing that a caller asks for is silently ignored."""
    cloud.register(lambda _, x: x, name)
    assert cloud.register_dag(name, [name], []) == (True, 0)
    assert cloud.call_dag(name, {name: [1]}, consistency=NORMAL).get() == 1
    with pytest.raises(NotImplementedError):
        cloud.call_dag(name, {name: [1]}, consistency=MULTI).get()
    with pytest.raises(NotImplementedError):
        cloud.register_dag(f"{name}-gpu", [name], [], gpu_functions=[name])
    with pytest.raises(NotImplementedError):
        cloud.register_dag(f"{name}-batching", [name], [], batching_functions=[name])
