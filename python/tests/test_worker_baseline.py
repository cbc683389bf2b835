"""What a run leaves behind in the process of its worker is gone for the next one."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

from cloudburst.v1 import function_pb2
from worker_process import WorkerProcess, one_worker

PLAIN = function_pb2.CONVENTION_PLAIN


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    with one_worker() as worker:
        yield worker


def run(worker: WorkerProcess, function: Callable[..., Any], *arguments: Any) -> Any:
    worker.load("f", function, PLAIN)
    return worker.call(("f", *arguments))


def look() -> Dict[str, Any]:
    """Return what the process is like, as far as it is set back."""
    import asyncio
    import decimal
    import gc
    import locale
    import logging
    import multiprocessing
    import os
    import resource
    import signal
    import socket
    import sys
    import tempfile
    import threading
    import time
    import tracemalloc
    import warnings

    umask = os.umask(0)
    os.umask(umask)
    return {
        "working directory": os.getcwd(),  # noqa: PTH109
        "umask": umask,
        "environment": dict(os.environ),
        "kind of environment": type(os.environ).__name__,
        "time zone": time.tzname,
        "handlers": [str(signal.getsignal(n)) for n in range(1, 32) if n not in (9, 19)],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "timers": [signal.getitimer(n) for n in (0, 1, 2)],
        "limits": [resource.getrlimit(n) for n in (resource.RLIMIT_AS, resource.RLIMIT_CPU)],
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "cores": sorted(os.sched_getaffinity(0)),
        "path": list(sys.path),
        "argv": list(sys.argv),
        "finders": len(sys.meta_path),
        "hooks": [str(h) for h in (sys.displayhook, sys.excepthook, sys.unraisablehook, threading.excepthook)],
        "streams": [type(s).__name__ for s in (sys.stdin, sys.stdout, sys.stderr)],
        "tracing": (sys.gettrace() is None, sys.getprofile() is None, tracemalloc.is_tracing()),
        "recursion limit": sys.getrecursionlimit(),
        "switch interval": sys.getswitchinterval(),
        "default timeout": socket.getdefaulttimeout(),
        "warnings": [str(f) for f in warnings.filters],
        "locale": locale.setlocale(locale.LC_ALL),
        "logging": (logging.root.level, logging.root.handlers, logging.root.manager.disable),
        "collector": (gc.isenabled(), gc.get_threshold(), gc.get_debug(), len(gc.callbacks)),
        "temporary directory": tempfile.gettempdir(),
        "start method": multiprocessing.get_start_method(),
        "event loop policy": type(asyncio.get_event_loop_policy()).__name__,
        "decimal": decimal.getcontext().prec,
    }


def spoil() -> None:
    """Change all of it."""
    import asyncio
    import decimal
    import gc
    import io
    import locale
    import logging
    import multiprocessing
    import os
    import resource
    import signal
    import socket
    import sys
    import tempfile
    import threading
    import time
    import tracemalloc
    import warnings

    os.chdir("/")
    os.umask(0o077)
    os.environ.update(LEFT="behind", PATH="/nowhere", TZ="Asia/Tokyo")
    os.environ.pop("HOME", None)
    time.tzset()
    os.environ = {}  # type: ignore[assignment]  # noqa: B003
    for number in (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGUSR1, signal.SIGTERM, signal.SIGSEGV):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 1000)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (3600, hard))
    resource.setrlimit(resource.RLIMIT_AS, (1 << 40, resource.getrlimit(resource.RLIMIT_AS)[1]))
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + 1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sys.path.insert(0, "/left/behind")
    sys.argv = ["left"]
    sys.meta_path.append(None)  # type: ignore[arg-type]
    sys.displayhook = sys.excepthook = sys.unraisablehook = threading.excepthook = lambda *_: None  # type: ignore[assignment]
    sys.stdin = sys.stdout = sys.stderr = io.StringIO()
    sys.settrace(lambda *_: None)
    sys.setprofile(lambda *_: None)
    sys.setrecursionlimit(3000)
    sys.setswitchinterval(0.5)
    socket.setdefaulttimeout(0.001)
    warnings.simplefilter("error")
    locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) != "C.UTF-8" else "C")
    logging.basicConfig(level=logging.DEBUG)
    logging.disable(logging.CRITICAL)
    gc.disable()
    gc.set_threshold(1, 1, 1)
    gc.callbacks.append(print)
    tempfile.tempdir = "/left/behind"
    tracemalloc.start()
    multiprocessing.set_start_method("spawn", force=True)
    asyncio.set_event_loop_policy(type("Policy", (asyncio.DefaultEventLoopPolicy,), {})())
    decimal.getcontext().prec = 3


def test_what_a_run_changes_is_set_back(worker: WorkerProcess) -> None:
    before = run(worker, look)
    run(worker, spoil)
    after = run(worker, look)
    assert {name for name in before if before[name] != after[name]} == set()


def test_what_a_run_that_fails_changes_is_set_back(worker: WorkerProcess) -> None:
    def fail() -> None:
        import os

        os.environ["LEFT"] = "behind"
        os.chdir("/")
        raise ValueError("mine")

    before = run(worker, look)
    with pytest.raises(ValueError, match="mine"):
        run(worker, fail)
    assert run(worker, look) == before


@pytest.mark.parametrize("timer", ["ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"])
def test_a_timer_ends_with_its_run(worker: WorkerProcess, timer: str) -> None:
    """Whether its signal has a handler or would end the process."""

    def arm(timer: str, handled: bool) -> int:
        import os
        import signal

        number = {"ITIMER_REAL": signal.SIGALRM, "ITIMER_VIRTUAL": signal.SIGVTALRM, "ITIMER_PROF": signal.SIGPROF}[timer]
        if handled:
            signal.signal(number, lambda *_: (_ for _ in ()).throw(TimeoutError("mine")))
        signal.setitimer(getattr(signal, timer), 0.1)
        return os.getpid()

    def innocent() -> int:
        import os
        import time

        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            pass
        return os.getpid()

    for handled in (False, True):
        assert run(worker, arm, timer, handled) == run(worker, innocent)


def test_a_handler_that_raises_between_two_runs_harms_nothing(worker: WorkerProcess) -> None:
    """Timers so short that they run out wherever the worker is."""

    def arm(seconds: float) -> str:
        import signal

        def expired(*_: Any) -> None:
            raise TimeoutError("mine")

        signal.signal(signal.SIGALRM, expired)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return "armed"

    worker.load("arm", arm, PLAIN)
    for i in range(300):
        try:
            assert worker.call(("arm", i * 1e-6)) == "armed"
        except TimeoutError as e:
            assert str(e) == "mine"  # the run's own: it had not returned yet
    assert run(worker, os.getpid) == worker.pid


def test_a_traceback_that_was_asked_for_ends_with_its_run(worker: WorkerProcess) -> None:
    def arm() -> None:
        import faulthandler

        faulthandler.dump_traceback_later(0.05, exit=True)

    run(worker, arm)
    run(worker, time.sleep, 0.2)
    assert run(worker, os.getpid) == worker.pid


def test_context_variables_are_those_of_a_run(worker: WorkerProcess) -> None:
    def count() -> int:
        import contextvars
        import sys

        variable = sys.modules.setdefault("variable of a test", contextvars.ContextVar("count", default=0))
        variable.set(variable.get() + 1)  # type: ignore[attr-defined]
        return int(variable.get())  # type: ignore[attr-defined]

    assert [run(worker, count) for _ in range(2)] == [1, 1]


def test_what_an_import_changes_stays(worker: WorkerProcess, tmp_path: Path) -> None:
    """A module is imported once, so the next run would miss it; what the function does beside that is set back."""
    (tmp_path / "changes_things.py").write_text(
        "import os, sys, warnings, decimal, signal\n"
        "os.environ['BY_IMPORT'] = 'set'\n"
        "sys.path.append('/by/import')\n"
        "warnings.filterwarnings('ignore', message='by import')\n"
        "signal.signal(signal.SIGUSR1, signal.SIG_IGN)\n"
    )

    def imports(directory: str) -> List[Any]:
        import os
        import signal
        import sys

        os.environ["BY_FUNCTION"] = "set"
        sys.path.insert(0, directory)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        import changes_things  # type: ignore[import-not-found]  # noqa: F401

        return looks(directory)

    def looks(directory: str) -> List[Any]:
        import os
        import signal
        import sys
        import warnings

        return [
            [os.environ.get(name) for name in ("BY_IMPORT", "BY_FUNCTION")],
            [name in sys.path for name in ("/by/import", directory)],
            any("by import" in str(f) for f in warnings.filters),
            [signal.getsignal(n) is signal.SIG_IGN for n in (signal.SIGUSR1, signal.SIGUSR2)],
        ]

    assert run(worker, imports, str(tmp_path)) == [["set", "set"], [True, True], True, [True, True]]
    assert run(worker, looks, str(tmp_path)) == [["set", None], [True, False], True, [True, False]]


def test_what_a_class_is_built_with_stays(worker: WorkerProcess) -> None:
    class Keeps:
        def __init__(self, library: Any) -> None:
            import os

            os.environ["OF_THE_OBJECT"] = "built"

        def run(self, library: Any) -> Any:
            import os

            seen = os.environ.get("OF_THE_OBJECT")
            os.environ["OF_THE_OBJECT"] = "left"
            return seen

    worker.load("Keeps", (Keeps, ()), function_pb2.CONVENTION_CLASS)
    assert [worker.call(("Keeps",)) for _ in range(3)] == ["built"] * 3


def test_what_stays() -> None:
    """These are told in the documentation: setting them back would cost too much, or take away what a function wants kept."""

    def leave() -> None:
        import atexit
        import builtins
        import random
        import threading

        random.seed(1)
        builtins.left = "behind"  # type: ignore[attr-defined]
        threading.Thread(target=threading.Event().wait, name="left", daemon=True).start()
        atexit.register(print)

    def see() -> Any:
        import builtins
        import random
        import threading

        return random.random(), builtins.left, "left" in [t.name for t in threading.enumerate()]  # type: ignore[attr-defined]

    with one_worker() as fresh:
        run(fresh, leave)
        assert run(fresh, see) == (0.13436424411240122, "behind", True)
