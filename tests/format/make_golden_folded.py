"""Writes the golden store of a folded catalogue: ``python -m tests.format.make_golden_folded FOLDER``. Run once."""

from __future__ import annotations

import sys
from datetime import timedelta

import pandas as pd

import duckvstore as vs


def make(folder: str) -> None:
    """Write the store: three layers at least, a removed version, a deletion, and versions that are not folded."""
    lib = vs.open(folder).create_library("folded")
    frame = pd.DataFrame({"price": [1.5, 2.5]}, index=pd.date_range("2026-01-01", periods=2, name="day"))
    for number in range(20):
        lib.write(f"s{number:02}", frame, metadata={"number": number}, message="the first")
    lib.append("s03", frame.shift(2, freq="D"))
    lib.delete("s04")
    lib.fold()
    with lib.transaction(author="both") as both:
        both.write("s05", frame)
        both.write("ä/b", frame)
    lib.fold()
    lib.prune("s03", keep_last=1)
    lib.gc(grace=timedelta(0), dry_run=False)
    lib.write("later", frame)
    lib.append("s03", frame.shift(4, freq="D"))


if __name__ == "__main__":
    make(sys.argv[1])
