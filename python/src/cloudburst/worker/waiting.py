"""How a function waits for runs: its node is told, and the worker helps.

While the thread that runs invocations waits, it reads two sockets: that of its client, where the answer comes, and that of the
worker, where the executor may order an invocation without which the wait cannot end. That is carried out on top of the one
that waits. Other threads, and waits that may end before what they wait for, are only made known.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import sys
import threading
import time
from struct import Struct
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from cloudburst import frame
from cloudburst.blocking import Awaited
from cloudburst.channel import Channel as Client
from cloudburst.frame import varint
from cloudburst.request import WAITING, Waiter
from cloudburst.v1 import error_pb2, frame_pb2
from cloudburst.worker.baseline import timers_armed
from cloudburst.worker.cancel import Cancels
from cloudburst.worker.channel import Channel, Frame
from cloudburst.worker.invocation import Invocation, current, seen, stack

__all__ = ["Waiting"]

_LEVELS_MAX = 500 if sys.version_info[:2] == (3, 12) else 1000  # 3.12 counts calls from C for themselves, and bears some 700
_LEVEL_BYTES = (
    4 << 10 if sys.version_info >= (3, 11) else 8 << 10
)  # of the thread's stack: measured 1 KiB, with room for user code


def levels_max() -> int:
    """Return how many invocations one worker has on its stack at most: half of the memory of the thread's stack is for them.

    A call beyond it waits for another worker.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_STACK)
    return _LEVELS_MAX if limit == resource.RLIM_INFINITY else min(_LEVELS_MAX, limit // 2 // _LEVEL_BYTES)


_TICK_SECONDS = 1.0  # after which a thread that waits looks again
_POLLS_MAX = 16
_LEAVE_SECONDS = 60.0  # how long the executor may take to say that a wait is over

Order = Union[bytes, Frame]

_pack_prefix = Struct("<II").pack
_RUN_ID = b"\x12\x10"  # field 2 of a Wait, 16 bytes
_HELPS = b"\x18\x01"
_ANY = b"\x20\x01"


class Waiting:
    """The strategy of a worker; see ``cloudburst.blocking``."""

    def __init__(self, channel: Channel, cancels: Cancels, carry_out: Callable[[Order], None]) -> None:
        """``carry_out`` carries out an order while another invocation waits. Made by the thread that runs invocations."""
        self._channel = channel
        self._cancels = cancels
        self._carry_out = carry_out
        self._thread = threading.get_ident()
        self._levels_max = levels_max()
        self._waker = _Waker()
        self._polls: Dict[Tuple[int, bool, bool], Any] = {}

    def wait(self, client: Client, waiter: Waiter, deadline: float, awaited: Awaited) -> None:
        invocation = current()
        if invocation is None or not client.own or self._channel.left:
            client.wait(waiter, deadline)
            return
        if self._arrived(client):  # what is here already is not waited for
            client.poll()
            if waiter.state != WAITING or client.failure is not None:
                return
        runs = awaited.runs()
        if not runs:
            client.wait(waiter, deadline)
        elif awaited.patient and self._can_help(invocation):
            self._help(invocation, runs, client, waiter, deadline, awaited)
        else:
            self._tell(invocation, runs, client, waiter, deadline, awaited)

    def _arrived(self, client: Client) -> bool:
        """Report whether there may be something to read."""
        return threading.get_ident() != self._thread or bool(self._ready(client, True, False, 0))

    def _can_help(self, invocation: Invocation) -> bool:
        return (
            threading.get_ident() == self._thread
            and stack[-1:] == [invocation]
            and len(stack) < self._levels_max
            and not timers_armed()  # it would run out in the other function
            and not _loop_runs()
        )

    def _tell(
        self, invocation: Invocation, runs: List[bytes], client: Client, waiter: Waiter, deadline: float, awaited: Awaited
    ) -> None:
        id = self._channel.begin()
        self._channel.end(id)  # no answer is wanted
        self._channel.send(_wait_frame(id, invocation, runs, helps=False, first=awaited.first))
        try:
            client.wait(waiter, deadline)
        finally:
            self._channel.send(_waited_frame(0, id))

    def _help(
        self, invocation: Invocation, runs: List[bytes], client: Client, waiter: Waiter, deadline: float, awaited: Awaited
    ) -> None:
        channel = self._channel
        id = channel.begin()
        over = False
        held = self._cancels.hold(invocation)  # an order that has been read must be carried out
        try:
            channel.send(_wait_frame(id, invocation, runs, helps=True, first=False))
            while waiter.state == WAITING and client.failure is None and not self._cancels.due(invocation, held):
                order = self._next_order(id, client, waiter, deadline)
                if order is not None:
                    self._carry_out(order)
                elif time.monotonic() >= deadline:
                    break
            over = awaited.succeeded()
        finally:
            channel.end(id)
            try:
                if not over:
                    self._leave(id)
            finally:
                self._cancels.let_go(invocation, held)

    def _next_order(self, id: int, client: Client, waiter: Waiter, deadline: float) -> Optional[Order]:
        """Read until the executor orders something, and return that; None when the wait is over or is to be looked at again."""
        channel = self._channel
        waker = self._waker
        leads = client.lead(waiter, waker)
        if leads is None:
            return None
        turn = channel.take_turn(waker)
        try:
            while True:
                if channel.buffered:
                    order = channel.take_order(turn)
                    if order is not None:
                        return order
                    channel.failed(id)
                elif leads and client.buffered:
                    client.take()
                else:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return None
                    ready = self._ready(client, leads, turn, int(min(left, _TICK_SECONDS) * 1000) + 1)
                    if not ready:
                        return None
                    for fd, _ in ready:
                        if fd == waker.fd:
                            waker.clear()
                            return None
                        if leads and fd == client.fileno():
                            client.take()
                        elif turn:
                            order = channel.take_order(True)
                            if order is not None:
                                return order
                            channel.failed(id)
                if waiter.state != WAITING or client.failure is not None or self._cancels.told:
                    return None
        finally:
            channel.give_turn(turn)
            if leads:
                client.resign()
            else:
                client.unfollow(waiter, waker)

    def _ready(self, client: Client, leads: bool, turn: bool, milliseconds: int) -> List[Tuple[int, int]]:
        """Wait until one of the sockets that this thread reads, or else the waker, has something to read."""
        key = client.fileno(), leads, turn
        poll = self._polls.pop(key, None)  # taken out, since a signal handler may come here meanwhile
        if poll is None:
            poll = select.poll()
            if not (leads and turn):
                poll.register(self._waker.fd, select.POLLIN)
            if leads:
                poll.register(client.fileno(), select.POLLIN)
            if turn:
                poll.register(self._channel.fileno(), select.POLLIN)
        ready: List[Tuple[int, int]] = poll.poll(milliseconds)
        if len(self._polls) < _POLLS_MAX:
            self._polls[key] = poll
        return ready

    def _leave(self, id: int) -> None:
        """Tell the executor that a wait is over before all that it waits for has succeeded, and decline what it has ordered."""
        channel = self._channel
        answer = channel.begin()
        deadline = time.monotonic() + _LEAVE_SECONDS
        failure: Optional[BaseException] = None
        sent = False
        while True:
            try:  # an interrupt may come at any place, and must not leave an order behind
                if not sent:
                    sent = True
                    channel.send(_waited_frame(answer, id))
                order = channel.next_order_or_reply(answer, deadline)
                if order is None:
                    break
                self._decline(order)
            except (OSError, EOFError):
                raise
            except BaseException as e:
                failure = e
        channel.end(answer)
        if failure is not None:
            raise failure

    def _decline(self, order: Order) -> None:
        header, _ = frame.parse(order) if isinstance(order, bytes) else order
        if header.WhichOneof("body") != "invoke":
            self._carry_out(order)
            return
        seen(header.id)
        self._cancels.told.pop(header.id, None)
        declined = frame_pb2.Header(id=header.id)
        declined.error.code = error_pb2.CODE_UNAVAILABLE
        declined.error.message = "the worker does not wait for the run any more"
        self._channel.send_parts(frame.pack(declined, []))


class _Waker:
    """Wakes a thread that polls descriptors, as a lock wakes one that waits for it. Safe for concurrent use."""

    def __init__(self) -> None:
        self.fd, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def release(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"\0")

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)


def _loop_runs() -> bool:
    """Report whether an event loop runs in this thread."""
    events = sys.modules.get("asyncio.events")
    return events is not None and events._get_running_loop() is not None


def _wait_frame(id: int, invocation: Invocation, runs: List[bytes], helps: bool, first: bool) -> bytes:
    body = invocation.id + b"".join([_RUN_ID + run for run in runs])
    if helps:
        body += _HELPS
    if first:
        body += _ANY
    header = b"\x08" + varint(id) + b"\xb2\x03" + varint(len(body)) + body  # field 54
    return _pack_prefix(len(header), 0) + header


def _waited_frame(answer: int, id: int) -> bytes:
    body = b"\x08" + varint(id)
    header = (b"\x08" + varint(answer) if answer else b"") + b"\xba\x03" + varint(len(body)) + body  # field 55
    return _pack_prefix(len(header), 0) + header
