"""Writes the golden store of parts of segments: ``python -m tests.format.make_golden_parts FOLDER``. Run once."""

from __future__ import annotations

import sys
from unittest.mock import patch

import numpy as np
import pandas as pd

import duckvstore as vs
from duckvstore.format.rows import parts


def frame() -> pd.DataFrame:
    """Return columns of random numbers, of text, of lists and of nothing."""
    dice = np.random.default_rng(11)
    rows = 3000
    return pd.DataFrame(
        {
            "price": dice.normal(size=rows),
            "size": dice.integers(0, 2**40, rows),
            "venue": pd.Series([f"venue {number % 7}" for number in range(rows)], dtype=object),
            "sizes": [[number, number + 1][: number % 3] for number in range(rows)],
            "none": pd.Series([None] * rows, dtype=object),
        },
        index=pd.date_range("2026-01-01", periods=rows, freq="min", name="time"),
    )


def make(folder: str) -> None:
    """Write the store."""
    with patch.object(parts, "SIZE_BYTES_MIN", 4096):
        lib = vs.open(folder).create_library("parts")
        lib.write("large", frame())
        lib.append("large", frame().tail(3).shift(freq="1D"))
        lib.write("small", frame().head(3))


if __name__ == "__main__":
    make(sys.argv[1])
