"""The client's connection, against a server that behaves in every way that a node or a network can."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import socket
import struct
import threading
import time
from typing import Any, Callable, Iterator, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudburst import codec, errors, transport
from cloudburst.call import CallHead, new_run_id
from cloudburst.endpoint import locator
from cloudburst.future import Future
from cloudburst.node import Node
from cloudburst.request import Request, varint
from cloudburst.v1 import frame_pb2
from frame_server import FrameServer, Peer, serving


@pytest.fixture
def server() -> Iterator[FrameServer]:
    with serving() as running:
        yield running


@pytest.fixture
def node(server: FrameServer) -> Iterator[Node]:
    connected = node_at(server)
    yield connected
    connected.close()


def node_at(server: FrameServer) -> Node:
    return Node(locator(server.address, "token"))


def head(name: str = "echo", positional: int = 1, **options: Any) -> CallHead:
    call = frame_pb2.Call(function=name, **options)
    call.arguments.add(positional=positional)
    return CallHead(call, f"call {name}")


ECHO = head()


def call(node: Node, value: Any, seconds: float = 30.0) -> Future[Any]:
    run_id, request = node.call(ECHO, [codec.encode_parts(value)], seconds)
    return Future.of_run(node, run_id, request)


def in_threads(count: int, run: Callable[[int], None]) -> None:
    failures: List[BaseException] = []

    def guarded(i: int) -> None:
        try:
            run(i)
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=guarded, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    if failures:
        raise failures[0]


def test_handshake(server: FrameServer, node: Node) -> None:
    assert call(node, 42).get() == 42
    assert (
        server.peers[0].head
        == (
            f"GET /v1/stream HTTP/1.1\r\nHost: {server.address}\r\nConnection: Upgrade\r\nUpgrade: cloudburst/1\r\n"
            "Authorization: Bearer token\r\n\r\n"
        ).encode()
    )


def test_frames_in_the_packet_of_the_handshake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_at_once() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(4096)
                done = frame_pb2.Header(id=999, done=frame_pb2.Done()).SerializeToString()
                sock.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: cloudburst/1\r\n\r\n"
                    + struct.pack("<II", len(done), 0)
                    + done
                )
                peer = Peer(sock, 1)
                from cloudburst.frame import FrameReader

                header, values = FrameReader(sock).read()
                peer.reply(header.id, bytes(values[0]))
                sock.recv(1)

        thread = threading.Thread(target=answer_at_once, daemon=True)
        thread.start()
        node = Node(locator(f"127.0.0.1:{listener.getsockname()[1]}"))
        assert call(node, "there").get() == "there"
        node.close()
        thread.join(10)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(errors.UnavailableError, match=rf"127\.0\.0\.1:{port}: .*cloudburst serve"):
        Node(locator(f"127.0.0.1:{port}")).connect()


@pytest.mark.parametrize(
    ("refusal", "error", "match"),
    [
        (
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno",
            errors.AuthenticationError,
            "CLOUDBURST_TOKEN.*cloudburst/token",
        ),
        (
            b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 13\r\n\r\nspeaks only 2",
            errors.IncompatibleError,
            "speaks only 2",
        ),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\ndraining", errors.UnavailableError, "draining"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", errors.IncompatibleError, "no Cloudburst node.*200 OK"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", errors.IncompatibleError, "SSH-2.0"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", errors.IncompatibleError, "no Cloudburst node"),
        (b"HTTP/1.1 abc\r\n\r\n", errors.IncompatibleError, "no Cloudburst node"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20000, errors.IncompatibleError, "no end"),
        (b"HT", errors.UnavailableError, "closed the connection"),
    ],
)
def test_refusals(server: FrameServer, refusal: bytes, error: type, match: str) -> None:
    server.refusal = refusal
    with pytest.raises(error, match=match):
        node_at(server).connect()


def test_a_server_that_never_answers_the_handshake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        node = Node(locator(f"127.0.0.1:{silent.getsockname()[1]}"), timeout=0.1)
        with pytest.raises(errors.UnavailableError, match="did not answer in time"):
            node.connect()


def test_answers_out_of_order(node: Node, server: FrameServer) -> None:
    held: List[Tuple[int, Any]] = []

    def hold(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        held.append((header.id, bytes(values[0])))
        if len(held) == 50:
            random.Random(1).shuffle(held)
            for id, value in held:
                peer.reply(id, value)
        return True

    server.handler = hold
    futures = [call(node, i) for i in range(50)]
    assert [future.get() for future in futures] == list(range(50))


def test_many_threads_share_a_connection(node: Node, server: FrameServer) -> None:
    """Each gets its own answers, whoever reads them."""

    def hammer(thread: int) -> None:
        dice = random.Random(thread)
        waiting: List[Tuple[Any, Future[Any]]] = []
        for i in range(120):
            value = (thread, i)
            waiting.append((value, call(node, value)))
            if dice.random() < 0.6:
                expected, future = waiting.pop(dice.randrange(len(waiting)))
                assert future.get() == expected
        for expected, future in waiting:
            assert future.get(30) == expected

    in_threads(64, hammer)
    assert len(server.peers) == 1


def test_threads_with_deadlines_of_all_lengths(node: Node, server: FrameServer) -> None:
    """Whoever gives up passes the lead on, and no answer is lost to the others."""

    def slowly(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        value = bytes(values[0])
        threading.Timer(random.random() * 0.02, peer.reply, (header.id, value)).start()
        return True

    server.handler = slowly

    def impatient(thread: int) -> None:
        dice = random.Random(thread)
        for i in range(40):
            future = call(node, (thread, i))
            for _ in range(3):
                with contextlib.suppress(errors.DeadlineExceededError):
                    assert future.get(dice.random() * 0.01) == (thread, i)
            assert future.get(30) == (thread, i)

    in_threads(16, impatient)


def test_a_deadline_among_answers_for_others(node: Node, server: FrameServer) -> None:
    """Whoever leads while answers for others come without a pause gives up in time."""
    silent = threading.Event()

    def never_that_one(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        return codec.decode(bytes(values[0])) == "never"

    server.handler = never_that_one

    def chat(_: int) -> None:
        while not silent.is_set():
            call(node, 1).get(30)

    def give_up(_: int) -> None:
        try:
            begin = time.monotonic()
            with pytest.raises(errors.DeadlineExceededError):
                call(node, "never").get(0.2)
            assert time.monotonic() - begin < 5
        finally:
            silent.set()

    in_threads(5, lambda i: give_up(i) if i == 0 else chat(i))


def test_several_threads_wait_for_one_future(node: Node, server: FrameServer) -> None:
    waiting = threading.Barrier(9)
    ids: List[Tuple[Peer, int]] = []

    def keep(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        ids.append((peer, header.id))
        return True

    server.handler = keep
    future = call(node, "once")

    def wait(_: int) -> None:
        if _ == 8:
            waiting.wait()
            server.wait_for(lambda: ids, "the call")
            ids[0][0].result(ids[0][1], ["for all"])
        else:
            waiting.wait()
            assert future.get(30) == ["for all"]

    in_threads(9, wait)


def test_a_late_answer_reaches_nobody(node: Node, server: FrameServer) -> None:
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
        node.get(("key",), timeout=0.05)
    assert [call(node, i).get() for i in range(20)] == list(range(20))
    assert node.get(("key",))[0][0].key == "key"


def test_a_future_can_be_asked_again_after_a_timeout(node: Node, server: FrameServer) -> None:
    ids: List[Tuple[Peer, int]] = []

    def keep(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        ids.append((peer, header.id))
        return True

    server.handler = keep
    future = call(node, 1)
    with pytest.raises(TimeoutError):
        future.get(0.01)
    assert not future.done()
    server.wait_for(lambda: ids, "the call")
    ids[0][0].result(ids[0][1], "after all")
    assert future.get(10) == "after all"
    assert future.done()
    assert future.exception() is None


def test_answers_nobody_asked_for(node: Node, server: FrameServer) -> None:
    def noisy(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        peer.result(0, "for nobody")
        peer.result(header.id + 12345, "for somebody else")
        peer.result(header.id, "for you")
        peer.result(header.id, "for you again")
        return True

    server.handler = noisy
    assert [call(node, 0).get() for _ in range(5)] == ["for you"] * 5


def test_large_values(node: Node, server: FrameServer) -> None:
    numpy = pytest.importorskip("numpy")
    for size in (0, 1, 31 << 10, 32 << 10, 33 << 10, 1 << 20, 20 << 20):
        value = os.urandom(size)
        assert call(node, value).get() == value
    array = numpy.arange(1 << 20, dtype="f8")
    numpy.testing.assert_array_equal(call(node, array).get(), array)


def test_a_value_over_the_limit(node: Node) -> None:
    with pytest.raises(errors.TooLargeError, match=r"67117057 bytes; the limit is 67108864"):
        call(node, bytes((64 << 20) + (8 << 10)))
    assert call(node, 1).get() == 1, "the connection is as good as before"


def test_many_large_answers_while_sending(node: Node, server: FrameServer) -> None:
    """Neither side waits for the other to read first."""
    value = os.urandom(1 << 20)
    futures = [call(node, value) for _ in range(60)]
    assert all(future.get() == value for future in futures)


def test_outstanding_requests_are_bounded(node: Node, server: FrameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "OUTSTANDING_MAX", 300)
    server.handler = lambda peer, header, values: True  # never answers
    futures = [call(node, i) for i in range(300)]
    with pytest.raises(errors.NoResourcesError, match="300 requests"):
        call(node, 1, seconds=-1.9)
    assert not any(future.done() for future in futures)


def test_room_is_made_by_answers(node: Node, server: FrameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "OUTSTANDING_MAX", 300)
    futures = [call(node, i) for i in range(2000)]
    assert [future.get() for future in futures] == list(range(2000))


def test_a_call_survives_the_server(node: Node, server: FrameServer) -> None:
    """The call goes out again under the same run id."""
    server.handler = lambda peer, header, values: peer.number == 1  # the first connection answers nothing
    future = call(node, "again")
    server.wait_for(lambda: server.calls(), "the call")
    threading.Timer(0.05, server.restart).start()
    assert future.get() == "again"
    first, second = server.calls()
    assert first == second
    assert len(first.run_id) == 16


def test_calls_nobody_waits_for_go_out_again(node: Node, server: FrameServer) -> None:
    server.handler = lambda peer, header, values: peer.number == 1
    futures = [call(node, i) for i in range(20)]
    server.wait_for(lambda: len(server.calls()) == 20, "the calls")
    server.restart()
    assert call(node, "next").get() == "next"
    server.wait_for(lambda: len(server.calls()) == 41, "the calls again")
    assert [future.get() for future in futures] == list(range(20))


def test_threads_survive_the_server(node: Node, server: FrameServer) -> None:
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
            assert call(node, (thread, i)).get(30) == (thread, i)
            i += 1

    in_threads(8, run)
    restarting.join(30)


def test_a_registration_is_not_repeated(node: Node, server: FrameServer) -> None:
    def close(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        peer.close()
        return True

    node.connect()
    server.handler = close
    with pytest.raises(errors.UnavailableError, match=r"delete dag 'd'.*may or may not have been done"):
        node.delete_dag("d")
    server.handler = None
    assert len([1 for _, header in server.requests if header.HasField("delete_dag")]) == 1


def test_a_stale_connection_is_noticed_before_a_registration(node: Node, server: FrameServer) -> None:
    assert call(node, 1).get() == 1
    server.restart()
    with pytest.raises(errors.DagNotFoundError):
        node.delete_dag("d")


def test_a_server_that_stays_away(node: Node, server: FrameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_RECONNECT_SECONDS", 0.2)
    assert call(node, 1).get() == 1
    server.close()
    with pytest.raises(errors.UnavailableError, match="cloudburst serve"):
        call(node, 2).get()


def test_a_server_that_always_hangs_up(node: Node, server: FrameServer) -> None:
    def close(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        peer.close()
        return True

    server.handler = close
    with pytest.raises(errors.UnavailableError, match="lost before the answer"):
        call(node, 1).get()


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
def test_garbage_ends_the_connection_and_no_more(node: Node, server: FrameServer, garbage: bytes) -> None:
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
    assert [call(node, i).get() for i in range(10)] == list(range(10))


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
        node = node_at(server)
        try:
            assert call(node, "right").get(20) == "right"
        except errors.Error:
            # The bytes may happen to be an answer to this very request.
            assert data
        node.close()


def test_errors_are_raised_as_what_they_are(node: Node, server: FrameServer) -> None:
    def fail(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        peer.fail(header.id, errors.FunctionNotFoundError('function "echo" not found'))
        return True

    server.handler = fail
    future = call(node, 1)
    for _ in range(2):
        with pytest.raises(errors.FunctionNotFoundError, match="echo"):
            future.get()
    assert isinstance(future.exception(), RuntimeError)


def test_fork(node: Node, server: FrameServer) -> None:
    """The child opens a connection of its own, and takes up what the parent waits for."""
    held: List[Tuple[Peer, int, bytes]] = []

    def hold_first(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        if peer.number == 1 and not held:
            held.append((peer, header.id, bytes(values[0])))
            return True
        return False

    server.handler = hold_first
    future = call(node, "held")
    server.wait_for(lambda: held, "the call")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(30)
            if [call(node, i).get() for i in range(20)] == list(range(20)) and future.get() == "held":
                status = 0
        finally:
            os._exit(status)
    assert [call(node, -i).get() for i in range(20)] == [-i for i in range(20)]
    assert os.waitpid(child, 0)[1] == 0
    assert len(server.peers) == 2
    peer, id, value = held[0]
    peer.reply(id, value)
    assert future.get() == "held"
    calls = [(number, header.call.run_id) for number, header in server.requests]
    assert len({run_id for _, run_id in calls}) == len(calls) - 1, "only the call that both wait for has one run id"


def test_fork_while_threads_call(node: Node) -> None:
    """Whatever the locks of other threads are at that moment."""
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            call(node, 1).get(30)

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
                    status = 0 if call(node, "child").get() == "child" else 1
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def test_close(node: Node, server: FrameServer) -> None:
    server.handler = lambda peer, header, values: True
    future = call(node, 1)
    waiting = threading.Thread(target=lambda: pytest.raises(errors.CancelledError, future.get), daemon=True)
    waiting.start()
    server.wait_for(lambda: server.calls(), "the call")
    node.close()
    node.close()
    waiting.join(10)
    assert not waiting.is_alive()
    with pytest.raises(errors.CancelledError):
        call(node, 2)


def test_a_client_that_is_dropped_closes_its_connection(server: FrameServer) -> None:
    node = node_at(server)
    call(node, 1).get()
    del node
    gc.collect()
    assert server.peers[0].ended.wait(10)


def test_interrupt_while_waiting(node: Node, server: FrameServer) -> None:
    """Ctrl-C in the thread that leads: it raises, and the connection goes on."""
    first: List[Tuple[Peer, int]] = []

    def hold_first(peer: Peer, header: frame_pb2.Header, values: List[Any]) -> bool:
        if not first:
            first.append((peer, header.id))
            return True
        return False

    server.handler = hold_first
    future = call(node, 1)
    server.wait_for(lambda: first, "the call")
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        future.get()
    assert call(node, 2).get() == 2
    first[0][0].result(first[0][1], "still")
    assert future.get() == "still"


# Event loops.


def test_await(node: Node, server: FrameServer) -> None:
    async def main() -> None:
        assert await call(node, 1) == 1
        assert await asyncio.gather(*[call(node, i) for i in range(200)]) == list(range(200))
        assert [await call(node, i) for i in range(20)] == list(range(20))

    assert call(node, 1).get() == 1
    before = threading.active_count()
    asyncio.run(main())
    asyncio.run(main())
    assert threading.active_count() == before
    assert len(server.peers) == 1


def test_await_while_threads_call(node: Node) -> None:
    async def main() -> None:
        async def client(n: int) -> None:
            for i in range(100):
                assert await call(node, (n, i)) == (n, i)

        await asyncio.gather(*[client(n) for n in range(10)])

    def run(thread: int) -> None:
        if thread < 2:
            asyncio.run(main())
        else:
            for i in range(200):
                assert call(node, (thread, i)).get(30) == (thread, i)

    in_threads(6, run)


def test_await_and_get_in_one_loop(node: Node) -> None:
    async def main() -> None:
        first, second = call(node, "first"), call(node, "second")
        waiting = asyncio.ensure_future(first.__await__() and _awaited(first))
        await asyncio.sleep(0)
        assert second.get(10) == "second", "a plain wait inside a loop reads for itself"
        assert await waiting == "first"

    asyncio.run(main())


async def _awaited(future: Future[Any]) -> Any:
    return await future


def test_await_with_a_timeout(node: Node, server: FrameServer) -> None:
    server.handler = lambda peer, header, values: True

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_awaited(call(node, 1)), 0.05)
        server.handler = None
        assert await call(node, 2) == 2
        with pytest.raises(errors.DeadlineExceededError):
            server.handler = lambda peer, header, values: True
            await call(node, 3, -1.95)

    asyncio.run(main())


def test_await_survives_the_server(node: Node, server: FrameServer) -> None:
    server.handler = lambda peer, header, values: peer.number == 1

    async def main() -> None:
        future = call(node, "again")
        waiting = asyncio.ensure_future(_awaited(future))
        await asyncio.sleep(0.02)
        threading.Thread(target=server.restart).start()
        assert await waiting == "again"

    asyncio.run(main())


# What is written.


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


def test_arrays_of_a_call_may_change_once_it_is_sent(node: Node, server: FrameServer) -> None:
    numpy = pytest.importorskip("numpy")
    server.handler = lambda peer, header, values: peer.number == 1
    array = numpy.zeros(50_000)
    future = call(node, array)
    server.wait_for(lambda: server.calls(), "the call")
    array[:] = 1
    server.restart()
    assert float(future.get().sum()) == 0, "what is sent again is what was sent"


def test_a_call_with_arguments_too_large_to_keep(node: Node, server: FrameServer) -> None:
    """Its result is asked for by its key when the connection was lost."""
    numpy = pytest.importorskip("numpy")
    server.handler = lambda peer, header, values: peer.number == 1
    future = call(node, numpy.zeros(1 << 20))
    server.wait_for(lambda: server.calls(), "the call")
    key = server.calls()[0].run_id.hex()
    node_at(server).put_value(key, "from the store", sets=False)
    server.restart()
    assert future.get() == "from the store"


def test_pending_requests_show_what_they_are(node: Node, server: FrameServer) -> None:
    server.handler = lambda peer, header, values: True
    _, request = node.call(ECHO, [codec.encode(1)], 1.0)
    assert isinstance(request, Request)
    assert repr(request) == "<call echo: waiting>"
