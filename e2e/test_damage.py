"""A log that is damaged while its node does not run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable, Dict, Iterator

import pytest

import cloudburst
from e2e.conftest import RUNNING
from e2e.node import Node

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
