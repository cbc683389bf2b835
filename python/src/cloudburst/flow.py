"""How often a function may run, and when it may start: what a decorator says of it, checked."""

from __future__ import annotations

import builtins
import inspect
import re
from typing import Any, Callable, Iterable, List, NamedTuple, Optional, Type, Union

from cloudburst.cells import milliseconds
from cloudburst.errors import InvalidArgumentError, qualified_name
from cloudburst.v1 import function_pb2

__all__ = ["Exceptions", "Flow", "RateLimit", "checked_priority", "checked_retries", "checked_wait", "patience_of"]

Exceptions = Union[Type[BaseException], str, Iterable[Union[Type[BaseException], str]]]
"""Classes of exceptions, or their names with their modules; one or several."""

_UNITS = {
    **dict.fromkeys(("s", "sec", "second"), 1),
    **dict.fromkeys(("m", "min", "minute"), 60),
    **dict.fromkeys(("h", "hour"), 3600),
    **dict.fromkeys(("d", "day"), 86400),
}
_RATE = re.compile(r"\s*(\d+)\s*/\s*([a-z]+)\s*", re.ASCII)
_PERIOD_SECONDS_MAX = 86400.0
_RETRY_ON_MAX = 64
_BACKOFF_SECONDS_MAX = 86400.0
_BACKOFF_LONGEST = 60.0  # to which it doubles, as on the node


class RateLimit(NamedTuple):
    """How often a function may start: ``RateLimit(10, per=1.0, key="user")``.

    ``starts`` is how many starts there may be within any ``per`` seconds, at most a day. With ``key``, the name of a parameter,
    the limit holds for each value of that argument by itself. It holds at one node; retries count as starts.
    """

    starts: int
    per: float = 1.0
    key: Optional[str] = None


class Flow(NamedTuple):
    """What a decorator says of how often a function may run, and when it may start; see :meth:`cloudburst.App.function`."""

    retries: Optional[int] = None
    retry_on: Exceptions = ()
    backoff: Optional[float] = None
    concurrency: Optional[int] = None
    rate_limit: Union[str, RateLimit, None] = None
    priority: int = 0
    queue_timeout: Optional[float] = None
    inline: bool = True

    def describe(self, to: function_pb2.Function, target: Callable[..., Any], first: int = 0) -> None:
        """Set the fields of a description. ``first`` is how many parameters are not given by the caller.

        Raises InvalidArgumentError, naming the argument at fault, for what makes no sense.
        """
        if self.retries is not None:
            to.retries = checked_retries(self.retries)
        to.retry_on.extend(_retry_on(self.retry_on))
        if to.retry_on and not self.retries:
            raise InvalidArgumentError(
                "retry_on says after which exceptions a function is tried again; say how often, with retries="
            )
        if self.backoff is not None:
            to.backoff_milliseconds = _backoff(self.backoff)
            if self.retries == 0:
                raise InvalidArgumentError("backoff is the pause before a retry, and retries=0 allows none")
        if self.concurrency is not None:
            to.concurrency = _count(self.concurrency, "concurrency", "invocations that run at once")
        if self.rate_limit is not None:
            to.rate_limit.CopyFrom(_rate_limit(self.rate_limit, target, first))
        to.priority = checked_priority(self.priority)
        if self.queue_timeout is not None:
            to.queue_timeout_milliseconds = checked_wait(self.queue_timeout)
        if not isinstance(self.inline, bool):
            raise InvalidArgumentError(f"inline={self.inline!r:.100}: it is True or False")
        to.alone = not self.inline


def checked_retries(retries: Any) -> int:
    if not _is_integer(retries) or not 0 <= retries < 1 << 31:
        raise InvalidArgumentError(f"retries={retries!r:.100}: it is an integer from 0 on, and 0 means at most once")
    number: int = retries
    return number


def checked_priority(priority: Any) -> int:
    if not _is_integer(priority) or not -(1 << 31) <= priority < 1 << 31:
        raise InvalidArgumentError(
            f"priority={priority!r:.100}: it is an integer; a higher one goes first, and 0 is the usual one"
        )
    number: int = priority
    return number


def checked_wait(queue_timeout: float) -> int:
    """Return a time limit for waiting in milliseconds."""
    wait = milliseconds(queue_timeout, "queue_timeout")
    if wait < 1:
        raise InvalidArgumentError(f"queue_timeout={queue_timeout!r} s: must be at least a millisecond")
    return wait


def patience_of(descriptions: Iterable[function_pb2.Function], retries: Optional[int], usual: float) -> float:
    """Return how many seconds a run of functions may take with all their retries, as on the node.

    ``retries`` is what the call says, and ``usual`` how long a run may take of functions that do not say how long.
    """
    running = pauses = 0.0
    for description in descriptions:
        times = description.retries if retries is None else retries
        running += description.timeout_milliseconds / 1000 * (1 + times)
        pauses += _pauses(description, times)
    return max(usual, running) + pauses


def _pauses(description: function_pb2.Function, retries: int) -> float:
    """Return how many seconds the pauses between so many retries are together at most."""
    pause = description.backoff_milliseconds / 1000
    longest = max(pause, _BACKOFF_LONGEST)
    total = 0.0
    while pause and retries > 0:
        if pause >= longest:
            return total + 1.25 * longest * retries
        total += 1.25 * pause
        pause *= 2
        retries -= 1
    return total


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(value: Any, name: str, of: str) -> int:
    if not _is_integer(value) or not 1 <= value < 1 << 31:
        raise InvalidArgumentError(f"{name}={value!r:.100}: it is a number of {of}, an integer from 1 on")
    number: int = value
    return number


def _backoff(seconds: float) -> int:
    backoff = milliseconds(seconds, "backoff")
    if not 1 <= backoff <= _BACKOFF_SECONDS_MAX * 1000:
        raise InvalidArgumentError(f"backoff={seconds!r} s: it is between a millisecond and a day")
    return backoff


def _retry_on(exceptions: Exceptions) -> List[str]:
    if isinstance(exceptions, (type, str)):
        exceptions = (exceptions,)
    try:
        listed = list(exceptions)
    except TypeError:
        raise InvalidArgumentError(f"retry_on={exceptions!r:.100}: it is a class of exceptions, or several")
    if len(listed) > _RETRY_ON_MAX:
        raise InvalidArgumentError(
            f"retry_on names {len(listed)} exceptions; the limit is {_RETRY_ON_MAX}: name one that they derive from"
        )
    return [_exception_name(exception) for exception in listed]


def _exception_name(exception: Any) -> str:
    if isinstance(exception, str):
        if "." in exception and all(part.isidentifier() or part == "<locals>" for part in exception.split(".")):
            return exception
        exception_class = getattr(builtins, exception, None)
        if not _is_exception(exception_class):
            raise InvalidArgumentError(
                f"retry_on has {exception!r:.100}: the name of a class that is not built in has its module before it, as in "
                "'package.module.Error'"
            )
        exception = exception_class
    if not _is_exception(exception):
        raise InvalidArgumentError(
            f"retry_on has {exception!r:.100}: it is a class of exceptions, the name of one, or several of these"
        )
    return qualified_name(exception)


def _is_exception(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _rate_limit(limit: Union[str, RateLimit], target: Callable[..., Any], first: int) -> function_pb2.RateLimit:
    if isinstance(limit, str):
        match = _RATE.fullmatch(limit.lower())
        if match is None or match[2] not in _UNITS:
            raise InvalidArgumentError(
                f"rate_limit={limit!r:.100}: it is a number of starts, a slash and a unit of time, as in '10/s', '100/min', "
                "'5/h' or '1000/day'; for another period, or a limit for each value of an argument, give "
                "cloudburst.RateLimit(10, per=0.5, key='user')"
            )
        limit = RateLimit(int(match[1]), _UNITS[match[2]])
    if not isinstance(limit, RateLimit):
        raise InvalidArgumentError(f"rate_limit={limit!r:.100}: it is a string such as '10/s', or a cloudburst.RateLimit")
    starts = _count(limit.starts, "rate_limit: starts", "starts")
    period = milliseconds(limit.per, "rate_limit: per")
    if not 1 <= period <= _PERIOD_SECONDS_MAX * 1000:
        raise InvalidArgumentError(f"rate_limit: per={limit.per!r} s: it is between a millisecond and a day")
    described = function_pb2.RateLimit(starts=starts, period_milliseconds=period)
    if limit.key is not None:
        described.position = _position(limit.key, target, first)
        described.key = limit.key
    return described


def _position(key: Any, target: Callable[..., Any], first: int) -> int:
    """Return where a parameter stands among those that are given by position, from 1; 0 when it is given by name only."""
    try:
        parameters = list(inspect.signature(target).parameters.values())[first:]
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"rate_limit: key={key!r:.100}: the function does not say what parameters it has")
    for position, parameter in enumerate(parameters, 1):
        if parameter.name == key and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return 0 if parameter.kind is parameter.KEYWORD_ONLY else position
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters) and isinstance(key, str) and key.isidentifier():
        return 0
    names = ", ".join(parameter.name for parameter in parameters) or "none"
    raise InvalidArgumentError(f"rate_limit: key={key!r:.100}: it names a parameter of the function, and those are: {names}")
