"""Three nodes on hosts of their own, whose network parts and heals. Needs the privilege to make network namespaces."""

from __future__ import annotations

import contextlib
import ctypes
import secrets
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Type

import pytest

from e2e.node import START_SECONDS_MAX, Node, until
from e2e.test_cluster import Cluster, Writer, check_equal

CLONE_NEWNET = 0x40000000
APART_SECONDS = 12.0  # longer than anna.member_ttl and the pings between members


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def socket_on(name: str) -> socket.socket:
    """A socket of a network namespace: it is that of the thread that makes it."""
    made: List[socket.socket] = []

    def make() -> None:
        with Path("/run/netns", name).open() as namespace:
            if ctypes.CDLL(None).setns(namespace.fileno(), CLONE_NEWNET) == 0:
                made.append(socket.socket())

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def carry(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            to.sendall(data)
    for end in (source, to):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def enter(name: str, address: str) -> str:
    """Let the clients of this process reach an address on a namespace's loopback, and return where."""
    host, _, port = address.rpartition(":")
    door = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            client, _ = door.accept()
            node = socket_on(name)
            try:
                node.connect((host, int(port)))
            except OSError:
                client.close()
                continue
            for pair in ((client, node), (node, client)):
                threading.Thread(target=carry, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return f"127.0.0.1:{door.getsockname()[1]}"


class Network:
    """Hosts that are network namespaces on a bridge."""

    def __init__(self, hosts: int) -> None:
        mark = secrets.token_hex(3)
        self.bridge = f"cb{mark}"
        self.names = [f"cb{mark}-{i}" for i in range(hosts)]
        prefix = f"10.{100 + secrets.randbelow(100)}.{secrets.randbelow(256)}"
        self.addresses = [f"{prefix}.{i + 1}" for i in range(hosts)]
        self._ends = contextlib.ExitStack()
        try:
            self._make(prefix)
        except (subprocess.CalledProcessError, FileNotFoundError) as fault:
            self._ends.close()
            why = getattr(fault, "stderr", "") or fault
            pytest.fail(f"network namespaces are needed and cannot be made, run this as root: {why}", pytrace=False)

    def _make(self, prefix: str) -> None:
        ip("link", "add", self.bridge, "type", "bridge")
        self._ends.callback(ip, "link", "del", self.bridge)
        ip("link", "set", self.bridge, "up")
        for name, address in zip(self.names, self.addresses):
            ip("netns", "add", name)
            self._ends.callback(ip, "netns", "del", name)
            ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", name, "master", self.bridge, "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")

    def kind(self, host: int) -> Type[Node]:
        """Nodes that run on a host."""
        name = self.names[host]

        class Hosted(Node):
            def command(self) -> List[str]:
                return ["ip", "netns", "exec", name, *super().command()]

            def ready(self, seconds: float = START_SECONDS_MAX) -> Node:
                super().ready(seconds)
                self.url = f"http://{enter(name, self.address)}"
                return self

        return Hosted

    @contextlib.contextmanager
    def parted(self, host: int, others: List[int]) -> Iterator[None]:
        """What a host says to others is lost without a word."""
        for other in others:
            ip("-n", self.names[host], "route", "add", "blackhole", f"{self.addresses[other]}/32")
        try:
            yield
        finally:
            for other in others:
                ip("-n", self.names[host], "route", "del", "blackhole", f"{self.addresses[other]}/32")

    @contextlib.contextmanager
    def unplugged(self, host: int) -> Iterator[None]:
        """The cable of a host is pulled."""
        ip("link", "set", self.names[host], "down")
        try:
            yield
        finally:
            ip("link", "set", self.names[host], "up")

    def end(self) -> None:
        self._ends.close()


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network(3)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def hosted(network: Network, tmp_path: Path) -> Iterator[Cluster]:
    kinds = [network.kind(i) for i in range(3)]
    made = Cluster(tmp_path, kinds, [f"{address}:7101" for address in network.addresses])
    try:
        made.start()
        yield made
    finally:
        made.end()


def under_load(
    cluster: Cluster, served: List[int], apart: Any, what: str, report: Callable[[str], None], written: List[int]
) -> None:
    """Write to some members while the network is parted, check that those who can go on do, and that all are equal after it."""
    writers = {i: Writer(cluster, i) for i in written}
    acknowledged: Dict[str, Any] = {}
    try:
        for writer in writers.values():
            writer.wait_for_more(20)
        cluster.wait_for_truncation()
        began = time.monotonic()
        with apart:
            for i in served:
                writers[i].wait_for_more(200)
            until(lambda: time.monotonic() > began + APART_SECONDS, "the others to be missed", APART_SECONDS + 1)
            pause = max((writers[i].longest_pause(began) for i in served), default=APART_SECONDS)
        healed = time.monotonic()
        for writer in writers.values():
            writer.wait_for_more(1)
        back = time.monotonic() - healed
        cluster.wait_for_truncation()
    finally:
        for writer in writers.values():
            acknowledged.update(writer.stop())
    check_equal(cluster, acknowledged)
    report(f"{what}: the others stood still for {pause:.2f} s; healed, all took writes after {back:.2f} s")
    report(
        f"  and were equal {time.monotonic() - healed:.2f} s after that; {len(acknowledged)} keys, no acknowledged write lost"
    )


# Each on a cluster of its own: a member that was away may hold the same as the others long before its Raft groups have caught
# up, and until then there is no majority without one of the others.
@pytest.mark.slow
@pytest.mark.parametrize("host", range(3))
def test_one_member_is_cut_off(hosted: Cluster, network: Network, report: Callable[[str], None], host: int) -> None:
    others = [i for i in range(3) if i != host]
    under_load(hosted, others, network.parted(host, others), f"member {host} cut off", report, [0, 1, 2])


@pytest.mark.slow
@pytest.mark.parametrize("host", range(3))
def test_a_cable_is_pulled(hosted: Cluster, network: Network, report: Callable[[str], None], host: int) -> None:
    others = [i for i in range(3) if i != host]
    under_load(hosted, others, network.unplugged(host), f"cable {host} pulled", report, [0, 1, 2])


@pytest.mark.slow
def test_all_are_cut_off(hosted: Cluster, network: Network, report: Callable[[str], None]) -> None:
    """No side has a majority: nothing is acknowledged that could be lost, and all goes on afterwards."""
    under_load(hosted, [], all_parted(network), "all cut off", report, [0, 1, 2])


@contextlib.contextmanager
def all_parted(network: Network) -> Iterator[None]:
    with contextlib.ExitStack() as apart:
        for host in range(3):
            apart.enter_context(network.parted(host, [i for i in range(3) if i != host]))
        yield
