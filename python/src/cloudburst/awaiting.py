"""Waiting for several futures at once, in a coroutine. Apart from waiting.py, which needs no asyncio."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Deque, List, Optional

from cloudburst.channel import settle
from cloudburst.future import Future

__all__ = ["AsyncArrivals"]


class AsyncArrivals:
    """Futures, in the order in which they are done, for one coroutine."""

    def __init__(self, futures: List[Future[Any]], deadline: Optional[float]) -> None:
        """Without a deadline, a reading of time.monotonic, those of the runs hold."""
        self.futures = futures
        self.deadline = deadline
        self._done: Deque[Future[Any]] = deque(future for future in futures if future._settled)
        self._failure: Optional[BaseException] = None  # of the way to a node
        self._news: Optional[asyncio.Future[None]] = None
        self._tasks = [asyncio.ensure_future(self._await(future)) for future in futures if not future._settled]

    async def next(self) -> Optional[Future[Any]]:
        """Return a future that is done and has not been returned yet; None when there is none before the deadline."""
        loop = asyncio.get_running_loop()
        while not self._done:
            if self._failure is not None:
                raise self._failure
            left = None if self.deadline is None else self.deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            news = self._news = loop.create_future()
            timer = None if left is None else loop.call_later(left, settle, news)
            try:
                await news
            finally:
                if timer is not None:
                    timer.cancel()
        return self._done.popleft()

    async def _await(self, future: Future[Any]) -> None:
        try:
            await future
        except asyncio.CancelledError:
            raise
        except BaseException as e:
            if not future._settled:
                self._failure = e
        if future._settled:
            self._done.append(future)
        if self._news is not None:
            settle(self._news)

    def end(self) -> None:
        for task in self._tasks:
            task.cancel()
