"""``make bench``: latency and throughput of sq(incr(x)), compared with a bare forwarder, and what the node itself costs."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from bench import plot
from bench.clients import WAYS, Run, measure, shape
from bench.processor import children, shares
from e2e.node import PYTHON, ROOT, Node, until

CLIENTS = (1, 2, 8, 64)
CALLS = 10_000
WARM_CALLS = 20_000
MEMORY_CALLS = 100_000
RESULT_TTL = "10s"
RESERVED_LEFT_MAX = 100
PROCESSOR_CALLS = 10_000
IDLE_SECONDS = 5
STARTS = 5
CLASSES = 10
FORWARDER_WORKERS = 2

# The published implementation in its own local mode, measured on 2 cores of the kind that the budgets are for.
PUBLISHED = {
    "DAG, future": {"p50": 1530, "p99": 5300, "per_second": 560},
    "DAG, direct": {"p50": 680, "p99": 1200, "per_second": 1240},
    "single function": {"p50": 1100, "p99": 3800},
}


def command(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True).stdout.strip()


def machine() -> Dict[str, Any]:
    processor = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": processor.group(1) if processor else platform.processor(),
        "cores": os.cpu_count(),
        "memory_bytes": int(memory.group(1)) << 10 if memory else 0,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "go": command("go", "env", "GOVERSION"),
    }


def register() -> None:
    from cloudburst.client.client import CloudburstConnection

    cloud = CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)
    cloud.register(lambda _, x: x + 1, "incr")
    cloud.register(lambda _, x: x * x, "sq")
    cloud.register(lambda _, x: (x + 1) * (x + 1), "both")
    created, error = cloud.register_dag("composition", ["incr", "sq"], [("incr", "sq")])
    if not created:
        raise RuntimeError(f"register the DAG: error {error}")


@contextlib.contextmanager
def running(node: Node) -> Iterator[Node]:
    try:
        node.start()
        os.environ.update(node.environment())
        yield node
        node.stop()
    finally:
        node.kill()


@contextlib.contextmanager
def forwarder(binary: str) -> Iterator[int]:
    worker = str(ROOT / "bench" / "forwarder" / "worker.py")
    words = [binary, "--python", str(PYTHON), "--worker", worker, "--workers", str(FORWARDER_WORKERS)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        try:
            os.environ["BENCH_FORWARDER"] = process.stdout.readline().strip()
            yield process.pid
        finally:
            process.stdin.close()


def row(way: str, clients: int, run: Run) -> Dict[str, Any]:
    processes, threads = shape(clients)
    return {
        "way": way,
        "clients": clients,
        "shape": f"{processes} processes of {threads} threads",
        "calls": len(run.nanoseconds),
        "per_second": round(run.per_second, 1),
        "microseconds": {
            **{f"p{p:g}": round(run.percentile(p), 1) for p in (50, 90, 99, 99.9)},
            "max": round(run.nanoseconds[-1] / 1e3, 1),
            "mean": round(statistics.fmean(run.nanoseconds) / 1e3, 1),
        },
    }


def experiments(calls: int) -> Iterator[Dict[str, Any]]:
    for clients in CLIENTS:
        for way in WAYS:
            if way == "local call" and clients > 1:
                continue
            yield row(way, clients, measure(way, clients, calls))


def processor(node: Node, bare: int, calls: int) -> Iterator[Dict[str, Any]]:
    workers = [pid for pid in node.family() if pid != node.process.pid]
    for way in WAYS:
        if way == "bare forwarder":
            yield shares(way, bare, children(bare), calls)
        elif way != "local call":
            yield shares(way, node.process.pid, workers, calls)


def start_milliseconds(binary: Path, directory: Path) -> List[float]:
    """How long until a node on an empty directory answers, several times."""
    taken = []
    for i in range(STARTS):
        node = Node(directory / f"start{i}", binary=binary)
        before = time.perf_counter()
        try:
            node.start()
            taken.append(1e3 * (time.perf_counter() - before))
            node.stop()
        finally:
            node.kill()
    return taken


def worker_milliseconds() -> List[float]:
    """How long the first call of a class takes, which gets a worker of its own, beyond a later call of it."""
    from cloudburst.client.client import CloudburstConnection

    class Counter:
        def __init__(self, library: Any) -> None:
            self.count = 0

        def run(self, library: Any) -> int:
            self.count += 1
            return self.count

    cloud = CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)
    taken = []
    for i in range(CLASSES):
        counter = cloud.register((Counter, ()), f"counter-{i}")
        times = []
        for _ in range(20):
            before = time.perf_counter()
            counter().get()
            times.append(1e3 * (time.perf_counter() - before))
        taken.append(times[0] - statistics.median(times[1:]))
    return taken


def node_costs(binary: Path, directory: Path) -> Dict[str, Any]:
    """What a node of its own costs: at rest, after many calls, and after many futures whose results have had their time."""
    ready = statistics.median(start_milliseconds(binary, directory))
    node = Node(directory / "costs", binary=binary, environment={"CLOUDBURST_SCHEDULER__RESULT_TTL": RESULT_TTL})
    with running(node):
        started = node.resident_bytes()
        before = node.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        idle = (node.cpu_seconds() - before) / IDLE_SECONDS
        worker = statistics.median(worker_milliseconds())
        register()
        measure("DAG, direct", 8, WARM_CALLS)
        warm = node.resident_bytes()
        measure("DAG, direct", 8, MEMORY_CALLS)
        direct = node.resident_bytes()
        measure("DAG, future", 8, MEMORY_CALLS)
        until(lambda: node.metric("cloudburst_anna_reserved") < RESERVED_LEFT_MAX, "the results to be forgotten", 120)
        futures = node.resident_bytes()
    return {
        "ready_milliseconds": round(ready, 1),
        "new_worker_milliseconds": round(worker, 2),
        "idle_processor_share": round(idle, 4),
        "resident_bytes_after_start": started,
        f"resident_bytes_after_{WARM_CALLS}_calls": warm,
        f"resident_bytes_after_{MEMORY_CALLS}_more": direct,
        f"resident_bytes_after_{MEMORY_CALLS}_futures_and_their_ttl": futures,
    }


def table(result: Dict[str, Any]) -> str:
    head = f"{'':<18}{'clients':>8}{'p50 µs':>10}{'p90 µs':>10}{'p99 µs':>10}{'p99.9 µs':>10}{'calls/s':>10}{'published':>20}"
    lines = [head]
    for found in result["experiments"]:
        took = found["microseconds"]
        published = PUBLISHED.get(found["way"]) if found["clients"] == 1 else None
        beside = f"{published['p50']:,} / {published['p99']:,} µs" if published else ""
        lines.append(
            f"{found['way']:<18}{found['clients']:>8}{took['p50']:>10,.1f}{took['p90']:>10,.1f}{took['p99']:>10,.1f}"
            f"{took['p99.9']:>10,.1f}{found['per_second']:>10,.0f}{beside:>20}"
        )
    lines += ["", f"{'processor µs of a call (user + system)':<40}{'client':>14}{'node':>14}{'workers':>14}"]
    for spent in result["processor_microseconds"]:
        cells = [f"{spent[part]['user']:.0f} + {spent[part]['system']:.0f}" for part in ("client", "server", "workers")]
        lines.append(f"{spent['way']:<40}" + "".join(f"{cell:>14}" for cell in cells))
    lines.append("")
    for name, value in result["node"].items():
        shown = f"{value / (1 << 20):.1f} MiB" if "bytes" in name else f"{value:g}"
        lines.append(f"{name.replace('_', ' '):<50}{shown:>14}")
    return "\n".join(lines)


def arguments() -> Tuple[Path, str, int, Path]:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--binary", type=Path, default=ROOT / "bin" / "cloudburst")
    parser.add_argument("--forwarder", default=str(ROOT / "bin" / "forwarder"))
    parser.add_argument("--calls", type=int, default=CALLS, help="calls of each experiment after warm-up")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    given = parser.parse_args()
    return given.binary.resolve(), str(Path(given.forwarder).resolve()), given.calls, given.out


def main() -> None:
    binary, bare, calls, out = arguments()
    with tempfile.TemporaryDirectory() as directory:
        node = Node(Path(directory) / "node", binary=binary)
        with running(node), forwarder(bare) as process:
            register()
            found = []
            for experiment in experiments(calls):
                found.append(experiment)
                print(
                    f"{experiment['way']}, {experiment['clients']} clients: {experiment['microseconds']['p50']} µs",
                    file=sys.stderr,
                )
            spent = list(processor(node, process, PROCESSOR_CALLS))
        result = {
            "commit": command("git", "describe", "--always", "--dirty"),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": "make bench",
            "machine": machine(),
            "experiments": found,
            "processor_microseconds": spent,
            "node": node_costs(binary, Path(directory)),
        }
    out.mkdir(parents=True, exist_ok=True)
    (out / "composition.json").write_text(json.dumps(result, indent=2) + "\n")
    (out / "composition.svg").write_text(plot.svg(result))
    print(table(result))
    print(f"\n{out / 'composition.json'}\n{out / 'composition.svg'}")


if __name__ == "__main__":
    main()
