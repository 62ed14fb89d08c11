"""Writes the golden store of missing markers: ``python -m tests.format.make_golden_markers FOLDER``. Run once."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

import duckvstore as vs

TEXT = ["a", None, np.nan, pd.NA]
MORE = ["b", np.nan]


def frame(items: list[object]) -> pd.DataFrame:
    """Return a frame of one column of exactly these objects, and a number."""
    return pd.DataFrame({"s": pd.Series(items, dtype=object), "n": range(len(items))})


def make(folder: str) -> None:
    """Write the store."""
    lib = vs.open(folder).create_library("markers")
    lib.write("mixed", frame(TEXT))
    lib.append("mixed", frame(MORE))
    lib.write("one", frame(["a", None]))
    lib.append("one", frame(MORE))
    lib.write("plain", frame(MORE))


if __name__ == "__main__":
    make(sys.argv[1])
