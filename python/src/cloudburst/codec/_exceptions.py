"""Exceptions: rebuilt as they were, without calling the constructor that their class has in Python.

Python pickles an exception as its class and ``args``, and calls the class with these where it arrives. That fails when the
constructor takes other arguments than it hands to its base, and is wrong without a word when it changes them. Here the object
is made as ``BaseException`` makes it, and gets its attributes. What an exception was raised from or while handling, which
Python leaves out, travels too.
"""

from __future__ import annotations

import contextlib
import copyreg
import types
from typing import Any, Dict, Optional, Tuple

from cloudburst.errors import RemoteTraceback

__all__ = ["reduce_exception"]

State = Tuple[Dict[str, Any], Dict[str, Any], Optional[Tuple[Any, Any, bool]]]


def reduce_exception(exception: BaseException, protocol: int, chained: bool) -> Any:
    """Take an exception apart. ``chained`` says whether its cause and context go along."""
    kind = type(exception)
    reduced = exception.__reduce_ex__(protocol)
    if not isinstance(reduced, tuple) or len(reduced) > 3:
        return reduced
    chain = _chain(exception, chained)
    if reduced[0] is not kind or _in_python(kind, "__reduce__") or _in_python(kind, "__reduce_ex__"):
        if len(reduced) == 3 or chain is None:
            return reduced  # its class says itself how it is pickled
        return (*reduced, ({}, {}, chain), None, None, set_exception)
    attributes = dict(reduced[2]) if len(reduced) == 3 and reduced[2] else {}
    slots = {}
    for name in copyreg._slotnames(kind):  # type: ignore[attr-defined]
        with contextlib.suppress(AttributeError):
            slots[name] = getattr(exception, name)
    return make_exception, (kind, reduced[1]), (attributes, slots, chain), None, None, set_exception


def _chain(exception: BaseException, chained: bool) -> Optional[Tuple[Any, Any, bool]]:
    cause, context = exception.__cause__, exception.__context__
    if not chained or isinstance(cause, RemoteTraceback):
        cause = None
    if not chained:
        context = None
    if cause is None and context is None and not exception.__suppress_context__:
        return None
    return cause, context, exception.__suppress_context__


def make_exception(cls: type, args: Tuple[Any, ...]) -> BaseException:
    """Return an exception of a class with its ``args``. No constructor that is written in Python is called."""
    if not _in_python(cls, "__init__") and not _in_python(cls, "__new__"):
        made: BaseException = cls(*args)
        return made
    exception: BaseException = _built_in(cls, "__new__")(cls, *args)
    with contextlib.suppress(Exception):  # arguments that it has never seen: it has set nothing of them then
        _built_in(cls, "__init__")(exception, *args)
    if not isinstance(exception, OSError):  # which takes some of its arguments out of them
        exception.args = args
    return exception


def _in_python(cls: type, name: str) -> bool:
    """Report whether a class has a method that is written in Python."""
    return isinstance(getattr(cls, name), types.FunctionType)


def _built_in(cls: type, name: str) -> Any:
    """Return the method of the nearest base that is not written in Python."""
    for kind in cls.__mro__:
        method = vars(kind).get(name)
        if method is not None and not isinstance(getattr(method, "__func__", method), types.FunctionType):
            return getattr(kind, name)
    raise TypeError(f"{cls.__qualname__} has no {name}")


def set_exception(exception: BaseException, state: State) -> None:
    """Give an exception its attributes, and what it came from."""
    attributes, slots, chain = state
    if attributes:
        exception.__setstate__(attributes)
    for name, value in slots.items():
        with contextlib.suppress(AttributeError):
            object.__setattr__(exception, name, value)
    if chain is not None:
        exception.__cause__, exception.__context__, exception.__suppress_context__ = chain
