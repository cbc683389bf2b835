"""A peer that does not speak the protocol is cut off, and no other client notices."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
from pathlib import Path
from typing import Any, Iterator, Optional

import pytest

from cloudburst import codec, frame
from cloudburst.client.client import CloudburstConnection
from cloudburst.v1 import error_pb2, frame_pb2, store_pb2
from e2e.node import Node, until

HEADER_MAX, PAYLOAD_MAX = 1 << 20, 128 << 20


@contextlib.contextmanager
def stream(node: Node, token: Optional[str] = None, **headers: str) -> Iterator[socket.socket]:
    """A socket that has asked to become a stream; the answer is still to be read."""
    host, _, port = node.address.rpartition(":")
    fields = {
        "Host": node.address,
        "Connection": "Upgrade",
        "Upgrade": "cloudburst/1",
        "Authorization": f"Bearer {node.token if token is None else token}",
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(f"GET /v1/stream HTTP/1.1\r\n{head}\r\n".encode())
        yield sock


def answer(sock: socket.socket) -> str:
    received = b""
    while b"\r\n\r\n" not in received:
        received += sock.recv(1)
    return received.decode()


@contextlib.contextmanager
def upgraded(node: Node) -> Iterator[socket.socket]:
    with stream(node) as sock:
        assert answer(sock).startswith("HTTP/1.1 101")
        yield sock


def closed(sock: socket.socket) -> bool:
    """Report whether the peer ends the connection without another frame, reset or not."""
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True


def framed(header: bytes, payload: bytes = b"") -> bytes:
    return struct.pack("<II", len(header), len(payload)) + header + payload


def get_frame(request: int, key: str) -> bytes:
    return framed(frame_pb2.Header(id=request, get=frame_pb2.Get(keys=[key])).SerializeToString())


@pytest.fixture
def healthy(cloud: CloudburstConnection, name: str) -> Iterator[None]:
    """Another client's call in each test, before and after."""
    echo = cloud.register(lambda _, x: x, name)
    assert echo(1).get() == 1
    yield
    assert [echo(i).get() for i in range(20)] == list(range(20))


@pytest.mark.parametrize("token", ["wrong", "", "x" * 5000], ids=["wrong", "missing", "endless"])
def test_a_wrong_token_is_refused_before_anything_is_parsed(node: Node, healthy: None, token: str) -> None:
    with stream(node, token or None, **({} if token else {"Authorization": ""})) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(framed(b"\xff" * 10))
        assert answer(sock).startswith("HTTP/1.1 401")


def test_a_missing_token_is_refused(node: Node) -> None:
    with stream(node, Authorization="") as sock:
        assert answer(sock).startswith("HTTP/1.1 401")


def test_another_version_is_refused(node: Node) -> None:
    with stream(node, Upgrade="cloudburst/9") as sock:
        assert answer(sock).startswith("HTTP/1.1 426")


def test_the_sdk_says_that_the_token_is_wrong(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDBURST_TOKEN", "wrong")
    with pytest.raises(PermissionError, match=r"(?i)token"):
        CloudburstConnection("127.0.0.1", "127.0.0.1", local=True).get_object("any")
    done = node.cli("status", "--token", "wrong", check=False)
    assert done.returncode != 0
    assert "token" in done.stderr


HOSTILE = {
    "noise": b"\xff" * 64,
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "a header above its limit": struct.pack("<II", HEADER_MAX + 1, 0),
    "a payload above its limit": struct.pack("<II", 0, PAYLOAD_MAX + 1),
    "the largest lengths": struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF),
    "a header that is not a message": framed(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    "sizes that do not add up": framed(frame_pb2.Header(id=1, sizes=[5], put=frame_pb2.Put()).SerializeToString(), b"abc"),
    "sizes that overflow": framed(
        frame_pb2.Header(id=1, sizes=[2**32 - 1, 4], put=frame_pb2.Put()).SerializeToString(), b"abc"
    ),
    "payload without sizes": framed(frame_pb2.Header(id=1, get_status=frame_pb2.GetStatus()).SerializeToString(), b"abc"),
    "no body": framed(frame_pb2.Header(id=1).SerializeToString()),
    "a reply without a request": framed(frame_pb2.Header(id=1, done=frame_pb2.Done()).SerializeToString()),
    "a worker's request": framed(frame_pb2.Header(id=1, invoke=frame_pb2.Invoke(run_id=b"x" * 16)).SerializeToString()),
}


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE.keys())
def test_malformed_frames(node: Node, healthy: None, sent: bytes) -> None:
    """The connection is closed, or what can be refused is refused by an error; nothing else is affected."""
    with upgraded(node) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        reader = frame.FrameReader(sock)
        try:
            while True:
                header, _ = reader.read()
                assert header.WhichOneof("body") == "error", header
        except (EOFError, ConnectionError):
            pass


def test_malformed_frames_are_logged(node: Node) -> None:
    with upgraded(node) as sock:
        port = sock.getsockname()[1]
        sock.sendall(struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF))
        assert closed(sock)
    node.output.wait_for(rf"127\.0\.0\.1:{port}")


def test_truncated_frames(node: Node, healthy: None) -> None:
    whole = get_frame(1, "some-key")
    for end in range(1, len(whole)):
        with upgraded(node) as sock:
            sock.sendall(whole[:end])
            sock.shutdown(socket.SHUT_WR)
            assert closed(sock)


def test_random_frames(node: Node, healthy: None) -> None:
    chance = random.Random(1)
    whole = get_frame(1, "some-key") + framed(
        frame_pb2.Header(
            id=2,
            sizes=[3],
            call=frame_pb2.Call(
                run_id=b"r" * 16, function="nope", arguments=[frame_pb2.Arguments(function="nope", positional=1)]
            ),
        ).SerializeToString(),
        b"\x01\x18\x2a",
    )
    for _ in range(300):
        mutated = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        with upgraded(node) as sock, contextlib.suppress(ConnectionError):
            sock.sendall(mutated)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1 << 16):
                pass


def test_requests_that_mean_nothing(node: Node, healthy: None) -> None:
    """Well-formed frames with senseless content are answered by errors, each its own, and the connection lives on."""
    put = store_pb2.Cell(key="k", type=store_pb2.LATTICE_TYPE_LWW, values=9)
    call = frame_pb2.Call(run_id=b"short", function="f")
    many = frame_pb2.Call(run_id=b"r" * 16, function="f", arguments=[frame_pb2.Arguments(function="f", positional=0xFFFFFFFF)])
    requests = [
        frame_pb2.Header(put=frame_pb2.Put(cells=[put])),
        frame_pb2.Header(get=frame_pb2.Get(keys=[""])),
        frame_pb2.Header(get=frame_pb2.Get(keys=["x" * 5000])),
        frame_pb2.Header(call=call),
        frame_pb2.Header(call=many),
        frame_pb2.Header(call=frame_pb2.Call(run_id=b"r" * 16)),
        frame_pb2.Header(register_function=frame_pb2.RegisterFunction()),
        frame_pb2.Header(register_dag=frame_pb2.RegisterDag()),
        frame_pb2.Header(delete_function=frame_pb2.DeleteFunction()),
        frame_pb2.Header(list_keys=frame_pb2.ListKeys(limit=1 << 31)),
    ]
    with upgraded(node) as sock:
        reader = frame.FrameReader(sock)
        for number, header in enumerate(requests, 1):
            header.id = number
            frame.send(sock, frame.pack(header))
            reply, _ = reader.read()
            assert reply.id == number
            if header.WhichOneof("body") != "list_keys":
                assert reply.error.code in (error_pb2.CODE_INVALID_ARGUMENT, error_pb2.CODE_TOO_LARGE), (header, reply)
        frame.send(sock, frame.pack(frame_pb2.Header(id=99, get_status=frame_pb2.GetStatus())))
        assert reader.read()[0].status.version


def test_a_client_that_does_not_read(node: Node, cloud: CloudburstConnection, healthy: None, name: str) -> None:
    cloud.put_object(name, bytes(8 << 20))
    with upgraded(node) as sock:
        request = framed(frame_pb2.Header(id=1, get=frame_pb2.Get(keys=[name])).SerializeToString())
        for _ in range(8):
            sock.sendall(request)
        echo = cloud.register(lambda _, x: x, f"{name}-meanwhile")
        assert [echo(i).get() for i in range(100)] == list(range(100))


def test_a_function_that_garbles_its_socket(node: Node, cloud: CloudburstConnection, healthy: None, name: str) -> None:
    """User code owns its process, and can do no more than lose it."""

    def garble(library: Any) -> None:
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(entry.readlink()).startswith("socket:"):
                    os.write(int(entry.name), b"\xff" * 64)

    with pytest.raises(Exception, match=name):
        cloud.register(garble, f"{name}-garble")().get()


MALFORMED = [
    b"",
    b"\x03not a pickle",
    b"\x01\xff",
    b"\x02\xff\xff\xff\xff",
    b"\xee?",
    b"\x05\x80",
    b"\x06\xff\xff\xff\xff",
]


def test_a_value_that_does_not_load(node: Node, cloud: CloudburstConnection, healthy: None, name: str) -> None:
    echo = cloud.register(lambda _, x: x, f"{name}-echo")
    assert echo(1).get() == 1
    with upgraded(node) as sock:
        call = frame_pb2.Call(
            run_id=os.urandom(16),
            function=f"{name}-echo",
            arguments=[frame_pb2.Arguments(function=f"{name}-echo", positional=1)],
        )
        for body in MALFORMED:
            call.run_id = os.urandom(16)
            frame.send(sock, frame.pack(frame_pb2.Header(id=7, call=call), [body]))
            header, _ = frame.FrameReader(sock).read()
            assert header.id == 7
            assert header.WhichOneof("body") == "error", (body, header)


NOISE = {
    "a TLS greeting": b"\x16\x03\x01\x02\x00" + bytes(100),
    "an endless line": b"GET /" + b"a" * (1 << 20),
    "empty lines": b"\r\n" * 1000,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
def test_http_that_is_not_asked_for(node: Node, healthy: None, noise: bytes) -> None:
    host, _, port = node.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(noise)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass


def test_connections_are_let_go(node: Node, healthy: None) -> None:
    """Connections that come and go leave no descriptors behind."""

    def descriptors() -> int:
        return len(list(Path(f"/proc/{node.process.pid}/fd").iterdir()))

    before = descriptors()
    for _ in range(100):
        with upgraded(node):
            pass
    until(lambda: descriptors() <= before + 5, "the descriptors to be closed")
    assert codec.decode(codec.encode(1)) == 1
