"""The same connection over TLS."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest

import cloudburst
from cloudburst import errors
from frame_server import FrameServer, serving

TESTDATA = Path(__file__).parent / "testdata"
CERTIFICATE = TESTDATA / "localhost.crt"


@pytest.fixture
def server() -> Iterator[FrameServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, TESTDATA / "localhost.key")
    with serving(tls=context) as running:
        yield running


@pytest.fixture
def echo(server: FrameServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with cloudburst.connect(f"https://{server.address}", "token") as app:
        yield app.function(lambda x: x, name="echo")


def test_calls(server: FrameServer, echo: Any) -> None:
    assert [echo.remote(i).get() for i in range(50)] == list(range(50))
    assert server.peers[0].head.endswith(b"Authorization: Bearer token\r\n\r\n")


def test_large_values(echo: Any) -> None:
    for size in (16 << 10, 64 << 10, 1 << 20, 8 << 20):
        value = os.urandom(size)
        assert echo.remote(value).get() == value


def test_much_in_both_directions(echo: Any) -> None:
    value = os.urandom(300_000)
    futures = [echo.remote(value) for _ in range(60)]
    assert all(future.get() == value for future in futures)


def test_threads_and_an_event_loop(echo: Any) -> None:
    echo.register()
    right = []

    def run(thread: int) -> None:
        for i in range(100):
            assert echo.remote((thread, i)).get(30) == (thread, i)
        right.append(thread)

    async def main() -> None:
        assert await asyncio.gather(*[echo.remote(i) for i in range(200)]) == list(range(200))
        for i in range(50):
            assert await echo.remote(i) == i

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(4)]
    for thread in threads:
        thread.start()
    asyncio.run(main())
    for thread in threads:
        thread.join(60)
    assert len(right) == 4


def test_the_server_comes_back(server: FrameServer, echo: Any) -> None:
    assert echo.remote(1).get() == 1
    server.restart()
    assert echo.remote(2).get() == 2


def test_a_certificate_that_nobody_vouches_for(server: FrameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(errors.UnavailableError, match=r"not trusted: self.signed certificate.*SSL_CERT_FILE"):
        cloudburst.connect(f"https://{server.address}")


def test_one_side_without_tls(server: FrameServer) -> None:
    with pytest.raises(errors.Error, match=server.address):
        cloudburst.connect(server.address)
    with serving() as plain, pytest.raises(errors.UnavailableError, match=plain.address):
        cloudburst.connect(f"https://{plain.address}", timeout=2)
