"""Generated values and programs: a call on a node gives what a call here gives."""

from __future__ import annotations

import sys
import types
from typing import Any, Iterator

import pytest
from hypothesis import HealthCheck, given, settings

import cloudburst
from e2e.generated import VALUES, alike, outcome, programs

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
MANY = settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.fixture(scope="module")
def app(node: Any) -> Iterator[cloudburst.App]:
    with cloudburst.connect() as connected:
        yield connected


@pytest.fixture(scope="module")
def echo(app: cloudburst.App) -> Any:
    return app.function(lambda x: x, name="generated-echo")


def check_value(app: cloudburst.App, echo: Any, value: Any) -> None:
    assert alike(value, echo.remote(value).get(), {})
    app.put("generated", value, ack="memory")
    assert alike(value, app.get("generated"), {})


def check_program(app: cloudburst.App, source: str) -> None:
    module = types.ModuleType("__main__")
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        exec(compile(source, "<program>", "exec"), vars(module))
        main = vars(module)["main"]
        function = app.function(main, name="generated-program")
        for arguments in ((3, 1), ("a", [1])):
            function.register()  # with what a call here has left behind
            there = outcome(lambda: function.remote(*arguments).get())  # noqa: B023
            assert there == outcome(lambda: main(*arguments))  # noqa: B023
    finally:
        sys.modules["__main__"] = before


@FEW
@given(value=VALUES)
def test_values(app: cloudburst.App, echo: Any, value: Any) -> None:
    check_value(app, echo, value)


@FEW
@given(source=programs())
def test_programs(app: cloudburst.App, source: str) -> None:
    check_program(app, source)


@pytest.mark.slow
@MANY
@given(value=VALUES)
def test_many_values(app: cloudburst.App, echo: Any, value: Any) -> None:
    check_value(app, echo, value)


@pytest.mark.slow
@MANY
@given(source=programs())
def test_many_programs(app: cloudburst.App, source: str) -> None:
    check_program(app, source)
