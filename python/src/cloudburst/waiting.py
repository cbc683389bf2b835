"""Waiting for several futures at once, in the thread that waits or in an event loop."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, AsyncIterator, Deque, Dict, Generic, Iterable, Iterator, List, NamedTuple, Optional, Set, TypeVar

from cloudburst import blocking
from cloudburst.cells import duration
from cloudburst.channel import Channel
from cloudburst.connection import RUN_SECONDS
from cloudburst.errors import DeadlineExceededError, InvalidArgumentError
from cloudburst.future import Future, _succeeded
from cloudburst.request import ANSWERED, LOST, WAITING, Request, Waiter

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "Arrivals",
    "Completed",
    "Waited",
    "as_completed",
    "wait",
    "wait_async",
]

T = TypeVar("T")

ALL_COMPLETED = "ALL_COMPLETED"
FIRST_COMPLETED = "FIRST_COMPLETED"
FIRST_EXCEPTION = "FIRST_EXCEPTION"

_SLICE_SECONDS = 0.02  # for one channel, when futures of several are waited for


class Waited(NamedTuple):
    """What :func:`wait` returns."""

    done: Set[Future[Any]]
    not_done: Set[Future[Any]]


def wait(futures: Iterable[Future[Any]], timeout: Optional[float] = None, return_when: str = ALL_COMPLETED) -> Waited:
    """Wait until all futures are done, or the first one is, or the first one that failed; as ``concurrent.futures.wait`` does.

    Returns two sets, ``done`` and ``not_done``. ``timeout`` is in seconds; when it has passed, what is done so far is
    returned. Without one the deadlines of the runs hold. Raises InvalidArgumentError for another ``return_when``, and
    UnavailableError when a node is gone.
    """
    _check_return_when(return_when)
    arrivals = Arrivals(futures)
    arrivals.first = return_when != ALL_COMPLETED
    arrivals.patient = timeout is None and not arrivals.first
    left = set(arrivals.futures)
    done: Set[Future[Any]] = set()
    deadline = arrivals.deadline(timeout)
    while left:
        future = arrivals.next(deadline)
        if future is None:
            break
        done.add(future)
        left.discard(future)
        if return_when == FIRST_COMPLETED or (return_when == FIRST_EXCEPTION and future.exception() is not None):
            # What else has arrived by now counts as well.
            deadline = 0.0
    return Waited(done, left)


async def wait_async(
    futures: Iterable[Future[Any]], timeout: Optional[float] = None, return_when: str = ALL_COMPLETED
) -> Waited:
    """Wait as :func:`wait` does, in the running event loop, which goes on meanwhile."""
    _check_return_when(return_when)
    from cloudburst.awaiting import AsyncArrivals

    arrivals = AsyncArrivals(checked(futures), None if timeout is None else time.monotonic() + duration(timeout, "timeout"))
    left = set(arrivals.futures)
    done: Set[Future[Any]] = set()
    try:
        while left:
            future = await arrivals.next()
            if future is None:
                break
            done.add(future)
            left.discard(future)
            if return_when == FIRST_COMPLETED or (return_when == FIRST_EXCEPTION and future.exception() is not None):
                arrivals.deadline = 0.0  # what else has arrived by now counts as well
    finally:
        arrivals.end()
    return Waited(done, left)


def as_completed(futures: Iterable[Future[T]], timeout: Optional[float] = None) -> Completed[T]:
    """Return an iterator over the futures as they are done: ``for future in …``, or in a coroutine ``async for future in …``.

    ``timeout`` is in seconds, from now; without one the deadlines of the runs hold. The loop raises DeadlineExceededError when
    it has passed and some are not done.
    """
    return Completed(futures, timeout)


class Completed(Iterator[Future[T]], Generic[T]):
    """The futures of :func:`as_completed`. It is used up by one loop."""

    def __init__(self, futures: Iterable[Future[T]], timeout: Optional[float]) -> None:
        self._arrivals = Arrivals(futures)
        self._left = len(self._arrivals.futures)
        self._timed = timeout is not None
        self._deadline = self._arrivals.deadline(timeout)

    def __next__(self) -> Future[T]:
        if not self._left:
            raise StopIteration
        future = self._arrivals.next(self._deadline)
        if future is None:
            raise self._late()
        self._left -= 1
        return future

    async def __aiter__(self) -> AsyncIterator[Future[T]]:
        from cloudburst.awaiting import AsyncArrivals

        arrivals = AsyncArrivals(self._arrivals.futures, self._deadline if self._timed else None)
        try:
            while self._left:
                future = await arrivals.next()
                if future is None:
                    raise self._late()
                self._left -= 1
                yield future
        finally:
            arrivals.end()

    def _late(self) -> DeadlineExceededError:
        return DeadlineExceededError(f"{self._left} of {len(self._arrivals.futures)} futures are not done in time")


def checked(futures: Iterable[Future[Any]]) -> List[Future[Any]]:
    """Return futures without repetition. Raises InvalidArgumentError for anything else among them."""
    once = list(dict.fromkeys(futures))
    for future in once:
        if not isinstance(future, Future):
            raise InvalidArgumentError(f"only futures are waited for, got {future!r:.100}")
    return once


def _check_return_when(return_when: str) -> None:
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise InvalidArgumentError(f"return_when={return_when!r:.100}: it is ALL_COMPLETED, FIRST_COMPLETED or FIRST_EXCEPTION")


class Arrivals(Waiter):
    """Futures, in the order in which they are done. Used by one thread, which the thread that reads their answers tells."""

    __slots__ = ("_channel", "_events", "_several", "_waiting", "first", "futures", "patient")

    def __init__(self, futures: Iterable[Future[Any]]) -> None:
        super().__init__()
        self.patient = False  # whether all of them are waited for, so that a wait is not over before
        self.first = True  # whether one of them ends it
        self.futures = checked(futures)
        self._channel: Optional[Channel] = None  # at which this thread waits
        self._events: Deque[Any] = deque()  # futures that are done, requests that are answered or lost; None ends a wait
        self._waiting: Dict[Request, List[Future[Any]]] = {}
        self._several = len({id(future._owner) for future in self.futures}) > 1
        for future in self.futures:
            self._expect(future)

    def deadline(self, timeout: Optional[float]) -> float:
        """Return when to give up: that of the last run, without a timeout."""
        if timeout is not None:
            return time.monotonic() + duration(timeout, "timeout")
        return max((request.deadline for request in self._waiting), default=time.monotonic() + RUN_SECONDS)

    def next(self, deadline: float) -> Optional[Future[Any]]:
        """Return a future that is done and has not been returned yet; None when there is none before the deadline."""
        while True:
            if self._events:
                event = self._events.popleft()
                if event is None or isinstance(event, Future):
                    return event
                self._arrived(event, deadline)
                continue
            if not self._waiting:
                return None
            self.state = WAITING
            if self._events:  # came before the state was set
                continue
            now = time.monotonic()
            self._drive(deadline)
            if now >= deadline and not self._events:
                return None

    def _expect(self, future: Future[Any]) -> None:
        """Have the future's next answer reported."""
        if future._settled:
            self._events.append(future)
            return
        request = future._asked(RUN_SECONDS)
        futures = self._waiting.get(request)
        if futures is not None:  # two futures never share a request, but one that was unpickled twice may ask alike
            futures.append(future)
            return
        self._waiting[request] = [future]
        channel = request.channel
        if channel is None or not channel.call_back(request, self._report):
            self._events.append(request)

    def _report(self, request: Request) -> None:
        # Called by the thread that has read the answer.
        self._events.append(request)
        if self.patient and not self._several and len(self._events) < len(self._waiting):
            return
        self.state = ANSWERED
        channel = self._channel
        if channel is not None:
            channel.wake(self)

    def _arrived(self, request: Request, deadline: float) -> None:
        if request.state == LOST:
            if time.monotonic() >= deadline:
                return  # it stays among those that wait
            self._waiting[request][0]._owner.transport.recover(request, deadline)
        futures = self._waiting.pop(request)
        for future in futures:
            if request.state == ANSWERED:
                future._take(request)
            self._expect(future)

    def _drive(self, deadline: float) -> None:
        """Read answers until one of ours is there, or the deadline."""
        channel = next(iter(self._waiting)).channel
        if self._several:
            for other in {request.channel for request in self._waiting}:
                if other is not None and other is not channel:
                    other.poll()
                    deadline = min(deadline, time.monotonic() + _SLICE_SECONDS)
        if channel is None or self.state != WAITING:
            return
        self._channel = channel
        strategy = blocking.strategy()
        try:
            if strategy is None or self._several:
                channel.wait(self, deadline)
            else:
                strategy.wait(channel, self, deadline, self)
        finally:
            self._channel = None

    def runs(self) -> List[bytes]:
        return list(dict.fromkeys(run for futures in self._waiting.values() for run in futures[0]._runs()))

    def succeeded(self) -> bool:
        answered = [event for event in self._events if isinstance(event, Request)]
        known = all(not future._by_key and not future._result_key for futures in self._waiting.values() for future in futures)
        return known and len(answered) == len(self._waiting) and all(map(_succeeded, answered))
