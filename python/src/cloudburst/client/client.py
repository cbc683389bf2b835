"""The published client, ``CloudburstConnection``: programs that are written for it run unchanged.

Where the published behaviour was a defect, an error returned as if it were a value or a wait without an end, there is an
exception here. What is not built yet raises UnsupportedError, a NotImplementedError; nothing that a caller asks for is
silently ignored.
"""

from __future__ import annotations

import logging
from typing import Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple, Union

from anna.client import AnnaTcpClient
from cloudburst.argument import encode_argument
from cloudburst.call import CallHead, Shape, new_run_id
from cloudburst.call import result_key as result_key_of
from cloudburst.client.dag_call import check_consistency, composed, new_dag_call
from cloudburst.codec import Encoded, encode_pickle
from cloudburst.connection import RUN_SECONDS, Connection
from cloudburst.endpoint import locator_of_host
from cloudburst.errors import (
    DagExistsError,
    DagNotFoundError,
    FunctionNotFoundError,
    InvalidArgumentError,
    KeyNotFoundError,
    NoResourcesError,
    UnsupportedError,
)
from cloudburst.function import Options, call_head, describe_kind, described
from cloudburst.future import Future
from cloudburst.shared.function import CloudburstFunction
from cloudburst.shared.future import CloudburstFuture
from cloudburst.shared.objects import new_object, object_of
from cloudburst.shared.proto.cloudburst_pb2 import (
    DAG_ALREADY_EXISTS,
    NO_CLOUDBURST_ERROR,
    NO_RESOURCES,
    NO_SUCH_DAG,
    NORMAL,
    Failure,
)
from cloudburst.v1 import frame_pb2, function_pb2, store_pb2

__all__ = ["CloudburstConnection"]

_HEADS_MAX = 1024  # shapes of calls that a connection remembers
_KNOWN_MAX = 1 << 16  # names that it remembers as registered
_EXECUTED_MAX = 1024  # keys of results that get_object waits for

_log = logging.getLogger("cloudburst")

DagFunction = Union[str, Tuple[str, Sequence[Any]]]


class CloudburstConnection:
    """A connection to a node, by the published interface. It can be used by all threads, and after a fork."""

    def __init__(self, func_addr: str, ip: str, tid: int = 0, local: bool = False) -> None:
        """Connect to the node at ``func_addr``, "host" or "host:port".

        Without a port, that of CLOUDBURST_ADDRESS is taken, that of the current context if its node is on the same host, or
        7100; the token is CLOUDBURST_TOKEN, or the one that the node has left for its user. ``ip``, ``tid`` and ``local`` told
        nodes where to send answers; answers come on the connection now, so they make no difference.

        Raises UnavailableError when no node answers, AuthenticationError when it refuses the token.
        """
        self._connection = Connection(locator_of_host(func_addr))
        self._connection.connect()
        self.kvs_client = AnnaTcpClient.of_connection(self._connection, func_addr, ip, tid + 10)
        self._heads: Dict[Any, CallHead] = {}
        self._known_functions = _Known()
        self._known_dags = _Known()
        self._executed: Dict[str, CloudburstFuture] = {}  # by exec_func, and not asked for yet

    # Functions.

    def list(self, prefix: Optional[str] = None) -> None:
        """Print the names of the registered functions, those that begin with a prefix."""
        for function in self._connection.functions(prefix or ""):
            print(function.name)

    def get_function(self, name: str) -> Optional[CloudburstFunction]:
        """Return a function that has been registered; when there is none, say so and return None."""
        if self._connection.function(name) is None:
            print(f"No function found with name '{name}'. To view all functions, use the `list` method.")
            return None
        self._known_functions.add(name)
        return CloudburstFunction(name, self, self.kvs_client)

    def register(self, function: Any, name: str) -> CloudburstFunction:
        """Register a function under a name, or a new version of it.

        ``function`` is a callable whose first parameter is the user library, or ``(Class, init_args)``: built once as
        ``Class(user_library, *init_args)`` and called as ``obj.run(user_library, *args)``. Raises UnpicklableError, naming
        the variable at fault, when its code refers to something that cannot travel.
        """
        if isinstance(function, tuple):
            cls = function[0] if len(function) == 2 else None
            if not isinstance(cls, type) or not callable(getattr(cls, "run", None)):
                raise InvalidArgumentError(
                    f"register {name!r}: a tuple is (Class, init_args), and the class has a method run(user_library, ...); "
                    f"got {function!r:.200}"
                )
            description = described(name, function_pb2.CONVENTION_CLASS, cls.__doc__)
            describe_kind(description, cls.run)  # type: ignore[attr-defined]
        elif callable(function):
            description = described(name, function_pb2.CONVENTION_LIBRARY, getattr(function, "__doc__", None))
            describe_kind(description, function)
        else:
            raise InvalidArgumentError(f"register {name!r}: {function!r:.200} is neither a function nor (Class, init_args)")
        self._connection.register_function(description, encode_pickle(function))
        self._known_functions.add(name)
        return CloudburstFunction(name, self, self.kvs_client)

    def exec_func(self, name: str, args: Any) -> str:
        """Call a function with each of some arguments, and return the key under which its result will be.

        ``get_object`` of that key waits for it. Raises FunctionNotFoundError.
        """
        one = isinstance(args, (str, bytes)) or not isinstance(args, Iterable)
        future = self._call_function(name, (args,) if one else tuple(args))
        while len(self._executed) >= _EXECUTED_MAX:
            self._executed.pop(next(iter(self._executed)), None)
        self._executed[future.key] = future
        return future.key

    def _call_function(self, name: str, args: Sequence[Any]) -> CloudburstFuture:
        args = _spread(args)
        key = (name, len(args))
        head = self._heads.get(key)
        if head is None:
            if name not in self._known_functions:
                if self._connection.function(name) is None:
                    raise FunctionNotFoundError(f"function {name!r} not found; register it first (cloudburst fn ls lists all)")
                self._known_functions.add(name)
            shape: Tuple[Shape, ...] = (("", len(args), ()),)
            head = self._keep_head(key, call_head(frame_pb2.Call(function=name), shape, Options(), f"call {name}"))
        run_id, request = self._connection.call(head, [encode_argument(value) for value in args], RUN_SECONDS)
        return CloudburstFuture.of_run(self._connection, run_id, request)

    # DAGs.

    def register_dag(
        self,
        name: str,
        functions: Sequence[DagFunction],
        connections: Sequence[Tuple[str, str]],
        gpu_functions: Sequence[str] = (),
        batching_functions: Sequence[str] = (),
        colocated: Sequence[str] = (),
    ) -> Tuple[bool, int]:
        """Compose registered functions, and return (success, error).

        ``connections`` are (source, sink) pairs; exactly one function has no sink, and gives the result. ``colocated``
        functions run on one node. The error is one of CloudburstError, and its ``message`` says more. Raises
        FunctionNotFoundError (a RuntimeError) when a function is not registered, and InvalidArgumentError with the reason
        when the functions do not make a DAG.
        """
        for what, asked in (("gpu_functions", gpu_functions), ("batching_functions", batching_functions)):
            if asked:
                raise UnsupportedError(f"register dag {name!r}: {what} are not there yet; leave them out")
        dag = function_pb2.Dag(name=name, colocated=colocated)
        for function in functions:
            if not isinstance(function, str):
                raise UnsupportedError(
                    f"register dag {name!r}: {function!r:.100} asks for MULTIEXEC, which is not there yet; give the name alone"
                )
            dag.functions.append(function)
        for source, sink in connections:
            dag.links.add(source=source, sink=sink)
        try:
            self._connection.register_dag(dag)
        except DagExistsError as e:
            return False, _failure(DAG_ALREADY_EXISTS, e)
        except NoResourcesError as e:
            return False, _failure(NO_RESOURCES, e)
        self._known_dags.add(name)
        return True, NO_CLOUDBURST_ERROR

    def call_dag(
        self,
        dname: str,
        arg_map: Dict[str, Any],
        direct_response: bool = False,
        consistency: int = NORMAL,
        output_key: Optional[str] = None,
        client_id: Optional[str] = None,
        dry_run: bool = False,
        continuation: Optional[Any] = None,
    ) -> Any:
        """Call a DAG, and return the future of its result at once, or with ``direct_response`` the result.

        Parameters
        ----------
        dname
            Name of the DAG.
        arg_map
            For each function its argument, or the list of its arguments; what upstream functions return is appended. A tuple
            is spread over several arguments. An argument may be a reference or a future, also inside a list of its own.
        consistency
            NORMAL; others raise UnsupportedError.
        output_key
            Under which the result is kept until it is deleted; otherwise it is kept for ten minutes under a key of its own.
        client_id
            For levels that are not there yet; at NORMAL it makes no difference.
        dry_run
            Return the call, a DagCall message, without making it.
        continuation
            Such a message: the call is made with this DAG's result appended to the arguments of its source. The result is then
            its result, and goes to ``output_key`` unless the continuation has a key of its own.

        Raises DagNotFoundError (a RuntimeError) for an unknown DAG.
        """
        if consistency != NORMAL:
            check_consistency(dname, consistency)
        if dry_run or continuation is not None:
            arguments = {function: _arguments(args) for function, args in arg_map.items()}
            address = self.kvs_client.response_address if direct_response else ""
            message = new_dag_call(dname, arguments, address, output_key, client_id, continuation)
            return message if dry_run else self._call_composed(dname, message, direct_response)
        shapes: List[Shape] = []
        values: List[Encoded] = []
        for function, given in arg_map.items():
            args = _arguments(given)
            shapes.append((function, len(args), ()))
            for value in args:
                values.append(encode_argument(value))
        key = (dname, direct_response, output_key, *shapes)
        head = self._heads.get(key)
        if head is None or dname not in self._known_dags:
            self._check_dag(dname)
            options = Options(None, output_key or None, not direct_response or bool(output_key))
            head = self._keep_head(key, call_head(frame_pb2.Call(dag=dname), tuple(shapes), options, f"call dag {dname}"))
        run_id, request = self._connection.call(head, values, RUN_SECONDS)
        future = CloudburstFuture.of_run(self._connection, run_id, request, output_key or None)
        return Future.get(future) if direct_response else future  # a set comes as it is

    def delete_dag(self, dname: str) -> Tuple[bool, int]:
        """Delete a DAG, and return (success, error). Its functions stay."""
        self._known_dags.discard(dname)
        try:
            self._connection.delete_dag(dname)
        except DagNotFoundError as e:
            return False, _failure(NO_SUCH_DAG, e)
        return True, NO_CLOUDBURST_ERROR

    def _call_composed(self, name: str, message: Any, direct_response: bool) -> Any:
        """Make a call that has a continuation."""
        call, values = composed(message)
        self._check_dag(name)
        run = call
        while run.HasField("continuation"):
            run = run.continuation
            run.run_id = new_run_id()
        result_key = run.output_key or result_key_of(run.run_id)
        if run.output_key:
            self._connection.delete((result_key,))  # so that the future does not find an older result
        run_id, request = self._connection.call(CallHead(call, f"call dag {name}"), values, RUN_SECONDS)
        future = CloudburstFuture.of_run(self._connection, run_id, request, result_key, result_key=result_key)
        return Future.get(future) if direct_response else future  # a set comes as it is

    def _check_dag(self, name: str) -> None:
        if name not in self._known_dags:
            if self._connection.dag(name) is None:
                raise DagNotFoundError(f"dag {name!r} not found; register it first (cloudburst dag ls lists all)")
            self._known_dags.add(name)

    def _keep_head(self, key: Any, head: CallHead) -> CallHead:
        if len(self._heads) >= _HEADS_MAX:
            self._heads.clear()
        self._heads[key] = head
        return head

    # State.

    def get_object(self, key: str) -> Any:
        """Return the value under a key.

        It is a list for a set, an ordered set (the members in order, without scores) and concurrent causal versions. Raises
        KeyNotFoundError (a KeyError) when nothing is there.
        """
        executed = self._executed.get(key) if self._executed else None
        if executed is not None:
            executed.exception()  # waits until it is there
            self._executed.pop(key, None)
        ((cell, values),) = self._connection.get((key,))
        if cell.type == store_pb2.LATTICE_TYPE_UNSPECIFIED:
            raise KeyNotFoundError(f"nothing is stored under key {key!r}")
        return object_of(cell, values)

    def put_object(self, key: str, value: Any) -> Dict[str, bool]:
        """Store a value under a key, and return ``{key: True}`` once that is durable.

        A ``set`` joins the set that is there; anything else replaces what was there before. A lattice of ``anna.lattices`` is
        kept as a value, and read back as the lattice; ``kvs_client.put`` merges it.
        """
        cell, values = new_object(key, value)
        self._connection.put((cell,), values)
        return {key: True}

    def close(self) -> None:
        """End the connection. A program that ends need not call it."""
        self._connection.close()

    def __repr__(self) -> str:
        return f"<CloudburstConnection to {self._connection.endpoint.address}>"


def _arguments(given: Any) -> Sequence[Any]:
    """Return the arguments that a function of a DAG is given: one, or a list of them."""
    if type(given) is not list:
        return given if type(given) is tuple else (given,)
    return _spread(given)


def _spread(args: Sequence[Any]) -> Sequence[Any]:
    """Return arguments with each tuple among them spread over several, as the published executor does."""
    for value in args:
        if type(value) is tuple:
            return [element for arg in args for element in (arg if type(arg) is tuple else (arg,))]
    return args


class _Known(Set[str]):
    """Names that were found registered, so that not every call asks. It bounds itself."""

    def add(self, name: str) -> None:
        if len(self) >= _KNOWN_MAX:
            self.clear()
        super().add(name)


def _failure(number: int, error: Exception) -> Failure:
    _log.warning("%s", error)
    return Failure(number, str(error))
