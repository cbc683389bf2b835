"""The worker's end of its socket, for the loop that takes orders and for the functions that ask for things.

The thread that waits for a frame reads the socket; no thread exists for that alone. A frame that another thread waits for is
put where that thread looks for it, so threads of user code may ask while the loop waits, and each gets its own reply.
"""

from __future__ import annotations

import itertools
import select
import socket
import threading
import time
from collections import deque
from typing import Callable, Deque, Dict, List, Optional, Protocol, Sequence, Set, Tuple, Union

from cloudburst import frame
from cloudburst.codec import Buffer, Encoded
from cloudburst.errors import DeadlineExceededError, FrameError, InternalError, UnsupportedError, exception_from
from cloudburst.request import Sleeper
from cloudburst.v1 import frame_pb2
from cloudburst.worker.invocation import locate

Frame = Tuple[frame_pb2.Header, List[Buffer]]

_ORDERS = frozenset(("invoke", "load", "unload", "cancel"))
_REPLIES = frozenset(("done", "error", "cells", "messages"))
_REPLIES_MAX = 1 << 16
_WAIT_SECONDS = 1.0  # how long a wait for another thread lasts before it looks again


class Credited(Protocol):
    """Takes the credit of one invocation."""

    def grant(self, items: int) -> None: ...


class Channel:
    """Frames to and from the executor. Safe for concurrent use, except that one thread takes the orders."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = frame.FrameReader(sock)
        self._ids = itertools.count(1)
        self._left = False  # in a forked child, which must not speak here
        self._renew_locks()
        self._waiting = 0  # threads that wait for the turn
        self.orders: Deque[Frame] = deque()
        self._asked: Set[int] = set()
        self._replies: Dict[int, Frame] = {}
        self.beside = False  # invocations run beside each other in an event loop, which takes the orders to cancel them
        self._looks = False  # a signal handler could not look at the socket, or not act on what it has seen
        self.cancelled: Callable[[frame_pb2.Cancel], None] = lambda _: None
        """Takes note that an invocation is cancelled; called by the thread that has read it."""
        self.interrupt: Callable[[], None] = lambda: None
        """Has the signal handler called again."""
        self._sleeper: Optional[Sleeper] = None  # of the thread that takes the orders, while it waits for the turn and for more
        self.on_order: Optional[Callable[[], object]] = None  # called when an order has been put into orders
        self.outlets: Dict[int, Credited] = {}  # of the invocations whose results are streamed, by their numbers

    def _renew_locks(self) -> None:
        self._sending = threading.Lock()
        self._turn = threading.Lock()  # held by the thread that reads the socket
        self._changed = threading.Condition(threading.Lock())  # guards the fields above, where others wait for them

    def leave(self) -> None:
        """Take leave of the socket, in a forked child."""
        self._left = True
        self._renew_locks()
        self._sock.close()

    def next_order(self) -> Union[bytes, Frame]:
        """Return the executor's next order: a small frame as it is, any other parsed. Raises EOFError when it has no more."""
        while True:
            if self._turn.acquire(False):
                try:
                    if not self.orders:
                        whole = self._reader.read_whole()
                        if whole is not None and not self._asked:
                            return whole
                        # Threads have asked for something, so this may be a reply.
                        self._keep(frame.parse(whole) if whole is not None else self._reader.read())
                    if self.orders:
                        return self.orders.popleft()
                finally:
                    self._pass_turn()
            else:
                with self._changed:
                    self._waiting += 1
                    if not self.orders and self._turn.locked():
                        self._changed.wait(_WAIT_SECONDS)
                    self._waiting -= 1
                    if self.orders:
                        return self.orders.popleft()

    # Waiting for more than this channel, in the thread that takes the orders.

    @property
    def left(self) -> bool:
        """Whether this is a forked child, which must not speak here."""
        return self._left

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._sock.fileno()

    def begin(self) -> int:
        """Return an id for a frame that is answered only if something is wrong with it: :meth:`failed` tells."""
        id = next(self._ids)
        self._asked.add(id)
        return id

    def end(self, id: int) -> None:
        self._asked.discard(id)
        self._replies.pop(id, None)

    def failed(self, id: int) -> None:
        """Raise what a frame has been answered with, if it has been."""
        reply = self._replies.pop(id, None) if self._replies else None
        if reply is not None and reply[0].HasField("error"):
            raise exception_from(reply[0].error, reply[1])

    def take_turn(self, sleeper: Sleeper) -> bool:
        """Take the turn to read, until :meth:`give_turn`. False when another thread has it: the sleeper is released when there
        is an order, or the turn, to take.
        """
        self._sleeper = sleeper
        if self._turn.acquire(False):
            self._sleeper = None
            return True
        return False

    def give_turn(self, had: bool) -> None:
        self._sleeper = None
        if had:
            self._pass_turn()

    @property
    def buffered(self) -> bool:
        """Whether there is an order to take, or something has been received."""
        return bool(self.orders) or self._reader.buffered > 0

    def take_order(self, read: bool) -> Union[bytes, Frame, None]:
        """Return an order, or None when what has come is none. ``read`` says whether the calling thread has the turn."""
        if self.orders:
            return self.orders.popleft()
        if not read:
            return None
        whole = self._reader.read_whole()
        if whole is not None and locate(whole) is not None:
            return whole
        self._keep(frame.parse(whole) if whole is not None else self._reader.read())
        return self.orders.popleft() if self.orders else None

    def next_order_or_reply(self, id: int, deadline: float) -> Union[bytes, Frame, None]:
        """Return the next order, or None once a frame has been answered. Raises TimeoutError at the deadline."""
        while True:
            if self.orders:
                return self.orders.popleft()
            if id in self._replies:
                return None
            if self._turn.acquire(False):
                try:
                    self._keep(self._reader.read(deadline))
                finally:
                    self._pass_turn()
            else:
                with self._changed:
                    self._waiting += 1
                    if not self.orders and id not in self._replies and self._turn.locked():
                        self._changed.wait(_WAIT_SECONDS)
                    self._waiting -= 1
                if time.monotonic() >= deadline:
                    raise TimeoutError("the executor did not answer")

    def look(self) -> None:
        """Take what has been received, unless a thread reads. For a signal handler: it waits for nothing, and takes no lock
        that the interrupted code may hold.
        """
        if not self._turn.acquire(False):
            self._looks = True
            return
        try:
            while self._reader.buffered or select.select([self._sock], (), (), 0)[0]:
                self._keep(self._reader.read(time.monotonic() + _WAIT_SECONDS), False)
        except (EOFError, OSError):
            pass  # the thread that reads next sees it
        finally:
            self._turn.release()
            if self._sleeper is not None:
                self._sleeper.release()

    def wake(self) -> None:
        """Have the thread that takes the orders look at what it waits for."""
        if self._sleeper is not None:
            self._sleeper.release()

    @property
    def sending(self) -> bool:
        """Whether a thread sends; if so, the signal handler is called again after it."""
        if not self._sending.locked():
            return False
        self._looks = True
        return True

    def _look_again(self) -> None:
        self._looks = False
        self.interrupt()

    def send(self, data: bytes) -> None:
        """Send a frame that is in one piece."""
        with self._sending:
            sent = self._sock.send(data)
            if sent != len(data):
                self._sock.sendall(memoryview(data)[sent:])
        if self._looks:
            self._look_again()

    def send_parts(self, parts: Sequence[Buffer]) -> None:
        """Send a frame that is in pieces."""
        with self._sending:
            frame.send(self._sock, parts)
        if self._looks:
            self._look_again()

    def try_send(self, header: frame_pb2.Header) -> bool:
        """Send a frame that wants no reply, and report whether that was possible. Never raises, nor waits for another thread
        for long: it is called from wherever user code prints, which may be a signal handler in the middle of a send.
        """
        if self._left or not self._sending.acquire(timeout=_WAIT_SECONDS):
            return False
        try:
            frame.send(self._sock, frame.pack(header))
        except OSError:
            return False
        finally:
            self._sending.release()
            if self._looks:
                self._look_again()
        return True

    def call_host(self, head: bytes, values: Sequence[Encoded], timeout: float, what: Callable[[], str]) -> Frame:
        """Send a host call, given as its header without id and sizes, and return the reply.

        An error in reply is raised, and so is DeadlineExceededError after timeout seconds.
        """
        if self._left:
            raise UnsupportedError(
                f"{what()}: a process that a function has forked cannot do this; do it in the function itself"
            )
        deadline = time.monotonic() + timeout
        id = next(self._ids)
        parts = frame.pack_raw(b"\x08" + frame.varint(id) + head, values)
        self._asked.add(id)
        try:
            self.send_parts(parts)
            reply = self._await(id, deadline)
        except (TimeoutError, socket.timeout):
            reply = None
        finally:
            self._asked.discard(id)
            if self._replies:
                self._replies.pop(id, None)
        if reply is None:
            raise DeadlineExceededError(f"{what()}: no answer after {timeout:g} s")
        if reply[0].HasField("error"):
            raise exception_from(reply[0].error, reply[1])
        return reply

    def _await(self, id: int, deadline: float) -> Optional[Frame]:
        while True:
            if self._turn.acquire(False):
                try:
                    while id not in self._replies:
                        received = self._reader.read(deadline)
                        if received[0].id == id and not received[0].HasField("invoke"):
                            return received
                        self._keep(received)
                    return self._replies.pop(id)
                finally:
                    self._pass_turn()
            with self._changed:
                self._waiting += 1
                left = deadline - time.monotonic()
                if left > 0 and id not in self._replies and self._turn.locked():
                    self._changed.wait(min(left, _WAIT_SECONDS))
                self._waiting -= 1
                if id in self._replies:
                    return self._replies.pop(id)
            if left <= 0:
                return None

    def poll(self) -> None:
        """Take in what has arrived, without waiting."""
        if not self._turn.acquire(False):
            return  # another thread reads
        try:
            while True:
                self._keep(self._reader.read(0.0))
        except (TimeoutError, socket.timeout):
            pass
        finally:
            self._pass_turn()

    def read_until(self, ready: Callable[[], bool]) -> None:
        """Take in what arrives until that has made a condition true. Raises EOFError when nothing comes any more."""
        while not ready():
            if self._turn.acquire(False):
                try:
                    while not ready():
                        self._keep(self._reader.read())
                finally:
                    self._pass_turn()
                return
            with self._changed:
                self._waiting += 1
                if not ready() and self._turn.locked():
                    self._changed.wait(_WAIT_SECONDS)
                self._waiting -= 1

    def grant(self, credit: frame_pb2.Credit) -> None:
        """Hand credit to the outlet that it is for, if that has not ended."""
        outlet = self.outlets.get(credit.id)
        if outlet is not None:
            outlet.grant(credit.items)

    def _keep(self, received: Frame, notify: bool = True) -> None:
        header, _ = received
        body = header.WhichOneof("body")
        if body == "cancel" and not self.beside:
            self.cancelled(header.cancel)
        elif body in _ORDERS:
            self.orders.append(received)
            if self.on_order is not None:
                self.on_order()
        elif body in _REPLIES:
            if header.id not in self._asked:
                return  # the thread that asked has given up
            if len(self._replies) >= _REPLIES_MAX:
                raise InternalError(f"{_REPLIES_MAX} replies wait for threads that do not take them, the limit")
            self._replies[header.id] = received
        elif body == "credit":
            self.grant(header.credit)
        else:
            raise FrameError(f"the executor sent a {body}")
        if self._sleeper is not None:
            self._sleeper.release()
        if self._waiting and notify:
            with self._changed:
                self._changed.notify_all()

    def _pass_turn(self) -> None:
        self._turn.release()
        if self._looks:
            self._look_again()
        sleeper = self._sleeper
        if sleeper is not None:
            sleeper.release()
        if self._waiting:
            with self._changed:
                self._changed.notify_all()
