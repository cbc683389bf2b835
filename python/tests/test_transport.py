"""The client's connection, shared by threads: every thread gets its own answer, in time or not at all."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import struct
import threading
import time
from typing import Any, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudburst import codec, errors, transport
from cloudburst.call import CallHead, new_run_id
from cloudburst.connection import Connection
from cloudburst.future import Future
from cloudburst.request import Request, varint
from cloudburst.v1 import frame_pb2
from echo_calls import ECHO, call, in_threads
from frame_server import FrameServer, Peer


def test_answers_out_of_order(connection: Connection, server: FrameServer) -> None:
    held: List[Tuple[int, Any]] = []

    def hold(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        held.append((header.id, bytes(values[0])))
        if len(held) == 50:
            random.Random(1).shuffle(held)
            for id, value in held:
                peer.reply(id, value)
        return True

    server.handler = hold
    futures = [call(connection, i) for i in range(50)]
    assert [future.get() for future in futures] == list(range(50))


def test_many_threads_share_a_connection(connection: Connection, server: FrameServer) -> None:
    """Each gets its own answers, whichever thread reads them."""

    def hammer(thread: int) -> None:
        dice = random.Random(thread)
        waiting: List[Tuple[Any, Future[Any]]] = []
        for i in range(120):
            value = (thread, i)
            waiting.append((value, call(connection, value)))
            if dice.random() < 0.6:
                expected, future = waiting.pop(dice.randrange(len(waiting)))
                assert future.get() == expected
        for expected, future in waiting:
            assert future.get(30) == expected

    in_threads(64, hammer)
    assert len(server.peers) == 1


def test_threads_with_deadlines_of_all_lengths(connection: Connection, server: FrameServer) -> None:
    """A thread that gives up passes the lead on, and no answer is lost to the others."""

    def slowly(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        value = bytes(values[0])
        threading.Timer(random.random() * 0.02, peer.reply, (header.id, value)).start()
        return True

    server.handler = slowly

    def impatient(thread: int) -> None:
        dice = random.Random(thread)
        for i in range(40):
            future = call(connection, (thread, i))
            for _ in range(3):
                with contextlib.suppress(errors.DeadlineExceededError):
                    assert future.get(dice.random() * 0.01) == (thread, i)
            assert future.get(30) == (thread, i)

    in_threads(16, impatient)


def test_a_deadline_among_answers_for_others(connection: Connection, server: FrameServer) -> None:
    """A thread that leads while answers for others come without a pause gives up in time."""
    silent = threading.Event()

    def never_that_one(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        return codec.decode(bytes(values[0])) == "never"

    server.handler = never_that_one

    def chat(_: int) -> None:
        while not silent.is_set():
            call(connection, 1).get(30)

    def give_up(_: int) -> None:
        try:
            begin = time.monotonic()
            with pytest.raises(errors.DeadlineExceededError):
                call(connection, "never").get(0.2)
            assert time.monotonic() - begin < 5
        finally:
            silent.set()

    in_threads(5, lambda i: give_up(i) if i == 0 else chat(i))


def test_several_threads_wait_for_one_future(connection: Connection, server: FrameServer) -> None:
    waiting = threading.Barrier(9)
    ids: List[Tuple[Peer, int]] = []

    def keep(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        ids.append((peer, header.id))
        return True

    server.handler = keep
    future = call(connection, "once")

    def wait(_: int) -> None:
        if _ == 8:
            waiting.wait()
            server.wait_for(lambda: ids, "the call")
            ids[0][0].result(ids[0][1], ["for all"])
        else:
            waiting.wait()
            assert future.get(30) == ["for all"]

    in_threads(9, wait)


def test_a_late_answer_reaches_nobody(connection: Connection, server: FrameServer) -> None:
    late: List[Tuple[Peer, int]] = []

    def first_is_late(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        if header.HasField("get") and not late:
            late.append((peer, header.id))
            return True
        if late:
            peer.reply(late[0][1], codec.encode("too late"), cells=frame_pb2.Cells())
        return False

    server.handler = first_is_late
    with pytest.raises(errors.DeadlineExceededError, match="get 'key'"):
        connection.get(("key",), timeout=0.05)
    assert [call(connection, i).get() for i in range(20)] == list(range(20))
    assert connection.get(("key",))[0][0].key == "key"


def test_a_future_can_be_asked_again_after_a_timeout(connection: Connection, server: FrameServer) -> None:
    ids: List[Tuple[Peer, int]] = []

    def keep(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        ids.append((peer, header.id))
        return True

    server.handler = keep
    future = call(connection, 1)
    with pytest.raises(TimeoutError):
        future.get(0.01)
    assert not future.done()
    server.wait_for(lambda: ids, "the call")
    ids[0][0].result(ids[0][1], "after all")
    assert future.get(10) == "after all"
    assert future.done()
    assert future.exception() is None


def test_answers_nobody_asked_for(connection: Connection, server: FrameServer) -> None:
    def noisy(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        peer.result(0, "for no request")
        peer.result(header.id + 12345, "for another request")
        peer.result(header.id, "for you")
        peer.result(header.id, "for you again")
        return True

    server.handler = noisy
    assert [call(connection, 0).get() for _ in range(5)] == ["for you"] * 5


def test_large_values(connection: Connection, server: FrameServer) -> None:
    numpy = pytest.importorskip("numpy")
    for size in (0, 1, 31 << 10, 32 << 10, 33 << 10, 1 << 20, 20 << 20):
        value = os.urandom(size)
        assert call(connection, value).get() == value
    array = numpy.arange(1 << 20, dtype="f8")
    numpy.testing.assert_array_equal(call(connection, array).get(), array)


def test_a_value_over_the_limit(connection: Connection) -> None:
    with pytest.raises(errors.TooLargeError, match=r"67117057 bytes; the limit is 67108864"):
        call(connection, bytes((64 << 20) + (8 << 10)))
    assert call(connection, 1).get() == 1, "the connection is as good as before"


def test_many_large_answers_while_sending(connection: Connection, server: FrameServer) -> None:
    """Neither side waits for the other to read first."""
    value = os.urandom(1 << 20)
    futures = [call(connection, value) for _ in range(60)]
    assert all(future.get() == value for future in futures)


def test_outstanding_requests_are_bounded(connection: Connection, server: FrameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "OUTSTANDING_MAX", 300)
    server.handler = lambda peer, header, values: True  # never answers
    futures = [call(connection, i) for i in range(300)]
    with pytest.raises(errors.NoResourcesError, match="300 requests"):
        call(connection, 1, seconds=-1.9)
    assert not any(future.done() for future in futures)


def test_room_is_made_by_answers(connection: Connection, server: FrameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "OUTSTANDING_MAX", 300)
    futures = [call(connection, i) for i in range(2000)]
    assert [future.get() for future in futures] == list(range(2000))


def test_errors_are_raised_as_what_they_are(connection: Connection, server: FrameServer) -> None:
    def fail(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        peer.fail(header.id, errors.FunctionNotFoundError('function "echo" not found'))
        return True

    server.handler = fail
    future = call(connection, 1)
    for _ in range(2):
        with pytest.raises(errors.FunctionNotFoundError, match="echo"):
            future.get()
    assert isinstance(future.exception(), RuntimeError)


def test_interrupt_while_waiting(connection: Connection, server: FrameServer) -> None:
    """Ctrl-C in the thread that leads: it raises, and the connection goes on."""
    first: List[Tuple[Peer, int]] = []

    def hold_first(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        if not first:
            first.append((peer, header.id))
            return True
        return False

    server.handler = hold_first
    future = call(connection, 1)
    server.wait_for(lambda: first, "the call")
    # A shell without job control starts what runs in the background with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            future.get()
    finally:
        signal.signal(signal.SIGINT, before)
    assert call(connection, 2).get() == 2
    first[0][0].result(first[0][1], "still")
    assert future.get() == "still"


@settings(deadline=None)
@given(
    st.integers(0, 1 << 62),
    st.lists(st.integers(0, 1 << 20), max_size=5),
    st.text("abcdef", min_size=1, max_size=200),
    st.booleans(),
    st.integers(0, 1 << 40),
)
def test_headers_of_calls_are_protobuf(id: int, sizes: List[int], name: str, store: bool, timeout: int) -> None:
    wanted = frame_pb2.Call(function=name, store=store, timeout_milliseconds=timeout)
    wanted.arguments.add(positional=len(sizes))
    made = CallHead(wanted, name)
    run_id = new_run_id()
    values = [bytes(n) for n in sizes]
    request = made.request(run_id, values, 1.0)
    data = request.frame if isinstance(request.frame, bytes) else b"".join(request.frame or [])
    header_bytes, payload_bytes = struct.unpack_from("<II", data)
    header = frame_pb2.Header.FromString(data[8 : 8 + header_bytes])
    wanted.run_id = run_id
    assert header.call == wanted
    assert list(header.sizes) == sizes
    assert varint(header.id) == request.number
    assert payload_bytes == sum(sizes) == len(data) - 8 - header_bytes
    assert request.size == len(data)
    assert frame_pb2.Header.FromString(b"\x08" + varint(id)).id == id


def test_pending_requests_show_what_they_are(connection: Connection, server: FrameServer) -> None:
    server.handler = lambda peer, header, values: True
    _, request = connection.call(ECHO, [codec.encode(1)], 1.0)
    assert isinstance(request, Request)
    assert repr(request) == "<call echo: waiting>"
