"""How calls are timed, the same for each system. It runs in the environments of the others, so it imports nothing."""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from typing import Any, Callable, Dict, List, Sequence

WARM_UP = 200


def incr(x: int) -> int:
    return x + 1


def sq(x: int) -> int:
    return x * x


def arguments(n: int) -> List[int]:
    return random.Random(1).choices(range(-(2**50), 2**50), k=n)


def percentile(ordered: Sequence[float], p: float) -> float:
    """The p-th percentile by the nearest rank, of numbers in order."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))]


def measure(
    version: str, chain: Callable[[int], int], start: Callable[[int], Any], collect: Callable[[List[Any]], List[int]]
) -> None:
    """Time calls of sq(incr(x)), one after another, and then tasks that are started without waiting; print what came of it.

    ``sys.argv`` has the number of calls and of tasks.
    """
    calls, tasks = map(int, sys.argv[1:3])
    for x in arguments(WARM_UP):
        chain(x)
    taken = []
    for x in arguments(calls):
        before = time.perf_counter_ns()
        result = chain(x)
        taken.append((time.perf_counter_ns() - before) / 1e3)
        if result != (x + 1) ** 2:
            raise ValueError(f"sq(incr({x})) was {result}")
    collect([start(x) for x in arguments(WARM_UP)])
    numbers = arguments(tasks)
    before = time.perf_counter_ns()
    results = collect([start(x) for x in numbers])
    seconds = (time.perf_counter_ns() - before) / 1e9
    if results != [x + 1 for x in numbers]:
        raise ValueError("wrong results")
    taken.sort()
    found: Dict[str, Any] = {
        "version": version,
        "calls": calls,
        "microseconds": {f"p{p:g}": round(percentile(taken, p), 1) for p in (50, 90, 99, 99.9)},
        "mean": round(statistics.fmean(taken), 1),
        "tasks": tasks,
        "tasks_per_second": round(tasks / seconds, 1),
    }
    print(json.dumps(found))
