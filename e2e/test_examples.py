"""The examples run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from e2e.node import ROOT, Node

EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.py")) if path.name != "demo.py"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example(node: Node, example: object) -> None:
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_demo() -> None:
    done = subprocess.run([sys.executable, "examples/demo.py"], capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "p99" in done.stdout
