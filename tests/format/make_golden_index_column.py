"""Writes the golden store of index columns: ``python -m tests.format.make_golden_index_column FOLDER``. Run once."""

from __future__ import annotations

import datetime as dt
import sys

import polars as pl
import pyarrow as pa

import duckvstore as vs


def table(days: list[int]) -> pa.Table:
    """Return one row for each of these days of January 2026, whose time stands behind its number."""
    times = [dt.datetime(2026, 1, day) for day in days]
    return pa.table({"n": pa.array(days, pa.int64()), "time": pa.array(times, pa.timestamp("us"))})


def make(folder: str) -> None:
    """Write the store."""
    lib = vs.open(folder).create_library("indexed")
    lib.write("arrow", table([1, 2, 4]), index_column="time")
    lib.append("arrow", table([5]))
    lib.update("arrow", table([3]))
    lib.write("polars", pl.DataFrame(table([1, 2])), index_column="time")
    lib.write("plain", table([1]))


if __name__ == "__main__":
    make(sys.argv[1])
