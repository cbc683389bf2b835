"""A fault of a function is raised by its call as what it is, and harms no other call."""

from __future__ import annotations

import os
import re
import threading
import time
from typing import Any

import pytest

from cloudburst import errors
from cloudburst.client.client import CloudburstConnection
from cloudburst.shared.reference import CloudburstReference
from e2e.node import Node


class Declined(Exception):
    def __init__(self, amount: int) -> None:
        super().__init__(f"{amount} is too much")
        self.amount = amount


def test_a_function_raises(cloud: CloudburstConnection, name: str) -> None:
    def divide(library: Any, x: int) -> Any:
        return os.getpid(), 1 / x

    f = cloud.register(divide, name)
    before = {f(1).get()[0] for _ in range(20)}
    for _ in range(20):
        with pytest.raises(ZeroDivisionError, match=r"^division by zero$") as raised:
            f(0).get()
    trace = str(raised.value.__cause__)
    assert "return os.getpid(), 1 / x" in trace, "the remote traceback shows the line"
    assert name in trace
    after = {f(1).get()[0] for _ in range(20)}
    assert after & before, "the workers live on"


def test_an_exception_of_the_users_own(cloud: CloudburstConnection, name: str) -> None:
    def decline(library: Any, amount: int) -> None:
        raise Declined(amount)

    with pytest.raises(Declined, match="12 is too much") as raised:
        cloud.register(decline, name)(12).get()
    assert raised.value.amount == 12


def test_an_exception_that_does_not_travel(cloud: CloudburstConnection, name: str) -> None:
    def hold(library: Any) -> None:
        error = ValueError("with a lock")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    with pytest.raises((ValueError, errors.ExecutionError), match="with a lock") as raised:
        cloud.register(hold, name)().get()
    assert "raise error" in str(raised.value.__cause__)


@pytest.mark.parametrize("how", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
def test_exceptions_that_end_processes_do_not(cloud: CloudburstConnection, name: str, how: str) -> None:
    def leave(library: Any, kind: str) -> None:
        raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt, "GeneratorExit": GeneratorExit}[kind]("bye")

    with pytest.raises(errors.ExecutionError, match=how):
        cloud.register(leave, name)(how).get()


@pytest.mark.parametrize("arguments", [(), (1, 2, 3)])
def test_wrong_arguments(cloud: CloudburstConnection, name: str, arguments: tuple[int, ...]) -> None:
    f = cloud.register(lambda _, x, y: x + y, name)
    with pytest.raises(TypeError, match="argument"):
        f(*arguments).get()
    assert f(1, 2).get() == 3


def test_a_dag_function_without_arguments(cloud: CloudburstConnection, name: str) -> None:
    cloud.register(lambda _, x: x, name)
    assert cloud.register_dag(name, [name], []) == (True, 0)
    with pytest.raises(TypeError, match="argument"):
        cloud.call_dag(name, {}).get()
    with pytest.raises(TypeError, match="argument"):
        cloud.call_dag(name, {}, direct_response=True)
    assert cloud.call_dag(name, {name: [5]}).get() == 5


def test_arguments_for_a_function_that_is_not_in_the_dag(cloud: CloudburstConnection, name: str) -> None:
    cloud.register(lambda _, x: x, name)
    assert cloud.register_dag(name, [name], []) == (True, 0)
    with pytest.raises(Exception, match="stranger"):
        cloud.call_dag(name, {name: [5], "stranger": [1]}).get()


def test_an_error_in_the_middle_of_a_dag(cloud: CloudburstConnection, name: str) -> None:
    def fail(library: Any, x: int) -> None:
        raise LookupError(f"no {x}")

    cloud.register(lambda _, x: x + 1, f"{name}-a")
    cloud.register(fail, f"{name}-b")
    cloud.register(lambda _, x: x, f"{name}-c")
    names = [f"{name}-{part}" for part in "abc"]
    assert cloud.register_dag(name, names, list(zip(names, names[1:]))) == (True, 0)
    with pytest.raises(LookupError, match="no 2") as raised:
        cloud.call_dag(name, {names[0]: [1]}).get()
    assert f"{name}-b" in str(raised.value.__cause__), "the function that raised is named"


def test_an_unpicklable_result(cloud: CloudburstConnection, name: str) -> None:
    f = cloud.register(lambda _, bad: threading.Lock() if bad else "fine", name)
    with pytest.raises(errors.Error, match=r"(?i)pickle") as raised:
        f(True).get()
    assert name in str(raised.value) or "lock" in str(raised.value)
    assert f(False).get() == "fine"


def test_an_unpicklable_closure_is_named(cloud: CloudburstConnection, name: str) -> None:
    the_culprit = threading.Lock()
    with pytest.raises(errors.UnpicklableError, match="the_culprit"):
        cloud.register(lambda _, x: (the_culprit, x), name)


def test_unknown_functions_and_dags(cloud: CloudburstConnection, name: str) -> None:
    with pytest.raises(errors.FunctionNotFoundError, match=name):
        cloud.exec_func(name, [1])
    with pytest.raises(errors.DagNotFoundError, match=name):
        cloud.call_dag(name, {})


def test_a_slow_call_does_not_answer_another(cloud: CloudburstConnection, name: str) -> None:
    def slow(library: Any, x: int) -> int:
        time.sleep(1.3)  # longer than the published client waited
        return x

    cloud.register(slow, f"{name}-slow")
    echo = cloud.register(lambda _, x: x, f"{name}-echo")
    assert cloud.register_dag(f"{name}-slow", [f"{name}-slow"], []) == (True, 0)
    abandoned = cloud.call_dag(f"{name}-slow", {f"{name}-slow": [-1]})
    with pytest.raises(TimeoutError):
        abandoned.get(timeout=0.05)
    assert [echo(i).get() for i in range(200)] == list(range(200))
    assert cloud.call_dag(f"{name}-slow", {f"{name}-slow": [-2]}, direct_response=True) == -2
    assert abandoned.get() == -1, "the future still has its own answer"


def test_a_reference_to_a_missing_key(cloud: CloudburstConnection, name: str) -> None:
    f = cloud.register(lambda _, x: x, name)
    blocked = [f(CloudburstReference(f"{name}-missing", True)) for _ in range(20)]
    assert [f(i).get() for i in range(100)] == list(range(100)), "no other call is blocked"
    for future in blocked:
        with pytest.raises(errors.KeyNotFoundError, match=f"{name}-missing"):
            future.get()


def test_a_reference_to_a_key_that_appears_in_time(cloud: CloudburstConnection, name: str) -> None:
    f = cloud.register(lambda _, x: x, name)
    early = f(CloudburstReference(f"{name}-late", True))
    cloud.put_object(f"{name}-late", "here")
    assert early.get() == "here"


def test_get_object_of_a_missing_key(cloud: CloudburstConnection, name: str) -> None:
    with pytest.raises(KeyError, match=name):
        cloud.get_object(name)


def test_registering_again_takes_effect(cloud: CloudburstConnection, name: str) -> None:
    other = CloudburstConnection("127.0.0.1", "127.0.0.1", tid=7, local=True)
    first = cloud.register(lambda _, x: ("old", x), name)
    assert cloud.register_dag(name, [name], []) == (True, 0)
    assert first(1).get() == ("old", 1)
    other.register(lambda _, x: ("new", x), name)
    assert first(1).get() == ("new", 1)
    assert cloud.call_dag(name, {name: [1]}).get() == ("new", 1)
    found = other.get_function(name)
    assert found is not None
    assert [found(i).get() for i in range(50)] == [("new", i) for i in range(50)]


def test_a_failed_run_is_in_the_log_of_the_node(node: Node, cloud: CloudburstConnection, name: str) -> None:
    def divide(library: Any, x: int, y: int) -> float:
        return x / y

    with pytest.raises(ZeroDivisionError):
        cloud.register(divide, name)(1, 0).get()
    line = node.output.wait_for(rf"a run failed.*function={name}")
    assert re.search(rf"WARN .*run=[0-9a-f]{{32}} function={name} version=1 .*ZeroDivisionError: division by zero", line), line
