"""The command line: functions, DAGs, calls, keys and status, for people and for scripts."""

from __future__ import annotations

import json

import numpy
import pytest

import cloudburst
from cloudburst.client.client import CloudburstConnection
from e2e.node import Node, until


@pytest.fixture
def registered(cloud: CloudburstConnection, name: str) -> str:
    """The common prefix of two functions and a DAG of them."""

    def incr(library: object, x: int) -> int:
        """Add one."""
        return x + 1

    cloud.register(incr, f"{name}-incr")
    cloud.register(lambda _, x: x * x, f"{name}-sq")
    cloud.register_dag(f"{name}-dag", [f"{name}-incr", f"{name}-sq"], [(f"{name}-incr", f"{name}-sq")])
    return name


def test_functions(node: Node, cloud: CloudburstConnection, registered: str) -> None:
    cloud.register(lambda _, x: x + 2, f"{registered}-incr")
    table = node.cli("fn", "ls").stdout
    assert f"{registered}-incr" in table
    assert f"{registered}-sq" in table
    listed = {function["name"]: function for function in node.json("fn", "ls")}
    assert listed[f"{registered}-incr"]["version"] == 2
    assert f"{registered}-incr" in node.cli("fn", "describe", f"{registered}-incr").stdout
    assert "Add one." in node.cli("fn", "describe", f"{registered}-incr@1").stdout
    used = node.cli("fn", "rm", f"{registered}-sq", check=False)
    assert used.returncode != 0
    assert f"{registered}-dag" in used.stderr, "what still needs it is named"
    node.cli("dag", "rm", f"{registered}-dag")
    node.cli("fn", "rm", f"{registered}-sq")
    assert f"{registered}-sq" not in node.cli("fn", "ls").stdout
    gone = node.cli("fn", "describe", f"{registered}-sq", check=False)
    assert gone.returncode != 0
    assert f"{registered}-sq" in gone.stderr


def test_dags(node: Node, registered: str) -> None:
    assert f"{registered}-dag" in node.cli("dag", "ls").stdout
    described = node.json("dag", "describe", f"{registered}-dag")
    assert described["functions"] == [f"{registered}-incr", f"{registered}-sq"]
    node.cli("dag", "rm", f"{registered}-dag")
    assert f"{registered}-dag" not in node.cli("dag", "ls").stdout


def test_calls_with_json_arguments(node: Node, cloud: CloudburstConnection, registered: str, name: str) -> None:
    assert json.loads(node.cli("call", f"{registered}-sq", "12").stdout) == 144
    arguments = json.dumps({f"{registered}-incr": [3]})
    assert json.loads(node.cli("call", f"{registered}-dag", arguments).stdout) == 16
    cloud.register(lambda _, *arguments: list(arguments), f"{name}-list")
    given = ['"text"', "[1, 2.5]", '{"a": null}', "true", str(2**70)]
    expected = ["text", [1, 2.5], {"a": None}, True, 2**70]
    assert json.loads(node.cli("call", f"{name}-list", *given).stdout) == expected


def test_a_call_that_fails(node: Node, cloud: CloudburstConnection, registered: str, name: str) -> None:
    cloud.register(lambda _, x: 1 // x, f"{name}-divide")
    failed = node.cli("call", f"{name}-divide", "0", check=False)
    assert failed.returncode != 0
    assert "ZeroDivisionError" in failed.stderr
    unknown = node.cli("call", f"{name}-nothing", "1", check=False)
    assert unknown.returncode != 0
    assert f"{name}-nothing" in unknown.stderr
    unreadable = node.cli("call", f"{registered}-sq", "{not json", check=False)
    assert unreadable.returncode != 0
    assert "JSON" in unreadable.stderr


def test_the_beginning_of_a_name_is_enough_to_look(node: Node, registered: str) -> None:
    for command in (("call", f"{registered}-s", "5"), ("fn", "rm", f"{registered}-s"), ("dag", "rm", f"{registered}-d")):
        refused = node.cli(*command, check=False)
        assert refused.returncode == 1
        assert f"{registered}-" in refused.stderr, "the names that are registered are told"
    assert json.loads(node.cli("call", f"{registered}-sq", "5").stdout) == 25
    assert f"{registered}-incr" in node.cli("fn", "describe", f"{registered}-i").stdout
    ambiguous = node.cli("fn", "describe", f"{registered}-", check=False)
    assert ambiguous.returncode != 0
    assert f"{registered}-incr" in ambiguous.stderr, "the candidates are named"
    assert f"{registered}-sq" in ambiguous.stderr


def test_keys(node: Node, cloud: CloudburstConnection, name: str) -> None:
    node.cli("kv", "put", f"{name}-a", '{"n": [1, 2]}')
    assert cloud.get_object(f"{name}-a") == {"n": [1, 2]}
    cloud.put_object(f"{name}-b", [3])
    assert json.loads(node.cli("kv", "get", f"{name}-b").stdout) == [3]
    listed = node.cli("kv", "ls", name).stdout
    assert f"{name}-a" in listed
    assert f"{name}-b" in listed
    node.cli("kv", "del", f"{name}-a")
    missing = node.cli("kv", "get", f"{name}-a", check=False)
    assert missing.returncode != 0
    assert f"{name}-a" in missing.stderr


def test_what_python_alone_can_read_is_said_to_be(node: Node, cloud: CloudburstConnection, name: str) -> None:
    cloud.put_object(name, range(3))
    done = node.cli("kv", "get", name, check=False)
    assert "pickle" in (done.stdout + done.stderr).lower()


def test_status(node: Node, registered: str, name: str) -> None:
    cloudburst.connect().function(lambda: 1, name=name).remote().get()
    status = node.json("status")
    assert status["address"].endswith(node.address.rpartition(":")[2])
    assert status["functions"] >= 2
    assert status["workers"] >= 1
    assert "workers" in node.cli("status").stdout.lower()
    until(
        lambda: node.json("status")["keys"] == len(node.json("kv", "ls", "--limit", "0")["keys"]),
        "as many keys as are listed",
        10,
    )


def test_anna_status(node: Node, cloud: CloudburstConnection, name: str) -> None:
    for i in range(10):
        cloud.put_object(f"{name}-{i}", i)
    status = node.json("anna", "status")
    (member,) = status["members"]
    assert member["name"] == status["asked"]
    assert member["answers"]
    assert len(status["slots"]) == member["serves"] == member["leads"] == 1024
    assert status["moving"] == 0
    assert sum(slot["keys"] for slot in status["slots"]) == member["memory"]["keys"] + member["log"]["keys"] >= 10
    assert sum(slot["writes"] for slot in status["slots"]) >= 10
    assert sum(slot["bytes"] for slot in status["slots"]) == member["memory"]["bytes"] > 0
    assert [stream["lag"] for stream in member["streams"]] == [0] * 4
    table = node.cli("anna", "status").stdout
    assert "none moving" in table
    assert "busiest slots" in table
    assert len(node.cli("anna", "status", "--slots").stdout.splitlines()) > 1024
    _, metrics = node.http("/metrics")
    assert "\ncloudburst_anna_slots_led 1024\n" in metrics
    assert '\ncloudburst_anna_stream_lag{stream="3"} 0\n' in metrics
    assert '\ncloudburst_anna_tier_keys{tier="log"} 0\n' in metrics


def test_another_address_and_token(node: Node, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    done = node.cli("status", "--address", node.address, "--token", node.token)
    assert done.stdout


def test_every_value_is_given_back(node: Node, name: str) -> None:
    """What -o json prints is what kv put and call take: Python finds an equal value, of the same types, under the copy."""
    app = cloudburst.connect()
    values = [
        None,
        [True, 0, -1, 2**70, -(2**64)],
        [1.0, -0.0, 1e300, 0.1, float("inf"), float("-inf")],
        ["", "ü\u2028\x00", "a" * 5000],
        [b"", b"\x00\xff"],
        {"b": 1, "a": {"$bytes": "no notation"}, "$set": []},
        {1: "x", (1, (2.0, "y")): None, b"k": [], frozenset({1, 2}): {}},
        [{1, 2}, frozenset({(1,)}), (), ((),)],
        {},
        3 + 4j,
        numpy.arange(6, dtype="<f4").reshape(2, 3),
        b"bytes alone",
        "text alone",
    ]
    for number, value in enumerate(values):
        key, copy = f"{name}/{number}", f"{name}/copy/{number}"
        app.put(key, value)
        printed = node.cli("kv", "get", key, "-o", "json").stdout
        node.cli("kv", "put", copy, "--as", "json", "-", stdin=printed)
        read = app.get(copy)
        assert type(read) is type(value), printed
        assert repr(read) == repr(value), printed
        assert node.cli("kv", "get", copy, "-o", "json").stdout == printed
