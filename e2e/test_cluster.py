"""Three nodes that hold one log: members are killed under load, and nothing that was acknowledged as durable is lost."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import signal
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Type

import pytest

import cloudburst
from cloudburst import errors
from e2e.conftest import RUNNING
from e2e.node import SHORT_LOG, Node, free_ports, until

# How long a member may take to be ready: an election, and what it has missed.
FORM_SECONDS_MAX = 60.0
# How many keys of each writer are overwritten again and again, and how many writes there are for each to a key of its own.
OVERWRITTEN_KEYS = 50
OVERWRITES = 8
# How long a durable write may take to fail: anna.durable_timeout is 5 seconds.
DURABLE_SECONDS_MAX = 8.0


class Cluster:
    """Three members that store and run nothing else, on this machine's loopback unless they are given hosts of their own."""

    def __init__(self, directory: Path, kinds: Sequence[Type[Node]] = (Node,) * 3, addresses: Sequence[str] = ()) -> None:
        secret = directory / "secret"
        secret.touch(0o600)
        secret.write_text(secrets.token_hex(32))
        addresses = addresses or [f"127.0.0.1:{port}" for port in free_ports(3)]
        self.nodes = [
            kind(
                directory / f"node{i}",
                *("--role", "gateway,anna", "--join", ",".join(addresses), "--cluster-listen", address),
                *("--cluster-secret-file", str(secret), "--cluster-member", f"member-{i}"),
                environment=SHORT_LOG,
            )
            for i, (kind, address) in enumerate(zip(kinds, addresses))
        ]
        RUNNING.extend(self.nodes)

    def start(self, *which: int) -> float:
        """Start members, all unless some are named, and return after how many seconds all of them were ready."""
        began = time.monotonic()
        chosen = [self.nodes[i] for i in which] or self.nodes
        for node in chosen:
            node.launch()
        for node in chosen:
            node.ready(FORM_SECONDS_MAX)
        return time.monotonic() - began

    def app(self, member: int) -> cloudburst.App:
        node = self.nodes[member]
        return cloudburst.connect(node.address, node.token)

    def truncations(self) -> float:
        """How often the members have cut off what the log began with, since each was started."""
        return sum(node.metric("cloudburst_anna_truncations_total") for node in self.nodes)

    def wait_for_truncation(self) -> None:
        """Return once some more of what the log began with has been cut off."""
        before = self.truncations()
        until(lambda: self.truncations() > before, "the log to be cut off at its beginning", FORM_SECONDS_MAX)

    def end(self) -> None:
        for node in self.nodes:
            RUNNING.remove(node)
            node.kill()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.end()


class Writer:
    """Writes keys of its own to one member for as long as it is told to, and remembers what was acknowledged and when.

    What it writes to a key grows. Most of it overwrites a few keys, so that the log holds more than is needed.
    """

    def __init__(self, cluster: Cluster, member: int) -> None:
        self.acknowledged: Dict[str, int] = {}
        self.times: List[float] = []
        self.failed: Optional[BaseException] = None
        self._app = cluster.app(member)
        self._member = member
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        try:
            for i in itertools.count():
                if self._enough.is_set():
                    return
                turn = i % OVERWRITTEN_KEYS if i % OVERWRITES else i
                key = f"member-{self._member}-key-{turn}"
                try:
                    self._app.put(key, i, timeout=DURABLE_SECONDS_MAX)
                except (errors.UnavailableError, errors.DeadlineExceededError, TimeoutError):
                    self._enough.wait(0.05)  # it may be there, and may not
                    continue
                self.acknowledged[key] = i
                self.times.append(time.monotonic())
        except BaseException as fault:
            self.failed = fault

    def wait_for_more(self, count: int) -> None:
        """Return once as many writes more are acknowledged."""
        wanted = len(self.times) + count
        until(lambda: len(self.times) >= wanted or self.failed, f"{count} writes to member {self._member}", FORM_SECONDS_MAX)

    def longest_pause(self, since: float) -> float:
        """The longest time without an acknowledged write."""
        times = [since, *(t for t in self.times if t > since)]
        return max((after - before for before, after in zip(times, times[1:])), default=0.0)

    def stop(self) -> Dict[str, int]:
        self._enough.set()
        self._thread.join()
        self._app.close()
        if self.failed is not None:
            raise self.failed
        return self.acknowledged


def contents(app: cloudburst.App) -> Dict[str, Any]:
    """All that a member holds."""
    keys = list(app.keys())
    found: Dict[str, Any] = {}
    for i in range(0, len(keys), 1000):
        found.update(app.get_many(keys[i : i + 1000]))
    return found


def check_equal(cluster: Cluster, acknowledged: Dict[str, Any]) -> None:
    """Every member holds what was acknowledged last, or was written later and not acknowledged, and all hold the same."""
    with contextlib.ExitStack() as stack:
        apps = [stack.enter_context(cluster.app(i)) for i in range(3)]

        def equal() -> bool:
            held = [contents(app) for app in apps]
            return held[0] == held[1] == held[2]

        until(equal, "all members to hold the same", 30)
        for i, app in enumerate(apps):
            held = contents(app)
            lost = {key: value for key, value in acknowledged.items() if held.get(key, -1) < value}
            assert not lost, f"member {i} has lost {len(lost)} of {len(acknowledged)} keys: {sorted(lost)[:10]}"


def kill_in_turn(cluster: Cluster, rounds: int, report: Callable[[str], None]) -> None:
    writers = [Writer(cluster, i) for i in range(3)]
    acknowledged: Dict[str, Any] = {}
    try:
        for _, victim in itertools.product(range(rounds), range(3)):
            for writer in writers:
                writer.wait_for_more(20)
            cluster.wait_for_truncation()
            others = [writer for i, writer in enumerate(writers) if i != victim]
            began = time.monotonic()
            cluster.nodes[victim].kill()
            for writer in others:
                writer.wait_for_more(200)
            ready = cluster.start(victim)
            started = time.monotonic()
            writers[victim].wait_for_more(1)
            first = writers[victim].times[-1] - started
            pause = max(writer.longest_pause(began) for writer in others)
            report(f"member {victim} killed: the others stood still for {pause:.2f} s")
            cluster.wait_for_truncation()
            report(f"  started again: ready after {ready:.2f} s, a write {max(first, 0):.2f} s later")
    finally:
        for writer in writers:
            acknowledged.update(writer.stop())
    check_equal(cluster, acknowledged)
    report(f"{len(acknowledged)} keys, no acknowledged write lost")


@pytest.mark.slow
def test_each_member_is_killed_in_turn(cluster: Cluster, report: Callable[[str], None]) -> None:
    kill_in_turn(cluster, 1, report)


@pytest.mark.slow
def test_members_are_killed_again_and_again(cluster: Cluster, report: Callable[[str], None]) -> None:
    kill_in_turn(cluster, 4, report)


def durable(app: cloudburst.App, key: str, value: Any) -> bool:
    with contextlib.suppress(errors.UnavailableError, errors.DeadlineExceededError, TimeoutError):
        app.put(key, value)
        return True
    return False


def unready(node: Node) -> Tuple[int, str]:
    return node.http("/readyz")


@pytest.mark.slow
def test_without_a_majority(cluster: Cluster) -> None:
    """A lone survivor serves what it holds and takes writes in memory; a durable one fails in time; and then all goes on."""
    with cluster.app(0) as app:
        app.put("before", 1)
        assert app.get("before") == 1
        cluster.nodes[1].kill()
        cluster.nodes[2].kill()
        app.put("in-memory", 2, ack="memory")
        assert app.get("in-memory") == 2
        assert app.get("before") == 1
        with pytest.raises(errors.UnavailableError):  # the node's answer, and not the client's deadline
            app.put("during", 3, timeout=30)
        until(lambda: unready(cluster.nodes[0])[0] != 200, "the node to see that there is no leader", 40)
        status, text = unready(cluster.nodes[0])
        assert status == 503
        assert "no leader" in text
        cluster.start(1, 2)
        until(lambda: durable(app, "after", 4), "durable writes to work again", FORM_SECONDS_MAX)
        until(lambda: unready(cluster.nodes[0])[0] == 200, "the node to be ready again", 40)
    check_equal(cluster, {"before": 1, "in-memory": 2, "after": 4})


def test_a_member_without_a_majority_is_not_ready(tmp_path: Path) -> None:
    made = Cluster(tmp_path)
    try:
        alone = made.nodes[0]
        alone.flags = (*alone.flags, "--cluster-member", "member-0")
        alone._extra["CLOUDBURST_CLUSTER__FORM_TIMEOUT"] = "6s"
        alone.launch()
        assert "reached=1" in alone.output.wait_for("waiting for the cluster")
        assert alone.wait() == 1
        assert "1 of 3 members" in str(alone.output)
        assert not (alone.data / "address").exists()
    finally:
        made.end()


def overwrite(cluster: Cluster, member: int) -> Dict[str, int]:
    """Write keys by a member until the log has been cut off at its beginning, and return what they hold."""
    held: Dict[str, int] = {}
    with cluster.app(member) as app:
        while cluster.truncations() == 0:
            for i in range(200):
                held[f"key-{i}"] = held.get(f"key-{i}", 0) + 1
                app.put(f"key-{i}", held[f"key-{i}"])
    return held


def test_a_lost_disk(cluster: Cluster) -> None:
    """A member that begins again with nothing takes its old place, and gets its data."""
    acknowledged = overwrite(cluster, 1)
    lost = cluster.nodes[1]
    lost.kill()
    lost.data.rename(lost.data.with_name("lost"))
    cluster.start(1)
    members = json.loads(lost.cli("status", "-o", "json").stdout)["members"]
    assert [m["name"] for m in members] == ["member-0", "member-1", "member-2"]
    check_equal(cluster, acknowledged)


def test_a_file_cut_short(cluster: Cluster) -> None:
    """What is missing at the end of a member's log comes from the others."""
    acknowledged = overwrite(cluster, 1)
    cut = cluster.nodes[1]
    cut.kill()
    files = list(cut.data.glob("jetstream/*/streams/cloudburst-anna-*/msgs/*.blk"))
    assert files
    for file in files:
        os.truncate(file, file.stat().st_size // 2)
    cluster.start(1)
    check_equal(cluster, acknowledged)


@pytest.mark.slow
def test_a_member_that_stands_still(cluster: Cluster, report: Callable[[str], None]) -> None:
    """A process that is stopped is like a cable that is pulled: the others go on without it, and it catches up."""
    writers = [Writer(cluster, i) for i in range(2)]
    acknowledged: Dict[str, Any] = {}
    try:
        began = time.monotonic()
        cluster.nodes[2].signal(signal.SIGSTOP)
        for writer in writers:
            writer.wait_for_more(500)
        until(lambda: time.monotonic() > began + 8, "the member to be missed")
        report(f"member 2 stopped: the others stood still for {max(w.longest_pause(began) for w in writers):.2f} s")
    finally:
        cluster.nodes[2].signal(signal.SIGCONT)
        for writer in writers:
            acknowledged.update(writer.stop())
    check_equal(cluster, acknowledged)


@contextlib.contextmanager
def slow_disk(node: Node, writes_per_second: int) -> Iterator[None]:
    """Let a node's process write to its disk only so often. What it does not write through at once is not held up by this."""
    device = node.data.stat().st_dev
    group = Path("/sys/fs/cgroup/blkio") / f"cloudburst-{secrets.token_hex(4)}"
    limit = group / "blkio.throttle.write_iops_device"
    try:
        group.mkdir()
        limit.write_text(f"{os.major(device)}:{os.minor(device)} {writes_per_second}")
        (group / "cgroup.procs").write_text(str(node.process.pid))
    except OSError as fault:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.fail(
            f"the disk of one process cannot be slowed down, run this as root where there is a blkio cgroup: {fault}",
            pytrace=False,
        )
    try:
        yield
    finally:
        (group.parent / "cgroup.procs").write_text(str(node.process.pid))
        until(lambda: not (group / "cgroup.procs").read_text(), "the process to leave its group")
        group.rmdir()


def write_on_a_slow_disk(cluster: Cluster, slow: int, report: Callable[[str], None]) -> None:
    writers = [Writer(cluster, i) for i in range(3)]
    acknowledged: Dict[str, Any] = {}
    try:
        for writer in writers:
            writer.wait_for_more(20)
        began, before = time.monotonic(), sum(len(w.times) for w in writers)
        with slow_disk(cluster.nodes[slow], 10):
            until(lambda: time.monotonic() > began + 15, "writes on a slow disk", 16)
            during = sum(len(w.times) for w in writers) - before
            pause = max(w.longest_pause(began) for w in writers)
        healed = time.monotonic()
        for writer in writers:
            writer.wait_for_more(20)
        back = time.monotonic() - healed
    finally:
        for writer in writers:
            acknowledged.update(writer.stop())
    check_equal(cluster, acknowledged)
    report(f"disk of member {slow} slow for 15 s: {during} writes, the longest pause {pause:.2f} s")
    report(f"  20 writes each {back:.2f} s after that; {len(acknowledged)} keys, no acknowledged write lost")


@pytest.mark.slow
def test_a_slow_disk(tmp_path: Path, report: Callable[[str], None]) -> None:
    """A member whose disk takes ten writes a second holds up what it leads; nothing is lost, and it catches up afterwards."""
    made = Cluster(tmp_path)
    for node in made.nodes:
        node._extra["CLOUDBURST_NATS__SYNC_ALWAYS"] = "true"
    try:
        made.start()
        for slow in range(3):
            write_on_a_slow_disk(made, slow, report)
    finally:
        made.end()
