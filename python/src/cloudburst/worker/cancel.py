"""Cancelling a function that runs: ``cloudburst.Cancelled`` is raised in the thread that runs invocations.

The executor says by a frame which invocation is cancelled, and sends the process a signal, so that this thread looks for the
frame whatever it does. The exception is raised in the code of the function that is meant, never in the worker's own, and at
most once for an invocation. So it waits until invocations above that one have ended, and a frame that is being sent is out.
"""

from __future__ import annotations

import signal
import threading
from typing import Any, Callable, Dict

from cloudburst.errors import Cancelled
from cloudburst.v1 import frame_pb2
from cloudburst.worker import invocation as invocations
from cloudburst.worker.channel import Channel
from cloudburst.worker.invocation import Invocation, stack

__all__ = ["SIGNAL", "Cancels"]

SIGNAL = signal.SIGURG
"""What interrupts a worker. By default it is ignored, as in programs that functions start, and few programs use it."""


class Cancels:
    """What has been said of invocations that are cancelled. Made by the thread that runs them, which is the main thread."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._thread = threading.get_ident()
        self.told: Dict[int, str] = {}
        """Why invocations are cancelled whose functions do not know it yet, by the ids of their frames."""
        self.hooks: Dict[int, Callable[[Cancelled], Any]] = {}
        """What is called, in any thread, instead of raising in the main thread, by the ids of frames."""
        channel.cancelled = self._take
        channel.interrupt = self.interrupt

    def handle(self, *_: object) -> None:
        """Look whether what runs is cancelled. The handler of the signal."""
        if self._channel.left:
            return
        self._channel.look()
        self.check()
        if self.told:
            self._channel.wake()

    def check(self) -> None:
        """Raise Cancelled if the invocation that runs is cancelled and does not know it yet. Called by the main thread only."""
        if not self.told or not stack:
            return
        top = stack[-1]
        if not top.interruptible or self._channel.sending:
            return  # when that is over it is looked at again
        number = top.number
        reason = self.told.pop(number, None)
        if reason is not None:
            top.interruptible = False
            raise _cancelled(top, reason)

    def interrupt(self) -> None:
        """Have the main thread look. Called by any thread."""
        signal.pthread_kill(self._thread, SIGNAL)

    def hold(self, invocation: Invocation) -> bool:
        """Raise nothing in an invocation until :meth:`let_go`, which takes what is returned here."""
        held, invocation.interruptible = invocation.interruptible, False
        return held

    def due(self, invocation: Invocation, held: bool) -> bool:
        """Report whether it would be raised but for :meth:`hold`."""
        return bool(self.told) and held and invocation.number in self.told

    def let_go(self, invocation: Invocation, held: bool) -> None:
        invocation.interruptible = held
        if self.told:
            self.check()

    def ended(self, invocation: Invocation) -> None:
        """Forget what has been said of an invocation that has left the stack, and look at the one that runs on."""
        if self.told:
            self.told.pop(invocation.number, None)
            if self.told:
                self.interrupt()

    def _take(self, cancel: frame_pb2.Cancel) -> None:
        """Take note of a frame; any thread may have read it."""
        hook = self.hooks.get(cancel.id)
        if hook is not None:
            found = next((each for each in stack if each.number == cancel.id), None)
            hook(_cancelled(found, cancel.reason) if found is not None else Cancelled(cancel.run_id.hex(), "", cancel.reason))
            return
        if invocations.ended(cancel.id):
            return
        self.told[cancel.id] = cancel.reason
        self.interrupt()


def _cancelled(invocation: Invocation, reason: str) -> Cancelled:
    return Cancelled(invocation.run_id.hex(), f"{invocation.function_name}@{invocation.function_version}", reason)
