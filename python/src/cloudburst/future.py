"""The results of runs that may still be under way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable, Coroutine, Dict, Generator, Generic, List, Optional, Type, TypeVar

from cloudburst import blocking
from cloudburst.argument import Argument
from cloudburst.call import result_key, run_of_key
from cloudburst.cells import cells_of, check_key, duration, value_of
from cloudburst.codec import Encoded, decode, encode_parts, encode_reference, sent_as
from cloudburst.codec._versions import compared
from cloudburst.connection import GRACE_SECONDS, RUN_SECONDS, Connection, address_of, connection_of, current_connection
from cloudburst.errors import (
    CancelledError,
    CodecError,
    DagNotFoundError,
    DeadlineExceededError,
    FrameError,
    InvalidArgumentError,
    RunNotFoundError,
)
from cloudburst.forklock import ForkLock
from cloudburst.logs import LINES_MAX, LogLine, lines
from cloudburst.request import ANSWERED, DONE, Request
from cloudburst.runs import cancel as cancel_run
from cloudburst.transport import ArgumentsGoneError
from cloudburst.v1 import store_pb2

__all__ = ["Future"]

T = TypeVar("T")
F = TypeVar("F", bound="Future[Any]")

if TYPE_CHECKING:
    import concurrent.futures

    # It has the methods of a coroutine, and is not made a subclass for them: isinstance is slower for those.
    class _Awaited(Argument, Coroutine[Any, Any, T]):
        pass

else:

    class _Awaited(Argument, Generic[T]):
        __slots__ = ()


_UNSET: Any = object()
_EMBED_BYTES_MAX = 64 << 10  # result up to which, when it is here, it is passed on itself instead of by reference


class Future(_Awaited[T]):
    """The result of a run. It can be asked again and again, by any thread, and awaited in any event loop.

    What takes a coroutine in asyncio takes it as it is: ``create_task``, ``TaskGroup.create_task``, ``gather``, ``wait_for``,
    ``run``. ``asyncio.wait`` takes only tasks: give it ``asyncio.ensure_future(future)``, or use :func:`cloudburst.wait_async`.
    A task that is cancelled has only stopped waiting: the run goes on, and the future can be awaited again.

    As an argument of a call, also inside a list, it stands for the result. Pickled it is the key under which the node keeps
    the result, for ten minutes unless the caller has chosen the key, so that another process can ask for it.
    """

    __slots__ = (
        "__weakref__",
        "_awaits",
        "_by_key",
        "_connection",
        "_dag",
        "_error",
        "_key",
        "_request",
        "_result_key",
        "_run_id",
        "_size",
        "_stored",
        "_value",
    )

    # The result comes in one step or two: it is the answer to the call, or the call was answered and it is under a key.

    def __init__(self, key: str, connection: Optional[Connection] = None) -> None:
        """Return the future of the result that is, or will be, kept under a key."""
        check_key(key)
        self._connection = connection
        self._run_id = b""
        self._key: Optional[str] = key  # None = made of the run's id
        self._result_key = key  # where to ask for the result, when not ""
        self._stored = True  # whether the node keeps the result
        self._request: Optional[Request] = None  # whose answer brings the result nearer
        self._by_key = True  # whether that asks for the key
        self._value: Any = _UNSET
        self._error: Optional[BaseException] = None
        self._size = 0  # bytes of the value, as it came

    @classmethod
    def of_run(
        cls: Type[F],
        connection: Connection,
        run_id: bytes,
        request: Request,
        key: Optional[str] = None,
        stored: bool = True,
        result_key: str = "",
    ) -> F:
        """Return the future of a run that has been started.

        ``result_key`` is where the result will be when the call is not answered with it, as that of a continuation.
        """
        future = cls.__new__(cls)
        future._connection = connection
        future._run_id = run_id
        future._key = key
        future._result_key = result_key
        future._stored = stored
        future._request = request
        future._by_key = False
        future._value = _UNSET
        future._error = None
        return future

    @property
    def key(self) -> str:
        """The key under which the node keeps the result."""
        return self._key if self._key is not None else result_key(self._run_id)

    @property
    def run_id(self) -> Optional[str]:
        """The id of the run, 32 hexadecimal digits; None when nothing but the key of the result is known."""
        run_id = self._run_id or run_of_key(self.key)
        return run_id.hex() if run_id else None

    def cancel(self, reason: str = "", *, timeout: Optional[float] = None) -> bool:
        """Cancel the run and those below it, and report whether it is cancelled; False when it has ended already.

        What has not started never starts. In a function that runs :class:`cloudburst.Cancelled` is raised; its worker is
        replaced when the function goes on for longer than the node grants (``executor.cancel_grace``). :meth:`get` raises
        CancelledError then. ``reason`` is for people.
        """
        if self.done():
            return self.cancelled()
        run_id = self._run_id or run_of_key(self.key)
        if not run_id:
            raise InvalidArgumentError(
                f"cancel: the run whose result is under key {self.key!r:.100} is not known to this process"
            )
        try:
            cancel_run(self._owner, run_id, reason, timeout)
        except RunNotFoundError:
            return False
        try:
            self.exception(self._owner.timeout if timeout is None else timeout)
        except DeadlineExceededError:  # another run of the same id has begun
            return False
        return self.cancelled()

    def cancelled(self) -> bool:
        """Report whether the run has been cancelled, as far as is known here. Does not wait."""
        return self.done() and isinstance(self._error, CancelledError)

    def get(self, timeout: Optional[float] = None) -> T:
        """Return the result, or raise what the function raised, with the traceback there as its cause.

        ``timeout`` is in seconds; without one, the deadline of the run holds. Raises DeadlineExceededError (a TimeoutError)
        when the result is not there in time, after which it can be asked for again, and UnavailableError when the node is
        gone.
        """
        if self._value is _UNSET:
            if self._error is None:
                self._await(timeout)
            if self._error is not None:
                raise self._error.with_traceback(None)
        value: T = self._value
        return value

    def result(self, timeout: Optional[float] = None) -> T:
        """The same as :meth:`get`, by the name that it has in ``concurrent.futures``."""
        return self.get(timeout)

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """Return what the run failed with, or None; waits as :meth:`get` does."""
        if not self._settled:
            self._await(timeout)
        return self._error

    def done(self) -> bool:
        """Report whether the result, or the failure, is there. Does not wait for it."""
        while not self._settled:
            request = self._asked(0.0)
            if not self._owner.transport.done(request):
                return False
            self._take(request)
            if self._request is None and not self._settled and self._by_key:
                return False
        return True

    def logs(self, *, timeout: Optional[float] = None) -> List[LogLine]:
        """Return what the run and those below it have printed until now, the latest 10,000 lines; after :meth:`get`, all of it.

        ``timeout`` is how many seconds the answer may take. Raises InvalidArgumentError for a future of which only the key is
        known, and UnavailableError when the node is gone.
        """
        return list(lines(self._owner, run_id=self._known_run(), limit=LINES_MAX, timeout=timeout))

    def _known_run(self) -> bytes:
        run_id = self._run_id or run_of_key(self.key)
        if not run_id:
            raise InvalidArgumentError(f"a future of the key {self.key!r:.100} does not say which run it is")
        return run_id

    def __await__(self) -> Generator[Any, None, T]:
        deadline = None
        while not self._settled:
            request = self._asked(RUN_SECONDS)
            if deadline is None:
                deadline = request.deadline
            yield from self._owner.transport.wait_async(request, deadline)
            self._take(request)
            if not self._settled and time.monotonic() >= deadline - GRACE_SECONDS:
                raise self._late()
        return self.get()

    # A coroutine, to asyncio. Each task that drives it awaits it for itself.

    def send(self, value: Any) -> Any:
        """Go on awaiting, in the task that runs; for event loops."""
        return self._drive(lambda awaiting: awaiting.send(value))

    def throw(self, typ: Any, val: Any = None, tb: Any = None) -> Any:
        """Raise an exception where the task that runs awaits; for event loops."""
        if val is None and isinstance(typ, BaseException):
            return self._drive(lambda awaiting: awaiting.throw(typ))
        exception = val if isinstance(val, BaseException) else typ() if val is None else typ(val)
        return self._drive(lambda awaiting: awaiting.throw(exception.with_traceback(tb)))

    def close(self) -> None:
        """Stop awaiting, in the task that runs; for event loops. The run goes on."""
        awaiting = self._awaiting().pop(_task(), None)
        if awaiting is not None:
            awaiting.close()

    def _drive(self, step: Callable[[Generator[Any, Any, T]], Any]) -> Any:
        task, all_of_them = _task(), self._awaiting()
        awaiting = all_of_them.get(task)
        if awaiting is None:
            awaiting = all_of_them[task] = self.__await__()
        try:
            return step(awaiting)
        except BaseException:  # StopIteration too: this await has ended
            del all_of_them[task]
            raise

    def _awaiting(self) -> Dict[Any, Generator[Any, Any, T]]:
        try:
            return self._awaits
        except AttributeError:
            self._awaits: Dict[Any, Generator[Any, Any, T]] = {}
            return self._awaits

    # Callbacks.

    def add_done_callback(self, callback: Callable[[Future[T]], Any]) -> None:
        """Have ``callback(future)`` called once the result, or the failure, is there; at once if it is already.

        It is called by a thread that the program has for all callbacks of a connection while any are due, so it must not block.
        What it raises is logged. It is also called when the node is gone for good, after which ``exception()`` raises
        UnavailableError, and when the deadline of the run has passed without an answer.
        """
        from cloudburst.callbacks import when_done

        when_done(self, lambda future, failure: callback(future))

    def to_concurrent(self) -> concurrent.futures.Future[T]:
        """Return a future of ``concurrent.futures`` with the same result, for ``concurrent.futures.wait`` and other libraries.

        Each call returns another one. It counts as running, so that its ``cancel()`` returns False and leaves the run alone.
        """
        from cloudburst.callbacks import concurrent_future

        return concurrent_future(self)

    def __repr__(self) -> str:
        if self._error is not None:
            state = f"failed: {self._error!r:.100}"
        elif self._value is not _UNSET:
            state = f"done: {self._value!r:.100}"
        else:
            state = "result of another process" if self._request is None else self._request.what
        return f"<{type(self).__name__} {self.key} {state}>"

    def __reduce__(self) -> Any:
        return _unpickled, (type(self), self._pickled_key(), address_of(self._connection))

    def _pickled_key(self) -> str:
        if not self._stored:
            raise InvalidArgumentError("a future whose result is not stored cannot be pickled; call without store=False")
        return self.key

    @property
    def _settled(self) -> bool:
        return self._value is not _UNSET or self._error is not None

    @property
    def _owner(self) -> Connection:
        if self._connection is None:
            self._connection = current_connection()
        return self._connection

    def _asked(self, wait: float) -> Request:
        """Return the request whose answer brings the result nearer; for a new one, ``wait`` is for the key to appear."""
        request = self._request
        if request is None:
            request = self._owner.new_get((self._result_key or self.key,), wait, wait + GRACE_SECONDS)
            self._owner.transport.start(request)
            self._request = request
        return request

    def _runs(self) -> List[bytes]:
        """Return the runs of which the result is that of the last one, as far as they are known."""
        runs = [self._run_id, run_of_key(self._result_key)] if self._run_id else [run_of_key(self.key)]
        return [run for run in runs if run]

    def _await(self, timeout: Optional[float]) -> None:
        deadline = None if timeout is None else time.monotonic() + duration(timeout, "timeout")
        request = self._request
        if request is not None and not self._by_key and not self._result_key:
            # Nearly always, written out for its sake: the call is answered with the result.
            if request.state != ANSWERED:
                awaited = None if blocking.strategy() is None else _Wait(self, deadline)
                self._owner.transport.wait(request, request.deadline if deadline is None else deadline, awaited)
            if request.header is DONE and self._request is request:
                self._connection.arrived()  # type: ignore[union-attr]
                self._take_value(request)
                return
        while not self._settled:
            before = self._request
            request = self._asked(RUN_SECONDS if deadline is None else max(0.0, deadline - time.monotonic()))
            if request.state != ANSWERED:
                # A get of our own is answered at its deadline at the latest.
                own = deadline is None or before is None
                until = request.deadline if own else deadline
                self._owner.transport.wait(request, until, _Wait(self, deadline))  # type: ignore[arg-type]
            self._take(request)
            if not self._settled and self._request is None and before is None:
                raise self._late()

    def _take(self, request: Request) -> None:
        """Take the answer of a request."""
        if self._request is not request or self._settled:
            return  # another thread was faster
        self._owner.arrived()
        failure = request.failure()
        if isinstance(failure, DagNotFoundError) and request.frame is not None and self._called_again(request):
            return
        if isinstance(failure, ArgumentsGoneError) and self._stored:
            # The run goes on without this client, and leaves its result in the store.
            self._request, self._by_key = None, True
        elif failure is not None:
            if isinstance(failure, InvalidArgumentError):
                failure.message = compared(failure.message)
                failure.args = (failure.message,)
            self._error = failure
        elif self._by_key:
            self._take_cell(request)
        elif self._result_key:
            self._request, self._by_key = None, True
        elif len(request.values) != 1:
            self._error = FrameError(f"{request.what}: the answer has {len(request.values)} values instead of one")
        else:
            self._take_value(request)

    def of_dag(self: F, dag: bytes) -> F:
        """Note which pipeline without a name the run is of, for the node may have dropped it."""
        self._dag = dag
        return self

    def _called_again(self, request: Request) -> bool:
        """Register the pipeline without a name that the node has dropped, and call it again; once."""
        with _again.held:
            if self._request is not request:
                return True  # another thread was faster
            dag = getattr(self, "_dag", None)
            if dag is None:
                return False
            del self._dag
            try:
                self._request = self._owner.call_again(request, dag)
            except Exception as e:
                self._error = e
            return True

    def _take_value(self, request: Request) -> None:
        value = request.values[0]
        self._size = len(value)
        try:
            self._value = decode(value)
        except CodecError as e:
            self._error = CodecError(f"{request.what}: the result cannot be read: {e}")
            self._error.__cause__ = e
        except Exception as e:
            self._error = e

    def _take_cell(self, request: Request) -> None:
        try:
            ((cell, values),) = cells_of(request.answer(), request.values)
            if cell.type == store_pb2.LATTICE_TYPE_UNSPECIFIED:
                self._request = None  # not there yet
                return
            self._size = sum(map(len, values))
            self._value = value_of(cell, values)
        except Exception as e:
            self._error = e

    def _late(self) -> DeadlineExceededError:
        return DeadlineExceededError(f"no result under key {self._result_key or self.key!r} in time")

    def _encoded(self) -> Encoded:
        request = self._request
        if request is not None and request.state == ANSWERED:
            self._take(request)
        if not self._stored or (self._value is not _UNSET and self._size <= _EMBED_BYTES_MAX):
            return encode_parts(self.get())
        return encode_reference(self.key)


_again = ForkLock()  # held while a future's run is called again


class _Wait:
    """A thread's wait for a future, until a deadline if there is one."""

    __slots__ = ("_future", "patient")
    first = False

    def __init__(self, future: Future[Any], deadline: Optional[float]) -> None:
        self._future = future
        self.patient = deadline is None

    def runs(self) -> List[bytes]:
        return self._future._runs()

    def succeeded(self) -> bool:
        future = self._future
        return not future._by_key and not future._result_key and future._request is not None and _succeeded(future._request)


def _succeeded(request: Request) -> bool:
    header = request.header
    return header is DONE or (request.state == ANSWERED and header is not None and header.HasField("done"))


def _task() -> Any:
    """Return the task of asyncio that runs in this thread, or None."""
    import asyncio

    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs
        return None


def _unpickled(kind: Type[F], key: str, address: Optional[str] = None) -> F:
    future = kind(key)
    future._connection = connection_of(address)
    return future


def sent(future: Future[Any]) -> Any:
    """Reduce a future that is sent to a node: there it is one of that node."""
    return _unpickled, (type(future), future._pickled_key())


sent_as(Future, sent)
