"""What each microsecond of a call is: processor time by process, which other work on the machine disturbs less than latency."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Tuple

from bench.clients import WARM_UP_CALLS, WAYS, arguments

_TICKS = os.sysconf("SC_CLK_TCK")


class Time(NamedTuple):
    """Seconds in a program itself and in the system for it."""

    user: float
    system: float

    @classmethod
    def of(cls, pids: Iterable[int]) -> Time:
        user = system = 0
        for pid in pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user, system = user + int(fields[11]), system + int(fields[12])
        return cls(user / _TICKS, system / _TICKS)

    def since(self, before: Time, calls: int) -> Dict[str, float]:
        """In microseconds a call."""
        return {
            "user": round(1e6 * (self.user - before.user) / calls, 1),
            "system": round(1e6 * (self.system - before.system) / calls, 1),
        }


def children(pid: int) -> List[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def shares(way: str, server: int, workers: List[int], calls: int) -> Dict[str, Any]:
    """Call so many times from this process, one after another, and return what a call costs whom."""
    call, xs = WAYS[way](), arguments()
    for i in range(WARM_UP_CALLS):
        call(xs[i % 100])
    parts: List[Tuple[str, List[int]]] = [("client", [os.getpid()]), ("server", [server]), ("workers", workers)]
    before = [Time.of(pids) for _, pids in parts]
    for i in range(calls):
        call(xs[i % 100])
    after = [Time.of(pids) for _, pids in parts]
    return {"way": way, **{name: now.since(then, calls) for (name, _), then, now in zip(parts, before, after)}}
