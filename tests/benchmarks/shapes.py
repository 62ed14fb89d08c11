"""The frames of the benchmarks: five shapes, since one shape is what one tunes to. Each has a sorted index ``time``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd

SMALL_ROWS = 100
SMALL_COUNT = 40


def _times(rows: int) -> pd.DatetimeIndex:
    step = np.timedelta64(50_000_000, "ns")
    return pd.DatetimeIndex(np.datetime64("2026-01-01", "ns") + np.arange(rows) * step, name="time")


def ticks(rows: int, seed: int = 7) -> pd.DataFrame:
    """Market-like data: low-cardinality text, prices that walk, noise, counts, flags."""
    random = np.random.default_rng(seed)
    symbols = np.array([f"SYM{number:03d}" for number in range(200)])
    venues = np.array([f"venue{number}" for number in range(6)])
    price = np.round(100 + np.cumsum(random.normal(0, 0.01, rows)), 4)
    columns = {
        "id": np.arange(rows),
        "sym": symbols[random.integers(0, 200, rows)],
        "venue": venues[random.integers(0, 6, rows)],
        "price": price,
        "bid": price - 0.01,
        "noise": random.normal(size=rows),
        "qty": random.integers(1, 500, rows).astype(np.int32),
        "buy": random.random(rows) > 0.5,
    }
    return pd.DataFrame(columns, index=_times(rows))


def matrix(rows: int, seed: int = 7) -> pd.DataFrame:
    """A long matrix of 30 columns of random floats, which nothing compresses."""
    values = np.random.default_rng(seed).normal(size=(rows, 30))
    return pd.DataFrame(values, columns=[f"f{number}" for number in range(30)], index=_times(rows))


def wide(columns: int, seed: int = 7) -> pd.DataFrame:
    """1,000 rows of many columns of floats of two decimals."""
    values = np.random.default_rng(seed).normal(size=(1000, columns)).round(2)
    return pd.DataFrame(values, columns=[f"f{number}" for number in range(columns)], index=_times(1000))


def small(rows: int, seed: int = 7) -> pd.DataFrame:
    """One of many small frames."""
    return ticks(rows, seed)


def nested(rows: int, seed: int = 7) -> pd.DataFrame:
    """Decimals, text of which much is missing, lists and structs."""
    random = np.random.default_rng(seed)
    cents = random.integers(0, 10**9, rows)
    lengths = random.integers(0, 4, rows)
    texts = np.array([f"a note of some length, number {number}" for number in range(5000)], dtype=object)
    note = texts[random.integers(0, 5000, rows)]
    note[random.random(rows) < 0.4] = None
    columns = {
        "id": np.arange(rows),
        "amount": [Decimal(int(one)).scaleb(-2) for one in cents],
        "score": random.normal(size=rows),
        "note": note,
        "tags": [[f"tag{number % 7}" for number in range(length)] for length in lengths],
        "place": [{"x": x, "y": y} for x, y in random.normal(size=(rows, 2)).round(3).tolist()],
    }
    return pd.DataFrame(columns, index=_times(rows))


@dataclass(frozen=True)
class Shape:
    """A frame by its size, and what the cases ask of it.

    Attributes:
        make: returns the frame of a size (rows; of ``wide``, columns) and a seed.
        quick: the size of ``make bench``.
        full: the size of ``make bench-full``.
        columns: the few that are read.
        value: the column of random numbers that is filtered and changed.
        cases: what is measured with it, in order: what changes the stored frame is last.
    """

    name: str
    make: Callable[..., pd.DataFrame]
    quick: int
    full: int
    columns: tuple[str, ...]
    value: str
    cases: tuple[str, ...]


_MANY = ("write", "read", "few columns", "filter 1 %")
SHAPES = {
    shape.name: shape
    for shape in (
        Shape(
            "ticks",
            ticks,
            1_000_000,
            5_000_000,
            ("price", "qty", "sym"),
            "noise",
            (*_MANY, "dates 1 %", "group by", "rewrite one cell", "append"),
        ),
        Shape("matrix", matrix, 300_000, 3_000_000, ("f3", "f17"), "f9", _MANY),
        Shape("wide", wide, 2_000, 10_000, ("f3", "f170", "f1999"), "f9", (*_MANY[:3], "update one row", "append")),
        Shape("small", small, SMALL_ROWS, SMALL_ROWS, ("price",), "noise", ("small writes", "small reads")),
        Shape("nested", nested, 100_000, 1_000_000, ("amount", "tags"), "score", _MANY),
    )
}
