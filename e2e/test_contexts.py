"""Two nodes of one user: clients keep the first, and a user chooses by name; the command line and Python agree."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, Tuple

import pytest

import cloudburst
from cloudburst import errors
from e2e.conftest import RUNNING
from e2e.node import Node


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tuple[Node, Node]]:
    """Two nodes of one user, which are not started. The environment names none."""
    for name in ("CLOUDBURST_ADDRESS", "CLOUDBURST_TOKEN", "CLOUDBURST_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    first, second = Node(tmp_path / "first"), Node(tmp_path / "second")
    second.config = first.config
    monkeypatch.setenv("XDG_CONFIG_HOME", str(first.config))
    RUNNING.extend((first, second))
    try:
        yield first, second
    finally:
        for node in (first, second):
            RUNNING.remove(node)
            node.kill()


def test_a_second_node_takes_over_no_client(pair: Tuple[Node, Node]) -> None:
    first, second = pair
    first.start()
    assert "context first" in str(first.output)
    with cloudburst.connect() as app:
        app.put("at", "first")
        second.start()
        second.output.wait_for(r"clients keep using context first \(.*\).*--context second.*context use second")

        with cloudburst.connect() as other, cloudburst.connect(context="second") as named:
            assert (other.get("at"), named.get("at")) == ("first", None)
            named.put("at", "second")
        assert [first.cli("kv", "get", "at", *flags).stdout for flags in ((), ("--context", "second"))] == [
            "first\n",
            "second\n",
        ]
        rows = first.json("context", "ls")
        assert [(row["name"], row["current"], row["address"], row["up"]) for row in rows] == [
            ("first", True, first.address, True),
            ("second", False, second.address, True),
        ]
        assert [row["data"] for row in rows] == [str(first.data), str(second.data)]
        assert "token" not in str(rows)

        assert "current  yes" in first.cli("context", "use", "second").stdout
        assert first.json("context", "show")["name"] == "second"
        with cloudburst.connect() as now:
            assert (now.get("at"), app.get("at")) == ("second", "first"), "a client that runs keeps its node"
        first.stop()
        first.start()
        assert app.get("at") == "first"
        first.output.wait_for("clients keep using context second")


def test_the_node_of_the_current_context_is_gone(pair: Tuple[Node, Node]) -> None:
    first, second = pair
    first.start()
    first.kill()
    with pytest.raises(errors.UnavailableError, match=r"context first.*context use NAME"):
        cloudburst.connect()
    refused = first.cli("status", check=False)
    assert f"{first.address} (context first)" in refused.stderr
    assert "cloudburst context use NAME" in refused.stderr

    second.start()
    second.output.wait_for("clients use context second from now on, since the node of context first is gone")
    with cloudburst.connect() as app:
        assert app.address == second.address
    running = first.cli("context", "rm", "second", check=False)
    assert (running.returncode, "stop it first" in running.stderr) == (1, True)
    assert first.cli("context", "rm", "first").stdout == "context first removed\n"
    with pytest.raises(errors.InvalidArgumentError, match="there are second"):
        cloudburst.connect(context="first")
    unknown = first.cli("kv", "ls", "--context", "first", check=False)
    assert "there are second" in unknown.stderr


def test_a_name_that_another_node_has(pair: Tuple[Node, Node]) -> None:
    first, second = pair
    first.flags = ("--context", "shop")
    first.start()
    second.flags = ("--context", "shop")
    done = second.run()
    assert done.returncode == 1
    assert f"shop is that of the node at {first.address}" in done.stdout + done.stderr
