"""``python -m bench.store``: the store inside a Go program, compared with its budgets and with the bare log below it."""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from bench import chart
from bench.__main__ import command, machine
from bench.gobench import Benchmarks, Found, medians, ratios
from bench.redis.__main__ import memory
from e2e.node import BINARY, ROOT

RESULTS = ROOT / "bench" / "results"
PUTS = 200_000
CLIENTS = 64
RECORDS = 1_000_000
ONE_CORE = ("-test.cpu", "1")

Row = Dict[str, Any]


def row(what: str, value: float, unit: str, budget: float = 0, bare: float = 0, ratio: float = 0) -> Row:
    """One figure. Of rates, which are a second, more is better, of everything else less."""
    found: Row = {"what": what, "value": value, "unit": unit}
    if budget:
        found.update(budget=budget, share=value / budget if unit == "/s" else budget / value)
    if bare:
        found.update(bare=bare, ratio=ratio or value / bare)
    return found


def gets(options: argparse.Namespace, directory: Path) -> List[Row]:
    cache = Benchmarks("cache", directory)
    found = medians([cache.run("CachedGet/(peek|get)$", "1s", *ONE_CORE) for _ in range(options.rounds)])
    return [
        row("cached gets, one core", 1e9 / found["CachedGet/get"]["ns/op"], "/s", 2e6),
        row("cached gets by executors, one core", 1e9 / found["CachedGet/peek"]["ns/op"], "/s", 2e6),
    ]


def merges(options: argparse.Namespace, directory: Path) -> List[Row]:
    anna = Benchmarks("anna", directory)
    found = medians([anna.run("Merge", "1s", *ONE_CORE) for _ in range(options.rounds)])
    rows = []
    for name, numbers in found.items():
        _, kind, keys = name.split("/")
        among = "one key" if keys == "keys=1" else f"{int(keys.partition('=')[2]):,} keys"
        rows.append(row(f"merges, one core: {kind}, {among}", numbers["merges/s"], "/s", 5e5))
    return rows


def puts(options: argparse.Namespace, directory: Path) -> List[Row]:
    anna = Benchmarks("anna", directory)
    ours, theirs, most = "PutDurable", f"LogPublish/window={CLIENTS}", "LogPublish/window=4096"
    rounds: List[Found] = []
    for _ in range(options.rounds):
        rounds.append({})
        for pattern in ("PutDurable", "LogPublish", "Overwrite"):
            rounds[-1].update(anna.run(pattern, f"{PUTS}x"))
    found = medians(rounds)

    def compared(what: str, key: str, unit: str, budget: float = 0, scale: float = 1) -> Row:
        bare = found[theirs][key] / scale
        return row(what, found[ours][key] / scale, unit, budget, bare, ratios(rounds, ours, theirs, key))

    return [
        compared(f"durable puts of {CLIENTS} clients", "puts/s", "/s", 80_000),
        compared("durable puts, p50", "p50-µs", " ms", 2, 1000),
        compared("durable puts, p99", "p99-µs", " ms", 0, 1000),
        compared("durable puts, processor, log included", "cpu-µs/put", " µs"),
        row("durable puts to keys written 100 times before", found["Overwrite"]["puts/s"], "/s", 80_000),
        row("durable puts to keys written 100 times before, processor", found["Overwrite"]["cpu-µs/put"], " µs"),
        row("the bare log, 4,096 publishes at a time", found[most]["puts/s"], "/s"),
    ]


def recovery(options: argparse.Namespace, directory: Path) -> List[Row]:
    anna = Benchmarks("anna", directory)
    rounds = [{**anna.run("Recover", "1x"), **anna.run("LogReplay", "1x")} for _ in range(options.rounds)]
    found = medians(rounds)
    seconds, bare = found["Recover"]["ns/op"] / 1e9, RECORDS / found["LogReplay"]["messages/s"]
    ratio = ratios(rounds, "Recover", "LogReplay", "ns/op")
    return [
        row(f"recovery of {RECORDS:,} keys of 100 B", seconds, " s", 5, bare, ratio),
        row("recovery, processor", found["Recover"]["cpu-ms"] / 1e3, " s", 0, found["LogReplay"]["cpu-ms"] / 1e3),
    ]


def resident(options: argparse.Namespace, _: Path) -> List[Row]:
    found = memory(options)
    return [
        row("resident for a key of 100 B, compared with Redis", found["cloudburst"], " B", 3 * found["redis"], found["redis"])
    ]


PARTS: Dict[str, Callable[[argparse.Namespace, Path], List[Row]]] = {
    "gets": gets,
    "merges": merges,
    "puts": puts,
    "recovery": recovery,
    "bytes": resident,
}


def shown(value: Optional[float], unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}{unit}" if value >= 100 else f"{value:.3g}{unit}"


def table(rows: List[Row]) -> str:
    lines = ["| | measured | budget | bare | ratio to it |", "|---|---|---|---|---|"]
    for one in rows:
        unit = one["unit"]
        cells = [
            shown(one["value"], unit),
            shown(one.get("budget"), unit),
            shown(one.get("bare"), unit),
            shown(one.get("ratio"), "×"),
        ]
        lines.append(f"| {one['what']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def svg(result: Dict[str, Any]) -> str:
    bars = []
    for one in result["rows"]:
        if "budget" in one:
            beside = one["share"] / one["ratio"] if one["unit"] == "/s" and "ratio" in one else None
            if beside is None and "ratio" in one:
                beside = one["share"] * one["ratio"]
            bars.append(chart.Bar(one["what"], one["share"], shown(one["value"], one["unit"]), beside))
    of = result["machine"]
    subtitle = f"{of['cores']} cores, {of['processor']}; commit {result['commit']}; grey: the bare log, or Redis"
    return chart.bars("The store inside a Go program, as a multiple of its budget", subtitle, bars)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    parser.add_argument("--binary", type=Path, default=BINARY, help="the node whose resident memory is measured")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured: the median counts")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="some of the measurements")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows: List[Row] = []
    with tempfile.TemporaryDirectory() as directory:
        for part in options.only:
            rows += PARTS[part](options, Path(directory))
    result = {
        "commit": command("git", "describe", "--always", "--dirty"),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": "python -m bench.store",
        "machine": machine(),
        "rounds": options.rounds,
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "store.json").write_text(json.dumps(result, indent=2) + "\n")
    (options.out / "store.svg").write_text(svg(result))
    print(table(rows))
    print(f"\n{options.out / 'store.json'}\n{options.out / 'store.svg'}")


if __name__ == "__main__":
    main()
