"""What the benchmarks make of what they measure."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from bench import chart
from bench.gobench import medians, parse, ratios
from bench.multicast.__main__ import published
from bench.peers import timing
from bench.peers.__main__ import table as beside
from bench.store.__main__ import row, table

LINES = """
goos: linux
BenchmarkMerge/value/keys=100000-2   	 2343375	       439.0 ns/op	   2278032 merges/s	       1 allocs/op
BenchmarkGet                         	 9842131	       115.3 ns/op
PASS
"""


def test_lines_of_go_are_read() -> None:
    assert parse(LINES.splitlines()) == {
        "Merge/value/keys=100000": {"ns/op": 439.0, "merges/s": 2278032.0, "allocs/op": 1.0},
        "Get": {"ns/op": 115.3},
    }


def test_rounds_are_paired() -> None:
    rounds = [{"ours": {"/s": ours}, "theirs": {"/s": theirs}} for ours, theirs in ((50.0, 100.0), (40.0, 80.0), (90.0, 100.0))]
    assert medians(rounds) == {"ours": {"/s": 50.0}, "theirs": {"/s": 100.0}}
    assert ratios(rounds, "ours", "theirs", "/s") == 0.5


def test_more_or_less_is_better() -> None:
    assert row("gets", 4e6, "/s", 2e6)["share"] == 2
    assert row("recovery", 10, " s", 5, 4) == {
        "what": "recovery",
        "value": 10,
        "unit": " s",
        "budget": 5,
        "share": 0.5,
        "bare": 4,
        "ratio": 2.5,
    }
    assert "| recovery | 10 s | 5 s | 4 s | 2.5× |" in table([row("recovery", 10, " s", 5, 4)])


def test_percentiles_of_the_others() -> None:
    ordered = [float(n) for n in range(1000)]
    assert [timing.percentile(ordered, p) for p in (50, 99, 99.9, 100)] == [500, 990, 999, 999]
    row = {"version": "1.2", "microseconds": {"p50": 2500.4, "p99": 9000, "p99.9": 12000}, "tasks_per_second": 2200.3}
    assert beside({"Ray": row}).splitlines()[1].split() == ["Ray", "1.2", "2,500", "9,000", "12,000", "2,200"]


def test_periods_add_up() -> None:
    wait = published()
    assert wait["known"] == pytest.approx({"p50": 5.0, "p99": 9.9, "most": 10.0}, rel=0.02)
    assert wait["new"]["most"] == 30


def test_pictures_are_pictures() -> None:
    ElementTree.fromstring(chart.bars("title", "of <this>", [chart.Bar("a", 0.2, "1/s"), chart.Bar("b", 30.0, "2/s", 4.0)]))
    ElementTree.fromstring(chart.lines("title", "", "nodes", [chart.Panel("ms", {"p50": [(3, 0.1), (1000, 2.0)]})]))
