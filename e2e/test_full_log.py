"""A log that is full, by its limit or because its disk is, and gets room again."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Iterator, List

import pytest

import cloudburst
from cloudburst import errors
from e2e.conftest import RUNNING
from e2e.node import Node, until

LIMIT_BYTES = 32 << 20
LARGE_BYTES = 1 << 20
SMALL_BYTES = 16_000
DISK_BYTES = 64 << 20


def run(node: Node) -> Iterator[Node]:
    RUNNING.append(node)
    try:
        yield node.start()
    finally:
        RUNNING.remove(node)
        node.kill()


def limited(tmp_path: Path, limit: int) -> Node:
    return Node(tmp_path / "node", "--role", "gateway,anna", environment={"CLOUDBURST_NATS__STORE_MAX": str(limit)})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Node]:
    yield from run(
        Node(tmp_path / "node", "--role", "gateway,anna", environment={"CLOUDBURST_NATS__STORE_MAX": str(LIMIT_BYTES)})
    )


def fill(app: cloudburst.App, prefix: str, size: int) -> List[str]:
    """Write until the log is full, and return the keys that were taken."""
    taken: List[str] = []
    with pytest.raises(errors.NoResourcesError, match="the log is full"):
        while True:
            key = f"{prefix}-{len(taken)}"
            app.put(key, os.urandom(size))
            taken.append(key)
    return taken


def takes_writes(app: cloudburst.App) -> bool:
    try:
        app.put("after", 1)
    except errors.NoResourcesError:
        return False
    return True


@pytest.mark.parametrize("size", [LARGE_BYTES, SMALL_BYTES])
def test_deleting_makes_room(store: Node, size: int) -> None:
    with cloudburst.connect(store.address, store.token) as app:
        taken = fill(app, "first", size)
        fill(app, "rest", 4000)
        status, text = store.http("/readyz")
        assert status == 503
        assert f"may hold {LIMIT_BYTES} (nats.store_max)" in text
        assert len(app.get(taken[0])) == size
        app.delete(taken[: len(taken) * 2 // 3])
        until(lambda: takes_writes(app), "room in the log", 60)
        assert store.http("/readyz")[0] == 200
        assert len(app.get(taken[-1])) == size


def test_a_full_log_at_the_start(tmp_path: Path) -> None:
    for node in run(limited(tmp_path, LIMIT_BYTES)):
        with cloudburst.connect(node.address, node.token) as app:
            taken = fill(app, "key", SMALL_BYTES)
        assert node.stop() == 0
    for node in run(limited(tmp_path, LIMIT_BYTES // 2)):  # less than the log takes now
        status, text = node.http("/readyz")
        assert status == 503
        assert "the log is full" in text
        with cloudburst.connect(node.address, node.token) as app:
            assert len(app.get(taken[0])) == SMALL_BYTES
            assert not takes_writes(app)
            app.delete(taken)
        assert node.stop() == 0
    for node in run(limited(tmp_path, 2 * LIMIT_BYTES)):
        with cloudburst.connect(node.address, node.token) as app:
            assert app.get(taken[0]) is None
            app.put("after", 1)
        assert node.stop() == 0


class Disk:
    """A small disk in a mount namespace of its own, which processes can be started in."""

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        private = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
        script = f'mount -t tmpfs -o size={size} tmpfs "$0" && echo mounted && exec cat'
        self.holder = subprocess.Popen(
            [*private, "sh", "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"mounted\n"

    def enter(self) -> List[str]:
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.holder.pid), *user, "--mount"]

    @property
    def outside(self) -> Path:
        """The disk, for who is not in the namespace."""
        return Path(f"/proc/{self.holder.pid}/root{self.folder.resolve()}")

    def free(self) -> int:
        disk = os.statvfs(self.outside)
        return disk.f_bavail * disk.f_bsize

    def close(self) -> None:
        self.holder.kill()
        self.holder.communicate()


class OnDisk(Node):
    """A node all of whose data lies on a small disk."""

    disk: Disk

    def command(self) -> List[str]:
        return [*self.disk.enter(), *super().command()]

    @property
    def token(self) -> str:
        return (self.disk.outside / "token").read_text().strip()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[OnDisk]:
    node = OnDisk(tmp_path / "node", "--role", "gateway,anna")
    node.disk = Disk(node.data, DISK_BYTES)
    try:
        yield from run(node)  # type: ignore[misc]
    finally:
        node.disk.close()


def test_a_disk_that_the_log_has_filled(small: OnDisk) -> None:
    with cloudburst.connect(small.address, small.token) as app:
        taken = fill(app, "key", LARGE_BYTES)
        assert small.disk.free() > 0
        app.delete(taken[: len(taken) // 2])
        until(lambda: takes_writes(app), "room in the log", 60)
        more = fill(app, "more", LARGE_BYTES)
    assert small.stop() == 0
    small.start()
    with cloudburst.connect(small.address, small.token) as app:
        assert len(app.get(more[-1])) == LARGE_BYTES
        app.delete(more)
        until(lambda: takes_writes(app), "room in the log", 60)


def test_a_start_without_any_room_on_the_disk(small: OnDisk) -> None:
    with cloudburst.connect(small.address, small.token) as app:
        app.put("key", os.urandom(LARGE_BYTES))
    small.kill()
    ballast = small.disk.outside / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    small.start()
    status, text = small.http("/readyz")
    assert status == 503
    assert "bytes left" in text
    with cloudburst.connect(small.address, small.token) as app:
        assert len(app.get("key")) == LARGE_BYTES
        ballast.unlink()

        def written() -> bool:
            try:
                app.put("after", 1, timeout=30)
            except (errors.NoResourcesError, errors.UnavailableError):
                return False
            return True

        until(written, "durable writes to work again", 60)
        until(lambda: small.http("/readyz")[0] == 200, "the node to be ready")
    assert small.stop() == 0
