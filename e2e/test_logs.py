"""What functions print reaches their callers."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
from typing import Any, Callable, Iterator, List

import pytest

import cloudburst
from cloudburst.errors import InvalidArgumentError, RunNotFoundError
from e2e.node import BINARY, Node

Starter = Callable[..., Node]


@pytest.fixture
def app(node: Node) -> Iterator[cloudburst.App]:
    with cloudburst.connect() as connected:
        yield connected


def texts(lines: List[cloudburst.LogLine], stream: str = "") -> List[str]:
    return [line.text for line in lines if not stream or line.stream == stream]


def test_what_a_function_prints_is_there_with_its_result(app: cloudburst.App, name: str) -> None:
    def say(n: int) -> int:
        print("on", "stdout", n)
        print("on stderr", file=sys.stderr)
        print("two\nlines")
        print("no end", end="")
        return n

    function = app.function(say, name=name)
    for n in range(20):
        future = function.remote(n)
        assert future.get() == n
        lines = future.logs()
        assert texts(lines) == [f"on stdout {n}", "on stderr", "two", "lines", "no end"]
        assert texts(lines, "stderr") == ["on stderr"]
        assert {(line.function, line.version, line.run_id, line.dropped) for line in lines} == {
            (name, 1, future.key.rpartition("/")[2], 0)
        }
        assert [line.at for line in lines] == sorted(line.at for line in lines)


def test_a_run_that_prints_nothing(app: cloudburst.App, name: str) -> None:
    future = app.function(lambda: 1, name=name).remote()
    assert future.get() == 1
    assert future.logs() == []
    assert list(app.logs(name)) == []


def test_a_run_that_fails(app: cloudburst.App, name: str) -> None:
    def fail() -> None:
        print("before")
        raise ValueError("here")

    future = app.function(fail, name=name).remote()
    with pytest.raises(ValueError, match="here"):
        future.get()
    assert texts(future.logs()) == ["before"]


def test_a_worker_that_dies(app: cloudburst.App, name: str) -> None:
    def die() -> None:
        print("last words", flush=True)
        os._exit(3)

    future = app.function(die, name=name).remote()
    with pytest.raises(cloudburst.Error):
        future.get()
    assert set(texts(future.logs())) == {"last words"}


def test_a_worker_that_crashes(app: cloudburst.App, name: str) -> None:
    """What the interpreter writes of it is there when the caller knows."""
    future = app.function(lambda: ctypes.string_at(0), name=name, retries=0).remote()
    with pytest.raises(cloudburst.Error):
        future.get()
    said = texts(future.logs(), "process")
    assert any("Segmentation fault" in line for line in said)
    assert {line.function for line in future.logs()} == {name}


def test_the_logging_module_and_warnings(app: cloudburst.App, name: str) -> None:
    def log() -> None:
        import logging
        import warnings

        logging.warning("a warning of %s", "logging")
        warnings.warn("a warning of warnings", stacklevel=1)

    future = app.function(log, name=name).remote()
    future.get()
    said = texts(future.logs(), "stderr")
    assert any("a warning of logging" in line for line in said)
    assert any("a warning of warnings" in line for line in said)


def test_what_is_written_past_the_streams_of_python(app: cloudburst.App, name: str) -> None:
    def write() -> None:
        os.write(1, b"by a descriptor\nwithout an end")
        libc = ctypes.CDLL(None)
        libc.puts(b"by C")
        libc.fflush(None)
        subprocess.run(["sh", "-c", "echo by a child; echo and its stderr >&2"], check=True)
        os.system("echo by a shell")
        os.write(2, b"not \xff UTF-8\n")

    future = app.function(write, name=name).remote()
    future.get()
    lines = future.logs()
    assert texts(lines, "process") == [
        "by a descriptor",
        "without an endby C",
        "by a child",
        "and its stderr",
        "by a shell",
        "not \ufffd UTF-8",
    ]
    assert {line.function for line in lines} == {name}


def test_what_is_written_past_the_streams_belongs_to_its_run(app: cloudburst.App, name: str) -> None:
    """Also when the worker goes on with another run at once."""

    def write(n: int) -> int:
        os.write(1, b"%d" % n)
        return n

    function = app.function(write, name=name)
    function.remote(0).get()  # the node has seen that functions do this
    futures = [function.remote(n) for n in range(200)]
    for n, future in enumerate(futures):
        assert future.get() == n
        assert texts(future.logs()) == [str(n)]


def test_threads_of_a_function(app: cloudburst.App, name: str) -> None:
    def spread() -> None:
        threads = [threading.Thread(target=sys.stdout.write, args=(f"thread {n}\n",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    future = app.function(spread, name=name).remote()
    future.get()
    assert sorted(texts(future.logs())) == [f"thread {n}" for n in range(8)]


def test_coroutine_functions_and_generators(app: cloudburst.App, name: str) -> None:
    """Invocations that share an event loop have lines of their own."""

    async def talk(n: int) -> int:
        import asyncio

        print("begin", n)
        print("part", n, end=" ")
        await asyncio.sleep(0.01)
        print("end", n)
        print("no end", n, end="")
        return n

    def count(n: int) -> Iterator[int]:
        for i in range(n):
            print("item", i)
            yield i

    talking = app.function(talk, name=name, concurrency=8)
    futures = [talking.remote(n) for n in range(8)]
    for n, future in enumerate(futures):
        assert future.get() == n
        assert texts(future.logs()) == [f"begin {n}", f"part {n} end {n}", f"no end {n}"]
    assert list(app.function(count, name=f"{name}-items").stream(3)) == [0, 1, 2]
    assert texts(list(app.logs(f"{name}-items"))) == ["item 0", "item 1", "item 2"]


def test_steps_of_a_pipeline(app: cloudburst.App, name: str) -> None:
    def first(x: int) -> int:
        print("first", x)
        return x + 1

    def second(x: int) -> int:
        print("second", x)
        return x + 1

    one, two = app.function(first, name=f"{name}-1"), app.function(second, name=f"{name}-2")
    future = (one >> two).remote(1)
    assert future.get() == 3
    assert [(line.function, line.text) for line in future.logs()] == [(f"{name}-1", "first 1"), (f"{name}-2", "second 2")]
    assert texts(list(app.logs(one))) == ["first 1"]
    assert texts(list(app.logs(f"{name}-2@1"))) == ["second 2"]
    assert texts(list(app.logs(f"{name}-2@2"))) == []


def test_runs_below_a_run(app: cloudburst.App, name: str) -> None:
    def child(n: int) -> int:
        print("child", n)
        return n

    below = app.function(child, name=f"{name}-child")

    def parent() -> int:
        print("parent")
        return sum(below.remote(n).get() for n in range(3))

    future = app.function(parent, name=f"{name}-parent").remote()
    assert future.get() == 3
    assert texts(future.logs()) == ["parent", "child 0", "child 1", "child 2"]
    assert texts(list(app.logs(run=future, limit=2))) == ["child 1", "child 2"]
    assert texts(list(app.logs()))[-4:] == ["parent", "child 0", "child 1", "child 2"], "they are of this program too"


def test_the_future_of_another_process(app: cloudburst.App, name: str) -> None:
    future = app.function(lambda: print("here"), name=name).remote()
    future.get()
    assert texts(cloudburst.Future(future.key).logs()) == ["here"]
    assert texts(list(app.logs(run=future.key.rpartition("/")[2][:15]))) == ["here"]
    with pytest.raises(RunNotFoundError, match="has printed"):
        list(app.logs(run="ab" * 15))
    with pytest.raises(InvalidArgumentError, match="does not say which run"):
        cloudburst.Future("a key").logs()


def test_lines_that_are_followed(app: cloudburst.App, name: str) -> None:
    def tell(start: int) -> None:
        state = cloudburst.context()
        for n in range(start, start + 3):
            print("line", n)
            assert state.get(f"{key}/{n}", wait=30)

    key = name
    future = app.function(tell, name=name).remote(0)
    seen = []
    for line in app.logs(run=future, follow=True, timeout=30):
        seen.append(line.text)
        app.put(f"{key}/{len(seen) - 1}", True)  # the next line comes when this one has been seen
    assert seen == ["line 0", "line 1", "line 2"]  # and the loop ends with the run
    assert future.done()
    following = app.logs(name, follow=True, limit=1, timeout=30)
    assert next(following).text == "line 2"
    other = app.function(tell, name=name).remote(10)
    for n in range(10, 13):
        assert next(following).text == f"line {n}"
        app.put(f"{key}/{n}", True)
    other.get()
    del following


def test_a_run_that_has_ended_is_not_followed_for_ever(app: cloudburst.App, name: str) -> None:
    future = app.function(lambda: print("here"), name=name).remote()
    future.get()
    assert texts(list(app.logs(run=future, follow=True))) == ["here"]
    assert list(app.logs(run="ab" * 16, follow=True)) == []


def test_lines_of_the_runs_of_one_program(app: cloudburst.App, name: str) -> None:
    shout = app.function(lambda text: print(text), name=name)
    shout.remote("mine").get()
    with cloudburst.connect() as other:
        other.function(lambda text: print(text), name=name).remote("theirs").get()
        assert texts(list(other.logs())) == ["theirs"]
    assert texts(list(app.logs())) == ["mine"]
    assert texts(list(app.logs(name)))[-2:] == ["mine", "theirs"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"run": "no id"},
        {"run": b"1" * 16},
        {"function": ""},
        {"function": 3},
        {"limit": 0},
        {"limit": 10_001},
        {"run": "ab" * 17},
    ],
)
def test_questions_that_make_no_sense(app: cloudburst.App, arguments: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        list(app.logs(**arguments))


@pytest.mark.parametrize("function", ["f@", "f@x", "f@0", "@3"])
def test_functions_that_make_no_sense(app: cloudburst.App, function: str) -> None:
    with pytest.raises(InvalidArgumentError, match="is not a function"):
        list(app.logs(function))


def test_a_function_that_prints_without_a_pause(own_node: Starter) -> None:
    """It takes no more memory than it may, the others go on, and its reader is told what is missing."""
    node = own_node("--log-level", "warn", environment={"CLOUDBURST_EXECUTOR__LOG_BYTES": str(4 << 20)})
    app = cloudburst.connect()

    def loud(lines: int) -> int:
        for n in range(lines):
            print(n, "x" * 99)
        return lines

    quiet = app.function(lambda: print("quiet"), name="quiet")
    first = quiet.remote()
    first.get()
    future = app.function(loud).remote(50_000)
    for _ in range(20):
        quiet.remote().get(timeout=30)
    assert future.get(timeout=60) == 50_000
    lines = future.logs()
    assert lines[-1].text.startswith("49999 ")
    assert lines[0].dropped + len(lines) == 50_000
    assert texts(first.logs()) == ["quiet"]
    assert node.metric("cloudburst_printed_bytes") <= 4 << 20
    assert node.metric("cloudburst_printed_dropped_total") == lines[0].dropped
    assert node.metric("cloudburst_printed_taken_total") == 50_021


PROGRAM = """
import sys, cloudburst
app = cloudburst.connect(logs=True)

@app.function(name=sys.argv[1])
def shout(n):
    import subprocess
    print("line", n, chr(27) + "[2J")
    subprocess.run(["echo", "child"])
    return n

for n in range(3):
    assert shout.remote(n).get() == n
"""


def test_a_program_that_prints_what_its_functions_print(node: Node, name: str) -> None:
    """All of it, although it ends at once."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name],
        env={**os.environ, **node.environment()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "line" in line] == [f"({name}) line {n} \\x1b[2J" for n in range(3)]
    assert done.stderr.splitlines().count(f"({name}) child") == 3
    assert done.stdout == ""


class Command:
    """A command of which the test reads line after line."""

    def __init__(self, node: Node, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [str(BINARY), *arguments], env=node._environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stdout, self.stderr = self.process.stdout, self.process.stderr

    def end(self, number: int = 0) -> int:
        if number:
            self.process.send_signal(number)
        status = self.process.wait(30)
        self.stdout.close()
        self.stderr.close()
        return status


def test_commands_that_follow(node: Node, app: cloudburst.App, name: str) -> None:
    def tell(n: int) -> int:
        print("begin", n)
        print("on stderr", file=sys.stderr)
        assert cloudburst.context().get(f"{key}/{n}", wait=30)
        print("end", n)
        return n

    key = name
    future = app.function(tell, name=name).remote(1)
    run = future.key.rpartition("/")[2]
    of_run = Command(node, "runs", "logs", run, "-f")
    of_function = Command(node, "fn", "logs", name, "-f")
    for command in (of_run, of_function):
        assert re.fullmatch(rf"[-: 0-9]*\.[0-9]+ {name}@1 {run[:8]} \| begin 1\n", command.stdout.readline())
        assert command.stdout.readline().endswith(f" {run[:8]} ! on stderr\n")
    app.put(f"{key}/1", True)
    for command in (of_run, of_function):
        assert command.stdout.readline().endswith(" | end 1\n")
    assert of_run.stdout.read() == ""
    assert of_run.stderr.read() == ""
    assert of_run.end() == 0, "it ends with the run"
    assert of_function.end(signal.SIGINT) == 0, "it ends with Ctrl-C"

    call = Command(node, "call", name, "2")
    assert call.stderr.readline() == "begin 2\n", "while the function runs"
    app.put(f"{key}/2", True)
    assert call.stdout.read() == "2\n"
    assert call.stderr.read() == "on stderr\nend 2\n"
    assert call.end() == 0
