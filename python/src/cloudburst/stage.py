"""What can be called on a node and composed: the common face of functions and pipelines, and its types.

The types tell a type checker what a call takes and returns: ``sq.remote("a")`` and ``name >> sq`` are errors when ``sq``
takes an integer and ``name`` returns a string. Positional arguments may be futures and references of the right type. An
overload whose ``self`` is a callable takes the types of the parameters from ``__call__``.
"""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    Callable,
    Coroutine,
    Dict,
    Generic,
    Iterable,
    Iterator,
    List,
    Optional,
    Tuple,
    TypeVar,
    Union,
    overload,
)

from cloudburst.connection import Connection, current_connection
from cloudburst.future import Future
from cloudburst.items import Items

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    from cloudburst.argument import Ref
    from cloudburst.pipeline import Pipeline

    P = ParamSpec("P")
    P2 = ParamSpec("P2")
    P3 = ParamSpec("P3")
else:
    P = TypeVar("P")

R = TypeVar("R")
S = TypeVar("S")
S2 = TypeVar("S2")
S3 = TypeVar("S3")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

__all__ = ["Stage"]

if TYPE_CHECKING:
    Arg = Union[A, Future[A], Ref[A]]


class Stage(Generic[P, R]):
    """What can be called on a node and composed with ``>>``: a function, or a pipeline of functions.

    ``a >> b`` calls b with the result of a, after the arguments that b has been bound; a tuple is spread over several
    parameters. ``(a, b) >> c`` calls c with the results of both, in this order, and ``a >> (b, c)`` calls both with that of a.
    """

    _connection: Optional[Connection]

    def _owner(self) -> Connection:
        if self._connection is None:
            self._connection = current_connection()
        return self._connection

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here, in this process, and return its result."""
        result: R = self._here(args, kwargs)
        return result

    # What a plain call returns of a coroutine function is a coroutine, and of a generator function an iterator.

    @overload
    def remote(self: Callable[P2, Coroutine[Any, Any, S]], /, *args: P2.args, **kwargs: P2.kwargs) -> Future[S]: ...  # type: ignore[misc]

    @overload
    def remote(  # type: ignore[misc]
        self: Callable[P2, Union[Iterator[S], AsyncIterator[S]]], /, *args: P2.args, **kwargs: P2.kwargs
    ) -> Future[List[S]]: ...

    @overload
    def remote(self, /, *args: P.args, **kwargs: P.kwargs) -> Future[R]: ...

    @overload
    def remote(self: Callable[[A], R], a: Arg[A], /) -> Future[R]: ...

    @overload
    def remote(self: Callable[[List[A]], R], a: List[Future[A]], /) -> Future[R]: ...  # type: ignore[misc]

    @overload
    def remote(self: Callable[[List[A]], R], a: List[Arg[A]], /) -> Future[R]: ...  # type: ignore[misc]

    @overload
    def remote(self: Callable[[A, B], R], a: Arg[A], b: Arg[B], /) -> Future[R]: ...

    @overload
    def remote(self: Callable[[List[A], B], R], a: List[Future[A]], b: Arg[B], /) -> Future[R]: ...  # type: ignore[misc]

    @overload
    def remote(self: Callable[[List[A], B], R], a: List[Arg[A]], b: Arg[B], /) -> Future[R]: ...  # type: ignore[misc]

    @overload
    def remote(self: Callable[[A, List[B]], R], a: Arg[A], b: List[Future[B]], /) -> Future[R]: ...  # type: ignore[misc]

    @overload
    def remote(self: Callable[[A, List[B]], R], a: Arg[A], b: List[Arg[B]], /) -> Future[R]: ...  # type: ignore[misc]

    @overload
    def remote(self: Callable[[A, B, C], R], a: Arg[A], b: Arg[B], c: Arg[C], /) -> Future[R]: ...

    @overload
    def remote(self: Callable[[A, B, C, D], R], a: Arg[A], b: Arg[B], c: Arg[C], d: Arg[D], /) -> Future[R]: ...

    def remote(self, /, *args: Any, **kwargs: Any) -> Future[R]:  # type: ignore[misc]
        """Run it on the node, and return at once the future of its result.

        An argument may be a Future or a Ref, also inside lists, tuples, dictionaries, sets and data classes: the function gets
        the value. What the function raises is raised by the future. Raises UnpicklableError, naming what in an argument cannot
        travel, TooLargeError for an argument of more than 64 MiB, UnavailableError when the node is gone, and NoResourcesError
        when too many requests of this client wait for their answers.
        """
        return self._there(args, kwargs)

    @overload
    def stream(  # type: ignore[misc]
        self: Callable[P2, Union[Iterator[S], AsyncIterator[S]]], /, *args: P2.args, **kwargs: P2.kwargs
    ) -> Items[S]: ...

    @overload
    def stream(self, /, *args: Any, **kwargs: Any) -> Items[Any]: ...

    def stream(self, /, *args: Any, **kwargs: Any) -> Items[Any]:
        """Run a generator function on the node, and return at once an iterator over what it yields, as it yields it.

        ``for item in f.stream(x)``, or in a coroutine ``async for item in f.stream(x)``. The function waits where it yields
        while 64 items, or 16 MiB of them, have not been taken. Closing the iterator ends the function there: see
        :class:`cloudburst.Items`. The result is not stored, and the function is not tried again once it has yielded. ``remote``
        gives the same items as one list. Of a pipeline, what its last function yields is streamed. Raises what ``remote``
        raises, and InvalidArgumentError when it is not a generator function.
        """
        return self._streamed(args, kwargs)

    def _streamed(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Items[Any]:
        raise NotImplementedError

    def _here(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Any:
        raise NotImplementedError

    def _there(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Future[R]:
        raise NotImplementedError

    @overload
    def map(self: Callable[[A], Coroutine[Any, Any, S]], a: Iterable[Arg[A]], /) -> List[Future[S]]: ...  # type: ignore[misc]

    @overload
    def map(self: Callable[[A, B], Coroutine[Any, Any, S]], a: Iterable[Arg[A]], b: Iterable[Arg[B]], /) -> List[Future[S]]: ...  # type: ignore[misc]

    @overload
    def map(self: Callable[[A], R], a: Iterable[Arg[A]], /) -> List[Future[R]]: ...

    @overload
    def map(self: Callable[[A, B], R], a: Iterable[Arg[A]], b: Iterable[Arg[B]], /) -> List[Future[R]]: ...

    @overload
    def map(
        self: Callable[[A, B, C], R], a: Iterable[Arg[A]], b: Iterable[Arg[B]], c: Iterable[Arg[C]], /
    ) -> List[Future[R]]: ...

    @overload
    def map(
        self, a: Iterable[Any], b: Iterable[Any], c: Iterable[Any], d: Iterable[Any], /, *more: Iterable[Any]
    ) -> List[Future[R]]: ...

    def map(self: Any, *iterables: Any) -> List[Future[R]]:  # type: ignore[misc]
        """Call once for each element, and return the futures in order.

        Of several iterables each call gets one element; the shortest of them ends it, as in the function ``map`` of Python.
        """
        return [self.remote(*arguments) for arguments in zip(*iterables)]

    @overload
    def __rshift__(self: Stage[P, Tuple[A, B]], after: Stage[[A, B], S]) -> Pipeline[P, S]: ...

    @overload
    def __rshift__(self: Stage[P, Tuple[A, B, C]], after: Stage[[A, B, C], S]) -> Pipeline[P, S]: ...

    @overload
    def __rshift__(self: Callable[P2, Coroutine[Any, Any, A]], after: Stage[[A], S]) -> Pipeline[P2, S]: ...  # type: ignore[misc]

    @overload
    def __rshift__(self: Callable[P, Union[Iterator[A], AsyncIterator[A]]], after: Stage[[List[A]], S]) -> Pipeline[P, S]: ...  # type: ignore[misc]

    @overload
    def __rshift__(self, after: Stage[[R], S]) -> Pipeline[P, S]: ...

    @overload
    def __rshift__(self, after: Tuple[Stage[[R], S], Stage[[R], S2]]) -> Pipeline[P, Tuple[S, S2]]: ...

    @overload
    def __rshift__(self, after: Tuple[Stage[[R], S], Stage[[R], S2], Stage[[R], S3]]) -> Pipeline[P, Tuple[S, S2, S3]]: ...

    @overload
    def __rshift__(
        self, after: Tuple[Stage[[R], Any], Stage[[R], Any], Stage[[R], Any], Stage[[R], Any]]
    ) -> Pipeline[P, Any]: ...

    def __rshift__(self, after: Any) -> Any:
        from cloudburst.pipeline import composed

        return composed(self, after)

    @overload
    def __rrshift__(self: Callable[[A, B], R], before: Tuple[Stage[P2, A], Stage[P3, B]]) -> Pipeline[P2, R]: ...

    @overload
    def __rrshift__(
        self: Callable[[A, B, C], R], before: Tuple[Stage[P2, A], Stage[P3, B], Stage[..., C]]
    ) -> Pipeline[P2, R]: ...

    @overload
    def __rrshift__(
        self, before: Tuple[Stage[P2, Any], Stage[P3, Any], Stage[..., Any], Stage[..., Any]]
    ) -> Pipeline[P2, R]: ...

    def __rrshift__(self: Any, before: Any) -> Any:
        from cloudburst.pipeline import composed

        return composed(before, self)
