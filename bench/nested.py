"""``make bench``, part of it: what calls made inside functions cost, and how deep and wide they go in two workers."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List

import cloudburst
from bench.__main__ import machine, running
from e2e.node import ROOT, Node

CALLS = 5000
ROUNDS = 5
DEPTHS = (10, 100, 400, 1000)
PARENTS = 300
CHILDREN = 3
WORKERS = {"CLOUDBURST_EXECUTOR__WORKERS_MIN": "2", "CLOUDBURST_EXECUTOR__WORKERS_MAX": "2"}
HELD = "bench/nested/held"


def microseconds(nanoseconds: List[int]) -> Dict[str, float]:
    ordered = sorted(nanoseconds)
    return {f"p{p}": round(ordered[min(len(ordered) - 1, len(ordered) * p // 100)] / 1e3, 1) for p in (50, 99)}


def measure(app: cloudburst.App, calls: int) -> Dict[str, Any]:
    @app.function
    def leaf(x: int) -> int:
        return x

    @app.function
    def parent(calls: int) -> List[int]:
        import time

        taken = []
        for x in range(calls):
            before = time.perf_counter_ns()
            leaf.remote(x).get()
            taken.append(time.perf_counter_ns() - before)
        return taken

    @app.function
    def hold(round: int) -> None:
        state = cloudburst.context()
        state.put(f"{HELD}/{round}/begun", True)
        state.get(f"{HELD}/{round}/ends", wait=600)

    @app.function
    def depth(n: int) -> int:
        return n and 1 + int(depth.remote(n - 1).get())

    @app.function
    def fan(children: int) -> int:
        return sum(future.get() for future in [leaf.remote(x) for x in range(children)])

    def client(calls: int) -> List[int]:
        taken = []
        for x in range(calls):
            before = time.perf_counter_ns()
            leaf.remote(x).get()
            taken.append(time.perf_counter_ns() - before)
        return taken

    client(calls // 10)
    parent.remote(calls // 10).get()
    rounds: List[Dict[str, Dict[str, float]]] = []
    for n in range(ROUNDS):  # one after another, so that what else runs on the machine meets all of them
        row = {"client": microseconds(client(calls)), "idle worker": microseconds(parent.remote(calls).get())}
        held = hold.remote(n)  # takes one of the two workers, so that the other one has to help itself
        app.get(f"{HELD}/{n}/begun", wait=60)
        row["waiting worker"] = microseconds(parent.remote(calls).get(600))
        app.put(f"{HELD}/{n}/ends", True)
        held.get()
        rounds.append(row)
    deep = {}
    for n in DEPTHS:
        before = time.perf_counter()
        depth.remote(n - 1).get(600)
        deep[str(n)] = round(1e3 * (time.perf_counter() - before), 1)
    before = time.perf_counter()
    for future in [fan.remote(CHILDREN) for _ in range(PARENTS)]:
        future.get(600)
    return {
        "microseconds": {
            way: {p: statistics.median(row[way][p] for row in rounds) for p in ("p50", "p99")} for way in rounds[0]
        },
        "idle worker to client": round(statistics.median(r["idle worker"]["p50"] / r["client"]["p50"] for r in rounds), 2),
        "depth, milliseconds": deep,
        f"{PARENTS} parents of {CHILDREN} children, milliseconds": round(1e3 * (time.perf_counter() - before), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.nested", description=__doc__)
    parser.add_argument("--binary", type=Path, default=ROOT / "bin" / "cloudburst")
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        node = stack.enter_context(running(Node(directory / "node", binary=arguments.binary, environment=WORKERS)))
        app = stack.enter_context(cloudburst.connect(node.address, node.token))
        load = os.getloadavg()[0]
        result = {
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": machine(),
            "load before": load,
            **measure(app, arguments.calls),
        }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "nested.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
