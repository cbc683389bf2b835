"""How often a function runs when it raises and when its worker is lost: what the user says, and no more."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, Callable, List

import pytest

import cloudburst
from cloudburst import errors
from e2e.node import Node, until


@pytest.fixture
def app(node: Node) -> cloudburst.App:
    return cloudburst.connect()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "executions")


def executions(path: str) -> str:
    return Path(path).read_text()


def mark(path: str, what: str) -> None:
    with Path(path).open("a") as file:
        file.write(what)


def die(path: str) -> None:
    """Leave a mark, and kill the own process."""
    mark(path, "x")
    os.kill(os.getpid(), signal.SIGKILL)


def test_at_most_once(app: cloudburst.App, name: str, path: str) -> None:
    pay = app.function(die, name=name, retries=0)
    with pytest.raises(errors.OutcomeUnknownError, match=rf"killed by signal 9.*{name}@1.*at most once.*find out before"):
        pay.remote(path).get()
    assert executions(path) == "x"
    twice = app.function(die, name=f"{name}-twice", retries=3).options(retries=0)
    with pytest.raises(errors.OutcomeUnknownError):
        twice.remote(path).get()
    assert executions(path) == "xx", "a call may say how often too"


def test_a_lost_worker_is_tried_twice_more(app: cloudburst.App, name: str, path: str) -> None:
    pay = app.function(die, name=name)
    with pytest.raises(errors.WorkerDiedError) as caught:
        pay.remote(path).get()
    assert executions(path) == "xxx"
    assert str(caught.value).count("was killed by signal 9") == 3, "it says how each worker ended"


def test_at_most_once_in_a_pipeline(app: cloudburst.App, name: str, path: str) -> None:
    """Nothing that has succeeded is run again with what failed."""

    def first(path: str) -> str:
        mark(path, "a")
        return path

    def last(path: str) -> None:
        mark(path, "b")
        os.kill(os.getpid(), signal.SIGKILL)

    paid = app.function(first, name=f"{name}-first", retries=0) >> app.function(last, name=f"{name}-last")
    with pytest.raises(errors.WorkerDiedError):
        paid.remote(path).get()
    assert executions(path) == "abbb"


def test_losses_and_exceptions_count_together(app: cloudburst.App, name: str, path: str) -> None:
    @app.function(name=name, retries=2)
    def pay(path: str, ends: str) -> str:
        attempt = cloudburst.context().attempt
        mark(path, str(attempt))
        if ends[attempt - 1] == "d":
            os.kill(os.getpid(), signal.SIGKILL)
        if ends[attempt - 1] == "e":
            raise ValueError("boom")
        return "paid"

    assert pay.remote(path, "de-").get() == "paid"
    assert executions(path) == "123"
    with pytest.raises(
        errors.WorkerDiedError, match=r"attempt 1: worker.*attempt 2: it raised ValueError: boom; attempt 3: worker"
    ):
        pay.remote(path, "ded").get()
    with pytest.raises(ValueError, match="boom"):
        pay.remote(path, "dde").get()
    assert executions(path) == "123123123"


def test_a_node_that_is_killed_while_a_function_runs(own_node: Callable[..., Node], path: str) -> None:
    """The client calls again by itself, which runs again only what may run again."""
    node = own_node()
    app = cloudburst.connect()

    def slow(path: str) -> str:
        mark(path, "x")
        while not Path(f"{path}-go").exists():
            time.sleep(0.005)
        return "done"

    once, often = app.function(slow, name="once", retries=0), app.function(slow, name="often")
    waiting: List[cloudburst.Future[Any]] = [
        once.remote(path),
        (once >> app.function(len, name="size")).remote(f"{path}-dag"),
        often.remote(f"{path}-often"),
    ]
    for each in (path, f"{path}-dag", f"{path}-often"):
        until(lambda each=each: Path(each).exists(), "the function to run")  # type: ignore[misc]
    node.kill()
    node.start()
    Path(f"{path}-often-go").touch()
    for future in waiting[:2]:
        with pytest.raises(errors.OutcomeUnknownError, match=r"does not know the run.*find out before you call it again"):
            future.get()
    assert waiting[2].get() == "done"
    assert [executions(each) for each in (path, f"{path}-dag", f"{path}-often")] == ["x", "x", "xx"]
    # A connection that has broken while nothing was under way is noticed before the call is sent.
    node.kill()
    node.start()
    Path(f"{path}-go").touch()
    assert once.remote(path).get() == "done"


def test_a_function_that_is_stopped_is_not_tried_again(app: cloudburst.App, name: str, path: str) -> None:
    def slow(path: str) -> None:
        mark(path, "x")
        time.sleep(60)

    for settings in ({"timeout": 0.1}, {}):
        stopped = app.function(slow, name=f"{name}-{len(settings)}", retries=2, **settings)  # type: ignore[call-overload]
        with pytest.raises(errors.DeadlineExceededError):
            stopped.options(timeout=None if settings else 0.1).remote(path).get()
    assert executions(path) == "xx"


def test_retry_on(app: cloudburst.App, name: str, path: str) -> None:
    class Broken(ConnectionError):
        pass

    class Mine(Exception):
        pass

    def fail(path: str, what: str) -> None:
        mark(path, "x")
        raise {"derived": Broken, "mine": Mine, "other": ValueError}[what]("boom")

    def attempts(function: cloudburst.Function[[str, str], None], what: str) -> int:
        Path(path).write_text("")
        with pytest.raises(Exception, match="boom"):
            function.remote(path, what).get()
        return len(executions(path))

    some = app.function(fail, name=name, retries=1, retry_on=(OSError, Mine))
    assert [attempts(some, what) for what in ("derived", "mine", "other")] == [2, 2, 1]
    named = app.function(fail, name=f"{name}-named", retries=1, retry_on=["ValueError", "builtins.OSError"])
    assert [attempts(named, what) for what in ("derived", "mine", "other")] == [2, 1, 2]


def test_backoff(app: cloudburst.App, name: str) -> None:
    """The pauses are at least what was asked for, and double."""

    @app.function(name=name, retries=3, backoff=0.05)
    def when(times: List[float]) -> List[float]:
        context = cloudburst.context()
        began = [*context.get(f"{context.function}-began", []), time.monotonic()]
        context.put(f"{context.function}-began", began)
        if context.attempt < 4:
            raise ValueError("not yet")
        return began

    began = when.remote([]).get()
    pauses = [after - before for before, after in zip(began, began[1:])]
    assert all(pause >= 0.05 * 2**n for n, pause in enumerate(pauses)), pauses


def test_retries_of_a_call_hold_for_each_function_of_a_pipeline(app: cloudburst.App, name: str, path: str) -> None:
    def flaky(path: str) -> str:
        mark(path, "x")
        if cloudburst.context().attempt == 1:
            raise ValueError("not yet")
        return path

    both = app.function(flaky, name=f"{name}-1") >> app.function(flaky, name=f"{name}-2")
    with pytest.raises(ValueError, match="not yet"):
        both.remote(path).get()
    assert both.options(retries=1).remote(path).get() == path
    assert executions(path) == "xxxxx"


def test_a_rate_limit(app: cloudburst.App, name: str) -> None:
    """Calls that are more than the limit wait, for each value of the key by itself."""

    def when(user: str, number: int) -> float:
        return time.monotonic()

    limited = app.function(when, name=name, rate_limit=cloudburst.RateLimit(2, per=0.25, key="user"))
    futures = {user: [limited.remote(user, i) for i in range(6)] for user in ("ann", "ben")}
    for user in futures:
        began = [future.get() for future in futures[user]]
        # The limit holds where the node lets them start; until a worker looks at its clock some time passes.
        assert max(began) - min(began) > 0.25, "three periods have two starts each"


def test_a_call_that_would_wait_too_long_for_its_turn(app: cloudburst.App, name: str) -> None:
    hourly = app.function(lambda: "done", name=name, rate_limit="1/h", queue_timeout=5)
    assert hourly.remote().get() == "done"
    with pytest.raises(
        errors.NoResourcesError, match=rf"{name}@1.*once in 1h0m0s \(rate_limit\).*it may wait for 5s"
    ) as caught:
        hourly.remote().get()
    assert caught.value.retry_after is not None
    assert 3500 < caught.value.retry_after <= 3595
    with pytest.raises(errors.NoResourcesError, match=r"it may wait for 2s"):
        hourly.options(queue_timeout=2).remote().get()
    with pytest.raises(errors.NoResourcesError, match=r"it may wait for 1s"):
        hourly.options(timeout=1).remote().get()


def test_settings_are_shown(node: Node, app: cloudburst.App, name: str) -> None:
    limit = cloudburst.RateLimit(3, per=0.5, key="x")
    settings = {
        "retries": 2,
        "retry_on": ValueError,
        "backoff": 1.5,
        "concurrency": 4,
        "priority": 7,
        "queue_timeout": 9,
        "inline": False,
    }
    app.function(lambda x: x, name=name, rate_limit=limit, **settings).register()  # type: ignore[call-overload]
    shown = [" ".join(line.split()) for line in node.cli("fn", "describe", name).stdout.splitlines()]
    assert {
        "retries 2, on builtins.ValueError and the loss of its worker",
        "backoff 1.5s",
        "concurrency 4",
        "rate limit 3/500ms for each x",
        "priority 7",
        "queue timeout 9s",
        "inline no: it runs in a worker that waits for nothing",
    } <= set(shown)
    (listed,) = node.json("fn", "ls", name)
    assert listed["rate_limit"] == {"starts": 3, "period_nanoseconds": 500_000_000, "key": "x"}
    assert (listed["retries"], listed["concurrency"], listed["priority"], listed["inline"]) == (2, 4, 7, False)
    app.function(lambda: 1, name=f"{name}-plain").register()
    (plain,) = node.json("fn", "ls", f"{name}-plain")
    assert (plain["retries"], plain["inline"]) == (None, True)


def test_a_full_queue_says_when_to_come_back(own_node: Callable[..., Node]) -> None:
    settings = {"WORKERS_MIN": "1", "WORKERS_MAX": "1", "QUEUE_MAX": "2"}
    own_node(environment={f"CLOUDBURST_EXECUTOR__{name}": value for name, value in settings.items()})
    app = cloudburst.connect()

    @app.function(name="wait")
    def wait() -> bool:
        return bool(cloudburst.context().get("go", wait=60))

    futures = [wait.remote() for _ in range(3)]
    with pytest.raises(errors.NoResourcesError, match=r"executor\.queue_max") as caught:
        wait.remote().get()
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 0.1
    app.put("go", True)
    assert [future.get() for future in futures] == [True] * 3


def test_the_time_to_wait_counts_for_the_rate_limit_and_the_queue(own_node: Callable[..., Node]) -> None:
    own_node(environment={"CLOUDBURST_EXECUTOR__WORKERS_MIN": "1", "CLOUDBURST_EXECUTOR__WORKERS_MAX": "1"})
    app = cloudburst.connect()
    wait = app.function(lambda: cloudburst.context().get("go", wait=60), name="wait")
    busy = wait.remote()
    limited = app.function(lambda: "done", name="limited", rate_limit=cloudburst.RateLimit(1, per=0.1), queue_timeout=0.5)
    futures = [limited.remote() for _ in range(3)]
    for future in futures:  # their turns come within the time, and the worker does not
        with pytest.raises(errors.DeadlineExceededError, match="queue_timeout"):
            future.get()
    app.put("go", True)
    assert busy.get() is True
    assert limited.remote().get() == "done"
