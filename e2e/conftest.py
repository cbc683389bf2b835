"""Fixtures: a node shared by the tests that leave it as they found it, nodes of their own for the others."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Generator, Iterator, List, Mapping, Optional

import pytest

from cloudburst.client.client import CloudburstConnection
from e2e.node import BINARY, Node

TEST_SECONDS_MAX = 120
SLOW_SECONDS_MAX = 1200

# A reference to a missing key fails soon, so that the tests of it are quick.
SHARED = {"CLOUDBURST_EXECUTOR__REFERENCE_WAIT": "500ms"}


def pytest_configure(config: pytest.Config) -> None:
    if not BINARY.exists():
        raise pytest.UsageError(f"{BINARY} is not there: run make build")


@pytest.fixture(autouse=True)
def deadline(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test waits for ever: a hang is a failure, with the place where it hung."""

    seconds = SLOW_SECONDS_MAX if request.node.get_closest_marker("slow") else TEST_SECONDS_MAX

    def expired(number: int, frame: Optional[FrameType]) -> None:
        raise TimeoutError(f"the test was not done after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Attach what the nodes printed to a failure."""
    report = yield
    if report.failed:
        for node in RUNNING:
            if node.output is not None:
                report.sections.append((f"node {node.address or node.listen}", str(node.output)))
    return report


RUNNING: List[Node] = []


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The shared node. Every client that is not told otherwise finds it."""
    shared = Node(tmp_path_factory.mktemp("shared"), environment=SHARED)
    RUNNING.append(shared)
    try:
        shared.start()
        os.environ.update(shared.environment())
        yield shared
    finally:
        RUNNING.remove(shared)
        shared.kill()
        for name in ("CLOUDBURST_ADDRESS", "CLOUDBURST_TOKEN"):
            os.environ.pop(name, None)


@pytest.fixture
def own_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Node]]:
    """Start a node for one test; the clients of the test find the one started last."""
    started: List[Node] = []

    def start(*flags: str, environment: Optional[Mapping[str, str]] = None, listen: str = "127.0.0.1:0") -> Node:
        own = Node(tmp_path / f"node{len(started)}", *flags, environment=environment, listen=listen)
        started.append(own)
        RUNNING.append(own)
        own.start()
        for name, value in own.environment().items():
            monkeypatch.setenv(name, value)
        return own

    yield start
    for own in started:
        RUNNING.remove(own)
        own.kill()


@pytest.fixture
def cloud(node: Node) -> CloudburstConnection:
    """A connection to the shared node, by the published interface."""
    return CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses, for what this one registers and stores."""
    return "".join(c if c.isalnum() else "-" for c in f"{request.path.stem}-{request.node.name}").strip("-")


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line for those who run the tests."""

    def line(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}", end="", flush=True)

    return line
