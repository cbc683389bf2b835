"""A socket to a node: it carries the requests of any number of threads and event loops, without a thread of its own.

The thread that waits for an answer reads the socket. Of several threads one *leads*: it reads, and hands the answers of
others to them, until it has its own; then it passes the lead to a thread that still waits. An event loop never leads for
longer than it takes to read what has arrived, so it can share a channel with threads.

Invariants, all guarded by ``_mu``: a request is in ``pending`` exactly while it waits here; a thread sleeps only while it is
in ``_followers``, and while a thread is in there another one leads or has been woken to lead; the socket is closed once it has
failed and no thread leads.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import deque
from itertools import islice
from struct import Struct
from threading import Lock
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, Iterable, List, Optional, Sequence, cast

from cloudburst import frame
from cloudburst.errors import UnavailableError
from cloudburst.request import ANSWERED, DONE, LOST, WAITING, Callback, Request, Sleeper, Waiter, varint
from cloudburst.v1 import error_pb2, frame_pb2

if TYPE_CHECKING:
    import asyncio

    from cloudburst.secure import SecureSocket

__all__ = ["Channel", "settle"]

# A blocked read wakes this often to look at its deadline; a nearer deadline is waited for exactly.
_TICK_SECONDS = 1.0
_TICK_SECONDS_MIN = 0.001
_VECTOR_MAX = 64  # pieces that are handed to the socket at once
_MORE = frozenset(("changed", "item", "log_lines"))  # replies that are not the last one of their request
_timeval = Struct("@ll").pack
_unpack_prefix = Struct("<II").unpack_from

# The header of an answer that is done with one value, after its id, by the size of the value.
_DONE_ONE = [frame_pb2.Header(sizes=[size], done=frame_pb2.Done()).SerializeToString() for size in range(256)]


class Channel:
    """A connected socket that speaks frames. Safe for concurrent use; of no more use once it has failed."""

    def __init__(self, sock: socket.socket, received: bytes, lost: Deque[Request]) -> None:
        """``lost`` takes the requests that may be sent again on the next channel when this one fails."""
        self._sock = sock
        self._secure = cast("Optional[SecureSocket]", sock if hasattr(sock, "patient") else None)
        self._send = sock.send
        self._reader = frame.FrameReader(sock, received)
        self._lost = lost
        self._write = Lock()  # held while a frame is sent
        self._mu = Lock()
        self.pending: Dict[bytes, Request] = {}  # what waits for its answer, by number
        self._followers: Dict[Sleeper, Waiter] = {}  # the sleeping threads, in the order in which they came
        self._led = False
        self._tick = 0.0
        self._loops: Dict[asyncio.AbstractEventLoop, int] = {}  # how many requests each awaits
        self.failure: Optional[Exception] = None
        self.own = False  # whether it leads to the node that runs this process
        self.pending_bytes = 0  # that they are together

    def send(self, request: Request) -> bool:
        """Send a request; False when this channel has failed already.

        A request whose sending fails is lost or answered with the reason, like one whose channel fails later.
        """
        with self._mu:
            if self.failure is not None:
                return False
            data = request.frame
            self.pending[request.number] = request
            self.pending_bytes += request.size
            request.channel = self
            request.state = WAITING
        if self._write.locked() and not self._wait_to_write(request.deadline):
            self.forget(request)
            request.error = UnavailableError(f"{request.what}: the connection was busy sending until the deadline")
            request.state = ANSWERED
            return True
        with self._write:
            try:
                if type(data) is bytes:
                    try:
                        sent = self._send(data, socket.MSG_DONTWAIT)
                    except BlockingIOError:
                        sent = 0
                    if sent != len(data) or (self._secure is not None and self._secure.unsent):
                        self._send_slowly([memoryview(data)[sent:]], request.deadline)
                elif data is not None:
                    self._send_slowly(cast(List[frame.Buffer], data), request.deadline)
            except OSError as e:
                self.fail(e)
            except BaseException:
                self.fail(InterruptedError("sending was interrupted"))  # half a frame may be out
                raise
        return True

    def _send_slowly(self, parts: Sequence[frame.Buffer], deadline: float) -> None:
        """Send what the socket does not take at once.

        Answers are taken in meanwhile: a node to which too many of them are owed reads no further.
        """
        rest = deque(part for part in parts if len(part))
        poll = None
        while rest or (self._secure is not None and self._secure.unsent):
            try:
                sent = self._sock.sendmsg(list(islice(rest, _VECTOR_MAX)), (), socket.MSG_DONTWAIT)
            except BlockingIOError:
                if poll is None:
                    poll = select.poll()
                    poll.register(self._sock, select.POLLIN | select.POLLOUT)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the node took nothing more before the deadline") from None
                if any(event & select.POLLIN for _, event in poll.poll(min(left, _TICK_SECONDS) * 1000)):
                    self.poll()
                    if self.failure is not None:
                        return
                continue
            while rest and sent >= len(rest[0]):
                sent -= len(rest.popleft())
            if sent:
                rest[0] = memoryview(rest[0])[sent:]

    def _wait_to_write(self, deadline: float) -> bool:
        """Wait until no thread sends, as large frames may take long; False at the deadline."""
        if not self._write.acquire(True, max(0.0, deadline - time.monotonic())):
            return False
        self._write.release()
        return True

    def wait(self, waiter: Waiter, deadline: float) -> None:
        """Return when the waiter's state is no longer WAITING, or at the deadline, or when this channel has failed."""
        while True:
            lead = False
            try:  # around taking the lead too: an interrupt may come at any place
                with self._mu:
                    if waiter.state != WAITING or self.failure is not None:
                        self._pass_lead()  # it may have been passed to this thread
                        return
                    if self._led:
                        sleeper = Lock()
                        sleeper.acquire()
                        self._follow(waiter, sleeper)
                    else:
                        lead = self._led = True
                if lead:
                    self._lead(waiter, deadline)
                    return
            finally:
                if lead:
                    self._resign()
            if not self._sleep(waiter, sleeper, deadline):
                return

    # Waiting for more than this channel: a thread that leads here while it also waits for something else.

    def lead(self, waiter: Waiter, sleeper: Sleeper) -> Optional[bool]:
        """Take the lead and return True, until :meth:`resign`. When another thread has it, follow and return False.

        ``sleeper`` is released then when the waiter is answered or the lead is passed to it, until :meth:`unfollow`. None =
        there is nothing to wait for any more.
        """
        with self._mu:
            if waiter.state != WAITING or self.failure is not None:
                self._pass_lead()
                return None
            if self._led:
                self._follow(waiter, sleeper)
                return False
            self._led = True
            return True

    def resign(self) -> None:
        """Give the lead up."""
        self._resign()

    def unfollow(self, waiter: Waiter, sleeper: Sleeper) -> None:
        """End what :meth:`lead` began without taking the lead."""
        with self._mu:
            self._unfollow(waiter, sleeper)
            self._pass_lead()  # it may have been passed to this thread

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def buffered(self) -> int:
        """How many bytes have been received and not been taken yet. Asked by the leader."""
        return self._reader.buffered

    def take(self) -> None:
        """Take one answer that has arrived, or is arriving. Called by the leader."""
        try:
            whole = self._reader.read_whole()
            if whole is None:
                self._answer(*self._reader.read())
            else:
                self._answer_whole(whole)
        except BlockingIOError:  # a tick
            pass
        except (OSError, EOFError) as e:
            self.fail(e)

    def _sleep(self, waiter: Waiter, sleeper: Lock, deadline: float) -> bool:
        """Wait for an answer or for the lead; False at the deadline."""
        woken = False
        try:
            left = deadline - time.monotonic()
            woken = left > 0 and sleeper.acquire(True, left)
            return woken
        finally:
            with self._mu:
                self._unfollow(waiter, sleeper)
                if not woken:
                    self._pass_lead()  # it may have been passed to this thread in the meantime

    def poll(self) -> None:
        """Take the answers that have arrived, without waiting."""
        with self._mu:
            if self._led or self.failure is not None:
                return
            self._led = True
        try:
            self._drain()
        finally:
            self._resign()

    def wake(self, waiter: Waiter) -> None:
        """Wake the thread that waits for a waiter whose state has been changed by other means than an answer."""
        with self._mu:
            self._wake(waiter)

    def forget(self, request: Request) -> None:
        """Give a request up; an answer that comes later is dropped."""
        with self._mu:
            if self.pending.pop(request.number, None) is not None:
                self.pending_bytes -= request.size

    @property
    def lock(self) -> Lock:
        """Guards what has arrived for requests with several replies."""
        return self._mu

    def at_rest(self) -> bool:
        """Report whether this thread is in no other method of this channel, which a finalizer cannot know otherwise."""
        if self._write.locked() or not self._mu.acquire(False):
            return False
        self._mu.release()
        return True

    def rearm(self, request: Request) -> None:
        """Let a request wait for its next reply, unless that is here already."""
        with self._mu:
            if request.number in self.pending and not request.arrived and request.state == ANSWERED:
                request.state = WAITING

    def call_back(self, request: Request, callback: Callback) -> bool:
        """Have a callback called once the request's state leaves WAITING; False when it does not wait here."""
        with self._mu:
            if request.number not in self.pending:
                return False
            if request.callbacks is None:
                request.callbacks = []
            request.callbacks.append(callback)
            return True

    def fail(self, cause: Exception) -> None:
        """End the channel. What waits for an answer is lost if it may be sent again, else answered with the reason."""
        with self._mu:
            if self.failure is not None:
                return
            self.failure = cause
            requests = list(self.pending.values())
            self.pending.clear()
            self.pending_bytes = 0
            for request in requests:
                if request.attempts < 0:
                    request.error = _unknown(request, cause)
                    request.state = ANSWERED
                else:
                    self._lost.append(request)
                    request.state = LOST
            for sleeper in self._followers:
                sleeper.release()
            self._followers.clear()
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)  # ends the leader's read
            if not self._led:
                self._close()
        _call_back(requests)

    def flush(self, deadline: float) -> None:
        """Say that nothing more will be sent, and read until the node has taken all that was."""
        with self._mu:
            if self._led or self.failure is not None or not self.pending:
                return
            self._led = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
            while True:
                self._answer(*self._reader.read(deadline))
        except (OSError, EOFError):
            pass
        finally:
            self._resign()

    def wait_for_oldest(self, deadline: float) -> None:
        """Return when the request that has waited longest is answered, or at the deadline."""
        with self._mu:
            oldest = next(iter(self.pending.values()), None)
        if oldest is not None:
            self.wait(oldest, deadline)

    def abandon(self) -> None:
        """Close the channel of a client that is gone. From a finalizer, which may run anywhere: takes no lock."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # the thread that still reads sees the end, and closes
        if not self._led and not self._loops:
            self._sock.close()

    def disown(self) -> None:
        """In a forked child: leave the socket to the parent. No other thread is there, whatever the locks say."""
        self._mu, self._write = Lock(), Lock()
        self._led = False
        self._followers.clear()
        self._loops.clear()
        self.failure = UnavailableError("the connection belongs to the parent process")
        for request in self.pending.values():
            request.callbacks = None
            request.sleepers = None
            if request.attempts < 0:
                request.error = _unknown(request, self.failure)
                request.state = ANSWERED
            else:
                request.state = LOST
        self.pending.clear()
        self._sock.close()

    # What the leader does. It holds the lead, and not _mu.

    def _lead(self, waiter: Waiter, deadline: float) -> None:
        left = deadline - time.monotonic()
        try:
            if left < _TICK_SECONDS:
                if left <= 0:
                    self._drain()
                    return
                self._set_tick(left)
            elif self._tick != _TICK_SECONDS:
                self._set_tick(_TICK_SECONDS)
            read_whole = self._reader.read_whole
            while waiter.state == WAITING:
                try:
                    whole = read_whole()
                    if whole is None:
                        self._answer(*self._reader.read())
                    else:
                        self._answer_whole(whole)
                    if waiter.state != WAITING:
                        break
                except BlockingIOError:  # a tick
                    pass
                # Answers for others may come without a pause, so the deadline is looked at between them too.
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                if left < _TICK_SECONDS:
                    self._set_tick(left)
            if self._reader.buffered or (self._secure is not None and self._secure.received):
                # No event will announce what has been received already.
                self._drain()
        except (OSError, EOFError) as e:  # FrameError is an OSError
            self.fail(e)

    def _drain(self) -> None:
        """Take the answers that have arrived."""
        try:
            if self._secure is not None:
                self._secure.patient = False
                while True:
                    self._answer(*self._reader.read())
            while True:
                self._answer(*self._reader.read(0.0))
        except (BlockingIOError, TimeoutError):
            pass
        except (OSError, EOFError) as e:
            self.fail(e)
        finally:
            if self._secure is not None:
                self._secure.patient = True

    def _answer_whole(self, whole: bytes) -> None:
        """Take a small frame. The answer to a call, nearly always, is done with one value: that is not parsed."""
        header_bytes, size = _unpack_prefix(whole)
        start = 8 + header_bytes
        if size < len(_DONE_ONE):
            done = _DONE_ONE[size]
            end = start - len(done)
            if end > 9 and whole[8] == 8 and whole.startswith(done, end):  # field 1 comes first: the id
                self._finish(whole[9:end], DONE, (whole[start:],))
                return
        self._answer(*frame.parse(whole))

    def _answer(self, header: frame_pb2.Header, values: Sequence[frame.Buffer]) -> None:
        self._finish(varint(header.id), header, values)

    def _finish(self, number: bytes, header: frame_pb2.Header, values: Sequence[frame.Buffer]) -> None:
        with self._mu:
            request = self.pending.pop(number, None)
            if request is None:
                return  # no thread waits for it any more
            if request.arrived is not None and header.WhichOneof("body") in _MORE:
                self.pending[number] = request  # there will be more
                request.arrived.put(header, values)
                if request.attempts > 0:
                    request.attempts = 0
            else:
                self.pending_bytes -= request.size
                request.header = header
                request.values = values
                if header is DONE or header.error.code != error_pb2.CODE_DAG_NOT_FOUND:  # else it may be called again
                    request.frame = None
            request.state = ANSWERED
            if request.sleepers is not None:
                self._wake(request)
            if request.callbacks is None:
                return
        _call_back((request,))

    def _resign(self) -> None:
        with self._mu:
            self._led = False
            if self.failure is not None:
                self._close()
            elif self._followers:
                self._pass_lead()

    def _set_tick(self, seconds: float) -> None:
        seconds = max(seconds, _TICK_SECONDS_MIN)
        whole = int(seconds)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(whole, int((seconds - whole) * 1e6)))
        self._tick = seconds

    # Called with _mu held.

    def _follow(self, waiter: Waiter, sleeper: Sleeper) -> None:
        self._followers[sleeper] = waiter
        if waiter.sleepers is None:
            waiter.sleepers = [sleeper]
        else:
            waiter.sleepers.append(sleeper)

    def _unfollow(self, waiter: Waiter, sleeper: Sleeper) -> None:
        self._followers.pop(sleeper, None)
        if waiter.sleepers is not None:
            with contextlib.suppress(ValueError):
                waiter.sleepers.remove(sleeper)

    def _pass_lead(self) -> None:
        if not self._led:
            for sleeper in self._followers:
                del self._followers[sleeper]
                sleeper.release()
                return

    def _wake(self, waiter: Waiter) -> None:
        for sleeper in waiter.sleepers or ():
            if self._followers.pop(sleeper, None) is not None:
                sleeper.release()

    def _close(self) -> None:
        descriptor = self._sock.fileno()
        if descriptor < 0:
            return
        loops = [loop for loop in self._loops if not loop.is_closed()]
        self._loops.clear()
        if not loops:
            self._sock.close()
        # The descriptor must not be used for something else before every loop has let go of it.
        for loop in list(loops):
            _in_loop(loop, _release, loop, loops, descriptor, self._sock)

    # Event loops.

    def awaitable(self, loop: asyncio.AbstractEventLoop, request: Request) -> Optional[asyncio.Future[None]]:
        """Return what to await until the request's state leaves WAITING; None when it does not wait here.

        Called in the loop.
        """
        waiter: asyncio.Future[None] = loop.create_future()

        def called_back(_: Request) -> None:
            with self._mu:
                if loop in self._loops:
                    # The loop goes on reading, since the next await will be soon. What arrives when there is none ends it.
                    self._loops[loop] -= 1
            _in_loop(loop, settle, waiter)

        if not self.call_back(request, called_back):
            return None
        with self._mu:
            if self.failure is None:
                if loop not in self._loops:
                    for closed in [other for other in self._loops if other.is_closed()]:
                        del self._loops[closed]
                    loop.add_reader(self._sock.fileno(), self._readable, loop)
                    self._loops[loop] = 0
                self._loops[loop] += 1
        return waiter

    def _readable(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._mu:
            if self._loops.get(loop, 0) <= 0 and self._loops.pop(loop, None) is not None:
                loop.remove_reader(self._sock.fileno())
        self.poll()


def _unknown(request: Request, cause: Exception) -> UnavailableError:
    error = UnavailableError(
        f"{request.what}: the connection to the node was lost before the answer ({str(cause) or type(cause).__name__}), so it "
        "may or may not have been done; look, and try again"
    )
    error.__cause__ = cause
    return error


def _call_back(requests: Iterable[Request]) -> None:
    for request in requests:
        callbacks, request.callbacks = request.callbacks, None
        for callback in callbacks or ():
            callback(request)


def _in_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: Any) -> None:
    """Call a function in an event loop: at once if this is its thread. A loop that has been closed needs nothing any more."""
    from asyncio import _get_running_loop

    if _get_running_loop() is loop:
        function(*args)
    else:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(function, *args)


def settle(waiter: asyncio.Future[None]) -> None:
    """End what awaits a future of an event loop, if it does still."""
    if not waiter.done():
        waiter.set_result(None)


def _release(
    loop: asyncio.AbstractEventLoop, loops: List[asyncio.AbstractEventLoop], descriptor: int, sock: socket.socket
) -> None:
    loop.remove_reader(descriptor)
    loops.remove(loop)
    if not loops:
        sock.close()
