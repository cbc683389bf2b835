"""What runs in a worker: each invocation is an object, and the code of a function finds the one that it belongs to.

It is held in a context variable, which is handed on to the threads that a function starts and to the tasks that it submits to a
``ThreadPoolExecutor``. So what a function prints, asks for and calls is its own, whatever else runs in the process.
"""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Tuple

from cloudburst.call import RUN_ID_BYTES
from cloudburst.v1 import frame_pb2

if TYPE_CHECKING:
    from cloudburst.worker.context import Context
    from cloudburst.worker.functions import Function

__all__ = ["Invocation", "begin", "beside", "current", "enter", "hand_on_to_threads", "locate", "seen", "stack"]

_TAIL_BYTES = 9  # of an Invoke: the deadline, a tag and six bytes; the attempt, a tag and one byte
_LEVEL_SHIFT = 48


class Invocation:
    """One invocation: the frame that has brought it, either as it is or parsed, and the function of it that runs."""

    __slots__ = ("_context", "_end", "_id", "_invoke", "_level", "_raw", "_run_at", "beside", "function", "interruptible")

    def __init__(self, id: bytes, raw: bytes, run_at: int, end: int, invoke: Optional[frame_pb2.Invoke], level: int) -> None:
        """In the frame ``raw`` the run id begins at ``run_at`` and the header ends at ``end``, unless there is ``invoke``.

        ``level`` is how many invocations of the worker wait below this one.
        """
        self._id = id  # as it stands in headers, with its tag
        self._raw = raw
        self._run_at = run_at
        self._end = end
        self._invoke = invoke
        self._level = level
        self.beside = False  # others run beside it, in the event loop
        self._context: Optional[Context] = None  # made when it is first asked for
        self.function: Optional[Function] = None
        self.interruptible = False  # whether Cancelled may be raised in it

    @property
    def id(self) -> bytes:
        """The id of its frame, as it stands in a header, with its tag."""
        return self._id

    @property
    def number(self) -> int:
        """The id of its frame."""
        number = 0
        for at, byte in enumerate(self._id[1:]):
            number |= (byte & 0x7F) << 7 * at
        return number

    @property
    def run_id(self) -> bytes:
        if self._invoke is not None:
            return self._invoke.run_id
        return self._raw[self._run_at : self._run_at + RUN_ID_BYTES]

    @property
    def function_name(self) -> str:
        return self.function.name if self.function is not None else ""

    @property
    def function_version(self) -> int:
        return self.function.version if self.function is not None else 0

    @property
    def attempt(self) -> int:
        return self._head().attempt

    @property
    def deadline(self) -> float:
        """When it is stopped at the latest: seconds since 1970."""
        return self._head().deadline_milliseconds / 1000

    def address(self, number: int) -> int:
        """Return the number by which messages reach it, given its worker's."""
        return number | self._level << _LEVEL_SHIFT

    def _head(self) -> frame_pb2.Invoke:
        """Return the Invoke, without the steps if that saves time."""
        if self._invoke is not None:
            return self._invoke
        return frame_pb2.Invoke.FromString(self._raw[self._end - _TAIL_BYTES : self._end])


stack: List[Invocation] = []
"""What runs in this process: each invocation but the last waits for the one after it. Changed by the main thread only."""

_current: ContextVar[Invocation] = ContextVar("cloudburst.invocation")
_latest: Optional[Invocation] = None  # that was begun
_seen = 0  # the highest id of those that have come here and were never put on the stack

enter = _current.set
"""Make an invocation the one that the code of this context belongs to."""


def begin(invocation: Invocation) -> None:
    """Put an invocation on the stack."""
    global _latest
    stack.append(invocation)
    _latest = invocation


def seen(number: int) -> None:
    """Note the id of an invocation that is never put on the stack: it runs beside others, or has been declined."""
    global _seen
    _seen = max(_seen, number)


def ended(number: int) -> bool:
    """Report whether the invocation whose frame had an id has come here, and is not on the stack. Ids rise."""
    come = number <= _seen or (_latest is not None and number <= _latest.number)
    return come and all(each.number != number for each in list(stack))


def current() -> Optional[Invocation]:
    """Return the invocation that the calling code belongs to.

    For code outside of any function's context, such as a thread that was started below Python, it is the one that runs, or
    the last one that ran; None in a process that has run none.
    """
    found = _current.get(None)
    if found is not None:
        return found
    return stack[-1] if stack else _latest


def beside() -> Optional[Invocation]:
    """Return the invocation that the calling code belongs to if others run beside it, or None."""
    found = _current.get(None)
    return found if found is not None and found.beside else None


def hand_on_to_threads() -> None:
    """Have threads, and what is submitted to a ``ThreadPoolExecutor``, belong to the invocation that starts or submits them.

    Python's own threads begin with an empty context before Python 3.14.
    """
    start: Callable[[threading.Thread], None] = threading.Thread.start
    submit: Any = ThreadPoolExecutor.submit

    @functools.wraps(start)
    def starting(self: threading.Thread) -> None:
        invocation = _current.get(None)
        if invocation is not None:
            self.run = functools.partial(_run_thread, self, invocation, self.run)  # type: ignore[method-assign]
        start(self)

    @functools.wraps(submit)
    def submitting(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        invocation = _current.get(None)
        if invocation is None:
            return submit(self, fn, *args, **kwargs)
        return submit(self, _run_task, invocation, fn, *args, **kwargs)

    threading.Thread.start = starting  # type: ignore[method-assign]
    ThreadPoolExecutor.submit = submitting  # type: ignore[method-assign,assignment]


def _run_thread(thread: threading.Thread, invocation: Invocation, run: Callable[[], None]) -> None:
    thread.__dict__.pop("run", None)  # which refers to the thread itself
    _current.set(invocation)
    run()


def _run_task(invocation: Invocation, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    token = _current.set(invocation)
    try:
        return fn(*args, **kwargs)
    finally:
        _current.reset(token)


Located = Tuple[bytes, int, int, int]


def locate(whole: bytes) -> Optional[Located]:
    """Return what identifies an invocation's like, the end of its id, the start of its run id, and the end of its header;
    None for frames of another shape.

    The shape is what the executor sends: id, sizes and Invoke in this order, and in that run id, steps, level, deadline and
    attempt. All of the header but id, run id, deadline and attempt is what identifies its like.
    """
    end = 8 + int.from_bytes(whole[:4], "little")
    if end < 40 or whole[8] != 0x08:
        return None
    at = 9
    while whole[at] > 0x7F:
        at += 1
    id_end = at = at + 1
    if whole[at] == 0x12:
        if whole[at + 1] > 0x7F:
            return None
        at += 2 + whole[at + 1]
    if at + 30 > end or whole[at] != 0xCA or whole[at + 1] != 0x02:
        return None
    run = at + (5 if whole[at + 2] < 0x80 else 6)
    tail = end - _TAIL_BYTES
    if whole[run - 2] != 0x0A or whole[run - 1] != 16 or whole[tail] != 0x20 or whole[end - 2] != 0x28 or tail < run + 16:
        return None
    return whole[id_end:run] + whole[run + 16 : tail], id_end, run, end
