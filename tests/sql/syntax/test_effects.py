"""``sql/syntax/effects.py``: what the table says of each kind of statement is what DuckDB does."""

from __future__ import annotations

import functools

import duckdb
import pytest

from duckvstore.sql.syntax.parser import parse

SETUP = """
    CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2); CREATE TABLE u AS FROM t; CREATE VIEW v AS FROM t;
    CREATE MACRO m(x) AS x + 1; CREATE SEQUENCE s; CREATE SCHEMA sc; PREPARE p AS SELECT 1; PREPARE i AS INSERT INTO t
    VALUES (9)"""
STATEMENTS = [
    *("SELECT a FROM t", "FROM t", "TABLE t", "VALUES (1)", "WITH w AS (FROM t) FROM w", "PIVOT t ON a USING count(*)"),
    *("EXPLAIN FROM t", "EXPLAIN ANALYZE FROM t", "EXPLAIN INSERT INTO t VALUES (1)", "DESCRIBE t", "SUMMARIZE t"),
    *("SHOW t", "SHOW TABLES", "SHOW ALL TABLES", "SHOW DATABASES", "EXPLAIN ANALYZE INSERT INTO t VALUES (1)"),
    *("INSERT INTO t VALUES (3)", "INSERT INTO t FROM t", "UPDATE t SET a = 7", "DELETE FROM t", "TRUNCATE t"),
    "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE",
    *("CREATE TABLE n AS FROM t", "CREATE TEMP TABLE n (b INTEGER)", "CREATE VIEW n AS FROM t"),
    *("CREATE MACRO n(x) AS x", "CREATE FUNCTION n(x) AS x", "CREATE TEMP MACRO n() AS TABLE FROM t"),
    *("CREATE TYPE n AS ENUM ('a')", "CREATE SCHEMA n", "CREATE SEQUENCE n", "CREATE INDEX n ON t (a)"),
    *("DROP TABLE t", "DROP VIEW v", "DROP MACRO m", "DROP SEQUENCE s", "DROP SCHEMA sc"),
    *("ALTER TABLE u ADD COLUMN b INTEGER", "ALTER TABLE u RENAME TO w", "COMMENT ON TABLE t IS 'x'"),
    *("SET threads = 1", "SET TimeZone = 'Asia/Tokyo'", "RESET threads", "SET VARIABLE x = 1", "PRAGMA threads = 1"),
    *("PRAGMA version", "CALL pragma_version()", "BEGIN", "CHECKPOINT", "USE sc", "ATTACH ':memory:' AS other"),
    *("PREPARE q AS FROM t", "EXECUTE p", "EXECUTE i", "DEALLOCATE p", "ANALYZE t", "VACUUM t", "LOAD parquet"),
]
OBJECTS = """
    SELECT 'table', database_name, schema_name, table_name FROM duckdb_tables() UNION ALL
    SELECT 'view', database_name, schema_name, view_name FROM duckdb_views() WHERE NOT internal UNION ALL
    SELECT 'database', database_name, '', '' FROM duckdb_databases() WHERE NOT internal"""
FUNCTIONS = """
    SELECT function_name, database_name FROM duckdb_functions() WHERE NOT internal UNION ALL
    SELECT type_name, database_name FROM duckdb_types() WHERE NOT internal AND NOT starts_with(type_name, '__pivot')"""
SETTINGS = "SELECT name, value FROM duckdb_settings() UNION ALL SELECT 'schema', current_schema()"
COLUMNS = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"


class Session:
    """What can be seen of a session of DuckDB alone."""

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.connection.execute(SETUP)

    def seen(self) -> dict[str, set[tuple[object, ...]]]:
        """Return the objects, functions, settings and columns, and the rows of ``t``."""
        questions = {"objects": OBJECTS, "functions": FUNCTIONS, "settings": SETTINGS, "columns": COLUMNS}
        found = {name: set(self.connection.execute(question).fetchall()) for name, question in questions.items()}
        is_there = any(row[3] == "t" for row in found["objects"])
        return {**found, "rows": set(self.connection.execute("FROM t").fetchall()) if is_there else set()}


@functools.cache
def fresh() -> dict[str, set[tuple[object, ...]]]:
    """Return what can be seen before any statement."""
    return Session().seen()


def is_prepared(session: Session, text: str) -> bool:
    """Whether DuckDB takes ``PREPARE … AS text``."""
    try:
        session.connection.execute(f"PREPARE another AS {text}")
    except duckdb.Error:
        return False
    return True


@pytest.mark.parametrize("text", STATEMENTS)
def test_the_table_says_what_duckdb_does(text: str) -> None:
    session, statement = Session(), parse(text)[0]
    effects = statement.effects
    if is_prepared(session, text) and statement.kind != "other" and not statement.explain:
        assert effects.is_preparable, "DuckDB keeps it, so its symbols must be resolved at each EXECUTE"
    before = fresh()
    rows = session.connection.execute(text).fetchall()
    after = session.seen()

    changed = {name for name in before if before[name] != after[name]}
    assert not changed or effects.changes_session
    assert "objects" not in changed or effects.makes_objects
    assert "functions" not in changed or effects.makes_functions or text.startswith("DROP")
    assert "settings" not in changed or effects.changes_settings
    assert "columns" not in changed or effects.makes_objects
    new = after["objects"] - before["objects"]
    assert not any(row[0] in ("view", "database") for row in new) or effects.makes_sources
    if effects.counts_rows and not statement.explain:
        assert not rows or type(rows[0][0]) is int
    assert rows or not effects.gives_rows


@pytest.mark.parametrize("text", ["CREATE SNAPSHOT s", "DROP SNAPSHOT s", "RESTORE TABLE t TO VERSION 1"])
def test_commands_of_the_store_leave_duckdb_alone(text: str) -> None:
    effects = parse(text)[0].effects
    assert not (effects.makes_objects or effects.changes_settings or effects.makes_functions)


def test_what_nobody_knows_may_do_anything() -> None:
    effects = parse("FROBNICATE t")[0].effects
    assert effects.changes_session
    assert effects.makes_sources
    assert effects.changes_settings
    assert effects.makes_functions
