"""The golden store of DuckDB's own types: read by ``json`` and ``pyarrow`` alone, and by no release before this one."""

from __future__ import annotations

from pathlib import Path

import duckvstore as vs
from tests.format.make_golden_types import ROWS, TYPES
from tests.format.test_golden_edits import read
from tests.format.test_independent_reader import newest_document

GOLDEN = Path(__file__).parent / "golden_types"


def test_types_stand_beside_the_columns_that_carry_them(folder):
    """Values are found in plain Parquet types."""
    body = newest_document(folder / "types", "t")
    assert body["requires"] == ["duckdb_types"]
    assert {column["name"]: column.get("duckdb") for column in body["schema"]["columns"]} == TYPES
    assert read(folder / "types", body).to_pydict() == ROWS


def test_this_release_reads_it():
    """In DuckDB's types."""
    lib = vs.open(str(GOLDEN)).get_library("types")
    assert lib.sql("SELECT e, j.a, h, w, i::VARCHAR, s.m.b::VARCHAR FROM t ORDER BY e DESC").fetchall() == [
        ('it\'s "high"', "1", 2**127 - 1, 2**128 - 1, "1 month 2 days 00:00:03", "01:02:03.000000004"),
        ("low", None, -5, 0, None, None),
    ]
    assert lib.verify().ok


def test_the_release_before_refuses_it(release_before):
    """It would give texts for UUIDs, and take any text for one."""
    code = "import duckvstore as vs; print(vs.open(sys.argv[1])['types'].read('t').data)"
    assert "Unsupported" in (said := release_before(code, GOLDEN))
    assert "duckdb_types" in said
