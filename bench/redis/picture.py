"""The comparison as one picture: every measurement against what is asked of it."""

from __future__ import annotations

from typing import Any, Dict, List

from bench.chart import Bar, bars

# How many times Redis is asked for: without pipelining and with pipelines of 16 commands, and of YCSB.
WANTED_ALONE, WANTED_PIPELINED, WANTED_YCSB = 1.0, 1.2, 1.0
# How much of the rate of keys drawn all alike is to be left, however few keys are written.
WANTED_UNDER_CONTENTION = 0.9
# How many times the memory that Redis takes for a key may be taken.
WANTED_BYTES = 3.0


def _rates(part: str, rows: Dict[str, Any]) -> List[Bar]:
    found = []
    for name, row in rows.items():
        wanted = WANTED_PIPELINED if name.endswith("-P 16") else WANTED_ALONE
        found.append(Bar(f"{part}: {name}", row["ratio"] / wanted, f"{row['ratio']:.2f} times Redis, {wanted:g} wanted"))
    return found


def _contention(rows: Dict[str, Any]) -> List[Bar]:
    found = []
    for what in dict.fromkeys(name.partition(",")[0] for name in rows):
        shares = {
            side: [
                row[side]["per_second"] / rows[f"{what}, exponent 0"][side]["per_second"]
                for name, row in rows.items()
                if name.startswith(what)
            ]
            for side in ("cloudburst", "redis")
        }
        ours, theirs = min(shares["cloudburst"]), min(shares["redis"])
        words = f"{ours:.0%} of the rate without; Redis {theirs:.0%}"
        found.append(Bar(f"contention: {what}", ours / WANTED_UNDER_CONTENTION, words, theirs / WANTED_UNDER_CONTENTION))
    return found


def svg(report: Dict[str, Any]) -> str:
    rows: List[Bar] = []
    for part in ("memory", "durable"):
        rows += _rates(part, report.get(part, {}))
    rows += _contention(report.get("zipf", {}))
    for name, row in report.get("ycsb", {}).items():
        words = f"{row['ratio']:.2f} times Redis, p99 {row['p99_ratio']:.2f} times"
        rows.append(Bar(f"YCSB {name}", row["ratio"] / WANTED_YCSB, words))
    if "bytes" in report:
        ratio = report["bytes"]["ratio"]
        rows.append(Bar("bytes for a key", WANTED_BYTES / ratio, f"{ratio:.2f} times Redis, {WANTED_BYTES:g} allowed"))
    machine = report["machine"]
    redis = report["redis"].partition(" sha")[0]
    about = f"{machine['cores']} cores, {machine['processor']}; commit {report['commit'][:7]}; {redis}"
    return bars("The Redis endpoint compared with Redis", about, rows)
