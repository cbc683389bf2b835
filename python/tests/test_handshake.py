"""From an endpoint to a connection that speaks frames, and every way in which that fails."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from cloudburst import errors
from cloudburst.connection import Connection
from cloudburst.endpoint import locator
from cloudburst.v1 import frame_pb2
from echo_calls import call, connection_at
from frame_server import FrameServer, Peer


def test_handshake(server: FrameServer, connection: Connection) -> None:
    assert call(connection, 42).get() == 42
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
        connection = Connection(locator(f"127.0.0.1:{listener.getsockname()[1]}"))
        assert call(connection, "there").get() == "there"
        connection.close()
        thread.join(10)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(errors.UnavailableError, match=rf"127\.0\.0\.1:{port}: .*cloudburst serve"):
        Connection(locator(f"127.0.0.1:{port}")).connect()


@pytest.mark.parametrize(
    ("refusal", "error", "match"),
    [
        (
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno",
            errors.AuthenticationError,
            "CLOUDBURST_TOKEN.*context ls",
        ),
        (
            b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 13\r\n\r\nspeaks only 2",
            errors.IncompatibleError,
            "speaks only 2",
        ),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\ndraining", errors.UnavailableError, "draining"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", errors.IncompatibleError, "not a Cloudburst node.*200 OK"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", errors.IncompatibleError, "SSH-2.0"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", errors.IncompatibleError, "not a Cloudburst node"),
        (b"HTTP/1.1 abc\r\n\r\n", errors.IncompatibleError, "not a Cloudburst node"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20000, errors.IncompatibleError, "no end"),
        (b"HT", errors.UnavailableError, "closed the connection"),
    ],
)
def test_refusals(server: FrameServer, refusal: bytes, error: type, match: str) -> None:
    server.refusal = refusal
    with pytest.raises(error, match=match):
        connection_at(server).connect()


def test_a_server_that_never_answers_the_handshake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = Connection(locator(f"127.0.0.1:{silent.getsockname()[1]}"), timeout=0.1)
        with pytest.raises(errors.UnavailableError, match="did not answer in time"):
            connection.connect()
