"""Writes the golden store of shared labels: ``python -m tests.format.make_golden_labels FOLDER``. Run once."""

from __future__ import annotations

import sys
from unittest.mock import patch

import pandas as pd
import polars as pl

import duckvstore as vs
from duckvstore.format.stored import label_runs

COLOURS = [f"colour {number}" for number in range(12)]


def frame(values: list[str]) -> pd.DataFrame:
    """Return one column whose categories are its values."""
    return pd.DataFrame({"colour": pd.Categorical(values, categories=values)})


def make(folder: str) -> None:
    """Write the store."""
    with patch.object(label_runs, "INLINE_BYTES_MAX", 40):
        lib = vs.open(folder).create_library("labels")
        lib.write("pandas", frame(COLOURS[:8]))
        lib.append("pandas", frame(["red"]))
        lib.append("pandas", frame(COLOURS[8:]))
        lib.append("pandas", frame(["blue"]))
        lib.write("polars", pl.DataFrame({"colour": pl.Series(["colour 3"], dtype=pl.Enum(COLOURS))}))
        listed = ", ".join(f"'{colour}'" for colour in COLOURS)
        lib.sql(f"CREATE TABLE enum AS SELECT 'colour 2'::ENUM({listed}) AS colour")
        lib.write("plain", frame(["red"]))
        lib.session.close()


if __name__ == "__main__":
    make(sys.argv[1])
