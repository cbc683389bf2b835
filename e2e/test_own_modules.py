"""Modules of the user's own: what of them travels, and what is said where something cannot."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

import cloudburst
from cloudburst.errors import UnpicklableError
from e2e.node import Node
from e2e.test_classes import ONE_WORKER

HELPERS = """
import threading

_log = open({log!r}, "a")
_lock = threading.Lock()
COUNT = 0

def double(x): return 2 * x

def log(line): _log.write(line)

def bump():
    global COUNT
    COUNT += 1
    return COUNT

class Thing:
    size = 2
    def twice(self): return double(self.size)
"""


@pytest.fixture(scope="module")
def app(node: Any) -> Iterator[cloudburst.App]:
    with cloudburst.connect() as connected:
        yield connected


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Write a module beside the program. It is forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    tops = set()

    def write(path: str, source: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
        tops.add(path.partition("/")[0].removesuffix(".py"))
        importlib.invalidate_caches()

    yield write
    for name in list(sys.modules):
        if name.partition(".")[0] in tops:
            del sys.modules[name]


@pytest.fixture
def helpers(module: Callable[[str, str], None], tmp_path: Path, name: str) -> Any:
    own = f"own_{name.replace('-', '_')}"
    module(f"{own}.py", HELPERS.format(log=str(tmp_path / "helpers.log")))
    return importlib.import_module(own)


def test_what_the_code_names_travels(app: cloudburst.App, name: str, helpers: Any) -> None:
    def use(x: int) -> Any:
        return helpers.double(x), helpers.Thing().twice(), helpers.bump(), helpers.bump(), helpers.COUNT

    assert app.function(use, name=name).remote(5).get() == (10, 4, 1, 2, 2)
    assert helpers.COUNT == 0, "a function changes a copy"


def test_an_instance_of_a_module_s_class_comes_back_as_one(app: cloudburst.App, name: str, helpers: Any) -> None:
    thing = app.function(lambda: helpers.Thing(), name=name).remote().get()
    assert type(thing) is helpers.Thing


def test_a_module_that_is_passed_on_travels_whole(app: cloudburst.App, name: str, helpers: Any) -> None:
    def look(module: Any, attribute: str) -> Any:
        return getattr(module, attribute)

    double = "".join(("dou", "ble"))
    assert app.function(lambda: look(helpers, double)(4), name=name).remote().get() == 8
    assert app.function(lambda module: module.double(4), name=f"{name}-argument").remote(helpers).get() == 8
    with pytest.raises(AttributeError, match=r"'_log'.* did not travel .*an open file"):
        app.function(lambda: look(helpers, "".join(("_l", "og"))).name, name=f"{name}-log").remote().get()


@pytest.mark.parametrize("call", ["helpers.log('x')", "helpers._log.name"])
def test_what_the_code_needs_and_cannot_travel_is_refused(app: cloudburst.App, name: str, helpers: Any, call: str) -> None:
    main = eval(f"lambda: {call}", {"helpers": helpers, "__name__": "__main__"})
    with pytest.raises(UnpicklableError, match=r"attribute '_log' of module 'own_.*an open file"):
        app.function(main, name=name).register()


def test_the_attribute_that_the_code_needs_is_named(app: cloudburst.App, name: str, helpers: Any) -> None:
    with pytest.raises(UnpicklableError, match=r"attribute '_lock' of module 'own_.*is a _thread.lock"):
        app.function(lambda: helpers.double(2) and helpers._lock.locked(), name=name).register()


def test_an_attribute_that_no_code_names_stays_here(app: cloudburst.App, name: str, helpers: Any) -> None:
    assert "bump" not in app.function(lambda: list(helpers.double.__globals__), name=name).remote().get()


def test_namespace_packages(app: cloudburst.App, name: str, module: Callable[[str, str], None]) -> None:
    module("own_space/text.py", "def shout(s): return s.upper()")
    text = importlib.import_module("own_space.text")
    own_space = sys.modules["own_space"]
    assert app.function(lambda: own_space.text.shout("x"), name=name).remote().get() == "X"
    assert app.function(lambda: text.shout("y"), name=f"{name}-direct").remote().get() == "Y"


def test_imports_inside_functions(app: cloudburst.App, name: str, module: Callable[[str, str], None]) -> None:
    module("own_sibling.py", "VALUE = 42\ndef seven(): return 7")
    module("own_pkg/__init__.py", "from own_pkg.main import Go")
    module("own_pkg/other.py", "OTHER = 5")
    module(
        "own_pkg/main.py",
        "class Go:\n"
        "    def run(self):\n"
        "        from . import other\n"
        "        from .other import OTHER\n"
        "        import own_pkg.other\n"
        "        return other.OTHER, OTHER, own_pkg.other.OTHER\n",
    )

    def late() -> Any:
        import json

        import own_sibling  # type: ignore[import-not-found]
        from own_sibling import seven

        def inner() -> Any:
            import own_sibling

            return own_sibling.VALUE

        return own_sibling.VALUE, seven(), inner(), json.dumps(1)

    assert app.function(late, name=name).remote().get() == (42, 7, 42, "1")
    go = importlib.import_module("own_pkg").Go
    assert app.function(lambda: go().run(), name=f"{name}-relative").remote().get() == (5, 5, 5)


def test_an_import_that_cannot_travel_says_where_the_module_lies(
    app: cloudburst.App, name: str, module: Callable[[str, str], None], tmp_path: Path
) -> None:
    module("own_broken.py", "raise RuntimeError('only on a machine with a robot')")

    def late(do: bool) -> str:
        if do:
            import own_broken  # type: ignore[import-not-found]  # noqa: F401
        return "done"

    function = app.function(late, name=name)
    assert function.remote(False).get() == "done"
    with pytest.raises(ModuleNotFoundError, match=f"{tmp_path}/own_broken.py.*only on a machine with a robot"):
        function.remote(True).get()


PLAINLIB = """
import threading

LOCK = threading.Lock()
CALLS = []

def note(x):
    with LOCK:
        CALLS.append(x)
    return len(CALLS)
"""

USES_PLAINLIB = """
import cloudburst, plainlib
app = cloudburst.connect()
first = app.function(lambda: plainlib.note(1), name="first")
second = app.function(lambda: plainlib.note(2), name="second")
print(first.remote().get(), second.remote().get(), plainlib.CALLS)
"""


def run(script: Path, python_path: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(python_path)}
    command = [sys.executable, str(script)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return ended.stdout + ended.stderr.rpartition("\n\n")[2]


def test_a_library_on_the_search_path_of_both_sides(own_node: Callable[..., Node], tmp_path: Path) -> None:
    library, program = tmp_path / "library", tmp_path / "program"
    for file, source in ((library / "plainlib.py", PLAINLIB), (program / "script.py", USES_PLAINLIB)):
        file.parent.mkdir()
        file.write_text(source)
    own_node(environment={**ONE_WORKER, "PYTHONPATH": str(library)})
    assert run(program / "script.py", library) == "1 2 []\n", "workers import it: its state is theirs"

    own_node(environment=ONE_WORKER)
    assert "attribute 'LOCK' of module 'plainlib'" in run(program / "script.py", library), "workers lack it: it travels"

    # What lies beside the script travels, also when workers could import an older state of it.
    beside = library / "script.py"
    beside.write_text(USES_PLAINLIB)
    (library / "plainlib.py").write_text(PLAINLIB.replace("with LOCK:", "if True:"))
    own_node(environment={**ONE_WORKER, "PYTHONPATH": str(library)})
    assert run(beside, library) == "1 1 []\n"
