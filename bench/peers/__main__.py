"""``make bench``: two chained tasks, and tasks that are started without waiting, with Cloudburst, Ray and Dask in one run."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List

from bench.__main__ import command, machine, running
from e2e.node import PYTHON, ROOT, Node

CALLS = 1_000
TASKS = 5_000
TIMEOUT_SECONDS = 600
ENVIRONMENT = ROOT / ".tools" / "peers"
# Pinned, so that two runs compare.
PACKAGES = ("ray==2.60.0", "distributed==2026.8.0")
STAMP = ENVIRONMENT / "installed"


def install() -> Path:
    """Return the interpreter that has the other systems; they are fetched when it is not there."""
    python = ENVIRONMENT / "bin" / "python"
    if not STAMP.exists() or STAMP.read_text() != " ".join(PACKAGES):
        subprocess.run([str(PYTHON), "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES], check=True)
        STAMP.write_text(" ".join(PACKAGES))
    return python


def timed(words: List[str], calls: int, tasks: int, environment: Dict[str, str]) -> Dict[str, Any]:
    done = subprocess.run(
        [*words, str(calls), str(tasks)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    found: Dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def experiments(binary: Path, directory: Path, calls: int, tasks: int) -> Dict[str, Any]:
    peers = install()
    found = {}
    node = Node(directory / "node", binary=binary)
    with running(node):
        ours = [str(PYTHON), "-m", "bench.peers.with_cloudburst"]
        found["Cloudburst, a pipeline"] = timed(ours, calls, tasks, {"BENCH_WAY": "pipeline"})
        found["Cloudburst, a future as argument"] = timed(ours, calls, tasks, {"BENCH_WAY": "future"})
    scripts = ROOT / "bench" / "peers"
    for name, script in (("Ray", "with_ray.py"), ("Dask", "with_dask.py")):
        found[name] = timed([str(peers), str(scripts / script)], calls, tasks, {"PYTHONPATH": str(scripts)})
        print(f"{name}: {found[name]['microseconds']['p50']} µs", file=sys.stderr)
    return found


def table(found: Dict[str, Any]) -> str:
    lines = [f"{'sq(incr(x))':<36}{'p50 µs':>10}{'p99 µs':>10}{'p99.9 µs':>10}{'tasks/s':>10}"]
    for name, row in found.items():
        took = row["microseconds"]
        shown = f"{name} {row['version']}".strip()
        lines.append(
            f"{shown:<36}{took['p50']:>10,.0f}{took['p99']:>10,.0f}{took['p99.9']:>10,.0f}{row['tasks_per_second']:>10,.0f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--binary", type=Path, default=ROOT / "bin" / "cloudburst")
    parser.add_argument("--calls", type=int, default=CALLS, help="calls of two chained tasks, one after another")
    parser.add_argument("--tasks", type=int, default=TASKS, help="tasks that are started without waiting")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = experiments(given.binary.resolve(), Path(directory), given.calls, given.tasks)
    result = {
        "commit": command("git", "describe", "--always", "--dirty"),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": "make bench",
        "machine": machine(),
        "experiments": found,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "peers.json").write_text(json.dumps(result, indent=2) + "\n")
    print(table(found))
    print(f"\n{given.out / 'peers.json'}")


if __name__ == "__main__":
    main()
