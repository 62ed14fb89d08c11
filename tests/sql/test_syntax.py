"""Forms of SQL that DuckDB takes for its tables: for symbols they give the same rows, and fail where those fail."""

from __future__ import annotations

import duckdb
import pytest

import duckvstore as vs
from duckvstore.errors import DuckVStoreError, SqlError

TABLES = (
    "CREATE TABLE t AS SELECT range::INTEGER AS a, range * 2 AS b, 'x' || range AS c FROM range(5)",
    "CREATE TABLE u AS SELECT range::INTEGER AS a, range * 3 AS b FROM range(3, 8)",
)


@pytest.fixture
def lib(tmp_path):
    library = vs.open(str(tmp_path / "store")).create_library("eod")
    for statement in TABLES:
        library.sql(statement)
    yield library
    library.session.close()


@pytest.fixture
def duck():
    with duckdb.connect() as connection:
        for statement in TABLES:
            connection.execute(statement)
        yield connection


def outcome(run, statement):
    """Return the rows of a statement, in any order, or that it failed."""
    try:
        return sorted(map(repr, run(statement).fetchall()))
    except (DuckVStoreError, duckdb.Error):
        return "error"


def compare(lib, duck, *statements):
    """Run statements here and in DuckDB, and compare what each gives."""
    for statement in statements:
        assert outcome(lib.sql, statement) == outcome(duck.execute, statement), statement


def test_create_table_with_or_without_data(lib, duck):
    """The clause ends the query, whatever stands around it, and leaves columns and types."""
    compare(
        lib,
        duck,
        "CREATE TABLE n AS FROM t WITH NO DATA",
        "DESCRIBE n",
        "FROM n",
        "CREATE OR REPLACE TABLE n (x, y) AS (SELECT a, c FROM t ORDER BY a LIMIT 1) WITH NO DATA",
        "DESCRIBE n",
        "INSERT INTO n SELECT a, c FROM t",
        "CREATE OR REPLACE TABLE n AS WITH q AS (FROM n) FROM q -- all\n WITH /* of it */ DATA -- in full",
        "FROM n",
        "CREATE OR REPLACE TABLE n AS SELECT nix FROM t WITH NO DATA",
        "CREATE TEMP TABLE w AS FROM t WITH NO DATA",
        "FROM w",
    )


def test_copy_of_some_columns(lib, duck, tmp_path):
    """In the order in which they are named, also of a version."""
    path = tmp_path / "out.csv"
    for listed in ('(B, "a")', "(c)", " ( c , a , c ) ", "(nix)", "()", "(a + 1)"):
        compare(lib, duck, f"COPY t{listed} TO '{path}' (HEADER)", f"FROM '{path}'")
    lib.sql("DELETE FROM t WHERE a > 0")
    lib.sql(f"COPY t AT (VERSION => 0) (c, a) TO '{path}' (HEADER)")
    assert duck.sql(f"FROM '{path}'").fetchall() == [(f"x{at}", at) for at in range(5)]
    lib.sql(f"COPY main.t (c) TO '{path}'")
    assert path.read_text().split() == ["c", "x0"]


def test_a_transaction_for_reading(lib, duck):
    """It has one moment, and refuses what would last."""
    for words in ("BEGIN READ ONLY", "START TRANSACTION READ ONLY", "BEGIN TRANSACTION READ ONLY"):
        compare(lib, duck, words, "SELECT sum(a) FROM t", "CREATE TEMP TABLE w AS FROM t", "FROM w", "ROLLBACK")
        for refused in (
            "INSERT INTO t VALUES (1, 2, 'y')",
            "DROP TABLE t",
            "ALTER TABLE t ADD COLUMN d INTEGER",
            "CREATE TABLE w AS SELECT 1",
            "CREATE VIEW w AS FROM t",
        ):
            compare(lib, duck, words, refused, "ROLLBACK", "FROM t")
    lib.sql("CREATE VIEW v AS FROM u; BEGIN READ ONLY; CREATE TEMP VIEW w AS FROM v")
    assert lib.sql("SELECT count(*) FROM w").fetchall() == [(5,)]
    for refused in ("DROP VIEW v", "CREATE OR REPLACE VIEW v AS FROM t", "RESTORE TABLE t TO VERSION 0"):
        with pytest.raises(SqlError, match="READ ONLY"):
            lib.sql(refused)
    lib.write("t", lib.read("u").data)
    assert lib.sql("SELECT max(a) FROM t").fetchall() == [(4,)]
    lib.sql("COMMIT; INSERT INTO u VALUES (9, 9)")
    assert lib.sql("SELECT max(a) FROM t").fetchall() == [(7,)]


def test_analyze_and_vacuum(lib, duck):
    """There is nothing to do, but for what is not there."""
    lib.sql("CREATE SNAPSHOT s")
    written = lib.list_versions("t")
    for words in ("ANALYZE", "VACUUM", "VACUUM ANALYZE", "VACUUM (ANALYZE)", "ANALYSE", "ANALYZE VERBOSE"):
        for name in ("", "t", 't(A, "b")', "main.t(c)", "nix", "t(nix)", "t(a, a)", "t()", "t a"):
            compare(lib, duck, f"{words} {name};")
    compare(lib, duck, "VACUUM FULL", "CREATE TEMP TABLE w (i INTEGER)", "ANALYZE w(i)", "VACUUM w", "ANALYZE w(j)")
    compare(lib, duck, "CREATE VIEW v AS FROM t", "ANALYZE v")
    assert lib.list_versions("t") == written
    with pytest.raises(SqlError, match="no column 'nix'") as caught:
        lib.sql("ANALYZE t(nix)")
    assert str(caught.value).splitlines()[-1].endswith(" " * 10 + "^")


def test_a_table_as_a_value_by_its_whole_name(lib, duck):
    """``main.t`` is the rows of t, where it is not a column of something called main."""
    lib.sql("CREATE TABLE s AS SELECT {'t': 5} AS main")
    duck.sql("CREATE TABLE s AS SELECT {'t': 5} AS main")
    compare(
        lib,
        duck,
        "SELECT main.t FROM main.t",
        "SELECT count(main.t), count(main.t.a) FROM t",
        "SELECT main.t.b, (main.t).b FROM t WHERE EXISTS (SELECT main.u FROM u WHERE u.a = t.a)",
        "WITH w AS (SELECT main.t FROM t) SELECT t.a FROM w",
        "CREATE VIEW v AS SELECT main.t FROM t",
        "FROM v",
        "CREATE TABLE n AS SELECT main.t FROM t",
        "FROM n",
        "SELECT main.t FROM t AS main",
        "SELECT main.t FROM t AS q",
        "SELECT main.t FROM s",
        "SELECT main.t FROM t, s",
        "SELECT main.t FROM (SELECT 7 AS t) AS main, t",
    )
    lib.sql("CREATE TABLE k AS SELECT 1 AS k")
    with pytest.raises(SqlError):  # to DuckDB it is {'k': 1}, and must not become the column
        lib.sql("SELECT main.k FROM k")


def test_how_many_rows_of_a_table_of_the_session_changed(lib, duck, tmp_path):
    """A client that counts needs the number, whoever keeps the table."""
    path = tmp_path / "out.csv"
    program = (
        "CREATE TEMP TABLE w AS FROM t",
        "INSERT INTO w FROM t",
        "INSERT INTO w BY NAME SELECT 7 AS a",
        "WITH q AS (FROM t) INSERT INTO w FROM q",
        "UPDATE w SET b = 0 WHERE a = 1",
        "UPDATE w SET b = 0 WHERE a = 1 RETURNING b",
        "INSERT INTO w VALUES (1, 2, 'y') RETURNING a AS \"Count\"",
        "MERGE INTO w USING u ON w.a = u.a WHEN MATCHED THEN DELETE",
        "DELETE FROM w WHERE a = 2",
        f"COPY w TO '{path}'",
        f"COPY w TO '{path}' (RETURN_FILES)",
        f"COPY t TO '{path}'",
        f"COPY w FROM '{path}'",
        "TRUNCATE w",
        "CREATE TEMP TABLE e (i INTEGER)",
    )
    with lib.connect() as connection:
        cursor = connection.cursor()
        for statement in program:
            expected = duck.execute(statement)
            columns, rows = [column[0] for column in expected.description], expected.fetchall()
            counts = columns == ["Count"] and rows and "RETURNING" not in statement
            assert cursor.execute(statement).rowcount == (rows[0][0] if counts else -1), statement
            if not counts and rows:
                assert cursor.fetchall() == rows, statement
    assert lib.sql("CREATE TEMP TABLE z AS FROM t").figures.footer().startswith("1 of 1 segments")
    assert "2 rows added" in repr(lib.sql("INSERT INTO z FROM t LIMIT 2"))
