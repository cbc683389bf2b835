"""``python -m bench.redis``: the endpoint compared with Redis, on one machine, with one tool, in turn: the ratios count."""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

from bench.__main__ import command, machine
from bench.redis import picture
from bench.redis.servers import DURABILITY, Server, both, need
from e2e.node import BINARY, ROOT

RESULTS = ROOT / "bench" / "results"
CLIENTS = 50
VALUE_BYTES = 100
KEYS = 100_000
EXPONENTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
MEMORY_KEYS = 1_000_000
# After writes that are acknowledged in memory the log is still being written for a while; the next turn is not to pay for it.
REST_SECONDS = 1.0
ZIPFIAN = {"requestdistribution": "zipfian"}
# Reads, updates, inserts and read-modify-writes, as the authors of YCSB define them.
YCSB = {
    "A": {"readproportion": "0.5", "updateproportion": "0.5", **ZIPFIAN},
    "B": {"readproportion": "0.95", "updateproportion": "0.05", **ZIPFIAN},
    "C": {"readproportion": "1", "updateproportion": "0", **ZIPFIAN},
    "D": {"readproportion": "0.95", "updateproportion": "0", "insertproportion": "0.05", "requestdistribution": "latest"},
    "F": {
        "readproportion": "0.5",
        "updateproportion": "0",
        "readmodifywriteproportion": "0.5",
        **ZIPFIAN,
    },
}

PARTS = ("memory", "durable", "zipf", "ycsb", "bytes")

Row = Dict[str, Any]


def redis_benchmark(server: Server, test: str, pipeline: int, requests: int, keys: int) -> Row:
    ask = ["redis-benchmark", "-p", str(server.port), "-a", server.password, "-c", str(CLIENTS), "-d", str(VALUE_BYTES)]
    ask += ["-n", str(requests), "-P", str(pipeline), "-t", test, "--csv"]
    if keys > 1:
        ask += ["-r", str(keys)]
    out = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    row = list(csv.DictReader(io.StringIO(out)))[-1]
    return {"per_second": float(row["rps"]), "p50_ms": float(row["p50_latency_ms"]), "p99_ms": float(row["p99_latency_ms"])}


def turns(servers: Dict[str, Server], rounds: int, measure: Callable[[Server], Row]) -> Row:
    """Measure both sides turn by turn; every number is a median, the ratio that of the rounds' ratios."""
    taken: Dict[str, List[Row]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            taken[name].append(measure(server))
            time.sleep(REST_SECONDS)
    row: Row = {name: {key: statistics.median(one[key] for one in rows) for key in rows[0]} for name, rows in taken.items()}
    for key, name in (("per_second", "ratio"), ("p99_ms", "p99_ratio")):
        if key in taken["redis"][0]:
            pairs = list(zip(taken["cloudburst"], taken["redis"]))
            row[name] = statistics.median(ours[key] / theirs[key] for ours, theirs in pairs)
    return row


def show(what: str, row: Row) -> None:
    ours, theirs = row["cloudburst"], row["redis"]
    rates = f"redis {theirs['per_second']:>10,.0f}/s   cloudburst {ours['per_second']:>10,.0f}/s"
    line = f"  {what:<26} {rates}   {row['ratio']:5.2f}x"
    if "p99_ms" in ours:
        line += f"   p99 {theirs['p99_ms']:7.2f} / {ours['p99_ms']:7.2f} ms"
    print(line, flush=True)


def benchmark(options: argparse.Namespace, durability: str) -> Dict[str, Row]:
    cases = [("set", KEYS), ("get", KEYS), ("incr", KEYS), ("incr", 1), ("sadd", KEYS)]
    rows = {}
    with both(options.binary, durability) as servers:
        for server in servers.values():  # the same keys are there on both sides before anything is read
            redis_benchmark(server, "set", 16, 4 * KEYS, KEYS)
        for pipeline in (1, 16):
            for test, keys in cases:
                requests = int(options.seconds * (60_000 if pipeline == 1 else 500_000))
                if durability == "durable" and test != "get":
                    requests //= 4
                name = f"{test}{'' if keys > 1 else ', one key'}, -P {pipeline}"
                rows[name] = turns(
                    servers,
                    options.rounds,
                    lambda s, t=test, p=pipeline, n=requests, k=keys: redis_benchmark(s, t, p, n, k),  # type: ignore[misc]
                )
                show(name, rows[name])
    return rows


def contention(options: argparse.Namespace) -> Dict[str, Row]:
    def measure(server: Server, what: str, exponent: float) -> Row:
        ask = [str(options.zipf), "-address", f"127.0.0.1:{server.port}", "-password", server.password, "-command", what]
        ask += ["-exponent", str(exponent), "-duration", f"{options.seconds}s", "-keys", str(KEYS)]
        got = json.loads(subprocess.run(ask, capture_output=True, text=True, check=True).stdout)
        return {"per_second": got["per_second"], "p99_ms": got["p99"] / 1000}

    rows = {}
    with both(options.binary, "memory") as servers:
        for what in ("SET", "INCR"):
            for exponent in EXPONENTS:
                name = f"{what}, exponent {exponent:g}"
                rows[name] = turns(servers, options.rounds, lambda s, w=what, e=exponent: measure(s, w, e))  # type: ignore[misc]
                show(name, rows[name])
    return rows


def ycsb(options: argparse.Namespace) -> Dict[str, Row]:
    def measure(server: Server, phase: str, settings: Dict[str, str]) -> Row:
        common = {
            "redis.addr": f"127.0.0.1:{server.port}",
            "redis.password": server.password,
            "redis.datatype": "string",
            "recordcount": str(options.records),
            "operationcount": str(options.operations),
            "fieldcount": "10",
            "fieldlength": "100",
            "threadcount": str(CLIENTS),
        }
        ask = [str(options.ycsb), phase, *(f"{name}={value}" for name, value in {**common, **settings}.items())]
        out = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
        total = next(one for one in json.loads(out.splitlines()[-1]) if one["Operation"] == "TOTAL")
        return {"per_second": float(total["OPS"]), "p99_ms": float(total["99th(us)"]) / 1000}

    rows = {}
    with both(options.binary, "memory") as servers:
        rows["load"] = turns(servers, 1, lambda s: measure(s, "load", {}))
        show("load", rows["load"])
        for workload, settings in YCSB.items():
            rows[workload] = turns(servers, options.rounds, lambda s, p=settings: measure(s, "run", p))  # type: ignore[misc]
            show(f"workload {workload}", rows[workload])
    return rows


def memory(options: argparse.Namespace) -> Row:
    """Resident bytes for each key of a value of 100 bytes."""
    row: Row = {}
    with both(options.binary, "memory") as servers:
        for name, server in servers.items():
            before = int(server.info()["used_memory_rss"])
            redis_benchmark(server, "set", 16, 6 * MEMORY_KEYS, MEMORY_KEYS)
            time.sleep(10 * REST_SECONDS)
            keys = int(server.command("DBSIZE"))
            row[name] = (int(server.info()["used_memory_rss"]) - before) / keys
    row["ratio"] = row["cloudburst"] / row["redis"]
    print(f"  bytes for a key            redis {row['redis']:,.0f}   cloudburst {row['cloudburst']:,.0f}   {row['ratio']:.2f}x")
    return row


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.redis", description=__doc__)
    parser.add_argument("--binary", type=Path, default=BINARY, help="the node")
    parser.add_argument("--zipf", type=Path, default=ROOT / "bin" / "zipf", help="go build -o bin/zipf ./bench/redis/zipf")
    parser.add_argument("--ycsb", type=Path, default=ROOT / "bin" / "ycsb", help="see bench/redis/ycsb")
    parser.add_argument("--rounds", type=int, default=5, help="how often the sides take turns")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one turn, about")
    parser.add_argument("--records", type=int, default=1_000_000, help="of YCSB")
    parser.add_argument("--operations", type=int, default=200_000, help="of one turn of YCSB")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="some of the measurements")
    parser.add_argument("--out", type=Path, default=RESULTS / "redis.json")
    options = parser.parse_args()
    need("redis-server", "redis-benchmark", "redis-cli")
    wanted = options.only or PARTS
    version = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    report: Dict[str, Any] = {"machine": machine(), "redis": version, "durability": DURABILITY}
    report["commit"] = command("git", "rev-parse", "HEAD")
    for durability in ("memory", "durable"):
        if durability in wanted:
            print(f"redis-benchmark, {CLIENTS} clients, {VALUE_BYTES} B, {DURABILITY[durability]}")
            report[durability] = benchmark(options, durability)
    if "zipf" in wanted:
        print("contention: keys drawn from a Zipf distribution")
        report["zipf"] = contention(options)
    if "ycsb" in wanted:
        print(f"YCSB, {options.records:,} records of 1 kB")
        report["ycsb"] = ycsb(options)
    if "bytes" in wanted:
        print(f"memory, {MEMORY_KEYS:,} keys")
        report["bytes"] = memory(options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    options.out.with_suffix(".svg").write_text(picture.svg(report))
    print(f"written to {options.out}, and drawn in the same folder")


if __name__ == "__main__":
    main()
