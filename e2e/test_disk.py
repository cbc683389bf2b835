"""A disk that fills up, and gets room again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator, List

import pytest

import cloudburst
from cloudburst import errors
from e2e.conftest import RUNNING
from e2e.node import SHORT_LOG, Node, until

DISK_BYTES = 64 << 20
ROOM_BYTES = 12 << 20  # that are left for the log; an eighth of the disk is kept for deletes


class SmallDisk(Node):
    """A node whose log lies on a small disk of its own, which only its process sees."""

    def command(self) -> List[str]:
        log = self.data / "jetstream"
        log.mkdir(parents=True, exist_ok=True)
        unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
        mount = f'mount -t tmpfs -o size={DISK_BYTES} tmpfs "$0" && exec "$@"'
        return [*unshare, "sh", "-c", mount, str(log), *super().command()]

    @property
    def disk(self) -> Path:
        return Path(f"/proc/{self.process.pid}/root{self.data.resolve() / 'jetstream'}")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    node = SmallDisk(tmp_path / "node", "--role", "gateway,anna", environment=SHORT_LOG)
    RUNNING.append(node)
    try:
        node.start()
        yield node
    finally:
        RUNNING.remove(node)
        node.kill()


def test_a_full_disk(small: SmallDisk) -> None:
    """Writes are refused, deletes are not, what is there is served, the reason is told, and all goes on once there is room."""
    value = os.urandom(100_000)
    disk = os.statvfs(small.disk)
    ballast = small.disk / "ballast"
    ballast.write_bytes(bytes(disk.f_bavail * disk.f_bsize - ROOM_BYTES))
    acknowledged: List[str] = []
    with cloudburst.connect(small.address, small.token) as app:
        with pytest.raises(errors.NoResourcesError, match="bytes left"):
            for i in range(2 * ROOM_BYTES // len(value)):
                app.put(f"key-{i}", value, timeout=30)
                acknowledged.append(f"key-{i}")
        assert acknowledged
        status, text = small.http("/readyz")
        assert status == 503
        assert "bytes left" in text
        assert app.get(acknowledged[0]) == value
        with pytest.raises(errors.NoResourcesError, match="bytes left"):
            app.put("in-memory", 1, ack="memory")
        app.delete(acknowledged.pop())
        ballast.unlink()

        def written() -> bool:
            try:
                app.put("after", 2, timeout=30)
            except errors.NoResourcesError:
                return False
            return True

        until(written, "durable writes to work again", 40)
        until(lambda: small.http("/readyz")[0] == 200, "the node to be ready again")
        assert all(app.get(key) == value for key in acknowledged)
