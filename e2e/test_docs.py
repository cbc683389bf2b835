"""The examples of the Python pages run as they are written, and print what their comments say."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import List

import pytest

from e2e.node import ROOT, Node

PAGES = ["docs/async.md", "docs/delivery.md", "docs/published.md", "python/README.md"]
# A comment is what is printed, or a remark, a colon and what is printed.
PRINTED = re.compile(r"^ *print\(.*\) +# (?:[a-z][^'{\[\n]*: )?(.+)$", re.MULTILINE)


def examples(page: str) -> str:
    """The Python blocks of a page, one after the other: together they are one program."""
    blocks: List[str] = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return "\n".join(blocks)


@pytest.mark.parametrize("page", PAGES)
def test_examples(node: Node, page: str) -> None:
    program = examples(page)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    expected = PRINTED.findall(program)
    assert len(expected) > 5
    assert done.stdout.splitlines() == expected
    assert len(re.findall(r"^\s*print\(", program, re.MULTILINE)) == len(expected), "every print says what it prints"
