"""Calling back when futures are done, for callers that do not wait themselves.

A connection has no thread of its own, so while callbacks are due one thread waits for their futures. It ends with the last.
"""

from __future__ import annotations

import concurrent.futures
import logging
import os
import threading
import time
import weakref
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple, TypeVar

from cloudburst.connection import Connection
from cloudburst.errors import DeadlineExceededError, Error
from cloudburst.future import Future
from cloudburst.request import ANSWERED, LOST, Request
from cloudburst.waiting import Arrivals

__all__ = ["concurrent_future", "when_done"]

T = TypeVar("T")

Callback = Callable[[Future[Any], Optional[BaseException]], Any]
"""Takes a future and, where it is not done after all, the reason."""

_LOOK_SECONDS = 1.0  # how often deadlines are looked at

_log = logging.getLogger("cloudburst")


def when_done(future: Future[Any], callback: Callback) -> None:
    """Call back once a future is done, or cannot be any more: in this thread if that is so already, else in another."""
    if future._settled:
        _call(callback, future, None)
        return
    connection = future._owner
    with _lock.held:
        caller = _callers.get(connection)
        if caller is None:
            caller = _callers[connection] = _Caller()
    caller.add(future, callback)


def concurrent_future(future: Future[T]) -> concurrent.futures.Future[T]:
    """Return a future of ``concurrent.futures`` that gets the result of a future."""
    copy: concurrent.futures.Future[T] = concurrent.futures.Future()
    copy.set_running_or_notify_cancel()

    def settle(done: Future[T], failure: Optional[BaseException]) -> None:
        error = failure if failure is not None else done.exception(0)
        if error is not None:
            copy.set_exception(error)
        else:
            copy.set_result(done.get())

    when_done(future, settle)
    return copy


def _call(callback: Callback, future: Future[Any], failure: Optional[BaseException]) -> None:
    try:
        callback(future, failure)
    except Exception:
        _log.exception("the callback of %r raised", future)


class _Caller(Arrivals):
    """The futures of one connection that have callbacks. ``add`` may be called by any thread, the rest is its own thread's."""

    __slots__ = ("__weakref__", "_added", "_callbacks", "_mu", "_running")

    def __init__(self) -> None:
        super().__init__(())
        self._mu = threading.Lock()
        self._added: Deque[Tuple[Future[Any], Callback]] = deque()
        self._running = False  # guarded by _mu
        self._callbacks: Dict[Future[Any], List[Callback]] = {}

    def add(self, future: Future[Any], callback: Callback) -> None:
        with self._mu:
            self._added.append((future, callback))
            start, self._running = not self._running, True
        if start:
            threading.Thread(target=self._run, name="cloudburst callbacks", daemon=True).start()
            return
        self._events.append(None)  # ends the wait in next
        self.state = ANSWERED
        channel = self._channel
        if channel is not None:
            channel.wake(self)

    def _run(self) -> None:
        look = time.monotonic() + _LOOK_SECONDS
        while self._take_added():
            try:
                done = self.next(look)
            except Error as e:
                self._give_up(lambda request: request.state == LOST, e)
                continue
            if done is not None:
                self._done(done, None)
            now = time.monotonic()
            if now >= look:
                self._give_up(lambda request: request.deadline < time.monotonic(), None)
                look = now + _LOOK_SECONDS

    def _take_added(self) -> bool:
        """Begin to wait for what has been added; False when there is nothing to wait for, and the thread ends."""
        while True:
            with self._mu:
                added = list(self._added)
                self._added.clear()
                if not added:
                    self._running = bool(self._callbacks)
                    return self._running
            for future, callback in added:
                waiting = self._callbacks.setdefault(future, [])
                waiting.append(callback)
                if len(waiting) == 1:
                    self._expect(future)

    def _expect(self, future: Future[Any]) -> None:
        try:
            super()._expect(future)
        except Error as e:
            self._done(future, e)

    def _arrived(self, request: Request, deadline: float) -> None:
        # The deadline is that of the next look, which is too near for a node that starts again.
        if request.state == LOST and time.monotonic() >= request.deadline:
            self._give_up(lambda other: other is request, None)
        else:
            super()._arrived(request, request.deadline)

    def _give_up(self, which: Callable[[Request], bool], reason: Optional[BaseException]) -> None:
        for request in [request for request in self._waiting if which(request)]:
            for future in self._waiting.pop(request):
                self._done(future, reason or DeadlineExceededError(f"{request.what}: no answer in time"))

    def _done(self, future: Future[Any], failure: Optional[BaseException]) -> None:
        for callback in self._callbacks.pop(future, ()):
            _call(callback, future, None if future._settled else failure)


class _Lock:
    """Guards the callers. A forked child has none of their threads, and none of the callbacks."""

    def __init__(self) -> None:
        self.held = threading.Lock()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.held = threading.Lock()
        _callers.clear()


_callers: weakref.WeakKeyDictionary[Connection, _Caller] = weakref.WeakKeyDictionary()
_lock = _Lock()
