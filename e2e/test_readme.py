"""The first five minutes of the README work as they are written."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from typing import Callable, List

from e2e.node import ROOT, Node

README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> List[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_first_five_minutes(own_node: Callable[..., Node], capsys: object) -> None:
    node = own_node()
    transcript = "\n".join(blocks("pycon"))
    example = doctest.DocTestParser().get_doctest(transcript, {"__name__": "__main__"}, "README.md", "README.md", 0)
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
    assert results.attempted > 10
    assert results.failed == 0

    for program in blocks("python"):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout

    expected = ""
    for line in "".join(block for block in blocks("") if "$ " in block).splitlines():
        if line.startswith("$ bin/cloudburst "):
            printed = node.cli(*line.split()[2:]).stdout
            expected = printed
            assert printed
        else:
            assert line in expected, f"{line!r} is not what was printed:\n{expected}"
