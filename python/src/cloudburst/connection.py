"""The connection that a program has to a node: what can be asked of the node. Both faces of the SDK stand on this."""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from cloudburst.call import CallHead, keep, new_run_id
from cloudburst.cells import ack_of, cells_of, check_key, check_prefix, duration, few, increment_cell, milliseconds
from cloudburst.codec import Buffer, Encoded, decode_state, share_modules
from cloudburst.endpoint import Endpoint, Locate, locator, own_node
from cloudburst.errors import Error, FrameError, InvalidArgumentError
from cloudburst.items import Items, start_items
from cloudburst.request import Request, new_request
from cloudburst.transport import Transport
from cloudburst.v1 import frame_pb2, function_pb2, store_pb2

__all__ = ["GRACE_SECONDS", "REQUEST_SECONDS", "RUN_SECONDS", "Connection", "address_of", "connection_of", "current_connection"]

REQUEST_SECONDS = 30.0
"""How long the answer to anything but a call may take, unless the caller says otherwise."""
RUN_SECONDS = 300.0
"""How long a run may take, unless the caller or its functions say otherwise; the node's default is the same."""
GRACE_SECONDS = 2.0
"""How long after a deadline the node's word about it may come."""
_KEYS_AT_ONCE = 1000

Cells = List[Tuple[store_pb2.Cell, Sequence[Buffer]]]


class Connection:
    """A connection to a node. It survives the sockets that it uses, and a fork, and is safe for concurrent use.

    Every wait ends, at the latest with DeadlineExceededError at its deadline.
    """

    def __init__(self, locate: Locate, timeout: float = REQUEST_SECONDS) -> None:
        """``timeout`` is how many seconds the answer to anything but a call may take, where the caller says nothing."""
        global _latest
        self.transport = Transport(locate)
        self.timeout = duration(timeout, "timeout")
        self._reference = reference = _latest = weakref.ref(self)
        share_modules(lambda: _import_path_of(reference()))
        _connections.add(self)

    @property
    def endpoint(self) -> Endpoint:
        return self.transport.endpoint

    def connect(self) -> None:
        """Connect now. Raises UnavailableError, AuthenticationError or IncompatibleError."""
        self.transport.connect(self._deadline(None))

    def close(self) -> None:
        self.transport.close()

    def arrived(self) -> None:
        """Note that what this thread unpickles next has come over this connection, and so belongs to its node."""
        _arrived.over = self._reference

    def call(
        self, head: CallHead, values: Sequence[Encoded], seconds: float, run_id: Optional[bytes] = None
    ) -> Tuple[bytes, Request]:
        """Start a run that may take so many seconds, and return its id and the request that its result answers."""
        if run_id is None:
            run_id = new_run_id()
        request = head.request(run_id, values, time.monotonic() + seconds + GRACE_SECONDS)
        if head.once:
            # Sent into a channel whose end has not been noticed yet, nothing would be known of it.
            self.transport.poll()
        self.transport.start(request)
        if type(request.frame) is list:
            keep(request)
        return run_id, request

    def call_again(self, request: Request, dag: bytes) -> Request:
        """Register a DAG that a call did not find, and send the call, whose frame has been kept, again."""
        self.register_dag(function_pb2.Dag.FromString(dag), replace=True)
        assert request.frame is not None
        another = Request(request.number, request.frame, request.size, request.deadline, request.what)
        another.arrived, another.attempts = request.arrived, request.attempts
        self.transport.start(another)
        return another

    def stream(self, head: CallHead, values: Sequence[Encoded], seconds: float) -> Items[Any]:
        """Start a run that may take so many seconds, whose head asks for items, and return them."""
        request = head.request(new_run_id(), values, time.monotonic() + seconds + GRACE_SECONDS)
        return start_items(self, request)

    # State.

    def get(self, keys: Sequence[str], wait: float = 0.0, timeout: Optional[float] = None) -> Cells:
        """Return the cells of keys, in their order. ``wait`` is how long to wait for absent ones to appear."""
        request = self.new_get(keys, wait, timeout)
        header = self.transport.ask(request)
        cells = list(cells_of(header, request.values))
        if [cell.key for cell, _ in cells] != list(keys):
            raise FrameError(f"{request.what}: the answer is about other keys")
        self.arrived()
        return cells

    def new_get(self, keys: Sequence[str], wait: float = 0.0, timeout: Optional[float] = None) -> Request:
        header = frame_pb2.Header()
        for key in keys:
            check_key(key)
        header.get.keys.extend(keys)
        header.get.wait_milliseconds = milliseconds(wait, "wait")
        seconds = self.timeout + wait if timeout is None else duration(timeout, "timeout")
        return new_request(header, (), time.monotonic() + seconds, f"get {few(keys)}")

    def states(self, keys: Sequence[str], timeout: Optional[float] = None) -> List[store_pb2.State]:
        """Return all that is known of keys, stamps and tombstones included."""
        header = frame_pb2.Header()
        for key in keys:
            check_key(key)
        header.get.keys.extend(keys)
        header.get.states = True
        request = new_request(header, (), self._deadline(timeout), f"get {few(keys)}")
        cells = list(cells_of(self.transport.ask(request), request.values))
        if [cell.key for cell, _ in cells] != list(keys):
            raise FrameError(f"{request.what}: the answer is about other keys")
        self.arrived()
        return [decode_state(values[0]) if values else store_pb2.State() for _, values in cells]

    def put(
        self, cells: Sequence[store_pb2.Cell], values: Sequence[Encoded], ack: str = "durable", timeout: Optional[float] = None
    ) -> None:
        self.transport.ask(self.new_put(cells, values, ack, timeout))

    def new_put(
        self, cells: Sequence[store_pb2.Cell], values: Sequence[Encoded], ack: str = "durable", timeout: Optional[float] = None
    ) -> Request:
        header = frame_pb2.Header()
        header.put.ack = ack_of(ack)
        header.put.cells.extend(cells)
        return new_request(header, values, self._deadline(timeout), f"put {few([cell.key for cell in cells])}")

    def increment(self, key: str, n: int, timeout: Optional[float] = None) -> None:
        cell, values = increment_cell(key, n)
        if n == 0:
            return
        header = frame_pb2.Header()
        header.put.ack = store_pb2.ACK_DURABLE
        header.put.cells.append(cell)
        request = new_request(header, values, self._deadline(timeout), f"increment {key!r:.100}", again=False)
        self.transport.ask(request)

    def delete(self, keys: Iterable[str], ack: str = "durable", timeout: Optional[float] = None) -> None:
        header = frame_pb2.Header()
        header.delete.ack = ack_of(ack)
        names = list(keys)
        for key in names:
            check_key(key)
        header.delete.keys.extend(names)
        self.transport.ask(new_request(header, (), self._deadline(timeout), f"delete {few(names)}"))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with a prefix, in order, asking for some at a time."""
        check_prefix(prefix)
        return self._keys(prefix)

    def _keys(self, prefix: str) -> Iterator[str]:
        after, more = "", True
        while more:
            header = frame_pb2.Header()
            header.list_keys.prefix = prefix
            header.list_keys.after = after
            header.list_keys.limit = _KEYS_AT_ONCE
            answer = self.transport.ask(new_request(header, (), self._deadline(None), "list keys"))
            keys = _body(answer, "keys").keys
            yield from keys
            more = answer.keys.more and len(keys) > 0
            if more:
                after = keys[-1]

    def import_path(self) -> Sequence[str]:
        """Return the directories besides Python's own from which the node's workers import modules."""
        header = frame_pb2.Header()
        header.get_status.SetInParent()
        answer = self.transport.ask(new_request(header, (), self._deadline(None), "status"))
        path: Sequence[str] = _body(answer, "status").python_path
        return path

    # Functions and DAGs.

    def register_function(self, function: function_pb2.Function, definition: Encoded) -> function_pb2.Function:
        header = frame_pb2.Header()
        header.register_function.function.CopyFrom(function)
        what = f"register function {function.name!r}"
        answer = self.transport.ask(new_request(header, (definition,), self._deadline(None), what))
        found = _body(answer, "functions").functions
        if len(found) != 1:
            raise FrameError(f"{what}: the answer is about {len(found)} functions")
        registered: function_pb2.Function = found[0]
        return registered

    def register_dag(self, dag: function_pb2.Dag, replace: bool = False) -> None:
        header = frame_pb2.Header()
        header.register_dag.replace = replace
        header.register_dag.dag.CopyFrom(dag)
        self.transport.ask(new_request(header, (), self._deadline(None), f"register dag {dag.name!r}", again=replace))

    def delete_function(self, name: str) -> None:
        header = frame_pb2.Header()
        header.delete_function.name = _text(name, "the name of a function")
        self.transport.ask(new_request(header, (), self._deadline(None), f"delete function {name!r}", again=False))

    def delete_dag(self, name: str) -> None:
        header = frame_pb2.Header()
        header.delete_dag.name = _text(name, "the name of a dag")
        self.transport.ask(new_request(header, (), self._deadline(None), f"delete dag {name!r}", again=False))

    def functions(self, prefix: str = "", versions: bool = False) -> List[function_pb2.Function]:
        """Return the latest versions of the functions whose names begin with a prefix, or all their versions."""
        header = frame_pb2.Header()
        header.list_functions.prefix = _text(prefix, "the prefix of functions")
        header.list_functions.versions = versions
        answer = self.transport.ask(new_request(header, (), self._deadline(None), "list functions"))
        return list(_body(answer, "functions").functions)

    def dags(self, prefix: str = "") -> List[function_pb2.Dag]:
        header = frame_pb2.Header()
        header.list_dags.prefix = _text(prefix, "the prefix of dags")
        answer = self.transport.ask(new_request(header, (), self._deadline(None), "list dags"))
        return list(_body(answer, "dags").dags)

    def function(self, ref: str) -> Optional[function_pb2.Function]:
        """Return a function, "sq" or one version of it, "sq@3"; None when there is none."""
        name, _, version = _text(ref, "the name of a function").partition("@")
        for found in self.functions(name, versions=bool(version)):
            if found.name == name and (not version or str(found.version) == version):
                return found
        return None

    def dag(self, name: str) -> Optional[function_pb2.Dag]:
        """Return a DAG, or None when there is none of the name."""
        return next((found for found in self.dags(name) if found.name == name), None)

    def _deadline(self, timeout: Optional[float]) -> float:
        return time.monotonic() + (self.timeout if timeout is None else duration(timeout, "timeout"))


# The node that an unpickled object belongs to: in a worker the one that runs the function; elsewhere the one whose address the
# pickle holds; for a pickle that a node has sent, which holds no address, that node.


class _Arrived(threading.local):
    over: Optional[weakref.ref[Connection]] = None


_arrived = _Arrived()
_connections: weakref.WeakSet[Connection] = weakref.WeakSet()
_latest: Optional[weakref.ref[Connection]] = None
_made: Dict[
    str, Connection
] = {}  # for unpickled objects, by address; "" is the node that the environment names, and "own" the one that runs this process


def address_of(connection: Optional[Connection]) -> Optional[str]:
    """Return what a pickle says of the connection of an object: the node's address, without the token.

    None for the node that runs this process, which its own clients may know by other addresses.
    """
    if connection is None:
        return None
    own, endpoint = own_node(), connection.endpoint
    return None if own is not None and endpoint.same_node(own()) else endpoint.url


def connection_of(address: Optional[str]) -> Optional[Connection]:
    """Return the connection that an object from a pickle has, given what :func:`address_of` said; None = the current one."""
    if own_node() is not None:
        return current_connection()
    if address is None:
        connection = _arrived.over() if _arrived.over is not None else None
        return None if connection is None or connection.transport.closed else connection
    locate = locator(address)
    endpoint = locate()
    for connection in list(_connections):
        if not connection.transport.closed and connection.endpoint.same_node(endpoint):
            return connection
    return _remade(address, locate)


def current_connection() -> Connection:
    """Return the connection of functions and futures that have none of their own.

    In a worker it is the one to the node that runs it, elsewhere the one that this program made last. A program that has made
    none gets one to the node that its environment names.
    """
    own = own_node()
    if own is not None:
        return _remade("own", own)
    connection = _latest() if _latest is not None else None
    return _remade("", locator()) if connection is None or connection.transport.closed else connection


def _remade(key: str, locate: Locate) -> Connection:
    connection = _made.get(key)
    if connection is None or connection.transport.closed:
        connection = _made[key] = Connection(locate)
    return connection


def _import_path_of(connection: Optional[Connection]) -> Sequence[str]:
    """Return from where workers import, as far as that can be learnt."""
    if connection is None or connection.transport.closed:
        return ()
    try:
        return connection.import_path()
    except Error:  # it will be met again by what is being done
        return ()


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{what} is a string, got {value!r:.100}")
    return value


def _body(header: frame_pb2.Header, name: str) -> Any:
    if not header.HasField(name):
        raise FrameError(f"the node answered with a {header.WhichOneof('body')} instead of {name}")
    return getattr(header, name)
