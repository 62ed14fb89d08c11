"""Two kinds of small pictures in SVG, which need no library: bars, and lines over logarithms."""

from __future__ import annotations

import math
from html import escape

_COLOURS = ("#c2410c", "#1d4ed8", "#15803d", "#7e22ce", "#0e7490", "#a16207", "#be185d", "#475569")
_WIDTH = 720


def _picture(height: int, title: str, parts: list[str]) -> str:
    head = f'<text x="12" y="22" font-size="14" font-weight="bold">{escape(title)}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="11">\n<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>\n{head}\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def bars(title: str, groups: dict[str, dict[str, float]], unit: str = "x") -> str:
    """Draw groups of bars over one logarithmic axis, with a line at 1; the value stands behind each bar."""
    values = [value for group in groups.values() for value in group.values()]
    low, high = min([0.05, *values]), max([2.0, *values])
    names = [*dict.fromkeys(name for group in groups.values() for name in group)]

    def across(value: float) -> float:
        return 250 + 390 * (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))

    parts, y = [], 36
    for group, found in groups.items():
        parts.append(f'<text x="12" y="{y + 11}" font-weight="bold">{escape(group)}</text>')
        for name, value in found.items():
            colour = _COLOURS[names.index(name) % len(_COLOURS)]
            start, end = sorted((across(1), across(value)))
            parts.append(f'<text x="242" y="{y + 10}" text-anchor="end">{escape(name)}</text>')
            parts.append(
                f'<rect x="{start:.1f}" y="{y + 1}" width="{max(1.0, end - start):.1f}" height="11" fill="{colour}"/>'
            )
            parts.append(f'<text x="{max(start, end) + 4:.1f}" y="{y + 10}">{value:.2f} {unit}</text>')
            y += 14
        y += 8
    parts.append(f'<line x1="{across(1):.1f}" x2="{across(1):.1f}" y1="32" y2="{y}" stroke="#111827"/>')
    return _picture(y + 12, title, parts)


def lines(title: str, series: dict[str, tuple[list[float], list[float]]], across: str, up: str) -> str:
    """Draw lines over logarithmic axes, with a mark at each point and the names beside."""
    xs = [x for points in series.values() for x in points[0]]
    ys = [y for points in series.values() for y in points[1]]

    def place(value: float, values: list[float], start: float, end: float) -> float:
        low, high = math.log(min(values)), math.log(max(values))
        return start + (end - start) * ((math.log(value) - low) / (high - low) if high > low else 0.5)

    parts = [
        '<path d="M60 40 V320 H480" fill="none" stroke="#111827"/>',
        f'<text x="270" y="352" text-anchor="middle">{escape(across)}</text>',
        f'<text x="60" y="36">{escape(up)}</text>',
    ]
    parts += [
        f'<text x="{place(x, xs, 60, 480):.1f}" y="336" text-anchor="middle">{x:g}</text>'
        for x in sorted({min(xs), max(xs)})
    ]
    parts += [
        f'<text x="54" y="{place(y, ys, 320, 40) + 4:.1f}" text-anchor="end">{y:.3g}</text>'
        for y in sorted({min(ys), max(ys)})
    ]
    for index, (name, points) in enumerate(series.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        placed = [(place(x, xs, 60, 480), place(y, ys, 320, 40)) for x, y in zip(*points, strict=True)]
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        parts.append(f'<rect x="510" y="{41 + 18 * index}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="528" y="{51 + 18 * index}">{escape(name)}</text>')
    return _picture(364, title, parts)
