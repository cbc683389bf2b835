"""A server that speaks real frames, and clients of it."""

from __future__ import annotations

from typing import Iterator

import pytest

import cloudburst
from cloudburst.connection import Connection
from echo_calls import connection_at
from frame_server import FrameServer, serving


@pytest.fixture
def server() -> Iterator[FrameServer]:
    with serving() as running:
        yield running


@pytest.fixture
def connection(server: FrameServer) -> Iterator[Connection]:
    connected = connection_at(server)
    yield connected
    connected.close()


@pytest.fixture
def app(server: FrameServer) -> Iterator[cloudburst.App]:
    with cloudburst.connect(server.address, "token") as connected:
        yield connected
