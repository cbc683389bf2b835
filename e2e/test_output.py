"""Output that is not read, or that cannot be written, and signals: a node goes on, and ends as it says."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

import cloudburst
from e2e.node import BINARY, Node, until

Starter = Callable[..., Node]

# So little that a test fills it, and the pipe before it, at once.
SMALL_BUFFER = {"CLOUDBURST_LOG__BUFFER_BYTES_MAX": str(256 << 10)}
STOP_SECONDS_MAX = 20.0


class Unread:
    """A node whose output goes where the test says."""

    def __init__(self, directory: Path, **streams: Any) -> None:
        self.node = Node(directory)
        self.process = subprocess.Popen(
            self.node.command(),
            stdin=subprocess.DEVNULL,
            env=self.node._environment({**SMALL_BUFFER, **self.node._extra}),
            start_new_session=True,
            **streams,
        )
        self.node.process = self.process
        address = self.node.data / "address"
        until(address.exists, "the node to be ready", 30)
        self.node.url = "http://" + address.read_text().strip()

    def app(self) -> cloudburst.App:
        return cloudburst.connect(self.node.address, self.node.token)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(STOP_SECONDS_MAX)


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[Callable[..., Unread]]:
    started: List[Unread] = []

    def start(**streams: Any) -> Unread:
        started.append(Unread(tmp_path / "node", **streams))
        return started[-1]

    yield start
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            one.process.kill()
        one.process.wait()
        for stream in (one.process.stdout, one.process.stderr):
            if stream is not None:
                stream.close()


def shout(lines: int) -> int:
    for _ in range(lines):
        print("x" * 99)
    return lines


def test_calls_and_the_stop_wait_for_no_reader_of_the_log(unread: Callable[..., Unread]) -> None:
    one = unread(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with one.app() as app:
        assert app.function(shout).remote(20_000).get(timeout=60) == 20_000
        assert one.node.metric("cloudburst_log_dropped_total") > 0
    assert one.stop() == 0


def test_lines_of_the_log_that_were_dropped_are_counted_when_it_flows_again(unread: Callable[..., Unread]) -> None:
    one = unread(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said: List[bytes] = []
    with one.app() as app:
        assert app.function(shout).remote(20_000).get(timeout=60) == 20_000
        dropped = int(one.node.metric("cloudburst_log_dropped_total"))
        reader = threading.Thread(target=lambda: said.extend(one.process.stderr), daemon=True)  # type: ignore[arg-type]
        reader.start()
        until(lambda: any(b"lines of the log were dropped" in line for line in said), "the number of lines")
        report = next(line for line in said if b"lines of the log were dropped" in line)
        assert f"lines={dropped}".encode() in report
        assert app.function(shout, name="again").remote(1).get() == 1
    assert one.stop() == 0
    reader.join(STOP_SECONDS_MAX)
    assert len([line for line in said if b"xxx" in line]) + dropped >= 20_000


def test_a_log_whose_reader_is_gone(unread: Callable[..., Unread]) -> None:
    """As with ``cloudburst serve 2>&1 | head -1``."""
    one = unread(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert one.process.stdout is not None
    assert one.process.stdout.readline()
    one.process.stdout.close()
    with one.app() as app:
        assert app.function(shout).remote(100).get() == 100
    assert one.node.http("/readyz")[0] == 200
    assert one.stop() == 0


def test_a_log_that_is_full(unread: Callable[..., Unread]) -> None:
    with Path("/dev/full").open("wb") as full:
        one = unread(stdout=full, stderr=full)
    with one.app() as app:
        assert app.function(shout).remote(100).get() == 100
    until(lambda: one.node.metric("cloudburst_log_dropped_total") >= 100, "the lines to be counted")
    assert one.stop() == 0


def test_a_log_that_is_closed(tmp_path: Path) -> None:
    node = Node(tmp_path)
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" 1>&- 2>&-', "sh", *node.command()], env=node._environment(node._extra), start_new_session=True
    )
    try:
        address = node.data / "address"
        until(address.exists, "the node to be ready", 30)
        with cloudburst.connect(address.read_text().strip(), node.token) as app:
            assert app.function(shout).remote(100).get() == 100
        process.terminate()
        assert process.wait(STOP_SECONDS_MAX) == 0
    finally:
        process.kill()
        process.wait()


def test_commands_whose_output_is_not_read(node: Node) -> None:
    """As with ``cloudburst kv ls | head``: they end without a word."""
    for command in (["status"], ["kv", "ls"], ["fn", "ls", "-o", "json"], ["--help"]):
        process = subprocess.Popen(
            [str(BINARY), *command], env=node._environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b"", command
        process.stderr.close()
        process.wait(STOP_SECONDS_MAX)


def test_the_end_of_the_terminal_drains(own_node: Starter, tmp_path: Path) -> None:
    """What runs is finished, what was acknowledged in memory is kept, and the status is 0, also after several SIGHUPs."""
    node = own_node()
    app = cloudburst.connect()
    go_on = tmp_path / "go on"

    def wait(path: str) -> str:
        import os
        import time

        cloudburst.context().put("runs", True)
        while not os.path.exists(path):  # noqa: PTH110
            time.sleep(0.01)
        return "finished"

    app.put("memory", 1, ack="memory")
    future = app.function(wait).remote(str(go_on))
    assert app.get("runs", wait=30)
    node.signal(signal.SIGHUP)
    node.output.wait_for("draining.*signal=hangup")
    node.signal(signal.SIGHUP)
    node.signal(signal.SIGCONT)
    go_on.touch()
    assert future.get() == "finished"
    assert node.wait() == 0
    assert node.family() == []
    node.start()
    assert cloudburst.connect().get("memory") == 1


def test_a_node_that_outlives_its_terminal(tmp_path: Path) -> None:
    """As with ``nohup``, which starts it with SIGHUP ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        node = Node(tmp_path).start()
    finally:
        signal.signal(signal.SIGHUP, before)
    try:
        node.signal(signal.SIGHUP)
        assert node.http("/readyz")[0] == 200
        assert node.stop() == 0
        assert "draining" in str(node.output)
        assert "signal=hangup" not in str(node.output)
    finally:
        node.kill()


def test_signals_that_end_nothing(own_node: Starter) -> None:
    node = own_node()
    app = cloudburst.connect()
    double = app.function(lambda x: 2 * x, name="double")
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGWINCH):
        node.signal(number)
        assert double.remote(2).get() == 4
    future = double.remote(3)
    node.signal(signal.SIGSTOP)  # as Ctrl-Z, which a process without a terminal is spared
    until(
        lambda: Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T",
        "the node to stand still",
    )
    node.signal(signal.SIGCONT)
    assert future.get() == 6
    assert double.remote(4).get() == 8
    assert node.stop() == 0


def test_a_report_of_what_a_node_does(own_node: Starter) -> None:
    node = own_node()
    node.signal(signal.SIGQUIT)
    assert node.wait() == 2
    assert "goroutine" in str(node.output)
    until(lambda: node.family() == [], "workers to end with the node")
