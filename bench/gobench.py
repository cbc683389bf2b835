"""Go benchmarks: built once, run as often as is wanted, and their lines read."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Sequence

from e2e.node import ROOT

LINE = re.compile(r"^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.*)$")

# The collector works as it does in a node.
NODE_GOGC = "50"

# By benchmark, then by unit.
Found = Dict[str, Dict[str, float]]


def parse(lines: Iterable[str]) -> Found:
    found: Found = {}
    for line in lines:
        matched = LINE.match(line)
        if matched:
            cells = matched.group(2).split()
            found[matched.group(1)] = {unit: float(value) for value, unit in zip(cells[::2], cells[1::2])}
    return found


class Benchmarks:
    """The benchmarks of a package."""

    def __init__(self, package: str, directory: Path) -> None:
        self.binary = directory / f"{package.replace('/', '-')}.test"
        subprocess.run(["go", "test", "-c", "-o", str(self.binary), f"./{package}"], cwd=ROOT, check=True)

    def run(self, pattern: str, benchtime: str, *flags: str) -> Found:
        ask = [str(self.binary), "-test.run", "^$", "-test.bench", pattern, "-test.benchtime", benchtime, *flags]
        environment = {**os.environ, "GOGC": NODE_GOGC}
        done = subprocess.run(ask, cwd=self.binary.parent, env=environment, capture_output=True, text=True)
        found = parse(done.stdout.splitlines())
        if done.returncode or not found:
            raise RuntimeError(f"{' '.join(ask)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return found


def medians(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> Found:
    """The median of every number of several runs of the same benchmarks."""
    first = rounds[0]
    return {name: {unit: statistics.median(one[name][unit] for one in rounds) for unit in first[name]} for name in first}


def ratios(rounds: Sequence[Mapping[str, Mapping[str, float]]], ours: str, theirs: str, unit: str) -> float:
    """The median of the rounds' ratios, since what disturbs a round disturbs both sides of it."""
    each: List[float] = [one[ours][unit] / one[theirs][unit] for one in rounds]
    return statistics.median(each)
