"""Every name and signature of the published interface: what programs import, and how they may call it."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Dict, List, Tuple

import pytest

from anna.client import AnnaTcpClient
from anna.lattices import Lattice
from cloudburst.client.client import CloudburstConnection
from cloudburst.errors import UnsupportedError
from cloudburst.worker.library import UserLibrary

# Module, name, and the parameters with their defaults; () stands for any empty collection.
SIGNATURES: List[Tuple[str, str, str]] = [
    ("cloudburst.client.client", "CloudburstConnection", "func_addr, ip, tid=0, local=False"),
    ("cloudburst.client.client", "CloudburstConnection.list", "prefix=None"),
    ("cloudburst.client.client", "CloudburstConnection.get_function", "name"),
    ("cloudburst.client.client", "CloudburstConnection.register", "function, name"),
    (
        "cloudburst.client.client",
        "CloudburstConnection.register_dag",
        "name, functions, connections, gpu_functions=(), batching_functions=(), colocated=()",
    ),
    (
        "cloudburst.client.client",
        "CloudburstConnection.call_dag",
        "dname, arg_map, direct_response=False, consistency=0, output_key=None, client_id=None, dry_run=False, "
        "continuation=None",
    ),
    ("cloudburst.client.client", "CloudburstConnection.delete_dag", "dname"),
    ("cloudburst.client.client", "CloudburstConnection.get_object", "key"),
    ("cloudburst.client.client", "CloudburstConnection.put_object", "key, value"),
    ("cloudburst.client.client", "CloudburstConnection.exec_func", "name, args"),
    ("cloudburst.shared.function", "CloudburstFunction", "name, conn, kvs_client"),
    ("cloudburst.shared.function", "CloudburstFunction.get_name", ""),
    ("cloudburst.shared.future", "CloudburstFuture", "obj_id, kvs_client, serializer"),
    ("cloudburst.shared.future", "CloudburstFuture.get", ""),
    ("cloudburst.shared.reference", "CloudburstReference", "key, deserialize"),
    ("cloudburst.shared.serializer", "Serializer", "string_format='raw_unicode_escape'"),
    ("cloudburst.shared.serializer", "Serializer.load", "data"),
    ("cloudburst.shared.serializer", "Serializer.dump", "data, valobj=None, serialize=True"),
    ("cloudburst.shared.serializer", "Serializer.load_lattice", "lattice"),
    ("cloudburst.shared.serializer", "Serializer.dump_lattice", "value, typ=None, causal_dependencies=()"),
    ("cloudburst.shared.anna_ipc_client", "AnnaIpcClient", "thread_id=0, context=None"),
    ("cloudburst.worker.library", "UserLibrary.put", "ref, value"),
    ("cloudburst.worker.library", "UserLibrary.get", "ref, deserialize=True"),
    ("cloudburst.worker.library", "UserLibrary.getid", ""),
    ("cloudburst.worker.library", "UserLibrary.send", "dest, bytestr"),
    ("cloudburst.worker.library", "UserLibrary.recv", ""),
    ("cloudburst.worker.library", "UserLibrary.close", ""),
    ("anna.client", "AnnaTcpClient", "elb_addr, ip, local=False, offset=0"),
    ("anna.client", "AnnaTcpClient.get", "keys"),
    ("anna.client", "AnnaTcpClient.get_all", "keys"),
    ("anna.client", "AnnaTcpClient.put", "keys, values"),
    ("anna.client", "AnnaTcpClient.put_all", "key, value"),
    ("anna.base_client", "BaseAnnaClient.get", "keys"),
    ("anna.base_client", "BaseAnnaClient.put_all", "key, value"),
    ("anna.common", "Thread", "ip, tid"),
    ("anna.common", "UserThread", "ip, tid"),
    ("anna.zmq_util", "send_request", "req_obj, send_sock"),
    ("anna.zmq_util", "recv_response", "req_ids, rcv_sock, resp_class"),
    ("anna.zmq_util", "SocketCache", "context, zmq_type"),
    ("anna.zmq_util", "SocketCache.get", "addr"),
    ("anna.lattices", "LWWPairLattice", "timestamp, value"),
    ("anna.lattices", "SetLattice", "value=()"),
    ("anna.lattices", "ListBasedOrderedSet", "iterable=()"),
    ("anna.lattices", "ListBasedOrderedSet.insert", "value"),
    ("anna.lattices", "OrderedSetLattice", "value=()"),
    ("anna.lattices", "MaxIntLattice", "value"),
    ("anna.lattices", "MapLattice", "mp"),
    ("anna.lattices", "MapLattice.assign", "mp"),
    ("anna.lattices", "MapLattice.copy", ""),
    ("anna.lattices", "VectorClock", "mp, deserialize=False"),
    ("anna.lattices", "VectorClock.assign", "mp"),
    ("anna.lattices", "VectorClock.update", "key, count"),
    ("anna.lattices", "VectorClock.serialize", "pobj"),
    ("anna.lattices", "SingleKeyCausalLattice", "vector_clock, value"),
    ("anna.lattices", "MultiKeyCausalLattice", "vector_clock, dependencies, value"),
    ("anna.lattices", "PriorityLattice", "priority, value"),
]
for _lattice in ("LWWPairLattice", "SetLattice", "OrderedSetLattice", "MaxIntLattice", "PriorityLattice"):
    SIGNATURES += [
        ("anna.lattices", f"{_lattice}.assign", "value"),
        ("anna.lattices", f"{_lattice}.merge", "other"),
        ("anna.lattices", f"{_lattice}.reveal", ""),
        ("anna.lattices", f"{_lattice}.serialize", ""),
    ]

# Module, and the names in it that are no functions.
NAMES: Dict[str, str] = {
    "cloudburst.shared.utils": "CONNECT_PORT FUNC_CREATE_PORT FUNC_CALL_PORT LIST_PORT DAG_CREATE_PORT DAG_CALL_PORT "
    "DAG_DELETE_PORT",
    "cloudburst.shared.proto.cloudburst_pb2": "REGULAR MULTIEXEC DEFAULT NUMPY STRING NO_CLOUDBURST_ERROR FUNC_NOT_FOUND "
    "NOT_PINNED EXECUTION_ERROR NO_SUCH_DAG NO_RESOURCES DAG_ALREADY_EXISTS NORMAL SINGLE MULTI Function Value FunctionCall "
    "Dag Arguments DagCall GenericResponse Continuation DagSchedule DagTrigger CloudburstError ConsistencyType SerializerType "
    "ExecutionType",
    "cloudburst.shared.proto.shared_pb2": "StringSet KeyVersion KeyVersionList",
    "cloudburst.shared.proto.anna_pb2": "GET PUT NONE LWW SET SINGLE_CAUSAL MULTI_CAUSAL ORDERED_SET PRIORITY NO_ERROR KEY_DNE "
    "WRONG_THREAD TIMEOUT LATTICE NO_SERVERS KeyTuple KeyRequest KeyResponse KeyAddressRequest KeyAddressResponse LWWValue "
    "SetValue SingleKeyCausalValue MultiKeyCausalValue PriorityValue RequestType LatticeType AnnaError",
    "cloudburst.shared.proto.causal_pb2": "CausalTuple CausalRequest CausalResponse KeyVersionRequest KeyVersionResponse",
    "cloudburst.shared.proto.internal_pb2": "CPU GPU ExecutorType ThreadStatus ExecutorStatistics SchedulerStatus PinFunction",
    "anna.anna_pb2": "GET PUT NO_ERROR KEY_DNE LWW SET KeyAddressRequest KeyAddressResponse KeyRequest KeyResponse LWWValue",
    "anna.causal_pb2": "CausalTuple",
    "anna.shared_pb2": "StringSet",
    "anna.cloudburst_pb2": "Value",
    "anna.common": "REQUEST_PULLING_BASE_PORT KEY_ADDRESS_BASE_PORT",
    "anna.base_client": "BaseAnnaClient",
    "anna.lattices": "Lattice",
}


def found(module: str, path: str) -> Any:
    value: Any = importlib.import_module(module)
    for name in path.split("."):
        value = getattr(value, name)
    return value


def published(parameters: str) -> List[inspect.Parameter]:
    scope: Dict[str, Any] = {}
    exec(f"def f({parameters}): ...", scope)
    return list(inspect.signature(scope["f"]).parameters.values())


@pytest.mark.parametrize(("module", "path", "parameters"), SIGNATURES, ids=lambda value: value if "." in value else "")
def test_signatures(module: str, path: str, parameters: str) -> None:
    ours = [p for p in inspect.signature(found(module, path)).parameters.values() if p.name != "self"]
    theirs = published(parameters)
    positional = [p for p in ours if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert [p.name for p in positional[: len(theirs)]] == [p.name for p in theirs]
    for own, their in zip(positional, theirs):
        if their.default is inspect.Parameter.empty:
            continue
        empty = their.default == () and (own.default is None or len(own.default) == 0)
        assert empty or own.default == their.default, own
    for further in [p for p in ours if p not in positional[: len(theirs)]]:
        assert further.default is not inspect.Parameter.empty, f"{further} must be given, and is not published"


@pytest.mark.parametrize("module", NAMES)
def test_names(module: str) -> None:
    names = vars(importlib.import_module(module))
    assert [name for name in NAMES[module].split() if name not in names] == []


def test_numbers() -> None:
    pb2 = importlib.import_module("cloudburst.shared.proto.cloudburst_pb2")
    assert [pb2.CloudburstError.Name(n) for n in range(7)] == [
        "NO_CLOUDBURST_ERROR",
        "FUNC_NOT_FOUND",
        "NOT_PINNED",
        "EXECUTION_ERROR",
        "NO_SUCH_DAG",
        "NO_RESOURCES",
        "DAG_ALREADY_EXISTS",
    ]
    assert (pb2.NORMAL, pb2.SINGLE, pb2.MULTI, pb2.MULTIEXEC) == (0, 1, 2, 1)
    assert pb2.CloudburstError.Value("NO_SUCH_DAG") == pb2.NO_SUCH_DAG == 4
    anna = importlib.import_module("anna.anna_pb2")
    assert (anna.LWW, anna.SET, anna.SINGLE_CAUSAL, anna.MULTI_CAUSAL, anna.ORDERED_SET, anna.PRIORITY) == (1, 2, 3, 4, 5, 6)


def test_attributes() -> None:
    """What programs read of objects besides calling them."""
    for cls, names in (
        (CloudburstConnection, "kvs_client"),
        (AnnaTcpClient, "elb_addr ut"),
        (found("cloudburst.shared.future", "CloudburstFuture"), "obj_id kvs_client serializer"),
    ):
        source = inspect.getsource(cls)
        for name in names.split():
            assert hasattr(cls, name) or f"self.{name} " in source, f"{cls} has no {name}"
    assert issubclass(AnnaTcpClient, found("anna.base_client", "BaseAnnaClient"))
    assert isinstance(found("anna.client", "AnnaTcpClient").response_address, property)
    assert callable(Lattice.serialize)
    assert callable(UserLibrary.close)


def test_what_is_of_no_use_says_so_when_it_is_used() -> None:
    zmq_util = importlib.import_module("anna.zmq_util")
    cache = zmq_util.SocketCache(None, 1)
    for use in (
        lambda: zmq_util.send_request(None, None),
        lambda: zmq_util.recv_response([], None, None),
        lambda: cache.get("tcp://127.0.0.1:1"),
        lambda: found("cloudburst.shared.anna_ipc_client", "AnnaIpcClient")(),
        lambda: found("anna.lattices", "MaxIntLattice")(1).serialize(),
    ):
        with pytest.raises(UnsupportedError, match=r"AnnaTcpClient|user library"):
            use()
    for use in ("get", "get_all", "put", "put_all"):
        with pytest.raises(NotImplementedError):
            getattr(found("anna.base_client", "BaseAnnaClient"), use)(*[None] * (2 if "get" in use else 3))


def test_addresses_of_a_thread() -> None:
    thread = found("anna.common", "UserThread")("10.0.0.1", 3)
    assert (thread.get_ip(), thread.get_tid()) == ("10.0.0.1", 3)
    assert thread.get_request_pull_connect_addr() == "tcp://10.0.0.1:6463"
    assert thread.get_request_pull_bind_addr() == "tcp://*:6463"
    assert thread.get_key_address_connect_addr() == "tcp://10.0.0.1:6763"
    assert thread.get_key_address_bind_addr() == "tcp://*:6763"
