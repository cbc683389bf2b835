"""Runs: cancelled, seen, and ended with their parents."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

import cloudburst
from cloudburst.errors import CancelledError, DeadlineExceededError, InvalidArgumentError, RunNotFoundError
from e2e.node import BINARY, Node

Starter = Callable[..., Node]
Name = str


@pytest.fixture
def app(node: Node) -> Iterator[cloudburst.App]:
    with cloudburst.connect() as connected:
        yield connected


def until(condition: Callable[[], Any]) -> Any:
    """Wait until something holds; the deadline of the test bounds it."""
    while True:
        found = condition()
        if found:
            return found
        time.sleep(0.005)


def state(app: cloudburst.App, future: cloudburst.Future[Any]) -> str:
    try:
        return app.run(future.run_id or "").state
    except RunNotFoundError:  # the call is on its way, over another connection
        return ""


def started(app: cloudburst.App, future: cloudburst.Future[Any]) -> None:
    until(lambda: state(app, future) in ("running", "waiting"))


def sleeping() -> None:
    time.sleep(60)


def receiving() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.recv(1)


def counting() -> None:
    n = 0
    while True:
        n += 1


def waiting_for_a_key() -> None:
    cloudburst.context().get("a key that never comes", wait=60)


def taking_a_lock() -> None:
    import threading

    held = threading.Lock()
    held.acquire()
    held.acquire()


@pytest.mark.parametrize("wait", [sleeping, receiving, counting, waiting_for_a_key, taking_a_lock])
def test_a_function_that_runs_is_cancelled(app: cloudburst.App, name: Name, wait: Callable[[], None]) -> None:
    key = f"{name}/seen"

    def running() -> None:
        try:
            cloudburst.context().put(f"{name}/in", 1)
            wait()
        except cloudburst.Cancelled as e:
            cloudburst.context().put(key, (e.run_id, e.function, e.reason))
            raise

    function = app.function(running, name=name)
    future = function.remote()
    app.get(f"{name}/in", wait=30)
    assert future.cancel("enough of it")
    assert future.cancelled()
    with pytest.raises(CancelledError, match=rf"run {future.run_id} of .*cancelled by the client at .*: enough of it"):
        future.get()
    run_id, function_name, reason = app.get(key, wait=10)
    assert (run_id, function_name) == (future.run_id, f"{name}@1")
    assert "enough of it" in reason
    assert future.cancel()
    seen = app.run(future.run_id or "")
    assert (seen.state, seen.steps[0].state) == ("cancelled", "cancelled")


def test_what_waits_never_starts(own_node: Starter, name: Name) -> None:
    own_node(environment={"CLOUDBURST_EXECUTOR__WORKERS_MIN": "1", "CLOUDBURST_EXECUTOR__WORKERS_MAX": "1"})
    with cloudburst.connect() as app:

        def block() -> None:
            cloudburst.context().get(f"{name}/go", wait=60)

        def note(n: int) -> None:
            cloudburst.context().increment(f"{name}/started")

        blocked = app.function(block, name=f"{name}-block").remote()
        started(app, blocked)
        note_function = app.function(note, name=name)
        futures = note_function.map(range(20))
        for future in futures[:10]:
            assert future.cancel()
        assert app.run(futures[0].run_id or "").steps[0].state == ""
        app.put(f"{name}/go", 1)
        for future in futures[10:]:
            future.get()
        assert app.get(f"{name}/started") == 10


def test_the_next_invocation_of_the_worker_is_not_hit(own_node: Starter, name: Name) -> None:
    own_node(environment={"CLOUDBURST_EXECUTOR__WORKERS_MIN": "1", "CLOUDBURST_EXECUTOR__WORKERS_MAX": "1"})
    with cloudburst.connect() as app:
        short = app.function(lambda n: sum(range(2000)) + n, name=name)
        ended = cancelled = 0
        for n in range(150):
            first, second = short.remote(n), short.remote(n)
            if n % 3:
                until(first.done) if n % 3 == 1 else None
            cancelled += first.cancel()
            assert second.get() == 1999000 + n
            ended += 1
        assert ended == 150


def test_a_function_cleans_up(app: cloudburst.App, name: Name) -> None:
    def tidy() -> str:
        state = cloudburst.context()
        try:
            state.put(f"{name}/in", 1)
            time.sleep(60)
        except cloudburst.Cancelled:
            time.sleep(0.05)
            state.put(f"{name}/tidy", state.run_id)
        return "a result that nothing gets"

    future = app.function(tidy, name=name).remote()
    app.get(f"{name}/in", wait=30)
    assert future.cancel()
    assert app.get(f"{name}/tidy", wait=10) == future.run_id
    assert isinstance(future.exception(), CancelledError)


def test_a_function_that_goes_on_loses_its_worker(own_node: Starter, name: Name) -> None:
    node = own_node(
        environment={
            "CLOUDBURST_EXECUTOR__WORKERS_MIN": "1",
            "CLOUDBURST_EXECUTOR__WORKERS_MAX": "1",
            "CLOUDBURST_EXECUTOR__CANCEL_GRACE": "200ms",
        }
    )
    with cloudburst.connect() as app:

        def stubborn() -> None:
            while True:
                try:
                    cloudburst.context().put(f"{name}/in", 1)
                    time.sleep(60)
                except cloudburst.Cancelled:
                    cloudburst.context().put(f"{name}/pid", os.getpid())

        future = app.function(stubborn, name=name).remote()
        app.get(f"{name}/in", wait=30)
        assert future.cancel()
        pid = app.get(f"{name}/pid", wait=10)
        assert app.function(os.getpid, name=f"{name}-pid").remote().get() != pid
        assert "did not end after it was cancelled" in str(node.output)
        assert "is run again" not in str(node.output)


def test_a_run_ends_those_below_it(app: cloudburst.App, name: Name) -> None:
    def leaf() -> None:
        time.sleep(60)

    child = app.function(leaf, name=f"{name}-leaf")

    def middle() -> None:
        child.remote().get()

    inner = app.function(middle, name=f"{name}-middle")

    def top() -> None:
        inner.remote().get()

    future = app.function(top, name=name).remote()

    def tree() -> Any:
        run = app.run(future.run_id or "")
        return run if run.children and run.children[0].children and run.children[0].children[0].state == "running" else None

    run = until(tree)
    assert [run.target, run.children[0].target, run.children[0].children[0].target] == [
        f"{name}@1",
        f"{name}-middle@1",
        f"{name}-leaf@1",
    ]
    assert run.state == run.children[0].state == "waiting"
    assert run.waits_for == (run.children[0].id,)
    assert future.cancel("no more")
    run = app.run(future.run_id or "")
    assert {run.state, run.children[0].state, run.children[0].children[0].state} == {"cancelled"}
    assert f"its parent, run {run.id} of" in str(run.children[0].error)


def test_a_parent_that_fails_ends_its_children_unless_they_are_detached(app: cloudburst.App, name: Name) -> None:
    def below() -> str:
        cloudburst.context().get(f"{name}/go", wait=30)
        return "done"

    child = app.function(below, name=f"{name}-below")

    def parent(fails: bool) -> Any:
        plain, detached = child.remote(), child.options(detached=True).remote()
        if fails:
            raise ValueError("oops")
        return plain.run_id, detached.run_id

    function = app.function(parent, name=name)
    failed = function.remote(True)
    with pytest.raises(ValueError, match="oops"):
        failed.get()
    children = until(lambda: [run for run in app.runs(parent=failed.run_id) if run.state == "cancelled"])
    assert len(children) == 1
    assert not children[0].detached
    assert "failed" in str(children[0].error)
    plain, detached = function.remote(False).get()
    app.put(f"{name}/go", 1)
    for run_id in (plain, detached):
        assert until(lambda id=run_id: app.run(id).ended and app.run(id)).state == "done"  # type: ignore[misc]
    assert all(run.state == "done" for run in app.runs(parent=failed.run_id) if run.detached)


def test_a_parent_that_runs_out_of_time(app: cloudburst.App, name: Name) -> None:
    child = app.function(lambda: time.sleep(60), name=f"{name}-child")
    future = app.function(lambda: child.remote().get(), name=name).options(timeout=0.5).remote()
    with pytest.raises(DeadlineExceededError):
        future.get()
    until(lambda: [run for run in app.runs(parent=future.run_id) if run.ended])


def test_labels_and_ids(app: cloudburst.App, name: Name) -> None:
    app.put(f"{name}/key", 1)

    def read(x: int) -> int:
        state = cloudburst.context()
        for _ in range(3):
            state.get(f"{name}/key")
        return x

    function = app.function(read, name=name)
    chosen = uuid.uuid4()
    first = function.options(label="nightly", run_id=chosen).remote(1)
    assert first.run_id == chosen.hex
    assert first.get() == 1
    assert function.options(run_id=chosen.hex).remote(1).get() == 1
    (run,) = app.runs(label="nightly", function=name)
    assert (run.id, run.state, run.target, run.label) == (chosen.hex, "done", f"{name}@1", "nightly")
    assert run.ended is not None
    assert 0 <= run.seconds < 30
    (step,) = app.run(chosen.hex[:20]).steps
    assert (step.state, step.attempt) == ("done", 1)
    assert step.queued is not None
    assert step.started is not None
    assert step.ended is not None
    assert step.queued <= step.started <= step.ended
    assert [read.key for read in step.reads] == [f"{name}/key"] or {read.answered_by for read in step.reads} == {
        "cache",
        "store",
    }
    for wrong in ({"label": "x" * 201}, {"label": "a\x07"}, {"run_id": "12"}, {"run_id": 12}):
        with pytest.raises(InvalidArgumentError):
            function.options(**wrong)
    with pytest.raises(RunNotFoundError):
        app.cancel(uuid.uuid4())
    with pytest.raises(RunNotFoundError):
        app.run(uuid.uuid4().hex)


def test_a_client_that_leaves(app: cloudburst.App, node: Node, name: Name) -> None:
    app.function(lambda: time.sleep(60), name=name).register()
    with cloudburst.connect() as other:
        called = other.lookup(name)
        tied = called.options(cancel_on_disconnect=True).remote()
        free = called.remote()
        started(app, tied)
        started(app, free)
    until(lambda: app.run(tied.run_id or "").state == "cancelled")
    assert app.run(free.run_id or "").state == "running"
    app.cancel(free.run_id or "")
    assert app.run(free.run_id or "").state == "cancelled"


def cloudburst_command(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BINARY), *args], capture_output=True, text=True, timeout=60, check=False)


def test_ctrl_c(app: cloudburst.App, name: Name) -> None:
    app.function(lambda: time.sleep(60), name=name).register()
    command = subprocess.Popen([str(BINARY), "call", name, "--label", name], stderr=subprocess.PIPE, text=True)
    (run,) = until(lambda: [run for run in app.runs("running", label=name)])
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=30)
    assert command.returncode == 1
    assert f"run {run.id}" in said
    assert "cancelled" in said
    assert app.run(run.id).state == "cancelled"


def test_a_tree_that_is_cut_says_so(app: cloudburst.App, name: Name) -> None:
    def fails() -> None:
        raise ValueError("x" * 40_000)

    failing = app.function(fails, name=f"{name}-fails")

    def calls() -> None:
        for future in [failing.remote() for _ in range(8)]:
            future.exception()

    future = app.function(calls, name=f"{name}-calls").remote()
    future.get()
    shown = cloudburst_command("runs", "show", future.run_id or "")
    assert shown.returncode == 0, shown.stderr
    assert 1 < len(json.loads(cloudburst_command("runs", "show", future.run_id or "", "-o", "json").stdout)) < 9
    assert "… there are more runs below" in shown.stdout
    assert "there are more" not in cloudburst_command("runs", "ls", "--parent", future.run_id or "").stdout


def test_the_command_line(app: cloudburst.App, name: Name) -> None:
    def fails() -> None:
        raise ValueError("oops")

    future = app.function(fails, name=f"{name}-fails").options(label=f"{name} one").remote()
    assert isinstance(future.exception(), ValueError)
    run_id = future.run_id or ""
    listed = cloudburst_command("runs", "ls", "--function", f"{name}-fails")
    assert listed.returncode == 0, listed.stderr
    heading, line = listed.stdout.splitlines()
    assert heading.split() == ["ID", "STATE", "TARGET", "LABEL", "SINCE", "TOOK", "PARENT"]
    assert run_id.startswith(line.split()[0])
    assert line.split()[1:3] == ["failed", f"{name}-fails@1"]
    (as_json,) = json.loads(cloudburst_command("runs", "ls", "--label", f"{name} one", "-o", "json").stdout)
    assert (as_json["id"], as_json["state"], as_json["error"]["type"]) == (run_id, "failed", "ValueError")
    shown = cloudburst_command("runs", "show", run_id[:12])
    assert shown.returncode == 0, shown.stderr
    assert "ValueError: oops" in shown.stdout
    assert "Traceback" in shown.stdout
    assert f"{name}-fails@1" in shown.stdout
    tree = json.loads(cloudburst_command("runs", "show", run_id, "-o", "json").stdout)
    assert "Traceback" in tree[0]["steps"][0]["error"]["traceback"]
    sleeper = app.function(lambda: time.sleep(60), name=f"{name}-sleeps").remote()
    started(app, sleeper)
    assert cloudburst_command("runs", "cancel", (sleeper.run_id or "")[:12]).returncode == 2
    done = cloudburst_command("runs", "cancel", sleeper.run_id or "", "--reason", "a test")
    assert done.returncode == 0, done.stderr
    assert sleeper.cancelled() or isinstance(sleeper.exception(), CancelledError)
    assert cloudburst_command("runs", "cancel", uuid.uuid4().hex).returncode == 1
    watching = subprocess.Popen([str(BINARY), "runs", "ls", "--watch", "--function", name], stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    until(lambda: "STATE" in (watching.stdout.readline() if watching.stdout else ""))
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=30)


def test_over_http(app: cloudburst.App, node: Node, name: Name) -> None:
    future = app.function(lambda: time.sleep(60), name=name).remote()
    started(app, future)

    def ask(method: str, path: str, token: str = node.token) -> Any:
        request = urllib.request.Request(
            f"http://{node.address}{path}", method=method, headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            body = answer.read()
            return json.loads(body) if body else None

    assert [run["id"] for run in ask("GET", f"/v1/runs?state=running&function={name}")["runs"]] == [future.run_id]
    assert ask("GET", f"/v1/runs/{(future.run_id or '')[:12]}")["steps"][0]["state"] == "running"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask("GET", "/v1/runs", "wrong")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask("GET", f"/v1/runs/{uuid.uuid4().hex}")
    assert ask("DELETE", f"/v1/runs/{future.run_id}?reason=enough") is None
    assert "the HTTP client at" in str(future.exception())


def test_a_program_that_is_killed(app: cloudburst.App, name: Name, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
            import time, cloudburst
            app = cloudburst.connect()
            f = app.function(lambda: time.sleep(60), name={name!r}).options(cancel_on_disconnect=True, label={name!r})
            f.remote().get()
        """)
    )
    process = subprocess.Popen([sys.executable, str(program)])
    (run,) = until(lambda: app.runs("running", label=name))
    process.kill()
    process.wait()
    until(lambda: app.run(run.id).state == "cancelled")


def test_a_coroutine_is_cancelled(app: cloudburst.App, name: Name) -> None:
    async def slow(n: int) -> int:
        import asyncio

        state = cloudburst.context()
        try:
            state.increment(f"{name}/in")
            await asyncio.sleep(60 if n == 0 else 1)
        except asyncio.CancelledError:
            state.put(f"{name}/cancelled", n)
            raise
        return n

    function = app.function(slow, name=name, concurrency=10)
    futures = [function.remote(n) for n in range(3)]
    until(lambda: app.get(f"{name}/in") == 3)
    assert futures[0].cancel()
    assert app.get(f"{name}/cancelled", wait=20) == 0
    assert [future.get() for future in futures[1:]] == [1, 2]
