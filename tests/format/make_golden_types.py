"""Writes the golden store of DuckDB's own types: ``python -m tests.format.make_golden_types FOLDER``. Run once."""

from __future__ import annotations

import sys

import duckvstore as vs

U = "00000000-0000-0000-0000-00000000000"
STATEMENTS = (
    """CREATE TABLE t (e ENUM('low', 'it''s "high"'), j JSON, u UUID, h HUGEINT, w UHUGEINT, i INTERVAL, n INTEGER,
    s STRUCT(m UNION(a INTEGER, b TIME_NS), l BIT[]))""",
    f"""INSERT INTO t VALUES ('it''s "high"', '{{"a": 1}}', '{U}1', '{2**127 - 1}', '{2**128 - 1}',
    INTERVAL '1 month 2 days 3 seconds', 1,
    {{'m': union_value(b := TIME_NS '01:02:03.000000004'), 'l': ['101'::BIT, NULL]}}),
    ('low', NULL, NULL, -5, 0, NULL, 2, NULL)""",
)
#: as ``json`` and ``pyarrow`` alone read them
ROWS = {
    "e": ['it\'s "high"', "low"],
    "j": ['{"a": 1}', None],
    "u": [f"{U}1", None],
    "h": [2**127 - 1, -5],
    "w": [str(2**128 - 1), "0"],
    "i": [{"months": 1, "days": 2, "micros": 3_000_000}, None],
    "n": [1, 2],
    "s": [{"m": {"tag": "b", "a": None, "b": "01:02:03.000000004"}, "l": ["101", None]}, None],
}
TYPES = {
    "e": "ENUM('low', 'it''s \"high\"')",
    "j": "JSON",
    "u": "UUID",
    "h": "HUGEINT",
    "w": "UHUGEINT",
    "i": "INTERVAL",
    "n": None,
    "s": 'STRUCT("m" UNION("a" INTEGER, "b" TIME_NS), "l" BIT[])',
}


def make(folder: str) -> None:
    """Write the store."""
    lib = vs.open(folder).create_library("types")
    for statement in STATEMENTS:
        lib.sql(statement)


if __name__ == "__main__":
    make(sys.argv[1])
