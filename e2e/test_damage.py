"""A log that is damaged while its node does not run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable, Dict, Iterator, List

import pytest

import cloudburst
from e2e.conftest import RUNNING
from e2e.node import Node
from e2e.test_cluster import Cluster

KEYS = {f"key-{i}": os.urandom(200) for i in range(400)}


def largest(node: Node) -> Path:
    files = node.data.glob("jetstream/*/streams/cloudburst-anna-*/msgs/*.blk")
    return max(files, key=lambda file: file.stat().st_size)


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def zero(file: Path) -> None:
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4096] = bytes(4096)
    file.write_bytes(data)


def halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


DAMAGE: Dict[str, Callable[[Path], None]] = {"removed": Path.unlink, "flipped": flip, "zeros": zero, "cut": halve}


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "node", "--role", "gateway,anna")
    RUNNING.append(node)
    try:
        node.start()
        with cloudburst.connect(node.address, node.token) as app:
            app.put_many(KEYS)
        yield node
    finally:
        RUNNING.remove(node)
        node.kill()


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_log_is_not_started_on(filled: Node, damage: str) -> None:
    assert filled.stop() == 0
    DAMAGE[damage](largest(filled))
    for _ in range(2):  # nothing is changed by it
        refused = filled.run()
        assert refused.returncode == 1
        assert "the log is damaged: stream cloudburst-anna-" in refused.stderr
        assert "--accept-damage" in refused.stderr
    plain = filled.flags
    filled.flags = (*plain, "--accept-damage")
    filled.start()
    with cloudburst.connect(filled.address, filled.token) as app:
        left = app.get_many(list(KEYS))
        assert 0 < len(left) < len(KEYS)
        assert left.items() <= KEYS.items()
    assert filled.stop() == 0
    filled.flags = plain
    filled.start()


def test_a_killed_node_starts_without_its_index(filled: Node) -> None:
    filled.kill()
    for index in filled.data.glob("jetstream/*/streams/*/msgs/index.db"):
        index.unlink()
    filled.start()
    with cloudburst.connect(filled.address, filled.token) as app:
        assert app.get_many(list(KEYS)) == KEYS


# More than one file of each stream.
LARGE = {f"key-{i}": os.urandom(100_000) for i in range(450)}


def inner(node: Node) -> Path:
    """A file of a stream that is not its last one."""
    for folder in sorted(node.data.glob("jetstream/$G/streams/cloudburst-anna-*/msgs")):
        files = sorted(folder.glob("*.blk"), key=lambda file: int(file.stem))
        if len(files) > 1:
            return files[-2]
    raise AssertionError("no stream has more than one file")


def missing(app: cloudburst.App) -> List[str]:
    """The keys that are not what was written."""
    held = app.get_many(list(LARGE))
    return [key for key, value in LARGE.items() if held.get(key) != value]


def test_a_damaged_member_gets_its_log_from_the_others(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    try:
        cluster.start()
        with cluster.app(0) as app:
            app.put_many(LARGE)
        node = cluster.nodes[1]
        for damage in (Path.unlink, flip):
            assert node.stop() == 0
            damage(inner(node))
            cluster.start(1)
            assert "the log of this member has been rebuilt from the others" in str(node.output)
        with cluster.app(1) as app:
            assert missing(app) == []
            for other in (2, 0):
                cluster.nodes[other].kill()
                assert missing(app) == []
        # Nothing is given up while the others are away.
        node.kill()
        damaged = inner(node)
        flip(damaged)
        held = damaged.read_bytes()
        node._extra["CLOUDBURST_CLUSTER__FORM_TIMEOUT"] = "6s"
        node.launch()
        assert "no other member can be reached" in node.output.wait_for("waiting to rebuild the log of this member")
        assert node.wait() == 1
        assert "--accept-damage" in str(node.output)
        assert damaged.read_bytes() == held
        node._extra["CLOUDBURST_CLUSTER__FORM_TIMEOUT"] = "60s"
        cluster.start()
        with cluster.app(1) as app:
            assert missing(app) == []
    finally:
        cluster.end()
