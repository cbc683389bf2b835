"""The results as one picture, without any dependency."""

from __future__ import annotations

import math
from typing import Any, Dict, List
from xml.sax.saxutils import escape

WIDTH, ROW, LEFT, RIGHT, TOP = 860, 26, 210, 90, 64
LOW, HIGH = 0.1, 100_000.0  # microseconds
COLOURS = {"DAG, future": "#2563eb", "DAG, direct": "#0891b2", "single function": "#7c3aed"}
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2937}.small{font-size:11px;fill:#6b7280}.title{font-size:16px;font-weight:600}"
)


def _x(microseconds: float) -> float:
    share = math.log10(max(LOW, microseconds) / LOW) / math.log10(HIGH / LOW)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def text(x: float, y: float, words: str, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {extra}>{escape(words)}</text>'


def _ticks(bottom: float) -> List[str]:
    parts = []
    for exponent in range(-1, 6):
        value = 10.0**exponent
        label = f"{value:g} µs" if value < 1000 else f"{value / 1000:g} ms"
        parts.append(f'<line x1="{_x(value):.1f}" x2="{_x(value):.1f}" y1="{TOP}" y2="{bottom}" stroke="#e5e7eb"/>')
        parts.append(text(_x(value), bottom + 16, label, 'class="small" text-anchor="middle"'))
    return parts


def svg(result: Dict[str, Any]) -> str:
    """Draw a bar from 0 to the median and a whisker to the 99th percentile for each experiment."""
    rows = result["experiments"]
    bottom = TOP + ROW * len(rows) + 6
    machine = result["machine"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 34}" viewBox="0 0 {WIDTH} {bottom + 34}">',
        f"<style>{STYLE}</style>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        text(16, 26, "sq(incr(x)) from Python: median (bar) and 99th percentile (whisker)", 'class="title"'),
        text(16, 46, f"{machine['cores']} cores, {machine['processor']}; commit {result['commit']}", 'class="small"'),
        *_ticks(bottom),
    ]
    for i, row in enumerate(rows):
        y = TOP + ROW * i + 6
        p50, p99 = row["microseconds"]["p50"], row["microseconds"]["p99"]
        colour = COLOURS.get(row["way"], "#9ca3af")
        who = f"{row['way']}, {row['clients']} client{'s' if row['clients'] > 1 else ''}"
        parts += [
            text(LEFT - 8, y + 13, who, 'text-anchor="end"'),
            f'<rect x="{LEFT}" y="{y}" width="{_x(p50) - LEFT:.1f}" height="{ROW - 10}" fill="{colour}" rx="2"/>',
            f'<line x1="{_x(p50):.1f}" x2="{_x(p99):.1f}" y1="{y + 8}" y2="{y + 8}" stroke="{colour}" stroke-width="2"/>',
            f'<line x1="{_x(p99):.1f}" x2="{_x(p99):.1f}" y1="{y + 3}" y2="{y + 13}" stroke="{colour}" stroke-width="2"/>',
            text(WIDTH - RIGHT + 8, y + 13, f"{row['per_second']:,.0f}/s", 'class="small"'),
        ]
    return "\n".join([*parts, "</svg>", ""])
