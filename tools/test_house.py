"""House rules that no linter knows: layers, lengths, names, links, and nothing in the tree that belongs to one machine."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = {".go", ".py", ".sh", ".proto"}
SOURCE_LINES_MAX = 600
LINE_LENGTH_MAX = 160  # lines are written for 128, but a longer one is easier to read than one that is broken badly
GENERATED = re.compile(r"\.pb\.go$|_pb2\.pyi?$|/testdata/")

# Arrows only point down. Packages on one floor never import each other; they meet in wire.
FLOORS = [
    {"lattice", "dag", "session", "anna/slots"},
    {"wire", "bus"},
    {"anna", "registry"},
    {"cache"},
    {"", "scheduler", "executor", "monitor"},
    {"gateway", "resp"},
    {"node"},
    {"cmd/cloudburst"},
]
# Leaves with heavy dependencies, which only node may import.
LEAVES = {"bus/embedded": "bus", "executor/wasm": "executor"}
# What the pure floor does not import: time and randomness arrive as arguments, and it neither locks, logs nor does I/O.
IMPURE = {"time", "math/rand", "math/rand/v2", "crypto/rand", "context", "log", "log/slog", "os", "net", "sync", "sync/atomic"}


@cache
def tracked() -> Tuple[str, ...]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return tuple(sorted(name for name in listed if name and (ROOT / name).is_file()))


def texts(*suffixes: str) -> Iterator[Tuple[str, str]]:
    for name in tracked():
        if GENERATED.search(name) or name == "tools/go.sum" or (suffixes and Path(name).suffix not in suffixes):
            continue
        try:
            yield name, (ROOT / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue


def places(pattern: re.Pattern[str], *suffixes: str) -> List[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts(*suffixes)
        if name != "tools/test_house.py"
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def packages() -> Dict[str, List[str]]:
    """Every package of the product by its path below the module, with what it imports outside of its tests."""
    command = ["go", "list", "-e", "-json=ImportPath,Imports", "./..."]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found, decoder, at = {}, json.JSONDecoder(), 0
    while at < len(listed.rstrip()):
        package, end = decoder.raw_decode(listed, at)
        found[below(package["ImportPath"])] = package.get("Imports", [])
        at = end + 1
    return found


def below(path: str) -> str:
    return path[len("cloudburst") :].lstrip("/")


def floor_of(package: str) -> int:
    """The floor of a package, or of the one that it is a part of; -1 for programs outside the house (bench, examples)."""
    while True:
        for number, names in enumerate(FLOORS):
            if package in names:
                return number
        if "/" not in package:
            return -1
        package = package.rpartition("/")[0]


def test_layers() -> None:
    faults = []
    for package, imports in packages().items():
        floor = floor_of(package)
        own = package.split("/")[0]
        for path in imports:
            if path != "cloudburst" and not path.startswith("cloudburst/"):
                if floor == 0 and (path in IMPURE or "." in path.split("/")[0]):
                    faults.append(f"{package} is on the pure floor and imports {path}")
                continue
            target = below(path)
            if target in LEAVES and own not in {"node", LEAVES[target]} and floor >= 0:
                faults.append(f"{package} imports {target}, which only node may")
            same_part = own == target.split("/")[0] and own != "" and floor_of(target) == floor
            if floor >= 0 and not same_part and floor_of(target) >= floor:
                faults.append(f"{package} imports {target or 'the root package'}, which is not below it")
    assert not faults, "\n".join(faults)


def test_every_package_has_a_floor() -> None:
    homeless = [p for p in packages() if floor_of(p) < 0 and p.split("/")[0] not in {"bench", "examples", "e2e", "tools"}]
    assert not homeless, f"not in FLOORS: {homeless}"


def test_package_names_say_something() -> None:
    vague = re.compile(r"(^|/)(utils?|common|helpers?|misc|shared)(/|$|\.)")
    faults = [name for name in tracked() if vague.search(name) and not name.startswith("python/src/cloudburst/shared/")]
    assert not faults, faults


def test_files_are_short() -> None:
    lengths = {name: text.count("\n") for name, text in texts(*SOURCE)}
    faults = [
        f"{name}: {lines} lines, at most {SOURCE_LINES_MAX}" for name, lines in lengths.items() if lines > SOURCE_LINES_MAX
    ]
    assert not faults, "\n".join(faults)


def test_lines_are_short() -> None:
    # A line that is mostly one long string (a message, a golden value) is easier to read whole.
    faults = [
        f"{name}:{number}: {len(line)} characters"
        for name, text in texts(*SOURCE)
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > LINE_LENGTH_MAX and not re.search(r"[\"'`]", line)
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a promise of later work", r"\b(TODO|FIXME|XXX)\b"),
        ("a path of one machine", r"(/work/(main|shared)|/root/|/home/[a-z]|/tmp/build|\.pyenv)"),
        (
            "the host of a package registry",
            r"(proxy\.golang\.org|pypi\.org|files\.pythonhosted|registry\.npmjs|crates\.io|deb\.debian)",
        ),
    ],
)
def test_nothing_in_the_tree_is(what: str, pattern: str) -> None:
    found = places(re.compile(pattern))
    assert not found, f"{what}:\n" + "\n".join(found)


def test_links_in_documents_exist() -> None:
    faults = []
    for name, text in texts(".md"):
        prose = re.sub(r"```.*?```", "", text, flags=re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'<(?:img|source)[^>]+src(?:set)?="([^"]+)"', prose):
            path, _, _ = target.partition("#")
            if path and not re.match(r"[a-z]+:", path) and not ((ROOT / name).parent / path).exists():
                faults.append(f"{name}: {target}")
    assert not faults, "\n".join(faults)
