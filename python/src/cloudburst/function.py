"""Functions that run on a node, and their compositions, as the decorators give them."""

from __future__ import annotations

import functools
import inspect
import sys
import uuid
import warnings
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, NamedTuple, Optional, Tuple, Union

from cloudburst.argument import encode_argument
from cloudburst.call import CallHead, Shape
from cloudburst.cells import check_characters, check_key, milliseconds
from cloudburst.codec import sent_as
from cloudburst.connection import RUN_SECONDS, Connection, address_of, connection_of
from cloudburst.errors import FunctionNotFoundError, InvalidArgumentError, UnsupportedError
from cloudburst.flow import Flow, checked_priority, checked_retries, checked_wait, patience_of
from cloudburst.forklock import ForkLock
from cloudburst.future import Future
from cloudburst.items import AHEAD, Items
from cloudburst.mentions import ITSELF, TOGETHER, definitions_of, loading, mention
from cloudburst.runs import checked_label, checked_run_id
from cloudburst.stage import P, R, Stage
from cloudburst.stateful import LocalObject, Stateful
from cloudburst.v1 import frame_pb2, function_pb2

if TYPE_CHECKING:
    from cloudburst.codec import Encoded

__all__ = ["Function", "Options", "Registered"]

LEVELS = ("lww", "repeatable_read", "single_key", "multi_key", "causal")
"""Names of the consistency levels."""

_HEADS_MAX = 64  # shapes of calls that one function remembers
_DOC_CHARACTERS_MAX = 200


class Options(NamedTuple):
    """How one function or pipeline is called."""

    timeout: Optional[float] = None  # seconds of the whole run
    key: Optional[str] = None  # under which the result is kept for ever
    store: bool = True  # whether the result is kept at all
    retries: Optional[int] = None  # of each function, in place of what it says
    priority: Optional[int] = None  # in place of the functions'
    queue_timeout: Optional[float] = None  # seconds; in place of the functions'
    label: str = ""
    run_id: Optional[bytes] = None
    detached: bool = False
    cancel_on_disconnect: bool = False


def checked_options(
    old: Options,
    timeout: Optional[float],
    key: Optional[str],
    store: Optional[bool],
    consistency: Optional[str],
    retries: Optional[int],
    priority: Optional[int],
    queue_timeout: Optional[float],
    label: Optional[str],
    run_id: Any,
    detached: Optional[bool],
    cancel_on_disconnect: Optional[bool],
) -> Options:
    if consistency is not None:
        if consistency not in LEVELS:
            raise InvalidArgumentError(f"consistency={consistency!r:.100}: it is one of {', '.join(LEVELS)}")
        if consistency != "lww":
            raise UnsupportedError(f"consistency={consistency!r} is not there yet; this version has 'lww'")
    if timeout is not None and milliseconds(timeout, "timeout") < 1:
        raise InvalidArgumentError(f"timeout={timeout!r} s: must be at least a millisecond")
    if key is not None:
        check_key(key)
    stored = old.store if store is None else store
    if not stored and (key or old.key):
        raise InvalidArgumentError("store=False and a key contradict each other")
    if retries is not None:
        checked_retries(retries)
    if priority is not None:
        checked_priority(priority)
    if queue_timeout is not None:
        checked_wait(queue_timeout)
    given: Dict[str, Any] = {
        "label": None if label is None else checked_label(label),
        "run_id": None if run_id is None else checked_run_id(run_id),
        "detached": None if detached is None else bool(detached),
        "cancel_on_disconnect": None if cancel_on_disconnect is None else bool(cancel_on_disconnect),
        "timeout": timeout,
        "key": key,
        "retries": retries,
        "priority": priority,
        "queue_timeout": queue_timeout,
    }
    return old._replace(store=stored, **{name: value for name, value in given.items() if value is not None})


class Function(Stage[P, R]):
    """A function that runs on a node. Called as it is, it runs here; ``remote`` runs it there.

    It is registered when it is first called there, with the code and the variables that it refers to as they are then; from
    then on this object calls the version that it has registered, whatever other programs register under the same name. After a
    change, :meth:`register` makes a new version. Threads can use it at the same time.
    """

    def __init__(
        self,
        connection: Optional[Connection],
        name: str,
        local: Optional[Callable[..., Any]],
        definition: Any,
        description: function_pb2.Function,
        ref: str = "",
    ) -> None:
        self._connection = connection
        self._options = Options()
        self.name = name
        self._local = local  # what a plain call calls; None when only the node has the code
        self._definition = definition
        self._description = description
        self._patience = patience_of((description,), None, RUN_SECONDS)
        self._registered = Registered(ref)
        self._bound: Tuple[Any, ...] = ()
        self._bound_keywords: Dict[str, Any] = {}
        self._heads: Dict[Shape, CallHead] = {}
        self._heads_of = ""  # the version that they call
        if local is not None:
            functools.update_wrapper(self, local, updated=())

    def _here(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Any:
        if self._local is None:
            raise TypeError(f"the code of function {self.name!r} is not here; call it with .remote(...)")
        return self._local(*self._bound, *args, **{**self._bound_keywords, **kwargs})

    def _there(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Future[R]:
        if self._bound:
            args = self._bound + args
        if self._bound_keywords:
            kwargs = {**self._bound_keywords, **kwargs}
        if kwargs:
            shape = ("", len(args), tuple(kwargs))
            values = [encode_argument(value) for value in (*args, *kwargs.values())]
        else:
            shape = ("", len(args), ())
            values = [encode_argument(value) for value in args]
        head = self._heads.get(shape)
        if head is None or self._heads_of != self._registered.ref:
            head = self._new_head(shape)
        options = self._options
        seconds = options.timeout
        if seconds is None:
            seconds = self._patience
        connection = self._owner()
        run_id, request = connection.call(head, values, seconds, options.run_id)
        return Future.of_run(connection, run_id, request, options.key, options.store)

    def _streamed(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Items[Any]:
        if not self._description.generator:
            raise InvalidArgumentError(
                f"{self.name!r} is not a generator function, so its result comes at once; call it with remote"
            )
        args, kwargs = self._bound + args, {**self._bound_keywords, **kwargs}
        values = [encode_argument(value) for value in (*args, *kwargs.values())]
        call = frame_pb2.Call(function=self.ref, stream_credit=AHEAD)
        head = call_head(call, (("", len(args), tuple(kwargs)),), self._options._replace(store=False), f"stream {self.ref}")
        return self._owner().stream(head, values, self._run_seconds())

    def _run_seconds(self) -> float:
        return self._patience if self._options.timeout is None else self._options.timeout

    @property
    def ref(self) -> str:
        """Name and version, as in "sq@3". Registers the function if it has not been yet; see :meth:`register`."""
        if not self._registered.ref:
            with _lock.held:
                return self._registered.ref or self._found_together() or self.register()
        return self._registered.ref

    def _found_together(self) -> str:
        """Return the version that was registered together with the function that mentions this one, if there is such."""
        group = self._registered.group
        if group:
            found = self._owner().functions(self.name, versions=True)
            versions = [each for each in found if (each.name, each.group) == (self.name, group)]
            if not versions:
                raise FunctionNotFoundError(
                    f"function {self.name!r} has no version that was registered together with the function that calls it; "
                    "register that again"
                )
            self._registered.ref = f"{self.name}@{versions[-1].version}"
        return self._registered.ref

    @property
    def is_local(self) -> bool:
        """Whether its code is here, and not only on the node."""
        return self._local is not None

    @property
    def yields_or_awaits(self) -> bool:
        """Whether a plain call of it returns something that has yet to run: it is a generator or a coroutine function."""
        return self._description.generator or self._description.coroutine

    def register(self) -> str:
        """Register the function as it is now, and return its name and version, as in "sq@3": a new one, unless the latest is
        just the same: a program may be started any number of times. (Sets of strings, and classes of the program, in the code
        or variables of a plain function are pickled in another way by each process.) Functions that it mentions are registered
        first; those that mention it too, together with it, also when they have been registered before.

        Of a class, a new version begins with a new object; when the version before is of another class, a RuntimeWarning says
        so. Raises IncompatibleError when the workers run another Python, and UnpicklableError, naming the variable at fault,
        when its code refers to something that cannot travel.
        """
        if self._local is None:
            return self._registered.ref
        with _lock.held:
            connection = self._owner()
            for function, definition, group in definitions_of(self, connection):
                function._register_at(connection, definition, group)
        return self._registered.ref

    def _register_at(self, connection: Connection, definition: Encoded, group: str) -> None:
        description = function_pb2.Function()
        description.CopyFrom(self._description)
        description.group = group
        before = None
        if description.convention == function_pb2.CONVENTION_CLASS and not self._registered.ref:
            before = connection.function(self.name)
        registered = connection.register_function(description, definition)
        self._registered.ref = f"{registered.name}@{registered.version}"
        if before is not None and before.convention == description.convention and before.version < registered.version:
            warnings.warn(
                f"{self._registered.ref} is another class than {before.name}@{before.version}, which was registered before: it "
                "begins with a new object, and calls by the name go to it. Programs that use the version before keep its "
                "object until nothing has called it for a while (executor.idle_timeout); what the object holds is lost then",
                RuntimeWarning,
                stacklevel=_callers(),
            )

    def bind(self, /, *args: Any, **kwargs: Any) -> Function[..., R]:
        """Return the function with its first arguments, and keyword arguments, given already, as ``functools.partial``.

        They travel with each call, so they may be futures and references too.
        """
        bound: Function[..., R] = self._copy()
        bound._bound = self._bound + args
        bound._bound_keywords = {**self._bound_keywords, **kwargs}
        return bound

    def options(
        self,
        *,
        timeout: Optional[float] = None,
        key: Optional[str] = None,
        store: Optional[bool] = None,
        consistency: Optional[str] = None,
        retries: Optional[int] = None,
        priority: Optional[int] = None,
        queue_timeout: Optional[float] = None,
        label: Optional[str] = None,
        run_id: Union[None, str, bytes, uuid.UUID] = None,
        detached: Optional[bool] = None,
        cancel_on_disconnect: Optional[bool] = None,
    ) -> Function[P, R]:
        """Return the function, to be called in another way. What is left out stays as it was.

        Parameters
        ----------
        timeout
            How many seconds the whole run may take, at least 0.001.
        key
            The key under which the result is kept until it is deleted; otherwise it is kept for ten minutes under the run's id.
        store
            False: the result comes to the caller and is not kept, so that the future is of no use in another process.
        consistency
            "lww": the last writer wins. Other levels raise UnsupportedError.
        retries, priority, queue_timeout
            In place of what the function says; see :meth:`cloudburst.App.function`.
        label
            A text of at most 200 bytes, shown with the run and to be searched for: see :meth:`cloudburst.App.runs`.
        run_id
            The id of the run: 32 hexadecimal digits, 16 bytes, or a UUID. A second call with the same id waits for the run of
            the first, or gets its result as long as that is kept. Default: a random one for each call.
        detached
            True: called in a function, the run goes on when the function's own run is cancelled, fails or runs out of time, and
            may take longer than that one.
        cancel_on_disconnect
            True: the run is cancelled when the connection to the node that it was called over ends.

        Raises InvalidArgumentError for anything else, and for a key together with ``store=False``.
        """
        other: Function[P, R] = self._copy()
        other._options = checked_options(
            self._options,
            timeout,
            key,
            store,
            consistency,
            retries,
            priority,
            queue_timeout,
            label,
            run_id,
            detached,
            cancel_on_disconnect,
        )
        other._patience = patience_of((self._description,), other._options.retries, RUN_SECONDS)
        return other

    def __repr__(self) -> str:
        version = f" = {self._registered.ref}" if self._registered.ref else ""
        bound = [f"{value!r:.40}" for value in self._bound]
        bound += [f"{name}={value!r:.40}" for name, value in self._bound_keywords.items()]
        given = f".bind({', '.join(bound)})" if bound else ""
        return f"<Function {self.name}{self._signature()}{version}{given}>"

    def _signature(self) -> str:
        if self._local is None:
            return "(…)"
        try:
            return str(inspect.signature(self._local))
        except (TypeError, ValueError):
            return "(…)"

    def __reduce__(self) -> Any:
        return _unpickled, (*self._pickled(), address_of(self._connection))

    def _pickled(self, ref: Optional[str] = None) -> Tuple[Any, ...]:
        # The code goes along, so that a plain call works there.
        description = self._description.SerializeToString()
        state = (self._registered.ref if ref is None else ref, self._options, self._bound, self._bound_keywords)
        return self.name, self._local, self._definition, description, *state

    def _copy(self) -> Function[Any, Any]:
        copy: Function[Any, Any] = Function(self._connection, self.name, self._local, self._definition, self._description)
        copy._options, copy._patience = self._options, self._patience
        copy._registered = self._registered  # shared: the same function
        copy._bound, copy._bound_keywords = self._bound, self._bound_keywords
        return copy

    def _new_head(self, shape: Shape) -> CallHead:
        ref = self.ref
        head = call_head(frame_pb2.Call(function=ref), (shape,), self._options, f"call {ref}", (self._description,))
        if self._heads_of != ref or len(self._heads) >= _HEADS_MAX:
            self._heads, self._heads_of = {}, ref
        self._heads[shape] = head
        return head


class Registered:
    """What the copies of one function share: the version that they call, or the group in which it is found."""

    __slots__ = ("group", "ref")

    def __init__(self, ref: str) -> None:
        self.ref = ref
        self.group = ""


def _callers() -> int:
    """Return how many frames above the caller's the first one is that is not of this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("cloudburst."):
        level, frame = level + 1, frame.f_back
    return level


_lock = ForkLock()  # keeps threads from registering one function several times


def call_head(
    call: frame_pb2.Call,
    shapes: Tuple[Shape, ...],
    options: Options,
    what: str,
    functions: Iterable[function_pb2.Function] = (),
) -> CallHead:
    """Return the head of calls whose target is set already. ``functions`` are those that it is known to run."""
    once = options.retries == 0 or (options.retries is None and any(f.HasField("retries") and not f.retries for f in functions))
    for function, positional, keywords in shapes:
        call.arguments.add(function=function, positional=positional, keywords=keywords)
    if options.timeout is not None:
        call.timeout_milliseconds = milliseconds(options.timeout)
    call.store = options.store
    if options.key is not None:
        call.output_key = options.key
    if options.retries is not None:
        call.retries = options.retries
    if options.priority is not None:
        call.priority = options.priority
    if options.queue_timeout is not None:
        call.queue_timeout_milliseconds = checked_wait(options.queue_timeout)
    call.label, call.detached, call.cancel_on_disconnect = options.label, options.detached, options.cancel_on_disconnect
    return CallHead(call, what, once)


def described(
    name: str, convention: function_pb2.Convention, doc: Optional[str], timeout: Optional[float] = None
) -> function_pb2.Function:
    """Return what a node is told about a function besides its definition. Raises InvalidArgumentError."""
    if not isinstance(name, str) or not name:
        raise InvalidArgumentError(f"the name of a function is a string that is not empty, got {name!r:.100}")
    check_characters(name, "the name of a function")
    if timeout is not None and milliseconds(timeout, "timeout") < 1:
        raise InvalidArgumentError(f"timeout={timeout!r} s: must be at least a millisecond")
    lines = (doc or "").strip().splitlines()
    return function_pb2.Function(
        name=name,
        runtime=function_pb2.RUNTIME_PYTHON,
        convention=convention,
        python_version=f"{sys.version_info.major}.{sys.version_info.minor}",
        timeout_milliseconds=0 if timeout is None else milliseconds(timeout),
        doc=lines[0][:_DOC_CHARACTERS_MAX] if lines else "",
    )


def new_function(
    connection: Connection,
    target: Callable[..., Any],
    name: Optional[str],
    timeout: Optional[float],
    flow: Flow,
    init: Tuple[Any, ...],
) -> Function[Any, Any]:
    """Return a function, or a class with state, as one that can run on a node."""
    if isinstance(target, Function):
        raise InvalidArgumentError(f"{target!r} is one already; give the function that it was made from")
    if not callable(target):
        raise InvalidArgumentError(f"{target!r:.100} cannot be called, so it is not a function")
    called = getattr(target, "__name__", None) if name is None else name
    if called is None:
        raise InvalidArgumentError(f"{target!r:.100} has no name of its own; give it one: app.function(..., name=...)")
    if isinstance(target, type):
        if not callable(getattr(target, "run", None)):
            raise InvalidArgumentError(f"class {target.__qualname__} has no method run(self, ...), which calls of it would run")
        description = described(called, function_pb2.CONVENTION_CLASS, target.__doc__, timeout)
        flow.describe(description, target.run, 1)  # type: ignore[attr-defined]
        describe_kind(description, target.run)  # type: ignore[attr-defined]
        local: Callable[..., Any] = LocalObject(target, init)
        return Function(connection, called, local, (Stateful, (target, init)), description)
    if init:
        raise InvalidArgumentError(f"init is what a class is built with, and {called!r} is none")
    description = described(called, function_pb2.CONVENTION_PLAIN, target.__doc__, timeout)
    flow.describe(description, target)
    describe_kind(description, target)
    return Function(connection, called, target, target, description)


def describe_kind(description: function_pb2.Function, target: Any) -> None:
    """Note whether what is called is a coroutine function, and whether it yields its result item by item."""
    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isroutine(target):
        target = type(target).__call__
    description.coroutine = inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target)
    description.generator = inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target)


def _unpickled(
    name: str,
    local: Optional[Callable[..., Any]],
    definition: Any,
    description: bytes,
    ref: str,
    options: Options,
    bound: Tuple[Any, ...],
    bound_keywords: Dict[str, Any],
    address: Optional[str] = None,
) -> Function[Any, Any]:
    connection = connection_of(address)
    group, of = "", loading()
    if ref in (ITSELF, TOGETHER):
        if of is not None and ref == TOGETHER:
            group = of.group
        ref = f"{of.name}@{of.version}" if of is not None and ref == ITSELF else ""
    function: Function[Any, Any] = Function(
        connection, name, local, definition, function_pb2.Function.FromString(description), ref
    )
    function._registered.group = group
    function._options = options
    function._patience = patience_of((function._description,), options.retries, RUN_SECONDS)
    function._bound, function._bound_keywords = bound, bound_keywords
    return function


# Inside the definition of another function, say: there it is one of that function's node.
sent_as(Function, lambda function: (_unpickled, function._pickled(mention(function))))
