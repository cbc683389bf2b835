"""A node on external NATS servers: one, and a cluster of three."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

import cloudburst
from cloudburst import errors
from cloudburst.client.client import CloudburstConnection
from e2e.node import ROOT, Node, Output, free_ports, until

NATS_SERVER = ROOT / ".tools" / "nats-server"
Starter = Callable[..., Node]


class Server:
    """A nats-server process with JetStream; with peers, one of a cluster."""

    def __init__(self, directory: Path, port: int, peers: List[int]) -> None:
        self.url = f"nats://127.0.0.1:{port}"
        routes = ",".join(f"nats://127.0.0.1:{peer}" for peer in peers)
        self.command = [
            str(NATS_SERVER),
            "-a",
            "127.0.0.1",
            "-p",
            str(port),
            "-js",
            "-sd",
            str(directory),
            "-n",
            directory.name,
        ]
        if peers:
            cluster = f"nats://127.0.0.1:{peers[int(directory.name[-1])]}"
            self.command += ["--cluster_name", "test", "--cluster", cluster, "--routes", routes]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.output = Output(self.process)
        self.output.wait_for("Server is ready")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.output.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path / "nats0", free_ports(1)[0], [])
    yield started
    started.kill()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[List[Server]]:
    ports = free_ports(6)
    started: List[Server] = []
    try:
        for i in range(3):
            started.append(Server(tmp_path / f"nats{i}", ports[i], ports[3:]))
        yield started
    finally:
        for one in started:
            one.kill()


def connect() -> CloudburstConnection:
    return CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)


def prepare(cloud: CloudburstConnection) -> None:
    cloud.register(lambda _, x: x + 1, "incr")
    cloud.register(lambda _, x: x * x, "sq")
    assert cloud.register_dag("f", ["incr", "sq"], [("incr", "sq")]) == (True, 0)
    for i in range(50):
        cloud.put_object(f"key-{i}", i)


def check(cloud: CloudburstConnection) -> None:
    assert cloud.call_dag("f", {"incr": [3]}).get() == 16
    assert [cloud.get_object(f"key-{i}") for i in range(50)] == list(range(50))


def test_a_server_outside(own_node: Starter, server: Server) -> None:
    node = own_node("--nats-url", server.url)
    cloud = connect()
    prepare(cloud)
    check(cloud)
    node.kill()
    own_node("--nats-url", server.url)
    check(connect())


def test_the_server_goes_and_comes_back(own_node: Starter, server: Server) -> None:
    """Cut off from the log, a node still serves what it holds; a durable write fails in bounded time, and later works."""
    own_node("--nats-url", server.url)
    cloud = connect()
    prepare(cloud)
    server.kill()
    check(cloud)
    with pytest.raises((errors.UnavailableError, errors.DeadlineExceededError)):
        cloud.put_object("during", 1)
    server.start()

    def written() -> bool:
        with contextlib.suppress(errors.UnavailableError, errors.DeadlineExceededError):
            cloud.put_object("after", 2)
            return True
        return False

    until(written, "writes to work again", 40)
    assert cloud.get_object("after") == 2
    check(cloud)


def test_a_message_for_another_node_reaches_no_function_of_this_one(own_node: Starter, server: Server) -> None:
    """Both nodes listen on the same loopback address, as their settings have it, and their workers have the same numbers."""
    one = {"CLOUDBURST_EXECUTOR__WORKERS_MIN": "1", "CLOUDBURST_EXECUTOR__WORKERS_MAX": "2"}
    own_node("--nats-url", server.url, environment=one)
    first = cloudburst.connect()
    own_node("--nats-url", server.url, environment=one)
    second = cloudburst.connect()

    def receive(key: str) -> Any:
        context = cloudburst.context()
        context.put(key, context.id)
        return [message for _, message in context.recv(30)]

    def send(key: str) -> Any:
        context = cloudburst.context()
        to = context.get(key, wait=30)
        own = context.id
        try:
            context.send(to, "from the other node")
        except errors.UnsupportedError as e:
            context.send(own, "from itself")
            return str(e), to[1] == own[1], [message for _, message in context.recv(30)]
        return "sent"

    received = first.function(receive).remote("receiver")
    error, same_number, heard = second.function(send).remote("receiver").get()
    assert "only inside a node" in error
    assert same_number, "the workers have different numbers, so that this shows nothing"
    assert heard == ["from itself"]

    def answer(key: str) -> None:
        context = cloudburst.context()
        context.send(context.get(key, wait=30), "from its own node")

    first.function(answer).remote("receiver")
    assert received.get() == ["from its own node"]


def test_three_replicas_survive_the_loss_of_one(own_node: Starter, cluster: List[Server]) -> None:
    url = ",".join(one.url for one in cluster)
    three = {"CLOUDBURST_NATS__REPLICAS": "3"}
    node = own_node("--nats-url", url, environment=three)
    cloud = connect()
    prepare(cloud)
    cluster[0].kill()

    def written() -> bool:
        with contextlib.suppress(errors.UnavailableError, errors.DeadlineExceededError):
            cloud.put_object("without-one", "kept")
            return True
        return False

    until(written, "writes to work with two of three", 40)
    check(cloud)
    node.kill()
    own_node("--nats-url", url, environment=three)
    survivor = connect()
    check(survivor)
    assert survivor.get_object("without-one") == "kept"


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    url = f"nats://127.0.0.1:{free_ports(1)[0]}"
    done = Node(tmp_path, "--nats-url", url).run()
    assert done.returncode != 0
    assert url in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_no_server_is_embedded_beside_one_outside(own_node: Starter, server: Server, tmp_path: Path) -> None:
    node: Any = own_node("--nats-url", server.url)
    assert not re.search(r"jetstream", " ".join(str(path) for path in node.data.rglob("*")), re.IGNORECASE)
    node.signal(signal.SIGTERM)
    assert node.wait() == 0
