"""Workers: what a run leaves to the next one, and how many threads libraries start."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

import cloudburst
from e2e.node import Node

Starter = Callable[..., Node]
ONE_WORKER = {"CLOUDBURST_EXECUTOR__WORKERS_MIN": "1", "CLOUDBURST_EXECUTOR__WORKERS_MAX": "1"}
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def test_what_one_run_leaves_does_not_reach_the_next(own_node: Starter, tmp_path: Path) -> None:
    """A timer does not end, or run again, what another function does; neither does a handler, directory or variable."""
    own_node(environment=ONE_WORKER)
    app = cloudburst.connect()

    @app.function
    def careless(handled: bool) -> None:
        import os
        import signal

        os.chdir("/")
        os.environ["LEFT"] = "behind"
        if handled:
            signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("mine")))
        signal.setitimer(signal.ITIMER_REAL, 0.2)

    @app.function
    def innocent(path: str) -> Any:
        import os
        import time

        with open(path, "a") as file:  # noqa: PTH123
            file.write("x")
        time.sleep(0.5)
        return os.getcwd(), os.environ.get("LEFT")  # noqa: PTH109

    before = innocent.remote(str(tmp_path / "before")).get()
    for handled in (False, True):
        careless.remote(handled).get()
        path = tmp_path / f"after {handled}"
        assert innocent.remote(str(path)).get() == before
        assert path.read_text() == "x", "it was run once"
    assert app.function(lambda: cloudburst.context().attempt, name="attempt").remote().get() == 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("1", "1", "1")),
        ({"CLOUDBURST_EXECUTOR__LIBRARY_THREADS": "2"}, ("2", "2", "2")),
        ({"OPENBLAS_NUM_THREADS": "3"}, ("1", "3", "1")),
    ],
)
def test_threads_of_numerical_libraries(
    own_node: Starter, environment: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    own_node(environment=environment)
    app = cloudburst.connect()

    @app.function
    def threads(names: Any) -> Any:
        import os

        import numpy as np

        before = len(os.listdir("/proc/self/task"))  # noqa: PTH208
        square = np.ones((512, 512))
        return tuple(os.environ.get(name) for name in names), (square @ square).sum(), before

    variables, total, before = threads.remote(VARIABLES).get()
    assert variables == expected
    assert total == 512.0**3
    assert before <= int(expected[1]), "libraries start no more threads than they are to"
