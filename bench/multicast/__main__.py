"""``python -m bench.multicast``: how an update reaches the caches that hold its key, on real nodes and simulated."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List

from bench import chart
from bench.__main__ import command, machine
from bench.gobench import Benchmarks
from bench.multicast.nodes import NATS_SERVER, nats, store
from e2e.node import BINARY, ROOT

RESULTS = ROOT / "bench" / "results"
NODES = (3, 7, 15)
BUDGET_MS = 5.0
SIMULATED_UPDATES = 300
ACKS = ("memory", "durable")
QUANTILES = ("each", "last", "acknowledged", "bare")

# The published implementation tells caches of changes once an epoch, and learns what caches hold from what they report and
# what its threads then ask for: all of it periodically (seconds).
EPOCH, REPORT, INDEX = 10.0, 5.0, 15.0
DRAWS = 100_000

Row = Dict[str, Any]


def ask(program: Path, *words: str) -> Any:
    done = subprocess.run([str(program), *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{program} {words[0]}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def middle(rounds: List[Row]) -> Row:
    """The median of every number of several rounds."""
    row: Row = {key: statistics.median(one[key] for one in rounds) for key in ("updates", "messages", "bytes", "quiet")}
    for key in QUANTILES:
        row[key] = {name: statistics.median(one[key][name] for one in rounds) for name in ("p50", "p99", "max")}
    return row


def real(options: argparse.Namespace) -> List[Row]:
    rows = []
    for count in options.nodes:
        with store(count, options.binary, options.nats_server) as running:
            addresses = ",".join(f"{node.address}={node.token}" for node in running["nodes"])
            words = ["-nodes", addresses, "-nats", running["url"], "-varz", running["varz"]]
            ask(options.program, *words, "-updates", "100")  # warm-up
            found: Dict[str, List[Row]] = {ack: [] for ack in ACKS}
            for _ in range(options.rounds):
                for ack in ACKS:
                    found[ack].append(ask(options.program, *words, "-ack", ack))
        for ack, rounds in found.items():
            rows.append({"nodes": count, "ack": ack, **middle(rounds)})
            print(f"{count} processes, {ack}: p99 {rows[-1]['each']['p99'] / 1e3:.1f} ms", file=sys.stderr)
    return rows


def constants(options: argparse.Namespace) -> Row:
    with tempfile.TemporaryDirectory() as directory, nats(options.nats_server, Path(directory)) as bus:
        found: Row = ask(options.program, "-nats", bus["url"])
        return found


def simulated(options: argparse.Namespace, of: Row) -> List[Row]:
    flags = [f"-{name}=" + ",".join(f"{v:.1f}" for v in of[name]) for name in ("hop", "log")]
    with tempfile.TemporaryDirectory() as directory:
        simulation = Benchmarks("anna/simulation", Path(directory))
        found = simulation.run("Multicast", f"{SIMULATED_UPDATES}x", *flags, f"-message={of['message']:.2f}")
    rows = []
    for name, numbers in found.items():
        numbers.pop("ns/op")
        settings = dict(part.split("=") for part in name.split("/")[1:])
        rows.append({**{key: int(value) for key, value in settings.items()}, **numbers})
    return rows


def published() -> Row:
    """How long an update waits by the periods of the published implementation alone, in seconds."""
    draw = random.Random(1).uniform
    known = sorted(draw(0, EPOCH) for _ in range(DRAWS))
    new = sorted(draw(0, REPORT) + draw(0, INDEX) + draw(0, EPOCH) for _ in range(DRAWS))
    return {
        name: {"p50": waits[DRAWS // 2], "p99": waits[DRAWS * 99 // 100], "most": sum(periods)}
        for name, waits, periods in (("known", known, (EPOCH,)), ("new", new, (REPORT, INDEX, EPOCH)))
    }


def tables(result: Row) -> str:
    lines = [
        "| processes | acknowledged | p50 ms | p99 ms | all, p50 ms | p99 ms | writer, p50 ms | bare, p50 ms | p99 ms "
        "| messages | bytes | quiet, messages/s |",
        "|" + "---|" * 12,
    ]
    for row in result["real"]:
        each, last, answer, bare = (row[key] for key in QUANTILES)
        times = [each["p50"], each["p99"], last["p50"], last["p99"], answer["p50"], bare["p50"], bare["p99"]]
        cells = [str(row["nodes"]), row["ack"], *(f"{t / 1e3:.2f}" for t in times)]
        cells += [f"{row['messages']:.1f}", f"{row['bytes']:,.0f}", f"{row['quiet']:,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| nodes | hold the key | messages | bytes | p50 ms | p99 ms | all, p50 ms | p99 ms |",
        "|" + "---|" * 8,
    ]
    for row in result["simulated"]:
        where = [f"{row['nodes']:,}", f"{row['holders']:,}"] if "nodes" in row else [f"15, {row['rate']:,} updates/s", "15"]
        cells = [*where, f"{row['messages/update']:,.1f}", f"{row['B/update']:,.0f}"]
        cells += [f"{row[key] / 1e3:.2f}" for key in ("p50-µs", "p99-µs", "last-p50-µs", "last-p99-µs")]
        lines.append(f"| {' | '.join(cells)} |")
    wait = result["published"]
    lines += ["", "| the published implementation, by its periods alone | p50 s | p99 s | at most s |", "|---|---|---|---|"]
    for name, what in (("known", "a key that a cache has held for long"), ("new", "a key that a cache has just read")):
        lines.append(f"| {what} | {wait[name]['p50']:.1f} | {wait[name]['p99']:.1f} | {wait[name]['most']:.0f} |")
    return "\n".join(lines)


def svg(result: Row) -> str:
    def series(holders: str, key: str, scale: float = 1) -> List[Any]:
        def wanted(row: Row) -> bool:
            return "nodes" in row and row["holders"] == (row["nodes"] if holders == "all" else int(holders))

        return [(row["nodes"], row[key] / scale) for row in result["simulated"] if wanted(row)]

    durable = [row for row in result["real"] if row["ack"] == "durable"]
    ends = (3, 1000)
    delay = {
        "all nodes hold it, p50": series("all", "p50-µs", 1e3),
        "all nodes hold it, p99": series("all", "p99-µs", 1e3),
        "3 nodes hold it, p99": series("3", "p99-µs", 1e3),
        "real processes, p99": [(row["nodes"], row["each"]["p99"] / 1e3) for row in durable],
        "published, known key, p50": [(n, 1e3 * result["published"]["known"]["p50"]) for n in ends],
        "published, new key, p99": [(n, 1e3 * result["published"]["new"]["p99"]) for n in ends],
    }
    cost = {
        "all nodes hold it": series("all", "messages/update"),
        "30 nodes hold it": series("30", "messages/update"),
        "3 nodes hold it": series("3", "messages/update"),
        "real processes, all hold it": [(row["nodes"], row["messages"]) for row in durable],
    }
    of = result["machine"]
    subtitle = f"simulated with durations of this machine: {of['cores']} cores, {of['processor']}; commit {result['commit']}"
    panels = [
        chart.Panel("milliseconds until a cache shows an update", {name: points for name, points in delay.items() if points}),
        chart.Panel("messages of the bus for one update", {name: points for name, points in cost.items() if points}),
    ]
    return chart.lines("How an update reaches the caches", subtitle, "nodes", panels)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.multicast", description=__doc__)
    parser.add_argument("--binary", type=Path, default=BINARY, help="the node")
    parser.add_argument(
        "--program", type=Path, default=ROOT / "bin" / "multicast", help="go build -o bin/multicast ./bench/multicast"
    )
    parser.add_argument("--nats-server", type=Path, default=NATS_SERVER, help="make .tools/nats-server")
    parser.add_argument("--nodes", type=int, nargs="+", default=NODES, help="how many processes, one after another")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured: the median counts")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    of = constants(options)
    result = {
        "commit": command("git", "describe", "--always", "--dirty"),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": "python -m bench.multicast",
        "machine": machine(),
        "rounds": options.rounds,
        "budget_milliseconds": BUDGET_MS,
        "constants_microseconds": of,
        "simulated": simulated(options, of),
        "real": real(options),
        "published": published(),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "multicast.json").write_text(json.dumps(result, indent=2) + "\n")
    (options.out / "multicast.svg").write_text(svg(result))
    print(tables(result))
    print(f"\n{options.out / 'multicast.json'}\n{options.out / 'multicast.svg'}")


if __name__ == "__main__":
    main()
