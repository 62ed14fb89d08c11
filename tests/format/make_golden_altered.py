"""Writes the golden store of altered columns: ``python -m tests.format.make_golden_altered FOLDER``. Run once."""

from __future__ import annotations

import sys

import duckvstore as vs

STATEMENTS = (
    "CREATE TABLE t AS SELECT i::INTEGER AS a, 'x' || i AS b, i * 10 AS c FROM range(3) r(i)",
    "ALTER TABLE t DROP COLUMN c",
    "ALTER TABLE t RENAME b TO name",
    "ALTER TABLE t ALTER a TYPE BIGINT",
    "ALTER TABLE t ADD COLUMN c DOUBLE",
    "INSERT INTO t VALUES (7, 'new', 0.5)",
    "CREATE TABLE u AS SELECT 1 AS n",
    "ALTER TABLE u RENAME TO v",
)
ROWS = {"a": [0, 1, 2, 7], "name": ["x0", "x1", "x2", "new"], "c": [None, None, None, 0.5]}


def make(folder: str) -> None:
    """Write the store."""
    lib = vs.open(folder).create_library("altered")
    for statement in STATEMENTS:
        lib.sql(statement)


if __name__ == "__main__":
    make(sys.argv[1])
