"""A server that speaks real frames, and clients of it."""

from __future__ import annotations

from typing import Iterator

import pytest

import cloudburst
from cloudburst.node import Node
from echo_calls import node_at
from frame_server import FrameServer, serving


@pytest.fixture
def server() -> Iterator[FrameServer]:
    with serving() as running:
        yield running


@pytest.fixture
def node(server: FrameServer) -> Iterator[Node]:
    connected = node_at(server)
    yield connected
    connected.close()


@pytest.fixture
def app(server: FrameServer) -> Iterator[cloudburst.App]:
    with cloudburst.connect(server.address, "token") as connected:
        yield connected
