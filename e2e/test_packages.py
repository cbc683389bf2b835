"""Packages that the workers do not have, or have in another version."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

import cloudburst
from cloudburst.errors import InvalidArgumentError
from e2e.node import Node
from e2e.test_classes import ONE_WORKER

TABLE = """
__version__ = {version!r}

class Table:
    def __setstate__(self, state):
        {read}
        self.__dict__.update(state)

    def size(self):
        return self.rows
"""


@pytest.fixture
def library(tmp_path: Path, own_node: Callable[..., Node], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory from which this program and the workers import. They do not keep the code that they have compiled."""
    path = tmp_path / "library"
    path.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(path)])
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    own_node(environment={**ONE_WORKER, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"})
    yield path


def test_a_package_is_installed_while_the_node_runs(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, source = library / "absent_table.py", TABLE.format(version="3.0", read="pass")
    file.write_text(source)
    table: Any = importlib.import_module("absent_table")
    monkeypatch.setitem(sys.modules, "absent_table", table)
    with cloudburst.connect() as app:

        @app.function
        def made(rows: int) -> int:
            made = table.Table()
            made.rows = rows
            return int(made.size())

        @app.function
        def size(given: Any) -> int:
            return int(given.size())

        made.register()
        file.unlink()
        here = table.Table()
        here.rows = 4
        calls: List[Callable[[], Any]] = [lambda: made.remote(3), lambda: size.remote(here)]
        for call in calls:
            with pytest.raises(
                InvalidArgumentError, match=r"'absent_table'.* -m pip install absent_table.* has absent_table 3\.0"
            ):
                call().get()
        file.write_text(source)
        assert made.remote(3).get() == 3
        assert size.remote(here).get() == 4


def test_both_versions_are_named(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = library / "other_table.py"
    file.write_text(TABLE.format(version="3.0", read="pass"))
    table: Any = importlib.import_module("other_table")
    monkeypatch.setitem(sys.modules, "other_table", table)
    file.write_text(TABLE.format(version="2.1", read="raise NotImplementedError(state)"))
    with cloudburst.connect() as app:
        size = app.function(lambda given: given.size(), name="size")
        here = table.Table()
        here.rows = 4
        with pytest.raises(
            InvalidArgumentError, match=r"NotImplementedError.*there is other_table 2\.1.*this program has other_table 3\.0"
        ):
            size.remote(here).get()
