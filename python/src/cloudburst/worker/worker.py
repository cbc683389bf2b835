"""The loop of a worker: it takes orders from the executor, runs functions and answers.

The orders that repeat, invocations of the same functions with arguments of the same sizes, are recognised by their bytes:
what is read out of such a header once is kept, and the header is not parsed again.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import sys
import traceback
from contextvars import copy_context
from struct import Struct
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Union

from cloudburst import codec, frame
from cloudburst.blocking import set_strategy
from cloudburst.call import set_parent
from cloudburst.codec import Buffer, Encoded
from cloudburst.errors import Cancelled, CodecError, Error, FrameError
from cloudburst.frame import varint
from cloudburst.v1 import error_pb2, frame_pb2
from cloudburst.worker import failure
from cloudburst.worker.baseline import Baseline, stop_timers, stop_timers_surely
from cloudburst.worker.cancel import SIGNAL, Cancels
from cloudburst.worker.channel import Channel, Frame
from cloudburst.worker.context import set_host
from cloudburst.worker.coroutines import Begun, Loop
from cloudburst.worker.functions import Functions
from cloudburst.worker.host import Host
from cloudburst.worker.invocation import Invocation, begin, beside, current, enter, locate, seen, stack
from cloudburst.worker.library import UserLibrary
from cloudburst.worker.logs import LogStream
from cloudburst.worker.outlet import Outlet, streamed
from cloudburst.worker.plan import Plan, Step, unreadable
from cloudburst.worker.upstream import arguments_of
from cloudburst.worker.waiting import Waiting

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


class Worker:
    """A worker process. Its loop is owned by the main thread."""

    def __init__(self, sock: socket.socket, number: int, member: str) -> None:
        self._channel = Channel(sock)
        self._functions = Functions()
        self._plans: Dict[bytes, Plan] = {}
        self._host = Host(self._channel, (member, number))
        self._library = UserLibrary(self._host)
        self._event_loop = Loop(self._channel)
        self._cancels = Cancels(self._channel)
        self._forked = False
        self._mask: Iterable[int] = ()  # of signals, while a fork holds one back
        self.stdout = LogStream("<stdout>", frame_pb2.STREAM_STDOUT, 1, self._log, beside)
        self.stderr = LogStream("<stderr>", frame_pb2.STREAM_STDERR, 2, self._log, beside)

    # The loop.

    def run(self) -> None:
        """Run functions until the executor ends the socket. Raises FrameError or OSError when it breaks before."""
        set_host(self._host)
        os.register_at_fork(before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._forked_child)
        sys.stdout = sys.__stdout__ = self.stdout  # type: ignore[misc,assignment]
        sys.stderr = sys.__stderr__ = self.stderr  # type: ignore[misc,assignment]
        signal.signal(SIGNAL, self._cancels.handle)
        self._baseline = Baseline()
        self._baseline.keep_what_imports_change()
        self._fresh = copy_context()  # that of no function, with what loading functions has changed in it
        set_strategy(Waiting(self._channel, self._cancels, self._carry_out))
        set_parent(_current_run)
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
        elif body == "credit":
            self._channel.grant(header.credit)
        elif body not in ("done", "error", "cells", "messages", "cancel"):  # what comes too late is let go
            raise FrameError(f"the executor sent a {body}")

    def _carry_out(self, order: Union[bytes, Frame]) -> None:
        """Carry out an order while an invocation waits. A function finds the process as it would without that one."""
        if not isinstance(order, bytes) and order[0].WhichOneof("body") != "invoke":
            self._take(order, None)
            return
        self._flush()  # what the host has printed so far
        streams, main = (sys.stdout, sys.stderr), sys.modules.get("__main__")
        sys.stdout, sys.stderr = self.stdout, self.stderr
        aside = self._baseline.lay_aside()
        frames = _frames()
        self._baseline.deepen(frames)
        try:
            if not isinstance(order, bytes) or not self._run_known(order):
                self._take(
                    frame.parse(order) if isinstance(order, bytes) else order, order if isinstance(order, bytes) else None
                )
        finally:
            self._baseline.deepen(-frames)
            self._baseline.take_up(aside)
            sys.stdout, sys.stderr = streams
            if main is not None:
                sys.modules["__main__"] = main

    def _run_known(self, whole: bytes) -> bool:
        """Run an invocation whose like has been seen before; report whether it was one."""
        located = locate(whole)
        if located is None:
            return False
        key, id_end, run_at, end = located
        plan = self._plans.get(key)
        if plan is None:
            return False
        invocation = Invocation(whole[8:id_end], whole, run_at, end, None, len(stack))
        begin(invocation)
        self._answer(invocation, plan, [whole[end + a : end + b] for a, b in plan.cuts])
        return True

    def _run_new(self, header: frame_pb2.Header, values: List[Buffer], whole: Optional[bytes]) -> None:
        if not stack and self._runs_beside(header):
            self._run_beside(header, values)
            return
        invocation = Invocation(b"\x08" + varint(header.id), b"", 0, 0, header.invoke, len(stack))
        begin(invocation)
        try:
            plan = self._plan(invocation, header)
        except BaseException as e:
            self._fail(invocation, e)
        else:
            self._baseline.take()
            if len(stack) == 1:
                self._fresh = copy_context()
            located = locate(whole) if whole is not None else None
            if located is not None:
                if len(self._plans) >= _PLANS_MAX:
                    self._plans.clear()
                self._plans[located[0]] = plan
            self._answer(invocation, plan, values)

    def _plan(self, invocation: Invocation, header: frame_pb2.Header) -> Plan:
        steps: List[Step] = []
        at = 0
        for step in header.invoke.steps:
            function = invocation.function = self._functions.get(step.function, step.version)
            call = function.target(self._library)
            if function.runs_on and not invocation.beside:
                last = len(steps) + 1 == len(header.invoke.steps)
                call = self._running(call, invocation, header.invoke.stream_credit if last else 0)
            steps.append(Step(step, at, function, call, [] if function.plain else [self._library]))
            at += step.positional + len(step.keywords)
        if at != len(header.sizes) or not steps:
            raise FrameError(
                f"an invocation of {len(steps)} functions with {at} arguments came with {len(header.sizes)} values"
            )
        return Plan(steps, header.sizes)

    def _running(self, call: Callable[..., Any], invocation: Invocation, credit: int) -> Callable[..., Any]:
        """Return what runs what a coroutine or generator function returns: to its end, or item by item if there is credit."""
        if not credit:
            return self._event_loop.ending(call)
        outlet = Outlet(self._channel, invocation, credit)
        self._channel.outlets[invocation.number] = outlet
        return streamed(call, outlet, self._event_loop.to_end)

    def _answer(self, invocation: Invocation, plan: Plan, values: List[Buffer]) -> None:
        """Run the steps and send what comes of it."""
        failed: Optional[BaseException] = None
        try:
            try:
                encoded = self._run(invocation, plan, values)
            except BaseException as e:
                failed = e
            invocation.interruptible = False
        except Cancelled as e:  # it came at this very moment; it does not come twice
            failed = e
        if failed is not None:
            self._fail(invocation, failed)
            del failed  # which refers to this frame
            return
        self._finish()
        self._send_result(invocation.id, encoded)
        self._leave()

    def _send_result(self, id: bytes, encoded: codec.Encoded) -> None:
        if type(encoded) is bytes:
            size = len(encoded)
            head = id + (_DONE[size] if size < 256 else _done(size))
            self._channel.send(_pack_prefix(len(head), size) + head + encoded)
        else:
            size = codec.size_of(encoded)
            head = id + _done(size)
            self._channel.send_parts([_pack_prefix(len(head), size) + head, *encoded])

    def _run(self, invocation: Invocation, plan: Plan, values: List[Buffer]) -> Encoded:
        """Run the steps, and return the encoded result."""
        invocation.interruptible = True
        if self._cancels.told:
            self._cancels.check()
        context = copy_context() if len(stack) == 1 else self._fresh.copy()
        result = context.run(self._run_steps, invocation, plan.steps, values)
        try:
            encoded = _encode(result)
        except Error as e:
            raise failure.ResultError(e)
        stop_timers()
        return encoded

    def _run_steps(self, invocation: Invocation, steps: List[Step], values: List[Buffer]) -> Any:
        enter(invocation)
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
                invocation.function = step.function
                raise unreadable(step, values, e) from e
            if following:
                if not _immutable(result):
                    arguments += self._received(result, invocation, step)
                elif type(result) is tuple:
                    arguments += result
                else:
                    arguments.append(result)
            following = True
            invocation.function = step.function
            if step.function.main is not None:
                sys.modules["__main__"] = step.function.main
            result = step.call(*arguments) if named is None else step.call(*arguments, **named)
        return result

    def _received(self, result: Any, invocation: Invocation, step: Step) -> Tuple[Any, ...]:
        """Return the arguments of a step that the result of the one before would be after a journey to another worker."""
        try:
            encoded = codec.encode(result)
        except Error as e:
            raise failure.ResultError(e)
        try:
            return arguments_of(encoded, self._host)
        except CodecError as e:
            upstream = f"{invocation.function_name}@{invocation.function_version}"
            invocation.function = step.function
            read_by = f"{step.function.name}@{step.function.version}"
            raise CodecError(f"what {upstream} returned, an argument of {read_by}, cannot be read: {e}") from e

    def _fail(self, invocation: Invocation, exception: BaseException) -> None:
        """Answer with what a function raised."""
        if self._forked:
            _leave_child(exception)
        stop_timers_surely()
        error, values = failure.describe(exception, invocation.function_name, invocation.function_version)
        del exception
        self._finish()
        self._send_error(invocation.id, error, values)
        self._leave()

    def _send_error(self, id: bytes, error: error_pb2.Error, values: List[bytes]) -> None:
        header = frame_pb2.Header(error=error)
        header.MergeFromString(id)
        self._channel.send_parts(frame.pack(header, values))

    # Coroutine functions, of which many invocations run beside each other in the event loop.

    def _runs_beside(self, header: frame_pb2.Header) -> bool:
        steps = header.invoke.steps
        return len(steps) == 1 and self._functions.runs_beside(steps[0].function, steps[0].version)

    def _run_beside(self, header: frame_pb2.Header, values: List[Buffer]) -> None:
        """Run an invocation, and those that come meanwhile, until none runs."""
        self._channel.beside = True
        try:
            first = self._begun(header, values)
            if first is None:
                return
            self._baseline.take()
            self._event_loop.serve(first, self._take_beside)
        finally:
            self._channel.beside = False
        stop_timers_surely()
        self._finish()
        self._baseline.set_back()

    def _take_beside(self, order: Frame) -> None:
        header, values = order
        if header.HasField("cancel"):
            self._event_loop.cancel(header.cancel.id)
        elif header.HasField("invoke") and self._runs_beside(header):
            begun = self._begun(header, values)
            if begun is not None:
                self._event_loop.begin(begun)
        else:
            self._take(order, None)

    def _begun(self, header: frame_pb2.Header, values: List[Buffer]) -> Optional[Begun]:
        """Return an invocation that is to run in the event loop; None when it has been answered, since it cannot run."""
        invocation = Invocation(b"\x08" + varint(header.id), b"", 0, 0, header.invoke, 0)
        invocation.beside = True
        seen(header.id)
        cancelled = self._cancels.told.pop(header.id, None) is not None
        try:
            plan = self._plan(invocation, header)
        except BaseException as e:
            self._fail_beside(invocation, e)
            return None
        call = functools.partial(self._run_steps, invocation, plan.steps, values)
        return Begun(invocation, call, self._answer_beside, self._fail_beside, cancelled)

    def _answer_beside(self, invocation: Invocation, result: Any) -> None:
        try:
            encoded = _encode(result)
        except Error as e:
            self._fail_beside(invocation, failure.ResultError(e))
            return
        self._finish_beside()
        self._send_result(invocation.id, encoded)

    def _fail_beside(self, invocation: Invocation, exception: BaseException) -> None:
        if self._forked:
            _leave_child(exception)
        error, values = failure.describe(exception, invocation.function_name, invocation.function_version)
        self._finish_beside()
        self._send_error(invocation.id, error, values)

    def _finish_beside(self) -> None:
        """Pass on what the invocation whose task calls has printed. In a child that it has forked: end that."""
        if self._forked:
            _leave_child(None)
        self.stdout.flush()
        self.stderr.flush()

    def _leave(self) -> None:
        """Take the invocation that has been answered off the stack."""
        invocation = stack.pop()
        if self._channel.outlets:
            self._channel.outlets.pop(invocation.number, None)
        self._cancels.ended(invocation)
        if not stack:
            self._baseline.set_back()

    def _finish(self) -> None:
        """Pass on what has been printed. In a forked child that has left the function: end it."""
        if self._forked:
            _leave_child(None)
        self._flush()
        if sys.stdout is not self.stdout:
            sys.stdout = self.stdout
        if sys.stderr is not self.stderr:
            sys.stderr = self.stderr

    def _flush(self) -> None:
        if self.stdout.pending:
            self.stdout.flush()
        if self.stderr.pending:
            self.stderr.flush()

    def _log(self, stream: int, text: str) -> bool:
        header = frame_pb2.Header()
        log = header.log
        invocation = current()
        if invocation is not None:
            log.run_id = invocation.run_id
            log.function = invocation.function_name
            log.version = invocation.function_version
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


def _current_run() -> Optional[bytes]:
    invocation = current()
    return None if invocation is None else invocation.run_id


def _frames() -> int:
    """Return how many frames the invocation that waits has, with some to spare for those that only the interpreter sees."""
    frame, frames, bottom = sys._getframe(2), 2, Worker._carry_out.__code__
    while frame is not None and frame.f_code is not bottom:
        frame, frames = frame.f_back, frames + 1  # type: ignore[assignment]
    return frames + frames // 2


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
