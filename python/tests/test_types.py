"""What a type checker says of programs: mypy over small files, whose comments name the errors that must be there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict

from mypy import api

TESTS = Path(__file__).resolve().parent
FILES = sorted((TESTS / "testdata" / "types").glob("*.py"))
EXPECTED = re.compile(r"  # error: (.+)$")
SAID = re.compile(r"^(?P<file>.*?):(?P<line>\d+): error: (?P<text>.*)$")


def test_mypy() -> None:
    cache = f"--cache-dir={TESTS.parent / '.mypy_cache' / 'types'}"
    arguments = ["--strict", "--python-version=3.9", "--follow-imports=silent", "--config-file=", cache]
    said, trouble, _ = api.run([*arguments, *map(str, FILES)])
    assert trouble == ""
    expected: Dict[str, str] = {}
    for file in FILES:
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            marked = EXPECTED.search(line)
            if marked:
                expected[f"{file.name}:{number}"] = marked[1]
    found: Dict[str, str] = {}
    for matched in filter(None, map(SAID.match, said.splitlines())):
        place = f"{Path(matched['file']).name}:{matched['line']}"
        found[place] = found.get(place, "") + matched["text"]
    assert len(expected) > 20
    assert {place: text for place, text in found.items() if place not in expected} == {}
    assert {place: text for place, text in expected.items() if text not in found.get(place, "")} == {}, found


def test_the_packages_say_that_they_are_typed() -> None:
    for package in ("anna", "cloudburst"):
        assert (TESTS.parent / "src" / package / "py.typed").is_file()
