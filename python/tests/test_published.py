"""The published face: what it sends, and what it makes of answers."""

from __future__ import annotations

import pickle
from typing import Any, Iterator, List

import pytest

from anna.client import AnnaTcpClient
from anna.lattices import (
    CounterLattice,
    ListBasedOrderedSet,
    LWWPairLattice,
    MapLattice,
    MaxIntLattice,
    MultiKeyCausalLattice,
    OrderedSetLattice,
    PriorityLattice,
    SetLattice,
    SingleKeyCausalLattice,
    VectorClock,
)
from cloudburst import codec, errors
from cloudburst.call import result_key
from cloudburst.client.client import CloudburstConnection
from cloudburst.shared.function import CloudburstFunction
from cloudburst.shared.future import CloudburstFuture
from cloudburst.shared.proto import cloudburst_pb2
from cloudburst.shared.proto.cloudburst_pb2 import (
    DAG_ALREADY_EXISTS,
    DEFAULT,
    MULTI,
    NO_SUCH_DAG,
    NORMAL,
    NUMPY,
    SINGLE,
    STRING,
    DagCall,
    Value,
)
from cloudburst.shared.reference import CloudburstReference
from cloudburst.shared.serializer import Serializer
from cloudburst.v1 import error_pb2, frame_pb2, function_pb2, store_pb2
from frame_server import FrameServer, Peer


@pytest.fixture
def cloud(server: FrameServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudburstConnection]:
    monkeypatch.setenv("CLOUDBURST_ADDRESS", server.address)
    monkeypatch.setenv("CLOUDBURST_TOKEN", "token")
    connection = CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)
    yield connection
    connection.close()


def test_the_address_may_have_a_port(server: FrameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDBURST_ADDRESS", raising=False)
    connection = CloudburstConnection(server.address, "10.0.0.1", 3, False)
    assert repr(connection) == f"<CloudburstConnection to {server.address}>"
    connection.close()
    anna = AnnaTcpClient(server.address, "10.0.0.1", True, 1)
    assert anna.get("k") == {"k": None}
    anna.close()


def test_functions(server: FrameServer, cloud: CloudburstConnection, capsys: pytest.CaptureFixture[str]) -> None:
    def sq(library: Any, x: int) -> int:
        """Square."""
        return x * x

    handle = cloud.register(sq, "sq")
    assert isinstance(handle, CloudburstFunction)
    assert handle.get_name() == "sq"
    assert repr(handle) == "<CloudburstFunction sq>"
    (registered, definition), *_ = server.functions["sq"]
    assert (registered.convention, registered.doc) == (function_pb2.CONVENTION_LIBRARY, "Square.")
    assert codec.decode(definition)(None, 3) == 9
    future = handle(5)
    assert isinstance(future, CloudburstFuture)
    assert future.get() == 5
    (call,) = server.calls()
    assert (call.function, call.store, call.output_key) == ("sq", True, "")
    assert future.obj_id == result_key(call.run_id)
    assert handle().get() is None
    found = cloud.get_function("sq")
    assert found is not None
    assert found(6).get() == 6
    cloud.register(sq, "other")
    cloud.list()
    assert capsys.readouterr().out == "other\nsq\n"
    cloud.list("s")
    assert capsys.readouterr().out == "sq\n"
    assert cloud.get_function("missing") is None
    assert "No function found with name 'missing'" in capsys.readouterr().out


def test_classes(server: FrameServer, cloud: CloudburstConnection) -> None:
    class Adder:
        def __init__(self, library: Any, n: int) -> None:
            self.n = n

        def run(self, library: Any, x: int) -> int:
            return self.n + x

    cloud.register((Adder, (3,)), "adder")
    (registered, definition), *_ = server.functions["adder"]
    assert registered.convention == function_pb2.CONVENTION_CLASS
    cls, init = codec.decode(definition)
    assert cls(None, *init).run(None, 4) == 7


@pytest.mark.parametrize("wrong", [3, (print, ()), (int,), (type("NoRun", (), {}), ())])
def test_what_is_no_function(cloud: CloudburstConnection, wrong: Any) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"\(Class, init_args\)"):
        cloud.register(wrong, "wrong")


def test_exec_func(server: FrameServer, cloud: CloudburstConnection) -> None:
    cloud.register(lambda _, x: x, "f")
    key = cloud.exec_func("f", [42])
    assert key == cloud_call_key(server)
    cloud.put_object(key, 42)
    assert cloud.get_object(key) == 42
    assert CloudburstFuture(key, cloud.kvs_client, Serializer()).get() == 42
    with pytest.raises(RuntimeError, match="missing"):
        cloud.exec_func("missing", [1])


def cloud_call_key(server: FrameServer) -> str:
    server.wait_for(server.calls, "the call")
    return result_key(server.calls()[-1].run_id)


def test_dags(server: FrameServer, cloud: CloudburstConnection, caplog: pytest.LogCaptureFixture) -> None:
    assert cloud.register_dag("d", ["a", "b"], [("a", "b")], colocated=["a", "b"]) == (True, 0)
    dag = server.dags["d"]
    assert (list(dag.functions), list(dag.colocated)) == (["a", "b"], ["a", "b"])
    assert [(link.source, link.sink) for link in dag.links] == [("a", "b")]
    success, error = cloud.register_dag("d", ["a"], [])
    assert (success, error) == (False, DAG_ALREADY_EXISTS)
    assert repr((success, error)) == "(False, 6)"
    assert error.message == "dag d exists"  # type: ignore[attr-defined]
    assert "dag d exists" in caplog.text
    assert cloud.call_dag("d", {"a": [1, 2], "b": 3}).get() == 3
    assert cloud.call_dag("d", {"a": [[1, 2]]}, direct_response=True) == [1, 2]
    first, second = server.calls()
    assert [(a.function, a.positional) for a in first.arguments] == [("a", 2), ("b", 1)]
    assert [(a.function, a.positional) for a in second.arguments] == [("a", 1)]
    assert (first.dag, first.store, second.store) == ("d", True, False)
    assert cloud.call_dag("d", {"a": [[(1, 2)]]}, output_key="kept", client_id="me", consistency=NORMAL).get() == [(1, 2)]
    assert server.calls()[-1].output_key == "kept"
    assert cloud.delete_dag("d") == (True, 0)
    assert cloud.delete_dag("d") == (False, NO_SUCH_DAG)
    with pytest.raises(RuntimeError, match="dag 'd'"):
        cloud.call_dag("d", {"a": [1]})


def test_errors_of_registration(server: FrameServer, cloud: CloudburstConnection) -> None:
    code = error_pb2.CODE_FUNCTION_NOT_FOUND

    def refuse(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        peer.reply(header.id, error=error_pb2.Error(code=code, message="because"))  # type: ignore[arg-type]
        return True

    server.handler = refuse
    with pytest.raises(RuntimeError, match="because"):
        cloud.register_dag("d", ["a"], [])
    code = error_pb2.CODE_INVALID_ARGUMENT
    with pytest.raises(ValueError, match="because"):
        cloud.register_dag("d", ["a"], [])
    code = error_pb2.CODE_NO_RESOURCES
    assert cloud.register_dag("d", ["a"], []) == (False, cloudburst_pb2.NO_RESOURCES)


def test_what_is_not_built(cloud: CloudburstConnection) -> None:
    for asked in ({"gpu_functions": ["a"]}, {"batching_functions": ["a"]}):
        with pytest.raises(NotImplementedError, match=next(iter(asked))):
            cloud.register_dag("d", ["a"], [], **asked)
    with pytest.raises(NotImplementedError, match="MULTIEXEC"):
        cloud.register_dag("d", [("a", [None])], [])
    for level, name in ((SINGLE, "SINGLE"), (MULTI, "MULTI"), (9, "9")):
        with pytest.raises(NotImplementedError, match=name):
            cloud.call_dag("d", {}, consistency=level)
    then = DagCall(name="d", consistency=MULTI)
    with pytest.raises(NotImplementedError, match="MULTI"):
        cloud.call_dag("d", {}, continuation=then)


def test_a_tuple_is_spread_over_arguments(server: FrameServer, cloud: CloudburstConnection) -> None:
    f = cloud.register(lambda _, *args: args, "f")
    f((1, 2), [(3, 4)], ((5, 6),))
    cloud.exec_func("f", range(3))
    cloud.exec_func("f", "one")
    cloud.register_dag("d", ["f"], [])
    cloud.call_dag("d", {"f": (1, 2)})
    cloud.call_dag("d", {"f": [(1, 2), 3]})
    server.wait_for(lambda: len(server.calls()) == 5, "the calls")
    assert [call.arguments[0].positional for call in server.calls()] == [4, 3, 1, 2, 3]


def test_a_set_as_a_result(cloud: CloudburstConnection) -> None:
    f = cloud.register(lambda _, x: x, "f")
    assert f({1}).get() == [1]
    assert f(frozenset((1,))).get() == frozenset((1,))
    cloud.register_dag("d", ["f"], [])
    assert cloud.call_dag("d", {"f": {1}}).get() == [1]
    assert cloud.call_dag("d", {"f": {1}}, direct_response=True) == {1}, "a direct response is what the function returned"


def test_what_a_future_offers(cloud: CloudburstConnection) -> None:
    future = cloud.register(lambda _, x: x, "f")(1)
    cloud.put_object(future.obj_id, 1)
    found = future.kvs_client.get(future.obj_id)[future.obj_id]
    assert found is not None
    assert future.serializer.load_lattice(found) == 1


def test_continuations(server: FrameServer, cloud: CloudburstConnection) -> None:
    for name in ("first", "second", "third"):
        cloud.register_dag(name, ["f"], [])
    third = cloud.call_dag("third", {"f": [3]}, dry_run=True)
    second = cloud.call_dag("second", {"f": [2]}, dry_run=True, continuation=third)
    assert isinstance(second, DagCall)
    assert (second.name, second.output_key, second.response_address) == ("second", "", "")
    assert (second.continuation.name, second.continuation.call) == ("third", third)
    copy = DagCall()
    copy.ParseFromString(second.SerializeToString())
    assert copy == second == pickle.loads(pickle.dumps(second))
    assert server.calls() == [], "nothing has been called yet"

    def finish(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        if header.HasField("call"):
            assert [codec.decode(bytes(value)) for value in values] == [1, 2, 3]
            last = header.call.continuation.continuation
            key = last.output_key or result_key(last.run_id)
            cell = store_pb2.Cell(key=key, type=store_pb2.LATTICE_TYPE_LWW, values=1)
            server.values[key] = (cell, [codec.encode("of the third")])
        return False

    server.handler = finish
    future = cloud.call_dag("first", {"f": [1]}, continuation=copy)
    assert future.get() == "of the third"
    call = server.calls()[-1]
    ids = {call.run_id, call.continuation.run_id, call.continuation.continuation.run_id}
    assert len(ids) == 3
    assert {len(run_id) for run_id in ids} == {16}
    assert pickle.loads(pickle.dumps(future)).key == future.key == result_key(call.continuation.continuation.run_id)
    assert cloud.call_dag("first", {"f": [1]}, True, continuation=copy, output_key="kept") == "of the third"
    assert server.calls()[-1].continuation.continuation.output_key == "kept"
    assert server.calls()[-1].continuation.run_id not in ids, "every call has run ids of its own"
    third.output_key = "mine"
    named = cloud.call_dag("first", {"f": [1]}, dry_run=True, continuation=third, output_key="first")
    assert (named.output_key, named.continuation.call.output_key) == ("first", "mine")
    direct = cloud.call_dag("first", {"f": [1]}, direct_response=True, dry_run=True, client_id="me")
    assert (direct.response_address, direct.client_id) == (cloud.kvs_client.response_address, "me")


def test_a_first_dag_that_fails(server: FrameServer, cloud: CloudburstConnection) -> None:
    cloud.register_dag("d", ["f"], [])
    then = cloud.call_dag("d", {}, dry_run=True)

    def fail(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        peer.fail(header.id, errors.WorkerDiedError("the first died"))
        return True

    server.handler = fail
    with pytest.raises(errors.WorkerDiedError, match="the first died"):
        cloud.call_dag("d", {}, continuation=then).get()


def test_references(server: FrameServer, cloud: CloudburstConnection) -> None:
    seen: List[bytes] = []

    def look(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        if header.HasField("call"):
            seen.append(bytes(values[-1]))
        return False

    server.handler = look
    f = cloud.register(lambda _, x: x, "f")
    f(CloudburstReference("k", False))
    f([1, CloudburstReference("k", True)])
    server.wait_for(lambda: len(seen) == 2, "the calls")
    assert seen[0] == codec.encode_reference("k", False)
    assert seen[1] == codec.encode_sequence([codec.encode(1), codec.encode_reference("k")])
    assert repr(CloudburstReference("k", True)) == "CloudburstReference('k')"
    assert pickle.loads(pickle.dumps(CloudburstReference("k", False))).deserialize is False


def test_objects(server: FrameServer, cloud: CloudburstConnection) -> None:
    for value in (1, "text", b"bytes", None, [1, {"a": (1, 2)}]):
        assert cloud.put_object("k", value) == {"k": True}
        assert cloud.get_object("k") == value
    assert server.values["k"][0].type == store_pb2.LATTICE_TYPE_LWW
    cloud.put_object("s", {1, 2})
    assert server.values["s"][0].type == store_pb2.LATTICE_TYPE_SET
    assert sorted(cloud.get_object("s")) == [1, 2]
    with pytest.raises(KeyError, match="missing"):
        cloud.get_object("missing")


def test_lattices_as_objects(server: FrameServer, cloud: CloudburstConnection) -> None:
    """The published put_object keeps a lattice as a value, whose type is that of the last writer, and hands it back."""
    for lattice in (LWWPairLattice(0, b"x"), SetLattice({b"a"}), MapLattice({"a": SetLattice({1})})):
        assert cloud.put_object("l", lattice) == {"l": True}
        assert server.values["l"][0].type == store_pb2.LATTICE_TYPE_LWW
        assert cloud.get_object("l") == lattice
    read = cloud.kvs_client
    read.put("ordered", OrderedSetLattice(ListBasedOrderedSet([b"b", b"a"]), {b"c": -1.0}))
    assert cloud.get_object("ordered") == [b"c", b"a", b"b"], "members without scores"
    read.put("versions", SingleKeyCausalLattice(VectorClock({"w": 1}, True), SetLattice({b"b", b"a"})))
    assert cloud.get_object("versions") == [b"a", b"b"], "all concurrent versions"
    read.put("map", MapLattice({"a": SetLattice({b"x"}), "b": MaxIntLattice(3)}))
    assert cloud.get_object("map") == {"a": [b"x"], "b": 3}


def test_lattices(server: FrameServer, cloud: CloudburstConnection) -> None:
    store = cloud.kvs_client
    assert store.put("raw", LWWPairLattice(7, b"bytes")) == {"raw": True}
    assert server.values["raw"][0].timestamp.time == 7
    assert server.values["raw"][1] == [codec.encode(b"bytes")]
    lattices = [SetLattice({b"a", b"b"}), CounterLattice({1: (3, 0)})]
    assert store.put(["set", "counter"], lattices) == {"set": True, "counter": True}
    found = store.get(["raw", "set", "counter", "missing", "raw"])
    assert list(found) == ["raw", "set", "counter", "missing"]
    assert found["raw"].reveal() == b"bytes"
    assert found["set"].reveal() == {b"a", b"b"}
    assert found["counter"].reveal() == 3
    assert found["missing"] is None
    for wrong in (3, None):
        with pytest.raises(errors.InvalidArgumentError):
            store.put("k", wrong)
    with pytest.raises(errors.InvalidArgumentError, match="2 keys and 1"):
        store.put(["a", "b"], [SetLattice()])


def test_puts_that_fail(server: FrameServer, cloud: CloudburstConnection, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        if header.put.cells[0].key == "taken":
            peer.fail(header.id, errors.LatticeMismatchError("key taken holds a set"))
            return True
        if header.put.cells[0].key == "down":
            peer.fail(header.id, errors.UnavailableError("the log is away"))
            return True
        return False

    server.handler = refuse
    store = cloud.kvs_client
    assert store.put(["free", "taken"], [SetLattice({b"a"})] * 2) == {"free": True, "taken": False}
    assert "holds a set" in caplog.text
    with pytest.raises(errors.UnavailableError, match="log"):
        store.put("down", SetLattice({b"a"}))


@pytest.mark.parametrize("value", [1, "text", b"bytes", None, [1, 2], {"a": 1}, {3, 4}])
def test_values_as_lattices(server: FrameServer, cloud: CloudburstConnection, value: Any) -> None:
    """What the serializer makes of values, the store and the other interfaces understand."""
    serializer = Serializer()
    assert serializer.load(serializer.dump(value)) == value
    lattice = serializer.dump_lattice(value)
    assert cloud.kvs_client.put("k", lattice) == {"k": True}
    read = cloud.get_object("k")
    assert (set(read) if isinstance(value, set) else read) == value
    back = serializer.load_lattice(cloud.kvs_client.get("k")["k"])
    assert (set(back) if isinstance(value, set) else back) == value


def test_values_as_messages() -> None:
    numpy = pytest.importorskip("numpy")
    serializer = Serializer()
    for value, kind in ((1, DEFAULT), ("ü", STRING), (b"\x01\x05", DEFAULT), (None, DEFAULT), ("\ud800", DEFAULT)):
        filled = Value()
        message = serializer.dump(value, filled, serialize=False)
        assert message is filled
        assert message.type == kind
        assert serializer.load(message) == value
    array = serializer.dump(numpy.arange(3), serialize=False)
    assert array.type == NUMPY
    assert list(serializer.load(array)) == [0, 1, 2]
    assert serializer.load(Value(body=b"raw")) == b"raw"
    assert serializer.load(Value(body=pickle.dumps({"a": 1}))) == {"a": 1}
    assert serializer.load(Value(body=b"text", type=STRING)) == "text"
    future = serializer.load(serializer.dump(CloudburstFuture("id"), serialize=False))
    assert future == serializer.load(serializer.dump(CloudburstFuture("id"))) == CloudburstReference("id", True)
    raw = serializer.load(serializer.dump(CloudburstReference("id", False), serialize=False))
    assert (raw.key, raw.deserialize) == ("id", False)
    for wrong in (3, None, "text"):
        with pytest.raises(ValueError):
            serializer.load(wrong)


def test_every_kind_of_lattice_is_dumped_and_loaded() -> None:
    serializer = Serializer()
    for kind, value, loaded in (
        (LWWPairLattice, {1}, {1}),
        (SetLattice, [1], [1]),
        (OrderedSetLattice, [2, 1], [1, 2]),
        (MapLattice, {"a": {1}, "b": 2}, {"a": [1], "b": 2}),
        (SingleKeyCausalLattice, "x", ["x"]),
    ):
        lattice = serializer.dump_lattice(value, kind)
        assert type(lattice) is kind
        assert serializer.load_lattice(lattice) == loaded
    multi: Any = serializer.dump_lattice(1, MultiKeyCausalLattice, {"k": VectorClock({"w": 1}, True)})
    assert multi.vector_clock == VectorClock({"base": 1}, True)
    assert multi.dependencies.mp["k"].reveal()["w"].reveal() == 1
    for wrong in (int, PriorityLattice):
        with pytest.raises(ValueError):
            serializer.dump_lattice(1, wrong)
    with pytest.raises(ValueError):
        serializer.load_lattice(None)  # type: ignore[arg-type]


def test_a_later_dump_wins() -> None:
    serializer = Serializer()
    first, second = serializer.dump_lattice(1), serializer.dump_lattice(2)
    assert second.merge(first).ts >= first.ts  # type: ignore[attr-defined]
