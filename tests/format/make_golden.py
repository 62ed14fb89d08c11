"""Writes the golden store: ``python -m tests.format.make_golden FOLDER``. Run once per format number, then committed.

Later releases must keep reading what this wrote; a change of the format makes a second golden store beside it.
"""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

import duckvstore as vs


def trades(seed: int, rows: int = 40) -> pd.DataFrame:
    """A frame with an index in a zone, numbers with NaN and nulls, text, categories, decimals and dates."""
    random = np.random.default_rng(seed)
    index = pd.date_range("2026-01-01 09:30", periods=rows, freq="min", tz="America/New_York", name="time")
    price = random.normal(100, 5, rows).round(2)
    price[3] = np.nan
    return pd.DataFrame(
        {
            "price": price,
            "qty": pd.array([None if number % 7 == 0 else number for number in range(rows)], dtype="Int32"),
            "sym": random.choice(["AAA", "BB", "C"], rows),
            "venue": pd.Categorical(random.choice(["x", "y"], rows), categories=["x", "y", "z"]),
            "fee": [Decimal("1.25") + number for number in range(rows)],
            "settles": [date(2026, 1, 3)] * rows,
            ("odd", 1): random.random(rows) > 0.5,
        },
        index=index,
    )


def values() -> dict[str, object]:
    """One value of each kind."""
    return {
        "series": pd.Series([1.5, None, 3.0], index=["a", "b", "c"], name="s"),
        "array": np.arange(24, dtype="int16").reshape(2, 3, 4),
        "arrow": pa.table({"x": [1, None, 3], "tags": [["a"], [], None]}),
        "polars": pl.DataFrame({"x": [1, None, 3], "when": [datetime(2026, 1, 1), None, datetime(2026, 1, 2)]}),
        "odd / näme": pd.DataFrame({"a": [1, 2]}),
        "empty": pd.DataFrame({"a": pd.Series([], dtype="float64")}),
    }


def make(folder: str) -> None:
    """Write the store."""
    lib = vs.open(folder).create_library("golden")
    for number in range(3):
        lib.write(
            "trades",
            trades(number),
            metadata={
                "n": number,
                "at": datetime(2026, 1, 1, tzinfo=UTC),
                "price": Decimal("1.10"),
                "nan": float("nan"),
            },
            author="ann",
            message=f"version {number}",
        )
    for name, value in values().items():
        lib.write(name, value)
    lib.snapshot("before", metadata={"why": "golden"}, message="for ever")
    lib.write_metadata("trades", "described")
    lib.restore_version("trades", 0)
    lib.delete("series")


if __name__ == "__main__":
    make(sys.argv[1])
