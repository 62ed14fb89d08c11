"""A picture of rows: lines over time or numbers, or bars by category.

Invariant: drawn from a bounded number of points, however many rows there are; of each stretch of rows the least
and the greatest value stay, so that a peak is never lost. Names and categories are text.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from duckvstore import markup
from duckvstore.errors import InvalidInput, printable
from duckvstore.formatting import counted, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

SERIES_MAX = 5
STRETCHES = 300
BARS_MAX = 30
NAME_CHARACTERS_MAX = 24
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 680, 260, 64, 12, 28, 26
BAR_HEIGHT, BAR_LEFT = 20, 170
COLOURS = ("#3b82c4", "#d9772b", "#3a9a5c", "#b04fa3", "#8a7a2f")

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name, and its points by x; a point that is no finite number is not there."""

    name: str
    points: Points


@dataclass(frozen=True, slots=True, repr=False)
class Plot:
    """What is drawn: ``series`` over ``x_name``; ``x_kind`` is "time" (seconds from 1970 UTC), "number" or "category".

    ``categories``: the labels of the bars, whose positions are the x of the one series.
    """

    x_name: str
    x_kind: str
    series: list[Series]
    row_count: int
    categories: Sequence[str] = ()

    @classmethod
    def of(cls, rows: pa.Table) -> Self:
        """Return the plot of ``rows``. Raises InvalidInput when no column holds numbers."""
        import pyarrow.types as kinds

        is_number = [kinds.is_integer(t) or kinds.is_floating(t) or kinds.is_decimal(t) for t in rows.schema.types]
        is_time = [kinds.is_timestamp(t) or kinds.is_date(t) for t in rows.schema.types]
        numbers = [at for at, found in enumerate(is_number) if found]
        times = [at for at, found in enumerate(is_time) if found]
        others = [at for at in range(rows.num_columns) if not is_number[at] and not is_time[at]]
        if not numbers:
            raise InvalidInput("there is nothing to plot: no column of the result holds numbers. Select one that does")
        if not times and others:
            return cls._bars(rows, others[0], numbers[0])
        if times or len(numbers) > 1:
            x, *ys = [*times[:1], *numbers]
            return cls._lines(rows, rows.column_names[x], rows.column(x), ys)
        return cls._lines(rows, "row", None, numbers)

    @classmethod
    def _bars(cls, rows: pa.Table, label: int, number: int) -> Self:
        from duckvstore.sql.results import conversion

        shown = rows.slice(0, BARS_MAX)
        labels = conversion.to_texts(shown.select([label]), None, NAME_CHARACTERS_MAX + 1)
        values = enumerate(_floats(shown.column(number)))
        points = [(float(at), float(value)) for at, value in values if math.isfinite(value)]
        categories = ["NULL" if text is None else text for [text] in labels]
        names = rows.column_names
        return cls(names[label], "category", [Series(names[number], points)], rows.num_rows, categories)

    @classmethod
    def _lines(cls, rows: pa.Table, x_name: str, x_column: pa.ChunkedArray | None, ys: Sequence[int]) -> Self:
        import numpy as np

        xs = np.arange(rows.num_rows, dtype=float) if x_column is None else _floats(x_column)
        is_time = x_column is not None and str(x_column.type).startswith(("date", "timestamp"))
        order = np.argsort(xs, kind="stable")
        series = [
            Series(rows.column_names[at], _reduced(xs[order], _floats(rows.column(at))[order]))
            for at in ys[:SERIES_MAX]
        ]
        return cls(x_name, "time" if is_time else "number", series, rows.num_rows)

    def __repr__(self) -> str:
        names = ", ".join(series.name for series in self.series)
        return printable(f"Plot({names} over {self.x_name}, {counted(self.row_count, 'row')})", is_line=True)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        """Return Altair's chart where Altair is installed, else the SVG."""
        if importlib.util.find_spec("altair") is None:
            return {"text/plain": repr(self), "text/html": self._repr_html_()}
        return self._chart()._repr_mimebundle_(include, exclude)

    def _chart(self) -> Any:
        """Return the plot as a chart of Altair's, whose fields have names of our own: those of users are titles."""
        import altair as alt

        values = [
            {
                "x": self.categories[int(x)] if self.categories else x * 1000 if self.x_kind == "time" else x,
                "y": y,
                "name": _name(series.name),
            }
            for series in self.series
            for x, y in series.points
        ]
        chart = alt.Chart(alt.Data(values=values))
        x_title = _name(self.x_name)
        if self.categories:
            bars = chart.mark_bar().encode(
                x=alt.X("y:Q", title=_name(self.series[0].name)), y=alt.Y("x:N", title=x_title, sort=None)
            )
            return bars.properties(width=WIDTH - BAR_LEFT)
        kind = "T" if self.x_kind == "time" else "Q"
        lines = chart.mark_line().encode(
            x=alt.X(f"x:{kind}", title=x_title),
            y=alt.Y("y:Q", title=None, scale=alt.Scale(zero=False)),
            color=alt.Color("name:N", title=None),
        )
        return lines.properties(width=WIDTH - LEFT, height=HEIGHT - BOTTOM)

    def _repr_html_(self) -> str:
        """Return the plot as an SVG in HTML, in the colours of the page."""
        drawn, height = self._drawn_bars() if self.categories else self._drawn_lines()
        shown = len(self.categories) or self.row_count
        cut = [f"the first {shown:,} of {self.row_count:,} rows"] if shown < self.row_count else []
        style = f"width:100%;max-width:{WIDTH}px;height:auto;color:{markup.INK};font:11px sans-serif"
        label = f"{', '.join(_name(series.name) for series in self.series)} over {_name(self.x_name)}"
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{markup.text(label)}" '
            f'viewBox="0 0 {WIDTH} {height}" style="{style}">{drawn}</svg>'
        )
        return markup.page(svg, markup.lines(cut))

    def _drawn_bars(self) -> tuple[str, int]:
        values = dict(self.series[0].points)
        low, high = min(0.0, *values.values(), 0.0), max(0.0, *values.values(), 0.0)
        room = WIDTH - BAR_LEFT - LEFT - RIGHT
        high = high if high > low else 1.0
        parts = [_label(_name(self.series[0].name), BAR_LEFT, 16, "start", "font-weight:600")]
        for at, category in enumerate(self.categories):
            y, value = TOP + at * BAR_HEIGHT, values.get(float(at))
            parts.append(_label(_name(category), BAR_LEFT - 8, y + 14, "end"))
            if value is None:
                continue
            left, right = (BAR_LEFT + room * _share(end, low, high) for end in (min(value, 0.0), max(value, 0.0)))
            width = max(1.0, right - left)
            parts.append(f'<rect x="{left:.1f}" y="{y + 3}" width="{width:.1f}" height="14" fill="{COLOURS[0]}"/>')
            parts.append(_label(f"{value:,.6g}", left + width + 6, y + 14, "start", "opacity:.8"))
        return "".join(parts), TOP + len(self.categories) * BAR_HEIGHT + 8

    def _drawn_lines(self) -> tuple[str, int]:
        points = [point for series in self.series for point in series.points]
        if not points:
            return _label("no finite number to draw", LEFT, HEIGHT / 2, "start"), HEIGHT
        (x_low, x_high), (y_low, y_high) = (_bounds([point[at] for point in points]) for at in (0, 1))
        is_time = self.x_kind == "time"
        x_ticks = [x_low + (x_high - x_low) * part / 4 for part in range(5)] if is_time else _ticks(x_low, x_high, 6)

        def place(x: float, y: float) -> tuple[float, float]:
            across, up = _share(x, x_low, x_high), _share(y, y_low, y_high)
            return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

        parts = []
        for tick in _ticks(y_low, y_high, 5):
            y = place(x_low, tick)[1]
            parts.append(
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" '
                'opacity=".15"/>'
            )
            parts.append(_label(f"{tick:,.6g}", LEFT - 6, y + 4, "end", "opacity:.75"))
        for tick in x_ticks:
            x = place(tick, y_low)[0]
            side = "start" if x < LEFT + RIGHT else "end" if x > WIDTH - 3 * RIGHT else "middle"
            text = _time_text(tick, x_high - x_low) if is_time else f"{tick:,.6g}"
            parts.append(_label(text, x, HEIGHT - 8, side, "opacity:.75"))
        for at, series in enumerate(self.series):
            parts.append(
                _label(_name(series.name), LEFT + at * 124, 16, "start", f"font-weight:600;fill:{COLOURS[at]}")
            )
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in series.points))
            dot = path.split(" ")[0].split(",") if len(series.points) == 1 else None
            parts.append(
                f'<circle cx="{dot[0]}" cy="{dot[1]}" r="3" fill="{COLOURS[at]}"/>'
                if dot
                else f'<polyline points="{path}" fill="none" stroke="{COLOURS[at]}" stroke-width="1.5"/>'
            )
        return "".join(parts), HEIGHT


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Return a column of numbers or times as floats; times in seconds from 1970 UTC, nulls as NaN."""
    import numpy as np
    import pyarrow as pa

    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s")) if column.type == pa.date32() else column.cast(pa.timestamp("ms"))
    if pa.types.is_timestamp(column.type):
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
        scaled = column.cast(pa.int64()).cast(pa.float64(), safe=False)
        return np.asarray(scaled.to_numpy() / per_second, dtype=float)
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=float)


def _reduced(xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64]) -> Points:
    """Return the finite points, or the least and the greatest of each stretch of them; ``xs`` ascend."""
    import numpy as np

    is_finite = np.isfinite(xs) & np.isfinite(ys)
    xs, ys = xs[is_finite], ys[is_finite]
    if len(xs) > 2 * STRETCHES:
        kept = {0, len(xs) - 1}
        for places in np.array_split(np.arange(len(xs)), STRETCHES):
            kept |= {int(places[0] + ys[places].argmin()), int(places[0] + ys[places].argmax())}
        wanted = sorted(kept)
        xs, ys = xs[wanted], ys[wanted]
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """Return the least and the greatest, a little apart where they are the same."""
    low, high = min(values), max(values)
    apart = abs(low) * 0.01 or 1.0
    return (low, high) if high > low else (low - apart, high + apart)


def _share(value: float, low: float, high: float) -> float:
    """Return where ``value`` is between ``low`` (0) and ``high`` (1); halves, since a difference may be infinite."""
    return (value / 2 - low / 2) / (high / 2 - low / 2)


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Return about ``count`` round numbers from ``low`` to ``high``."""
    raw = high / count - low / count
    if not math.isfinite(raw) or raw <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((power * factor for factor in (1, 2, 5) if raw <= power * factor), power * 10)
    first = math.ceil(low / step)
    found = [(first + at) * step for at in range(2 * count + 2)]
    return [tick for tick in found if tick <= high] or [low]


def _time_text(seconds: float, span_seconds: float) -> str:
    try:
        time = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.6g} s"  # before the year 1, or after 9999
    if span_seconds > 2 * 86400:
        return f"{time:%Y-%m-%d}"
    return f"{time:%m-%d %H:%M}" if span_seconds > 600 else f"{time:%H:%M:%S}"


def _name(text: str) -> str:
    return printable(shortened(text, NAME_CHARACTERS_MAX), is_line=True)


def _label(text: str, x: float, y: float, anchor: str, style: str = "") -> str:
    fill = "" if "fill:" in style else "fill:currentColor;"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{fill}{style}">{markup.text(text)}</text>'
