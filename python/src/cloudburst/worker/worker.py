"""The loop of a worker: it takes orders from the executor, runs functions and answers.

The orders that repeat, invocations of the same functions with arguments of the same sizes, are recognised by their bytes:
what is read out of such a header once is kept, and the header is not parsed again.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from contextvars import copy_context
from struct import Struct
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

from cloudburst import codec, frame
from cloudburst.codec import Buffer
from cloudburst.errors import CodecError, Error, FrameError
from cloudburst.frame import varint
from cloudburst.v1 import frame_pb2
from cloudburst.worker import failure
from cloudburst.worker.baseline import Baseline, stop_timers, stop_timers_surely
from cloudburst.worker.channel import Channel, Frame
from cloudburst.worker.context import Context, set_context
from cloudburst.worker.functions import Function, Functions
from cloudburst.worker.host import Host
from cloudburst.worker.library import UserLibrary
from cloudburst.worker.logs import LogStream
from cloudburst.worker.upstream import arguments_of

_PLANS_MAX = 512
_GATHER_BYTES = 32 << 10

_prefix = Struct("<II")
_pack_prefix = _prefix.pack
_decode = codec.decode
_encode = codec.encode_parts
_immutable = codec.is_plain_immutable


def _done(size: int) -> bytes:
    """The header of a Done with one value, after its id."""
    packed = varint(size)
    return b"\x12" + varint(len(packed)) + packed + b"\x22\x00"


_DONE = [_done(size) for size in range(256)]


class _Step:
    """One function of an invocation, ready to be called."""

    __slots__ = ("call", "first", "function", "keywords", "keywords_at", "last", "prefix", "spread")

    def __init__(
        self, step: frame_pb2.Step, first: int, function: Function, call: Callable[..., Any], prefix: List[Any]
    ) -> None:
        self.function = function
        self.call = call
        self.prefix = prefix
        self.first = first  # of the positional arguments among the values
        self.last = self.keywords_at = first + step.positional
        self.keywords = tuple(step.keywords)
        self.spread = frozenset(step.spread)


class _Plan:
    """An invocation that has been understood: its steps, and where its values lie."""

    __slots__ = ("cuts", "steps")

    def __init__(self, steps: List[_Step], sizes: Sequence[int]) -> None:
        self.steps = steps
        self.cuts: List[Tuple[int, int]] = []  # start and end of each value, from the start of the payload
        at = 0
        for size in sizes:
            self.cuts.append((at, at + size))
            at += size


class Worker:
    """A worker process. Its loop is owned by the main thread."""

    def __init__(self, sock: socket.socket, number: int, member: str) -> None:
        self._channel = Channel(sock)
        self._functions = Functions()
        self._plans: Dict[bytes, _Plan] = {}
        self._host = Host(self._channel, (member, number))
        self._library = UserLibrary(self._host)
        self._context = Context(self._host, self)
        self._forked = False
        self._mask: Iterable[int] = ()  # of signals, while a fork holds one back
        self.stdout = LogStream("<stdout>", frame_pb2.STREAM_STDOUT, 1, self._log)
        self.stderr = LogStream("<stderr>", frame_pb2.STREAM_STDERR, 2, self._log)
        # What runs: a step, and the frame that it came in, either as it is or parsed.
        self._function: Optional[Function] = None
        self._raw = b""
        self._run_at = self._end = 0
        self._invoke: Optional[frame_pb2.Invoke] = None

    # What the context tells of the run.

    @property
    def run_id(self) -> bytes:
        if self._invoke is not None:
            return self._invoke.run_id
        return self._raw[self._run_at : self._run_at + _RUN_ID_BYTES]

    @property
    def function_name(self) -> str:
        return self._function.name if self._function is not None else ""

    @property
    def function_version(self) -> int:
        return self._function.version if self._function is not None else 0

    @property
    def attempt(self) -> int:
        return self._invoke.attempt if self._invoke is not None else self._tail().attempt

    @property
    def deadline(self) -> float:
        invoke = self._invoke if self._invoke is not None else self._tail()
        return invoke.deadline_milliseconds / 1000

    def _tail(self) -> frame_pb2.Invoke:
        return frame_pb2.Invoke.FromString(self._raw[self._end - _TAIL_BYTES : self._end])

    # The loop.

    def run(self) -> None:
        """Run functions until the executor ends the socket. Raises FrameError or OSError when it breaks before."""
        set_context(self._context)
        os.register_at_fork(before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._forked_child)
        sys.stdout = sys.__stdout__ = self.stdout  # type: ignore[misc,assignment]
        sys.stderr = sys.__stderr__ = self.stderr  # type: ignore[misc,assignment]
        self._baseline = Baseline()
        self._baseline.keep_what_imports_change()
        try:
            self._loop()
        except EOFError:
            return
        finally:  # what is printed from now on belongs to no function
            for stream in (self.stdout, self.stderr):
                stream.flush()
                stream.leave_to_descriptor()

    def _loop(self) -> None:
        next_order = self._channel.next_order
        while True:
            order = next_order()
            if not isinstance(order, bytes):
                self._take(order, None)
            elif not self._run_known(order):
                self._take(frame.parse(order), order)
            del order  # its memory, before the wait for the next

    def _take(self, order: Frame, whole: Optional[bytes]) -> None:
        header, values = order
        body = header.WhichOneof("body")
        if body == "invoke":
            self._run_new(header, values, whole)
        elif body == "load":
            if len(values) != 1:
                raise FrameError(f"a definition in {len(values)} values")
            self._plans.clear()
            self._functions.load(header.load.function, values[0])
        elif body == "unload":
            self._plans.clear()
            self._functions.unload(header.unload.name, header.unload.version)
        elif body not in ("done", "error", "cells", "messages"):  # the reply to a thread that has given up is let go
            raise FrameError(f"the executor sent a {body}")

    def _run_known(self, whole: bytes) -> bool:
        """Run an invocation whose like has been seen before; report whether it was one."""
        located = _locate(whole)
        if located is None:
            return False
        key, id_end, run_at, end = located
        plan = self._plans.get(key)
        if plan is None:
            return False
        self._raw = whole
        self._run_at = run_at
        self._end = end
        self._invoke = None
        self._answer(whole[8:id_end], plan, [whole[end + a : end + b] for a, b in plan.cuts])
        return True

    def _run_new(self, header: frame_pb2.Header, values: List[Buffer], whole: Optional[bytes]) -> None:
        self._invoke = header.invoke
        self._function = None
        id = b"\x08" + varint(header.id)
        try:
            plan = self._plan(header)
        except BaseException as e:
            self._fail(id, e)
        else:
            self._baseline.take()
            located = _locate(whole) if whole is not None else None
            if located is not None:
                if len(self._plans) >= _PLANS_MAX:
                    self._plans.clear()
                self._plans[located[0]] = plan
            self._answer(id, plan, values)

    def _plan(self, header: frame_pb2.Header) -> _Plan:
        steps: List[_Step] = []
        at = 0
        for step in header.invoke.steps:
            function = self._function = self._functions.get(step.function, step.version)
            call = function.target(self._library)
            steps.append(_Step(step, at, function, call, [] if function.plain else [self._library]))
            at += step.positional + len(step.keywords)
        if at != len(header.sizes) or not steps:
            raise FrameError(
                f"an invocation of {len(steps)} functions with {at} arguments came with {len(header.sizes)} values"
            )
        return _Plan(steps, header.sizes)

    def _answer(self, id: bytes, plan: _Plan, values: List[Buffer]) -> None:
        """Run the steps and send what comes of it."""
        try:
            result = copy_context().run(self._run_steps, plan.steps, values)
            try:
                encoded = _encode(result)
            except Error as e:
                raise failure.ResultError(e)
            stop_timers()
        except BaseException as e:
            self._fail(id, e)
            return
        self._finish()
        if type(encoded) is bytes:
            size = len(encoded)
            head = id + (_DONE[size] if size < 256 else _done(size))
            self._channel.send(_pack_prefix(len(head), size) + head + encoded)
        else:
            size = codec.size_of(encoded)
            head = id + _done(size)
            self._channel.send_parts([_pack_prefix(len(head), size) + head, *encoded])
        self._baseline.set_back()

    def _run_steps(self, steps: List[_Step], values: List[Buffer]) -> Any:
        result: Any = None
        following = False
        for step in steps:
            arguments = step.prefix.copy()
            try:
                if step.spread:
                    for at in range(step.first, step.last):
                        if at - step.first in step.spread:
                            arguments += arguments_of(values[at], self._host)
                        else:
                            arguments.append(_decode(values[at]))
                else:
                    for at in range(step.first, step.last):
                        arguments.append(_decode(values[at]))
                at = step.keywords_at
                named = {name: _decode(values[at + i]) for i, name in enumerate(step.keywords)} if step.keywords else None
            except CodecError as e:
                self._function = step.function
                raise _unreadable(step, values, e) from e
            if following:
                if not _immutable(result):
                    arguments += self._received(result, step)
                elif type(result) is tuple:
                    arguments += result
                else:
                    arguments.append(result)
            following = True
            self._function = step.function
            if step.function.main is not None:
                sys.modules["__main__"] = step.function.main
            result = step.call(*arguments) if named is None else step.call(*arguments, **named)
        return result

    def _received(self, result: Any, step: _Step) -> Tuple[Any, ...]:
        """Return the arguments of a step that the result of the one before would be after a journey to another worker."""
        try:
            encoded = codec.encode(result)
        except Error as e:
            raise failure.ResultError(e)
        try:
            return arguments_of(encoded, self._host)
        except CodecError as e:
            upstream, self._function = f"{self.function_name}@{self.function_version}", step.function
            read_by = f"{step.function.name}@{step.function.version}"
            raise CodecError(f"what {upstream} returned, an argument of {read_by}, cannot be read: {e}") from e

    def _fail(self, id: bytes, exception: BaseException) -> None:
        """Answer with what a function raised."""
        if self._forked:
            _leave_child(exception)
        stop_timers_surely()
        error, values = failure.describe(exception, self.function_name, self.function_version)
        del exception
        self._finish()
        header = frame_pb2.Header(error=error)
        header.MergeFromString(id)
        self._channel.send_parts(frame.pack(header, values))
        self._baseline.set_back()

    def _finish(self) -> None:
        """Pass on what has been printed. In a forked child that has left the function: end it."""
        if self._forked:
            _leave_child(None)
        if self.stdout.pending:
            self.stdout.flush()
        if self.stderr.pending:
            self.stderr.flush()
        if sys.stdout is not self.stdout:
            sys.stdout = self.stdout
        if sys.stderr is not self.stderr:
            sys.stderr = self.stderr

    def _log(self, stream: int, text: str) -> bool:
        function = self._function
        header = frame_pb2.Header()
        log = header.log
        log.run_id = self.run_id
        if function is not None:
            log.function = function.name
            log.version = function.version
        log.stream = stream  # type: ignore[assignment]
        try:
            log.text = text
        except UnicodeEncodeError:  # lone surrogates
            log.text = text.encode("utf-8", "backslashreplace").decode()
        return self._channel.try_send(header)

    # Forks of user code. A child can be terminated from its first moment on, so the signal is held back until it can be.

    def _before_fork(self) -> None:
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})

    def _after_fork(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _forked_child(self) -> None:
        self._forked = True
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is ignore_termination:
                signal.signal(number, signal.SIG_DFL)
        self._after_fork()
        self._channel.leave()
        self.stdout.leave_to_descriptor()
        self.stderr.leave_to_descriptor()


def _unreadable(step: _Step, values: List[Buffer], error: CodecError) -> CodecError:
    """Return the error about an argument that cannot be read, with its place."""
    place = "an argument"
    for at in range(step.first, step.keywords_at + len(step.keywords)):
        try:
            _decode(values[at])
        except CodecError:
            named = at - step.keywords_at
            place = f"argument {step.keywords[named]!r}" if named >= 0 else f"argument {at - step.first + 1}"
            break
    return CodecError(f"{place} of {step.function.name}@{step.function.version} cannot be read: {error}")


_RUN_ID_BYTES = 16
_TAIL_BYTES = 9  # of an Invoke: the deadline, a tag and six bytes; the attempt, a tag and one byte

Located = Tuple[bytes, int, int, int]


def _locate(whole: bytes) -> Optional[Located]:
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


def ignore_termination(*_: object) -> None:
    """What a worker does on SIGTERM and SIGHUP: nothing. With SIG_IGN, programs that it starts would ignore them too."""


def _leave_child(exception: Optional[BaseException]) -> None:
    """End a process that a function has forked and that has come out of the function, as the end of a program would."""
    status = 0
    if isinstance(exception, SystemExit):
        status = exception.code if isinstance(exception.code, int) else int(exception.code is not None)
    elif exception is not None:
        status = 1
        traceback.print_exception(type(exception), exception, exception.__traceback__)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 0xFF)
