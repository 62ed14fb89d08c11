"""Golden stores through the extension: every version of every symbol is what ``lib.sql`` shows."""

from __future__ import annotations

from pathlib import Path

import pytest

import duckvstore as vs
from duckvstore.sql.syntax.literals import literal, quote

pytestmark = pytest.mark.duckdb1
ROOT = Path(__file__).parents[1] / "format"
STORES = sorted(path.parent for path in ROOT.glob("golden*/*/library.json"))


def described(rows) -> list[tuple[str, str]]:
    """Return names and types of the columns of a description."""
    return [(row[0], row[1]) for row in rows]


@pytest.mark.parametrize("root", STORES, ids=lambda root: root.name)
def test_every_version_reads_as_in_lib_sql(root, connection):
    """Types, rows and their order are the same; what lib.sql refuses is refused."""
    connection.execute(f"ATTACH {literal(str(root))} AS eod (TYPE vstore)")
    lib = vs.open(root.parent)[root.name]
    versions = lib.sql("SELECT symbol, version FROM vstore.versions ORDER BY ALL").fetchall()
    assert versions
    for symbol, number in versions:
        name = f"{quote(symbol)} AT (VERSION => {number})"
        try:
            wanted = lib.sql(f"DESCRIBE FROM {name}").fetchall()
        except vs.errors.DuckVStoreError:
            with pytest.raises(Exception, match=r"deletion|no columns"):
                connection.sql(f"FROM eod.{name}").fetchall()
            continue
        assert described(connection.sql(f"DESCRIBE FROM eod.{name}").fetchall()) == described(wanted), name
        query = f"SELECT COLUMNS(*)::VARCHAR FROM {{}}{name}"
        try:
            rows = lib.sql(query.format("")).fetchall()
        except vs.errors.DuckVStoreError:
            with pytest.raises(Exception, match=r"wider than the 38|read\(\)"):
                connection.sql(query.format("eod.")).fetchall()
            continue
        assert connection.sql(query.format("eod.")).fetchall() == rows, name


@pytest.mark.parametrize("root", STORES, ids=lambda root: root.name)
@pytest.mark.parametrize("table", ["versions", "symbols", "segments", "columns", "snapshots"])
def test_the_catalogue_is_that_of_lib_sql(root, table, connection):
    """Its tables have the same columns and rows."""
    connection.execute(f"ATTACH {literal(str(root))} AS eod (TYPE vstore)")
    lib = vs.open(root.parent)[root.name]
    query = f"SELECT COLUMNS(*)::VARCHAR FROM {{}}vstore.{table} ORDER BY ALL"
    found, wanted = connection.sql(query.format("eod.")), lib.sql(query.format(""))
    assert found.fetchall() == wanted.fetchall()
    described_as = f"DESCRIBE FROM {{}}vstore.{table}"
    types = connection.sql(described_as.format("eod.")).fetchall()
    assert described(types) == described(lib.sql(described_as.format("")).fetchall())


@pytest.mark.parametrize("root", STORES, ids=lambda root: root.name)
def test_listings_and_snapshots(root, connection):
    """SHOW TABLES has the symbols that are there, and each snapshot is a schema of what it holds."""
    connection.execute(f"ATTACH {literal(str(root))} AS eod (TYPE vstore)")
    lib = vs.open(root.parent)[root.name]
    symbols = sorted(row[0] for row in lib.sql("SELECT symbol FROM vstore.symbols WHERE column_count > 0").fetchall())
    connection.execute("USE eod")
    assert sorted(row[0] for row in connection.sql("SHOW TABLES").fetchall()) == symbols
    for snapshot, symbol, _ in lib.sql("SELECT snapshot, symbol, version FROM vstore.snapshots").fetchall():
        name = f"{quote(snapshot)}.{quote(symbol)}"
        count = f"SELECT count(*) FROM {{}}{name}"
        assert connection.sql(count.format("eod.")).fetchall() == lib.sql(count.format("")).fetchall()
