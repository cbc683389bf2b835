"""Arguments that make no sense are refused by the Python client and by the command line as the table of the Go client says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, cast

import pytest

import cloudburst
from cloudburst import errors
from cloudburst.client.client import CloudburstConnection
from e2e.node import Node

TABLE: List[Dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parent.parent / "client" / "testdata" / "refused.json").read_text("utf-8")
)
ERRORS = {
    "invalid_argument": errors.InvalidArgumentError,
    "too_large": errors.TooLargeError,
    "function_not_found": errors.FunctionNotFoundError,
    "lattice_mismatch": errors.LatticeMismatchError,
}
NUMBERS = {"nan": float("nan"), "inf": float("inf")}


def of(client: str) -> pytest.MarkDecorator:
    cases = [case for case in TABLE if client in case.get("only", [client])]
    return pytest.mark.parametrize("case", cases, ids=[case["case"].replace(" ", "-") for case in cases])


def key_of(case: Dict[str, Any]) -> Any:
    return "k" * case["key_bytes"] if "key_bytes" in case else case.get("key")


def seconds(case: Dict[str, Any], field: str) -> Any:
    return NUMBERS.get(case[field], case[field]) if field in case else None


@pytest.fixture(scope="module")
def prepared(node: Node) -> cloudburst.App:
    cloud = CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)
    cloud.register(lambda _, *arguments: None, "echo")
    cloud.register_dag("echoes", ["echo"], [])
    app = cloudburst.connect()
    app.put("value", 1)
    return app


@of("python")
def test_python(prepared: cloudburst.App, cloud: CloudburstConnection, case: Dict[str, Any]) -> None:
    app, key = prepared, key_of(case)

    def get() -> None:
        app.get(key, timeout=seconds(case, "timeout"), wait=seconds(case, "wait") or 0.0)

    def put() -> None:
        app.put(key, case["value"], ttl=seconds(case, "ttl"), ack=case.get("ack", "durable"))

    def call() -> None:
        arguments = [app.ref(case["ref"])] if "ref" in case else []
        function = app.lookup(case["function"])
        if "timeout" in case:
            function = function.options(timeout=seconds(case, "timeout"))
        function.remote(*arguments).get()

    operations: Dict[str, Callable[[], Optional[object]]] = {
        "get": get,
        "put": put,
        "delete": lambda: app.delete(key),
        "increment": lambda: app.increment(key, case["n"]),
        "watch": lambda: next(app.watch(*case["keys"])),
        "call": call,
        "call_dag": lambda: cloud.call_dag(case["dag"], case["arguments"]).get(),
    }
    with pytest.raises(ERRORS[case["error"]]) as raised:
        operations[case["op"]]()
    assert case.get("says", "") in str(raised.value)


HALF = "half \ud800"


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (lambda app: app.put(HALF, 1), "half of a surrogate pair"),
        (lambda app: app.get(HALF), "half of a surrogate pair"),
        (lambda app: app.keys(HALF), "half of a surrogate pair"),
        (lambda app: app.ref(HALF), "half of a surrogate pair"),
        (lambda app: app.function(len, name=HALF).register(), "half of a surrogate pair"),
        (lambda app: app.function(len, name=""), "not empty"),
        (lambda app: app.function(len, retries=-1), "from 0 on"),
        (lambda app: app.function(len, timeout=-1), "timeout is a number of seconds"),
        (lambda app: app.keys(5), "a prefix is a string"),
        (lambda app: app.get_many("abc"), "takes several keys"),
        (lambda app: app.session().get_many("abc"), "takes several keys"),
        (lambda app: app.session(None), "the level of a session is a string"),
        (lambda app: app.increment("k", True), "an integer of 64 bits"),
        (lambda app: app.session().increment("k", "1"), "an integer of 64 bits"),
        (lambda app: cloudburst.as_completed(cast(Any, [1])), "only futures are waited for"),
        (lambda app: cloudburst.connect(cast(Any, 5)), "it is not a string"),
    ],
)
def test_only_python(prepared: cloudburst.App, operation: Callable[[Any], object], says: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=says):
        operation(prepared)


@of("cli")
def test_command_line(prepared: cloudburst.App, node: Node, case: Dict[str, Any]) -> None:
    key = key_of(case)
    timeout = ["--timeout", f"{case['timeout']}s"] if "timeout" in case else []
    ttl = ["--ttl", case["ttl"] if isinstance(case["ttl"], str) else f"{case['ttl']:f}s"] if "ttl" in case else []
    arguments: Dict[str, Callable[[], List[str]]] = {
        "get": lambda: ["kv", "get", key],
        "put": lambda: ["kv", "put", key, str(case["value"]), "--ack", case.get("ack", "durable"), *ttl],
        "delete": lambda: ["kv", "rm", key],
        "call": lambda: ["call", case["function"], *timeout],
        "call_dag": lambda: ["call", case["dag"], json.dumps(case["arguments"])],
        "list": lambda: ["kv", "ls", "--limit", str(case["limit"])],
        "delete_function": lambda: ["fn", "rm", case["function"]],
    }
    done = node.cli(*arguments[case["op"]](), "--output=json", check=False)
    assert done.returncode in {1, 2}
    assert done.stdout == ""
    failure = json.loads(done.stderr)
    assert failure["code"] == case["error"], failure
    assert case.get("says", "") in failure["message"]
