"""Servers that go away, hang up, send garbage and come back; programs that fork and end."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import struct
import threading
import time
from typing import Any, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudburst import errors, transport
from cloudburst.call import result_key
from cloudburst.cells import new_cell
from cloudburst.connection import Connection
from cloudburst.v1 import frame_pb2
from echo_calls import call, connection_at, in_threads
from frame_server import FrameServer, Peer, serving


def test_a_call_survives_the_server(connection: Connection, server: FrameServer) -> None:
    """The call goes out again under the same run id, and says so: what may run at most once is not run again for it."""
    server.handler = lambda peer, header, values: peer.number == 1  # the first connection answers nothing
    future = call(connection, "again")
    server.wait_for(lambda: server.calls(), "the call")
    threading.Timer(0.05, server.restart).start()
    assert future.get() == "again"
    first, second = server.calls()
    assert (first.resent, second.resent) == (False, True)
    second.resent = False
    assert first == second
    assert len(first.run_id) == 16


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_call_is_sent_again_again(connection: Connection, server: FrameServer, size: int) -> None:
    """What is sent a third time says no more than the second time, and the arguments are the same, however large."""
    server.handler = lambda peer, header, values: peer.number < 3
    future = call(connection, b"x" * size)
    for number in (1, 2):
        server.wait_for(lambda number=number: len(server.calls()) == number, "the call")  # type: ignore[misc]
        threading.Timer(0.05, server.restart).start()
        with contextlib.suppress(errors.DeadlineExceededError):
            future.get(0.5)
    assert future.get() == b"x" * size
    assert [sent.resent for sent in server.calls()] == [False, True, True]


def test_calls_nobody_waits_for_go_out_again(connection: Connection, server: FrameServer) -> None:
    server.handler = lambda peer, header, values: peer.number == 1
    futures = [call(connection, i) for i in range(20)]
    server.wait_for(lambda: len(server.calls()) == 20, "the calls")
    server.restart()
    assert call(connection, "next").get() == "next"
    server.wait_for(lambda: len(server.calls()) == 41, "the calls again")
    assert [future.get() for future in futures] == list(range(20))


def test_threads_survive_the_server(connection: Connection, server: FrameServer) -> None:
    stop = threading.Event()

    def restart() -> None:
        for _ in range(5):
            time.sleep(0.05)
            server.restart()
        stop.set()

    restarting = threading.Thread(target=restart, daemon=True)
    restarting.start()

    def run(thread: int) -> None:
        i = 0
        while not stop.is_set() or i < 50:
            assert call(connection, (thread, i)).get(30) == (thread, i)
            i += 1

    in_threads(8, run)
    restarting.join(30)


def test_a_registration_is_not_repeated(connection: Connection, server: FrameServer) -> None:
    def close(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        peer.close()
        return True

    connection.connect()
    server.handler = close
    with pytest.raises(errors.UnavailableError, match=r"delete dag 'd'.*may or may not have been done"):
        connection.delete_dag("d")
    server.handler = None
    assert len([1 for _, header in server.requests if header.HasField("delete_dag")]) == 1


def test_a_stale_connection_is_noticed_before_a_registration(connection: Connection, server: FrameServer) -> None:
    assert call(connection, 1).get() == 1
    server.restart()
    with pytest.raises(errors.DagNotFoundError):
        connection.delete_dag("d")


def test_a_server_that_stays_away(connection: Connection, server: FrameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_RECONNECT_SECONDS", 0.2)
    assert call(connection, 1).get() == 1
    server.close()
    with pytest.raises(errors.UnavailableError, match="cloudburst serve"):
        call(connection, 2).get()


def test_a_server_that_always_hangs_up(connection: Connection, server: FrameServer) -> None:
    def close(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        peer.close()
        return True

    server.handler = close
    with pytest.raises(errors.UnavailableError, match="lost before the answer"):
        call(connection, 1).get()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 64,
        struct.pack("<II", 1 << 30, 0),
        struct.pack("<II", 0, 1 << 30),
        struct.pack("<II", 3, 0) + b"\xff\xff\xff",
        struct.pack("<II", 4, 5) + b"\x08\x01\x22\x00hello",  # a payload that no value owns
        struct.pack("<II", 0, 0),
        struct.pack("<II", 50, 0) + b"half",
    ],
)
def test_garbage_ends_the_connection_and_no_more(connection: Connection, server: FrameServer, garbage: bytes) -> None:
    def spoil(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        if peer.number > 1:
            return False
        peer.send_raw(garbage)
        if len(garbage) == 8 and garbage == bytes(8):
            peer.reply(header.id, bytes(values[0]))  # an empty frame is one
        else:
            peer.close()
        return True

    server.handler = spoil
    assert [call(connection, i).get() for i in range(10)] == list(range(10))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_from_a_server(data: bytes) -> None:
    def spoil(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        if peer.number == 1:
            peer.send_raw(data)
            peer.close()
            return True
        return False

    with serving(spoil) as server:
        connection = connection_at(server)
        try:
            assert call(connection, "right").get(20) == "right"
        except errors.Error:
            # The bytes may happen to be an answer to this very request.
            assert data
        connection.close()


def test_arrays_of_a_call_may_change_once_it_is_sent(connection: Connection, server: FrameServer) -> None:
    numpy = pytest.importorskip("numpy")
    server.handler = lambda peer, header, values: peer.number == 1
    array = numpy.zeros(50_000)
    future = call(connection, array)
    server.wait_for(lambda: server.calls(), "the call")
    array[:] = 1
    server.restart()
    assert float(future.get().sum()) == 0, "what is sent again is what was sent"


def test_a_call_with_arguments_too_large_to_keep(connection: Connection, server: FrameServer) -> None:
    """Its result is asked for by its key when the connection was lost."""
    numpy = pytest.importorskip("numpy")
    server.handler = lambda peer, header, values: peer.number == 1
    future = call(connection, numpy.zeros(1 << 20))
    server.wait_for(lambda: server.calls(), "the call")
    key = result_key(server.calls()[0].run_id)
    cell, values = new_cell(key, "from the store")
    connection_at(server).put((cell,), values)
    server.restart()
    assert future.get() == "from the store"


def test_fork(connection: Connection, server: FrameServer) -> None:
    """The child opens a connection of its own, and takes up what the parent waits for."""
    held: List[Tuple[Peer, int, bytes]] = []

    def hold_first(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        if peer.number == 1 and not held:
            held.append((peer, header.id, bytes(values[0])))
            return True
        return False

    server.handler = hold_first
    future = call(connection, "held")
    server.wait_for(lambda: held, "the call")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(30)
            if [call(connection, i).get() for i in range(20)] == list(range(20)) and future.get() == "held":
                status = 0
        finally:
            os._exit(status)
    assert [call(connection, -i).get() for i in range(20)] == [-i for i in range(20)]
    assert os.waitpid(child, 0)[1] == 0
    assert len(server.peers) == 2
    peer, id, value = held[0]
    peer.reply(id, value)
    assert future.get() == "held"
    calls = [(number, header.call.run_id) for number, header in server.requests]
    assert len({run_id for _, run_id in calls}) == len(calls) - 1, "only the call that both wait for has one run id"


def test_fork_while_threads_call(connection: Connection) -> None:
    """Whatever the locks of other threads are at that moment."""
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            call(connection, 1).get(30)

    threads = [threading.Thread(target=busy, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    signal.alarm(30)
                    status = 0 if call(connection, "child").get() == "child" else 1
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def test_close(connection: Connection, server: FrameServer) -> None:
    server.handler = lambda peer, header, values: True
    future = call(connection, 1)
    waiting = threading.Thread(target=lambda: pytest.raises(errors.CancelledError, future.get), daemon=True)
    waiting.start()
    server.wait_for(lambda: server.calls(), "the call")
    connection.close()
    connection.close()
    waiting.join(10)
    assert not waiting.is_alive()
    with pytest.raises(errors.CancelledError):
        call(connection, 2)


def test_a_client_that_is_dropped_closes_its_connection(server: FrameServer) -> None:
    connection = connection_at(server)
    call(connection, 1).get()
    del connection
    gc.collect()
    assert server.peers[0].ended.wait(10)
