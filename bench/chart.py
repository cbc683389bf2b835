"""Bars against a budget, and lines over powers of ten: pictures without any dependency."""

from __future__ import annotations

import math
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from bench.plot import STYLE, text

WIDTH, ROW, LEFT, RIGHT, TOP = 860, 26, 320, 110, 64
PANEL, GAP = 240, 86
COLOURS = ("#2563eb", "#0891b2", "#7c3aed", "#d97706", "#16a34a", "#dc2626")
OURS, BARE, MISSED = "#2563eb", "#9ca3af", "#dc2626"


class Bar(NamedTuple):
    label: str
    share: float  # how many times as good as the budget asks
    words: str
    beside: Optional[float] = None  # the same of what it is compared with


class Panel(NamedTuple):
    title: str
    series: Dict[str, Sequence[Tuple[float, float]]]


def _frame(height: float, title: str, subtitle: str, parts: Sequence[str]) -> str:
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}">',
        f"<style>{STYLE}</style>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        text(16, 26, title, 'class="title"'),
        text(16, 46, subtitle, 'class="small"'),
    ]
    return "\n".join([*head, *parts, "</svg>", ""])


def _powers(values: Sequence[float]) -> Tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, extra: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {extra}/>'


def bars(title: str, subtitle: str, rows: Sequence[Bar]) -> str:
    """Draw how many times as good as its budget each row is, on a scale of powers of ten; red falls short of it."""
    low, high = _powers([1.0, *(row.share for row in rows), *(row.beside for row in rows if row.beside)])
    low = min(low, -1)

    def x(share: float) -> float:
        return LEFT + (math.log10(share) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    bottom = TOP + ROW * len(rows) + 6
    parts: List[str] = []
    for power in range(low, high + 1):
        parts.append(_line(x(10**power), TOP, x(10**power), bottom, "#e5e7eb"))
        parts.append(text(x(10**power), bottom + 16, f"{10.0**power:g}×", 'class="small" text-anchor="middle"'))
    for i, row in enumerate(rows):
        y = TOP + ROW * i + 6
        colour = OURS if row.share >= 1 else MISSED
        parts += [
            text(LEFT - 8, y + 13, row.label, 'text-anchor="end"'),
            f'<rect x="{LEFT}" y="{y}" width="{x(row.share) - LEFT:.1f}" height="{ROW - 10}" fill="{colour}" rx="2"/>',
            text(WIDTH - RIGHT + 8, y + 13, row.words, 'class="small"'),
        ]
        if row.beside:
            parts.append(_line(x(row.beside), y - 3, x(row.beside), y + ROW - 7, BARE, 'stroke-width="3"'))
    parts.append(_line(x(1), TOP - 4, x(1), bottom, "#1f2937", 'stroke-width="1.5" stroke-dasharray="4 3"'))
    parts.append(text(x(1), TOP - 8, "budget", 'class="small" text-anchor="middle"'))
    return _frame(bottom + 34, title, subtitle, parts)


def _panel(top: float, panel: Panel, labels: str) -> List[str]:
    left, right, bottom = 90, WIDTH - 230, top + PANEL
    points = [point for one in panel.series.values() for point in one]
    x_low, x_high = _powers([x for x, _ in points])
    y_low, y_high = _powers([y for _, y in points])

    def at(x: float, y: float) -> Tuple[float, float]:
        return (
            left + (math.log10(x) - x_low) / (x_high - x_low) * (right - left),
            bottom - (math.log10(y) - y_low) / (y_high - y_low) * PANEL,
        )

    parts = [text(16, top - 12, panel.title, 'font-weight="600"')]
    for power in range(x_low, x_high + 1):
        x, _ = at(10.0**power, 10.0**y_low)
        parts += [
            _line(x, top, x, bottom, "#e5e7eb"),
            text(x, bottom + 16, f"{10**power:,}", 'class="small" text-anchor="middle"'),
        ]
    for power in range(y_low, y_high + 1):
        _, y = at(10.0**x_low, 10.0**power)
        parts += [
            _line(left, y, right, y, "#e5e7eb"),
            text(left - 6, y + 4, f"{10.0**power:,g}", 'class="small" text-anchor="end"'),
        ]
    parts.append(text((left + right) / 2, bottom + 32, labels, 'class="small" text-anchor="middle"'))
    for i, (name, series) in enumerate(panel.series.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in series))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in (at(*point) for point in series)]
        parts.append(_line(right + 14, top + 12 + 20 * i, right + 34, top + 12 + 20 * i, colour, 'stroke-width="3"'))
        parts.append(text(right + 40, top + 16 + 20 * i, name, 'class="small"'))
    return parts


def lines(title: str, subtitle: str, labels: str, panels: Sequence[Panel]) -> str:
    """Draw panels under each other, both axes by powers of ten; labels says what the horizontal one counts."""
    parts: List[str] = []
    for i, panel in enumerate(panels):
        parts += _panel(TOP + 24 + i * (PANEL + GAP), panel, labels)
    return _frame(TOP + len(panels) * (PANEL + GAP), title, subtitle, parts)
