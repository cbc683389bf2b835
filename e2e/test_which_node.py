"""Which node is reached: inside a function the one that runs it, elsewhere the one that was named."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

import cloudburst
from cloudburst import errors
from cloudburst.client.client import CloudburstConnection
from e2e.conftest import RUNNING
from e2e.node import Node

Apps = Tuple[cloudburst.App, cloudburst.App]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[List[Node]]:
    """Two nodes of one user; clients that name neither find the first, which is not the one that was connected to last."""
    directory = tmp_path_factory.mktemp("nodes")
    started = [Node(directory / "first"), Node(directory / "second")]
    started[1].config = started[0].config
    RUNNING.extend(started)
    try:
        for node in started:
            node.start()
        yield started
    finally:
        for node in started:
            RUNNING.remove(node)
            node.kill()


@pytest.fixture
def apps(nodes: List[Node], monkeypatch: pytest.MonkeyPatch) -> Iterator[Apps]:
    """Connections to both, the second made last. The environment names none."""
    for name in ("CLOUDBURST_ADDRESS", "CLOUDBURST_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(nodes[0].config))
    first, second = (cloudburst.connect(node.address, node.token) for node in nodes)
    with first, second:
        yield first, second


def test_a_function_reaches_the_node_that_runs_it(apps: Apps, nodes: List[Node], name: str) -> None:
    first, second = apps
    inner: Any = first.function(lambda x: x + 1, name=f"{name}-inner")
    kept = inner.remote(40)
    pipeline = inner >> first.function(abs, name=f"{name}-abs")
    host = nodes[0].address.partition(":")[0]

    @first.function(name=name)
    def outer(prefix: str) -> Any:
        first.put(f"{prefix}-app", 1)
        with first:
            pass  # which ends a connection elsewhere
        with cloudburst.connect() as own:
            own.put(f"{prefix}-connect", 2)
        cloud = CloudburstConnection(host, host)
        cloud.put_object(f"{prefix}-published", 3)
        with first.session() as session:
            session.put(f"{prefix}-session", 4)
        changes = first.watch(f"{prefix}-app")
        return next(changes).value, inner.remote(1).get(), kept.get(), pipeline.remote(-5).get(), first.address

    assert outer.remote(name).get() == (1, 2, 41, 4, first.address)
    keys = [f"{name}-{kind}" for kind in ("app", "connect", "published", "session")]
    assert first.get_many(keys) == dict(zip(keys, (1, 2, 3, 4)))
    assert second.get_many(keys) == {}
    assert {f.name for f in first._connection.functions(name)} == {name, f"{name}-inner", f"{name}-abs"}
    assert second._connection.functions(name) == []


def test_processes_that_a_function_starts(apps: Apps, nodes: List[Node], name: str) -> None:
    first, second = apps

    @first.function(name=name)
    def forks(key: str) -> Any:
        import multiprocessing
        import os
        import subprocess
        import sys

        def child() -> None:
            first.put(key, "from a child")

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join(30)
        program = "import cloudburst; print(cloudburst.connect().get_many(['{key}']))"
        done = subprocess.run([sys.executable, "-c", program.format(key=key)], capture_output=True, text=True)
        return process.exitcode, os.environ["CLOUDBURST_ADDRESS"], done.stdout

    status, address, said = forks.remote(name).get()
    assert (status, address) == (0, nodes[0].address)
    assert (first.get(name), second.get(name)) == ("from a child", None)
    assert said == f"{{'{name}': 'from a child'}}\n", "the node's user has started the program, so it finds the token"


def test_what_a_function_returns_belongs_to_its_node(apps: Apps, name: str) -> None:
    """One program, two nodes: the future, function and app that each returns are those of each, whatever was used last."""
    returned: List[Tuple[Any, Any, Any]] = []
    for number, app in enumerate(apps):
        inner = app.function(lambda x, number=number: (number, x), name=f"{name}-inner")

        @app.function(name=name)
        def outer(inner: Any = inner, app: Any = app) -> Any:
            return inner.remote("future"), inner, app

        returned.append(outer.remote().get())
    for number in (0, 1):
        future, inner, app = returned[number]
        app.put(f"{name}-seen", number)
        assert (future.get(), inner.remote("call").get()) == ((number, "future"), (number, "call"))
        assert app.address == apps[number].address
    assert [app.get(f"{name}-seen") for app in apps] == [0, 1]


def test_a_pickle_names_the_node_and_not_the_token(apps: Apps, nodes: List[Node], name: str, tmp_path: Path) -> None:
    first, _ = apps
    double = first.function(int.__mul__, name=name)
    future = double.remote(6, 7)
    assert future.get() == 42
    pickled = pickle.dumps((first, future, double, double >> first.function(abs, name=f"{name}-abs")))
    assert nodes[0].token.encode() not in pickled
    app, again, function, _ = pickle.loads(pickled)
    assert app._connection is first._connection, "in the same program it is the same connection"
    assert (again.get(), function.remote(2, 3).get()) == (42, 6)

    (tmp_path / "pickle").write_bytes(pickled)
    program = (
        "import pickle, sys, pathlib\n"
        "app, future, function, pipeline = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "print(app.address, future.get(), function.remote(3, 4).get(), pipeline.remote(-1, 5).get())\n"
    )

    def elsewhere(config: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "pickle")],
            env={**nodes[1]._environment(environment), "XDG_CONFIG_HOME": str(config)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert elsewhere(nodes[0].config).stdout.split() == [nodes[0].address, "42", "12", "5"], (
        "the user of the node has its token"
    )
    refused = elsewhere(tmp_path)
    assert "AuthenticationError" in refused.stderr
    assert nodes[0].address in refused.stderr
    assert "CLOUDBURST_TOKEN" in refused.stderr
    known = elsewhere(tmp_path, CLOUDBURST_TOKEN=nodes[0].token)
    assert known.stdout.split() == [nodes[0].address, "42", "12", "5"], known.stderr
    with pytest.raises(errors.InvalidArgumentError, match="session"):
        pickle.dumps(first.session())


@pytest.mark.parametrize("others", [{}, {"CLOUDBURST_ADDRESS": "127.0.0.1:9", "CLOUDBURST_TOKEN": "of-another-node"}])
def test_a_node_without_a_home(tmp_path: Path, others: Dict[str, str]) -> None:
    """As a unit of systemd: there is no HOME, so no client finds the node by itself. Also with variables for another node."""
    node = Node(tmp_path, environment={"HOME": "", "XDG_CONFIG_HOME": "", **others}).start()
    RUNNING.append(node)
    try:
        with cloudburst.connect(node.address, node.token) as app:
            inner = app.function(lambda x: x + 1, name="inner")

            @app.function
            def outer(x: int) -> Any:
                app.put("seen", x)
                return inner.remote(x).get()

            assert outer.remote(1).get() == 2
            assert app.get("seen") == 1
    finally:
        RUNNING.remove(node)
        node.kill()
