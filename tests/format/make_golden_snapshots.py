"""Writes the golden store of snapshots in files: ``python -m tests.format.make_golden_snapshots FOLDER``. Run once."""

from __future__ import annotations

import sys
from unittest.mock import patch

import duckvstore as vs
from duckvstore.format.stored import snapshot_files

SYMBOLS = ["Z", "a", "a/b", "b", "ä"]


def make(folder: str) -> None:
    """Write the store: two rows for each file."""
    lib = vs.open(folder).create_library("snapshots")
    for symbol in SYMBOLS:
        lib.write(symbol, [symbol, 0])
    lib.write("a", ["a", 1])
    with patch.object(snapshot_files, "INLINE_BYTES_MAX", 1), patch.object(snapshot_files, "FILE_ROWS_MAX", 2):
        lib.snapshot("large one", metadata={"of": "all"}, message="in files")
    lib.write("a", ["a", 2])
    lib.snapshot("small")


if __name__ == "__main__":
    make(sys.argv[1])
