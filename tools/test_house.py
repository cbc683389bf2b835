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

# The floors of the house, the lowest first. A package imports only what is on floors below its own; packages of one floor never
# import each other. A package that is not named here stands on the floor of the one that it is a part of.
FLOORS = [
    {"lattice", "dag", "session", "names", "anna/slots"},
    {"anna/kernel", "anna/compaction", "anna/hot"},
    {"wire/pb", "descriptors", "contexts"},
    {"wire", "bus"},
    {"codec", "anna/record", "printed"},
    {"anna", "registry"},
    {"cache"},
    {"client", "scheduler", "executor"},
    {"gateway", "resp"},
    {"node"},
    {"cmd/cloudburst"},
]
# Pure packages: time and randomness arrive as arguments, and they neither lock, log, wait, do I/O nor start a goroutine. A pure
# package imports only pure ones, so the rule holds for what they import themselves and for what each package of ours imports
# that they reach. It cannot hold for all that `go list -deps` shows: fmt imports os.
PURE = {"lattice", "dag", "session", "names", "anna/slots", "anna/compaction", "anna/hot", "anna/kernel"}
IMPURE = {"time", "math/rand", "crypto/rand", "context", "log", "os", "net", "sync", "syscall", "io"}
# Exceptions: the kernel's index is a B-tree, and readers of a key mark it as read, several at once; an address is a value.
PURE_MAY_IMPORT = {"anna/kernel": {"github.com/google/btree", "sync/atomic"}, "names": {"net/netip"}}
GOROUTINE = re.compile(r"^\s*go (func\b|[\w.]+\()", re.M)
# Leaves have heavy dependencies. They stand on the floor of the package that they extend. Only node and tests import them.
LEAVES = {"bus/embedded": "bus"}
# What the tests of a package may run, although it is on a floor above.
TESTS_MAY_RUN = {"client": {"node", "bus/embedded"}}
# Programs and tests that use the house. Nothing in it uses them.
OUTSIDE = {"bench", "examples", "e2e", "tools"}


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


@cache
def packages() -> Dict[str, Dict[str, List[str]]]:
    """Every package of the product by its path below the module, with the imports of its code and of its tests."""
    command = ["go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "./..."]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found, decoder, at = {}, json.JSONDecoder(), 0
    while at < len(listed.rstrip()):
        package, end = decoder.raw_decode(listed, at)
        tests = package.get("TestImports", []) + package.get("XTestImports", [])
        found[package["ImportPath"].removeprefix("cloudburst").lstrip("/")] = {
            "code": package.get("Imports", []),
            "tests": tests,
        }
        at = end + 1
    return {name: imports for name, imports in found.items() if name.split("/")[0] not in OUTSIDE}


def floor_of(package: str) -> int:
    """The floor of a package, or of the one that it is a part of; -1 if it has none."""
    while True:
        for number, names in enumerate(FLOORS):
            if package in names:
                return number
        if "/" not in package:
            return -1
        package = package.rpartition("/")[0]


def is_pure(package: str) -> bool:
    return any(package == name or package.startswith(name + "/") for name in PURE)


def fault_of(here: str, path: str, test: bool) -> str:
    """Why a package may not import another; empty if it may."""
    if not f"{path}/".startswith("cloudburst/"):
        impure = "." in path.split("/")[0] or any(f"{path}/".startswith(f"{name}/") for name in IMPURE)
        return "it is pure" if is_pure(here) and impure and not test and path not in PURE_MAY_IMPORT.get(here, ()) else ""
    target = path.removeprefix("cloudburst").lstrip("/")
    if is_pure(here) and not is_pure(target) and not test:
        return "it is pure, and that is not"
    if target == here or (test and target in TESTS_MAY_RUN.get(here, ())):
        return ""
    if target in LEAVES:
        return "" if here == "node" or test else f"it extends {LEAVES[target]} for node alone"
    if LEAVES.get(here) == target or (here.startswith(target + "/") and floor_of(here) == floor_of(target)):
        return ""  # a part of a package may use it
    return "it is not on a floor below" if floor_of(target) >= floor_of(here) else ""


def test_pure_packages_start_no_goroutine() -> None:
    faults = [name for name, text in texts(".go") if is_pure(str(Path(name).parent)) and GOROUTINE.search(text)]
    assert not [name for name in faults if not name.endswith("_test.go")], faults


def test_imports_only_point_down() -> None:
    faults = [
        f"{here} imports {path}: {fault}"
        for here, imports in packages().items()
        for kind, paths in imports.items()
        for path in paths
        for fault in [fault_of(here, path, kind == "tests")]
        if fault
    ]
    assert not faults, "\n".join(faults)


def test_every_package_has_a_floor() -> None:
    homeless = [package for package in packages() if floor_of(package) < 0]
    assert not homeless, f"not in FLOORS: {homeless}"


def test_package_names_say_something() -> None:
    vague = re.compile(r"(^|/)(utils?|common|helpers?|misc|shared)(/|$|\.)")
    published = ("python/src/cloudburst/shared/", "python/src/anna/common.py")  # names that programs import
    faults = [name for name in tracked() if vague.search(name) and not name.startswith(published)]
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
