"""A node that runs out of file descriptors, and gets some again."""

from __future__ import annotations

import http.client
import os
import resource
import socket
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest

import cloudburst
from cloudburst import errors
from e2e.conftest import RUNNING
from e2e.node import Node, until

LOW = 256  # a limit on descriptors with which a node works
NONE = 10  # one that is below what a node has open already
VALUE_BYTES = 1 << 20
VALUES_MAX = 64  # more than fit into the files of the log that are open


class Limited(Node):
    """A node whose process may open few files from the start."""

    descriptors = LOW

    def command(self) -> List[str]:
        return ["sh", "-c", f'ulimit -n {self.descriptors} && exec "$@"', "sh", *super().command()]


def start(node: Node) -> Iterator[Node]:
    RUNNING.append(node)
    try:
        yield node.start()
    finally:
        RUNNING.remove(node)
        node.kill()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Node]:
    yield from start(Node(tmp_path / "node", "--role", "gateway,anna"))


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Node]:
    yield from start(Limited(tmp_path / "node"))


def limit(node: Node, descriptors: int) -> None:
    hard = resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (descriptors, hard))


def open_files(node: Node) -> int:
    return sum(1 for _ in Path(f"/proc/{node.process.pid}/fd").iterdir())


def ask(connection: http.client.HTTPConnection) -> Tuple[int, str]:
    """Ask for readiness over a connection that is there already."""
    connection.request("GET", "/readyz")
    response = connection.getresponse()
    return response.status, response.read().decode()


def exhaust(node: Node, app: cloudburst.App) -> str:
    """Take all descriptors away and write until the log has given up; return the error."""
    limit(node, NONE)
    with pytest.raises(errors.UnavailableError) as caught:
        for i in range(VALUES_MAX):
            app.put(f"large-{i}", os.urandom(VALUE_BYTES), timeout=30)
    return str(caught.value)


def test_writes_go_on_when_there_are_descriptors_again(store: Node) -> None:
    with cloudburst.connect(store.address, store.token) as app:
        app.put("first", 1)
        connection = http.client.HTTPConnection(store.address, timeout=10)
        assert ask(connection)[0] == 200
        assert "file descriptors" in exhaust(store, app)
        status, text = ask(connection)
        assert status == 503
        assert f"its limit is {NONE}" in text
        assert app.get("first") == 1
        app.put("in-memory", 2, ack="memory")
        limit(store, LOW)
        until(lambda: store.http("/readyz")[0] == 200, "the node to be ready again", 40)
        app.put("later", 3)
        connection.close()
    assert store.stop() == 0
    store.start()
    with cloudburst.connect(store.address, store.token) as app:
        assert app.get_many(["first", "in-memory", "later"]) == {"first": 1, "in-memory": 2, "later": 3}


def test_a_stop_without_descriptors_says_what_is_lost(store: Node) -> None:
    with cloudburst.connect(store.address, store.token) as app:
        exhaust(store, app)
        app.put("in-memory", 1, ack="memory")
    assert store.stop() == 1
    assert "changes are lost that the log did not take" in str(store.output)


def test_connections_are_refused_before_the_files_of_the_log(store: Node) -> None:
    with cloudburst.connect(store.address, store.token) as app:
        limit(store, LOW)
        host, port = store.address.split(":")
        held = [socket.create_connection((host, int(port))) for _ in range(LOW + 50)]
        line = store.output.wait_for("connections are refused")
        assert "kept for the log" in line
        assert open_files(store) < LOW
        for i in range(VALUES_MAX):
            app.put(f"large-{i}", os.urandom(VALUE_BYTES), timeout=30)
        assert sum("connections are refused" in line for line in store.output.lines) <= 2
        for sock in held:
            sock.close()
        until(lambda: open_files(store) < LOW // 2, "the connections to be gone")
        assert store.http("/readyz")[0] == 200
    assert store.stop() == 0


def test_few_descriptors(limited: Node) -> None:
    """Workers start where the limit is lower than the number at which their socket would lie."""
    with cloudburst.connect(limited.address, limited.token) as app:

        @app.function
        def double(x: int) -> int:
            return 2 * x

        assert double.remote(21).get() == 42


def test_too_few_descriptors(tmp_path: Path) -> None:
    node = Limited(tmp_path / "node")
    node.descriptors = 100
    result = node.run()
    assert result.returncode == 1
    assert "this process may open 100 files and sockets, and a node needs at least 128" in result.stderr
