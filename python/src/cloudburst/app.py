"""A connection to a node, and what a program does with it."""

from __future__ import annotations

import atexit
import uuid
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Type,
    TypeVar,
    Union,
    overload,
)

from cloudburst.argument import Ref
from cloudburst.cells import new_cell, several, value_of
from cloudburst.codec import sent_as
from cloudburst.connection import REQUEST_SECONDS, Connection, address_of, connection_of, current_connection
from cloudburst.endpoint import locator, own_node
from cloudburst.errors import DagNotFoundError, FunctionNotFoundError, InvalidArgumentError
from cloudburst.flow import Exceptions, Flow, RateLimit
from cloudburst.function import Function, new_function
from cloudburst.future import Future
from cloudburst.logs import LogLine, Printer, lines
from cloudburst.pipeline import Pipeline, described
from cloudburst.runs import Run, cancel, checked_run_id, run, run_id_of, runs
from cloudburst.session import Session
from cloudburst.stage import P, R
from cloudburst.v1 import store_pb2
from cloudburst.watch import Change, watch

if TYPE_CHECKING:
    from typing import Protocol

    from anna.lattices import Lattice

    R_co = TypeVar("R_co", covariant=True)

    class Runs(Protocol[P, R_co]):
        """A class with state."""

        def run(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


__all__ = ["App", "connect"]


def connect(
    address: Optional[str] = None,
    token: Optional[str] = None,
    *,
    context: Optional[str] = None,
    timeout: float = REQUEST_SECONDS,
    logs: bool = False,
) -> App:
    """Connect to a node, and stay with it, whichever context becomes the current one.

    Parameters
    ----------
    address
        "127.0.0.1:7100", or "https://host:7100" for one that speaks TLS. Default: ``context``, then CLOUDBURST_ADDRESS,
        then the context that CLOUDBURST_CONTEXT names, then the current context of this user, then 127.0.0.1:7100.
    token
        The node's token. Default: CLOUDBURST_TOKEN (unless ``context`` is given), then the one that the node has left in its
        context.
    context
        The name of a node of this user on this machine, as ``cloudburst context ls`` lists them. Not together with ``address``.
    timeout
        How many seconds connecting, and later each request that says nothing else, may take. The time of runs is not meant: see
        :meth:`App.function`.
    logs
        Whether to print on stderr, as it comes, what the runs that are called over this connection print, each line after the
        name of its function. A thread reads it for as long as the connection is open, so that calls take some tens of
        microseconds longer. In a function it does nothing, since what a function prints reaches its caller anyway.

    Raises UnavailableError when no node answers, AuthenticationError when it refuses the token, IncompatibleError when what
    answers speaks something else, and InvalidArgumentError for an address or a context that cannot be one.
    """
    connection = Connection(locator(address, token, context), timeout)
    connection.connect()
    app = App(connection)
    if logs and own_node() is None:
        app._printer = Printer(connection)
        atexit.register(app._printer.stop)
    return app


class App:
    """A connection to a node. One is enough for a program: it can be used by all threads and event loops, and after a fork.

    It connects again by itself when the connection breaks. ``with`` closes it; a program that ends need not.

    Keys are strings that are not empty. Values are what pickle can take, and at most 64 MiB. ``timeout`` is how many seconds
    the answer may take, where nothing is given as many as :func:`connect` says (30). Every method that asks the node raises
    DeadlineExceededError (a TimeoutError) when the answer is late, UnavailableError (a ConnectionError) when the node is
    gone, and InvalidArgumentError (a ValueError) for arguments that make no sense, which change nothing.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._printer: Optional[Printer] = None

    # Functions.

    @overload
    def function(
        self,
        function: Type[Runs[P, R]],
        /,
        *,
        name: Optional[str] = None,
        timeout: Optional[float] = None,
        retries: Optional[int] = None,
        retry_on: Exceptions = (),
        backoff: Optional[float] = None,
        concurrency: Optional[int] = None,
        rate_limit: Union[str, RateLimit, None] = None,
        priority: int = 0,
        queue_timeout: Optional[float] = None,
        inline: bool = True,
        init: Iterable[Any] = (),
    ) -> Function[P, R]: ...

    @overload
    def function(
        self,
        function: Callable[P, R],
        /,
        *,
        name: Optional[str] = None,
        timeout: Optional[float] = None,
        retries: Optional[int] = None,
        retry_on: Exceptions = (),
        backoff: Optional[float] = None,
        concurrency: Optional[int] = None,
        rate_limit: Union[str, RateLimit, None] = None,
        priority: int = 0,
        queue_timeout: Optional[float] = None,
        inline: bool = True,
    ) -> Function[P, R]: ...

    @overload
    def function(
        self,
        /,
        *,
        name: Optional[str] = None,
        timeout: Optional[float] = None,
        retries: Optional[int] = None,
        retry_on: Exceptions = (),
        backoff: Optional[float] = None,
        concurrency: Optional[int] = None,
        rate_limit: Union[str, RateLimit, None] = None,
        priority: int = 0,
        queue_timeout: Optional[float] = None,
        inline: bool = True,
        init: Iterable[Any] = (),
    ) -> _Decorator: ...

    def function(
        self,
        function: Optional[Callable[..., Any]] = None,
        /,
        *,
        name: Optional[str] = None,
        timeout: Optional[float] = None,
        retries: Optional[int] = None,
        retry_on: Exceptions = (),
        backoff: Optional[float] = None,
        concurrency: Optional[int] = None,
        rate_limit: Union[str, RateLimit, None] = None,
        priority: int = 0,
        queue_timeout: Optional[float] = None,
        inline: bool = True,
        init: Iterable[Any] = (),
    ) -> Any:
        """Make a function one that can run on the node; a decorator, with or without parentheses.

        Called as before it runs here; ``f.remote(x)`` runs it on the node and returns a future. It is registered when it is
        first called there. Inside, :func:`cloudburst.context` gives access to state and messages.

        Many calls of a coroutine function (``async def``) run at once, in one event loop. A generator function gives the list
        of what it yields, or with ``f.stream(x)`` the items one by one.

        A class with a method ``run`` is a function with state: the node builds one object of it, and each call is one of
        ``run``, one after another. The object lives as long as the process that holds it; put into the store what must live
        longer. A program that a type checker reads writes ``account = app.function(Account, init=(100,))``, since checkers do
        not know what a decorator makes of a class.

        Parameters
        ----------
        name
            The name under which it is registered. Default: its own.
        timeout
            How many seconds one run of it may take. Default: the node's, five minutes.
        retries
            How often it is run again after it has raised or its worker was lost, together. 0: it runs at most once, and
            OutcomeUnknownError says that its worker was lost. Default: what it raises is final, and after a loss it runs again,
            twice at most. ``context().attempt`` counts.
        retry_on
            The exceptions after which it is run again, with those that derive from them: classes, or names with their modules.
            Default: all. The loss of a worker is not an exception.
        backoff
            How many seconds to wait before the first retry; doubled with each retry up to a minute, and made longer by a random
            part of up to a quarter. Default: 0.02, doubled up to a second.
        concurrency
            How many invocations of it run at once on a node. Default: any number; of a coroutine function 256 in one worker.
        rate_limit
            How often it may start on a node: "10/s", "100/min", "5/h", "1000/day", or a :class:`cloudburst.RateLimit`, which
            can hold for each value of an argument. A call that would have to wait for longer than it may raises
            NoResourcesError, which says when to come back.
        priority
            Of the invocations of one client that wait for a worker, those with a higher one go first. Default 0.
        queue_timeout
            How many seconds it may wait until it starts. A call that its rate limit would hold up for longer raises
            NoResourcesError at once; one that waits for a worker until then, DeadlineExceededError. Default: its deadline.
        inline
            False: a worker whose function waits for it does not run it meanwhile, on the same thread; it waits for another one.
            For a function that takes a lock of its process which its callers may hold while they wait for it.
        init
            Of a class: the arguments that the object is built with.

        Raises InvalidArgumentError for something that cannot be called or has no name, and for settings that make no sense.
        """
        arguments = tuple(init)
        flow = Flow(retries, retry_on, backoff, concurrency, rate_limit, priority, queue_timeout, inline)

        def decorated(function: Callable[..., Any]) -> Function[Any, Any]:
            return new_function(self._connection, function, name, timeout, flow, arguments)

        return decorated if function is None else decorated(function)

    def lookup(self, name: str) -> Function[..., Any]:
        """Return a function that another program has registered: "sq", always the latest version, or "sq@3".

        Raises FunctionNotFoundError (a LookupError) when there is none of this name and version.
        """
        found = self._connection.function(name)
        if found is None:
            raise FunctionNotFoundError(f"function {name!r} not found (cloudburst fn ls lists all)")
        return Function(self._connection, found.name, None, None, found, name)

    def lookup_dag(self, name: str) -> Pipeline[..., Any]:
        """Return a DAG that another program has registered; its arguments go to the functions that nothing feeds.

        Raises DagNotFoundError (a LookupError) when there is none of this name.
        """
        found = self._connection.dag(name)
        if found is None:
            raise DagNotFoundError(f"dag {name!r} not found (cloudburst dag ls lists all)")
        return described(self._connection, found)

    # Runs.

    def cancel(self, run_id: Union[str, bytes, uuid.UUID], reason: str = "", *, timeout: Optional[float] = None) -> None:
        """Cancel a run and those below it, as :meth:`cloudburst.Future.cancel` does; nothing happens when it has ended.

        Raises RunNotFoundError (a LookupError) for a run that the node does not know.
        """
        cancel(self._connection, checked_run_id(run_id), reason, timeout)

    def runs(
        self,
        state: Union[None, str, Iterable[str]] = None,
        *,
        function: str = "",
        label: str = "",
        parent: Optional[str] = None,
        limit: int = 100,
        timeout: Optional[float] = None,
    ) -> List[Run]:
        """Return the runs that are under way or ended lately, the newest first.

        Parameters
        ----------
        state
            One or several of "queued", "running", "waiting", "done", "failed" and "cancelled".
        function
            A function, with or without its version ("sq", "sq@3"), or a DAG.
        label, parent
            The label of the runs, and the id of the run that has called them.
        limit
            How many at most, up to 10,000.
        """
        return runs(self._connection, state, function, label, parent, limit, timeout)

    def run(self, id: str, *, timeout: Optional[float] = None) -> Run:
        """Return a run with its steps and the runs below it. The beginning of the id is enough if no other run begins so.

        Raises RunNotFoundError (a LookupError) for a run that the node does not know, or not any more.
        """
        return run(self._connection, id, timeout)

    # State.

    def get(self, key: str, default: Any = None, *, wait: float = 0.0, timeout: Optional[float] = None) -> Any:
        """Return the value under a key, or the default. ``wait`` is how many seconds to wait for the key to appear.

        A counter reads as its number, a set lattice as a list, an ordered set as a list of (member, score), a map as a
        dictionary. Raises what a run failed with, when the key is that of its result, and CodecError for a value that this
        process cannot load.
        """
        if not isinstance(key, str):
            raise InvalidArgumentError(f"get: a key is a string, got {key!r:.100}; get_many takes several")
        ((cell, values),) = self._connection.get((key,), wait, timeout)
        return default if cell.type == store_pb2.LATTICE_TYPE_UNSPECIFIED else value_of(cell, values)

    def get_many(self, keys: Iterable[str], *, wait: float = 0.0, timeout: Optional[float] = None) -> Dict[str, Any]:
        """Return the values under those of the keys that are there, by key.

        ``wait`` is how many seconds to wait for the others. Raises what :meth:`get` raises for any of them.
        """
        found = self._connection.get(several(keys), wait, timeout)
        return {cell.key: value_of(cell, values) for cell, values in found if cell.type != store_pb2.LATTICE_TYPE_UNSPECIFIED}

    def put(
        self, key: str, value: Any, *, ttl: Optional[float] = None, ack: str = "durable", timeout: Optional[float] = None
    ) -> None:
        """Store a value under a key; the last writer wins. A lattice of :mod:`anna.lattices` is merged into what is there.

        Parameters
        ----------
        ttl
            How many seconds the value is kept. Default: until it is deleted.
        ack
            "durable" returns once the write is in the log, "memory" once the node has it.

        A put that lost its connection is sent again, so that in rare cases it takes place twice. Raises UnpicklableError (a
        TypeError), naming what in the value cannot travel, TooLargeError for more than 64 MiB, and LatticeMismatchError when
        the key holds a lattice of another type.
        """
        cell, values = new_cell(key, value, ttl)
        self._connection.put((cell,), values, ack, timeout)

    def put_many(self, values: Mapping[str, Any], *, ack: str = "durable", timeout: Optional[float] = None) -> None:
        """Store values under several keys, in one request; see :meth:`put`. When it raises, some may have been stored."""
        cells, encoded = [], []
        for key, value in values.items():
            cell, parts = new_cell(key, value)
            cells.append(cell)
            encoded.extend(parts)
        if cells:
            self._connection.put(cells, encoded, ack, timeout)

    def increment(self, key: str, n: int = 1, *, timeout: Optional[float] = None) -> None:
        """Add n, an integer of 64 bits, to the counter under a key; a key that is not there counts from 0.

        The store counts, so no update is lost when several programs do it at the same time. Raises LatticeMismatchError when
        the key holds something that ``put`` has stored: delete it first, or count under another key. It is not sent again
        when the connection is lost before the answer; UnavailableError says so.
        """
        self._connection.increment(key, n, timeout)

    def lattice(self, key: str, *, timeout: Optional[float] = None) -> Optional[Lattice]:
        """Return the lattice under a key, of a class of :mod:`anna.lattices`; None when nothing is there.

        What ``put`` has stored is a LWWPairLattice. Raises CodecError when the bytes are not a lattice.
        """
        from anna.cells import lattice_of

        ((cell, values),) = self._connection.get((key,), 0.0, timeout)
        return None if cell.type == store_pb2.LATTICE_TYPE_UNSPECIFIED else lattice_of(cell, values)

    def session(self, level: str = "session") -> Session:
        """Return a session of the store, which promises more than that every write is seen in the end.

        ``level`` is "read_committed", "item_cut", "read_your_writes", "monotonic_reads", "monotonic_writes",
        "writes_follow_reads", "session" for the last four, "causal", or several of these joined by "+". Raises
        InvalidArgumentError for another.

        >>> with app.session("read_committed+item_cut") as s:
        ...     s.put("title", "Hello")
        ...     s.put("text", s.get("draft"))    # both are stored at the end of the block
        """
        return Session(self._connection, level)

    def watch(self, *keys: str, timeout: Optional[float] = None) -> Iterator[Change]:
        """Yield what each of the keys holds now, and then what it holds after every change, until the loop is left.

        The store pushes changes. A key never goes back to something older. A loop that is slower than the changes, or whose
        connection breaks, may miss some, and never the last: :attr:`Change.lagged` says so. ``timeout`` is how many seconds to
        wait for the next change before DeadlineExceededError is raised; without one there is no limit.
        """
        return watch(self._connection, keys, timeout)

    def delete(self, key: Union[str, Iterable[str]], *, ack: str = "durable", timeout: Optional[float] = None) -> None:
        """Delete what is stored under a key or several. An absent key makes no difference. ``ack`` as in :meth:`put`."""
        self._connection.delete((key,) if isinstance(key, str) else key, ack, timeout)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with a prefix, in order, all without one. A request fetches a thousand."""
        return self._connection.keys(prefix)

    def ref(self, key: str, *, raw: bool = False) -> Ref[Any]:
        """Return what stands for the value of a key as an argument; with ``raw``, for its stored bytes.

        The function gets the value that is there when it starts. A key that is not there is waited for, ten seconds unless
        the node is set up otherwise; then the call fails with KeyNotFoundError.
        """
        return Ref(key, not raw)

    # What functions print.

    def logs(
        self,
        function: Union[str, Function[..., Any], None] = None,
        *,
        run: Union[str, Future[Any], None] = None,
        follow: bool = False,
        limit: int = 1000,
        timeout: Optional[float] = None,
    ) -> Iterator[LogLine]:
        """Yield lines that functions have printed, in the order in which they came to the node.

        Without a function and a run: those of the runs that were called over this connection, and of the runs below them. A
        node keeps the latest lines (``executor.log_bytes``), at most 10,000 of one run. :attr:`LogLine.dropped` says how many
        are missing.

        Parameters
        ----------
        function
            A function, or its name: "sq" for all versions, or "sq@3".
        run
            A future, or the id of a run, for the lines of that run and those below it. The beginning of the id is enough when
            only one run that has printed begins so; RunNotFoundError is raised when none does.
        follow
            Whether to go on with the lines that come; those of a run until it has ended, others until the loop is left.
        limit
            How many of the lines that are there already to yield at most, the latest; up to 10,000.
        timeout
            How many seconds to wait for a line. When lines are followed there is no limit without one.

        Raises UnavailableError when the connection breaks.
        """
        name = function.name if isinstance(function, Function) else function
        if name is not None and (not isinstance(name, str) or not name):
            raise InvalidArgumentError(f"logs: a function, or its name, got {function!r:.100}")
        run_id, prefix = b"", ""
        if isinstance(run, Future):
            run_id = run._known_run()
        elif run is not None:
            run_id, prefix = run_id_of(run)
        own = name is None and run is None
        if limit < 1:
            raise InvalidArgumentError(f"logs: the limit is at least 1, got {limit!r:.100}")
        return lines(
            self._connection,
            run_id=run_id,
            prefix=prefix,
            function=name or "",
            own=own,
            follow=follow,
            limit=limit,
            timeout=timeout,
        )

    # The connection.

    @property
    def address(self) -> str:
        """Host and port of the node."""
        return self._connection.endpoint.address

    def close(self) -> None:
        """End the connection. Threads that wait for an answer get CancelledError; runs go on. A second call does nothing.

        The app that a function has taken along is connected by its worker, for all functions, and stays so.
        """
        if self._printer is not None:
            self._printer.stop()
            atexit.unregister(self._printer.stop)
        if own_node() is None or self._connection is not current_connection():
            self._connection.close()

    def __enter__(self) -> App:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<App on {self.address}{' (closed)' if self._connection.transport.closed else ''}>"

    def __reduce__(self) -> Any:
        return (_unpickled, (address_of(self._connection),))


def _unpickled(address: Optional[str] = None) -> App:
    return App(connection_of(address) or current_connection())


# A function that is sent to a node finds that node by itself, and is the same function whatever its client calls the node.
sent_as(App, lambda app: (_unpickled, ()))


if TYPE_CHECKING:

    class _Decorator(Protocol):
        @overload
        def __call__(self, function: Type[Runs[P, R]], /) -> Function[P, R]: ...

        @overload
        def __call__(self, function: Callable[P, R], /) -> Function[P, R]: ...
