"""The event loop of a worker: many invocations of a coroutine function at once, and one by one what else needs a loop."""

from __future__ import annotations

import functools
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

from cloudburst.worker.channel import Channel, Frame
from cloudburst.worker.invocation import Invocation, enter

if TYPE_CHECKING:
    import asyncio

__all__ = ["Loop"]

Order = Callable[[Frame], None]


class Begun:
    """An invocation whose coroutine has yet to run, and what answers it: with its result, or with what it raised."""

    __slots__ = ("answer", "call", "cancelled", "fail", "invocation")

    def __init__(
        self,
        invocation: Invocation,
        call: Callable[[], Any],
        answer: Callable[[Invocation, Any], None],
        fail: Callable[[Invocation, BaseException], None],
        cancelled: bool,
    ) -> None:
        """``cancelled``: it has been cancelled already."""
        self.invocation = invocation
        self.call = call
        self.answer = answer
        self.fail = fail
        self.cancelled = cancelled


class Loop:
    """The event loop, made when it is first needed. The main thread owns it, and leaves it whenever nothing runs in it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._tasks: Dict[int, asyncio.Task[None]] = {}  # of the invocations that run, by their numbers
        self._ended: Optional[BaseException] = None  # why nothing more can be read
        self._order: Optional[Order] = None
        self._wake: Any = None

    # One at a time.

    def ending(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return what calls a coroutine or generator function and runs what it returns to its end."""

        @functools.wraps(call)
        def call_to_end(*args: Any, **kwargs: Any) -> Any:
            return self.to_end(call(*args, **kwargs))

        return call_to_end

    def to_end(self, started: Any) -> Any:
        """Return the result of a coroutine, or the list of what a generator yields. Any other value stays as it is."""
        if hasattr(started, "__anext__"):
            return self._run(_collected(started))
        if hasattr(started, "__await__"):
            return self._run(_awaited(started))
        return list(started) if hasattr(started, "__next__") else started

    def _run(self, coroutine: Any) -> Any:
        loop = self._started()
        try:
            return loop.run_until_complete(coroutine)
        finally:
            self._end_tasks()

    # Many at a time.

    def serve(self, first: Begun, order: Order) -> None:
        """Run an invocation, and those that come meanwhile, until none runs. ``order`` takes what else comes, in the loop.

        Raises EOFError or FrameError when nothing more can be read.
        """
        loop = self._started()
        self._order = order
        self._wake = lambda: loop.call_soon_threadsafe(self._take_orders)
        descriptor = self._channel.fileno()
        loop.add_reader(descriptor, self._readable)
        self._channel.on_order = self._wake
        try:
            self.begin(first)
            loop.call_soon(self._readable)  # what has been received already is announced by no event
            while self._tasks and self._ended is None:  # others may have begun when it was stopped
                loop.run_forever()
        finally:
            self._channel.on_order = None
            loop.remove_reader(descriptor)
            self._end_tasks()
        if self._ended is not None:
            raise self._ended

    def begin(self, begun: Begun) -> None:
        """Begin an invocation as a task of its own, in the context of the invocation."""
        loop = self._started()
        number = begun.invocation.number
        # The task takes a copy of the context in which it is made.
        task: asyncio.Task[None] = copy_context().run(_made, loop, begun)
        self._tasks[number] = task
        task.add_done_callback(functools.partial(self._done, begun))
        if begun.cancelled:
            task.cancel()

    def cancel(self, number: int) -> None:
        """Cancel the task of an invocation, if it has not ended."""
        task = self._tasks.get(number)
        if task is not None:
            task.cancel()

    def _done(self, begun: Begun, task: asyncio.Task[None]) -> None:
        self._tasks.pop(begun.invocation.number, None)
        if task.cancelled():  # before its first step, so that it has not been answered
            from asyncio import CancelledError

            try:
                begun.fail(begun.invocation, CancelledError())
            except BaseException as e:
                self._ended = e
        elif task.exception() is not None:
            self._ended = task.exception()  # the answer could not be sent
        if not self._tasks or self._ended is not None:
            self._started().stop()

    def _readable(self) -> None:
        self._channel.on_order = None  # what is read here is taken below
        try:
            self._channel.poll()
        except (EOFError, OSError) as e:
            self._ended = e
            self._started().stop()
        finally:
            self._channel.on_order = self._wake
        self._take_orders()

    def _take_orders(self) -> None:
        while self._channel.orders and self._ended is None and self._order is not None:
            try:
                self._order(self._channel.orders.popleft())
            except BaseException as e:
                self._ended = e
                self._started().stop()

    def _started(self) -> asyncio.AbstractEventLoop:
        import asyncio

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop

    def _end_tasks(self) -> None:
        """As asyncio.run does, so that nothing of one run goes on in the next one."""
        import asyncio

        loop = self._started()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())


def _made(loop: asyncio.AbstractEventLoop, begun: Begun) -> asyncio.Task[None]:
    enter(begun.invocation)
    return loop.create_task(_answered(begun))


async def _answered(begun: Begun) -> None:
    try:
        result = await begun.call()
    except BaseException as e:
        begun.fail(begun.invocation, e)
    else:
        begun.answer(begun.invocation, result)


async def _collected(items: Any) -> Any:
    return [item async for item in items]


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
