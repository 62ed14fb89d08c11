"""Writes the golden store of edits: ``python -m tests.format.make_golden_edits FOLDER``. Run once, then committed.

It has what ``make_golden`` has not: appends with other schemas, manifests, a transaction, staged parts, pruned
versions, options, and values in parts.
"""

from __future__ import annotations

import sys
from unittest.mock import patch

import numpy as np
import pandas as pd

import duckvstore as vs
from duckvstore.format.stored import manifests


def rows(start: str, count: int = 6, **more: list) -> pd.DataFrame:
    """Some hours of data."""
    index = pd.date_range(start, periods=count, freq="h", name="time")
    return pd.DataFrame({"price": np.arange(count) + 0.5, "qty": np.arange(count, dtype="int32"), **more}, index=index)


NESTED = {"tables": [rows("2026-01-01"), rows("2026-01-02")], "rate": 0.5, "of": ("a", None)}


def make(folder: str) -> None:
    """Write the store."""
    lib = vs.open(folder).create_library("edits", keep_last=50, compression="snappy")
    lib.write("mixed", rows("2026-01-01"))
    lib.append("mixed", rows("2026-01-02", venue=list("xyzxyz")).astype({"qty": "int64"}))
    lib.update("mixed", rows("2026-01-01 02:00", 2, venue=["u", "v"]))
    with patch.object(manifests, "INLINE_SEGMENTS_MAX", 4), patch.object(manifests, "RUN_SEGMENTS", 2):
        for day in range(1, 8):
            lib.append("long", rows(f"2026-02-{day:02}"))
    with lib.transaction(message="both") as transaction:
        transaction.write("first", rows("2026-03-01"))
        transaction.write("second", rows("2026-03-02"))
    lib.stage("staged", rows("2026-04-02"))
    lib.stage("staged", rows("2026-04-01"))
    lib.finalize_staged_data("staged")
    lib.stage("staged", rows("2026-04-03"))
    for _ in range(3):
        lib.write("pruned", rows("2026-05-01"))
    lib.prune("pruned", keep_last=1)
    lib.write("nested", NESTED)
    lib.write("config", {"a": [1, None, float("inf")]})


if __name__ == "__main__":
    make(sys.argv[1])
