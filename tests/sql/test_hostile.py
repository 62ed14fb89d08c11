"""Statements, names, settings and values that are made to go wrong give DuckDB's own answer or one clear error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.engine.library import libraries
from duckvstore.errors import InvalidInput, SqlError
from tests.cuts import cut_every

COUNT = 24
NAMES = [
    *("information_schema", "pg_catalog", "vstore", "main", "memory", "temp", "system", "lib", "day", "sqlite_master"),
    *("select", "from", "table", "values", "at", "version", "snapshot", "timestamp", "null", "true", "current_date"),
    *("range", "unnest", "duckdb_tables", "pivot", "T able", "a.b", "x'y", 'q"r', "$p", "?", "--", "/*x*/", ";", "1a"),
    *(
        "AT VERSION 0",
        "file.csv",
        "s3://b/x.parquet",
        "tbl\nnl",
        " ",
        "ü",
        "ß",
        "İ",
        "\N{LATIN SMALL LETTER LONG S}",
        "\U0001d518",
        "123",
    ),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = vs.open(tmp_path_factory.mktemp("hostile"))
    yield opened
    opened.session.close()


@pytest.fixture(scope="module")
def lib(store):
    """A library whose symbols have several segments; trades has versions 0 and 1; snapshot day holds both newest."""
    library = store.create_library("lib")
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(COUNT)]
    table = pa.table(
        {
            "id": pa.array(range(COUNT), pa.int64()),
            "seen": pa.array(moments, pa.timestamp("us", tz="UTC")),
            "local": pa.array([moment.replace(tzinfo=None) for moment in moments], pa.timestamp("us")),
            "day": pa.array([moment.date() for moment in moments], pa.date32()),
            "word": [f"w{number:02d}" for number in range(COUNT)],
            "held": pa.array([timedelta(hours=hour) for hour in range(COUNT)], pa.duration("us")),
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        cut_every(patch, 4)
        library.write("trades", table)
        library.write("trades", table.slice(5, 3))
        for name in NAMES:
            library.write(name, pd.DataFrame({"who": [name] * 2}))
            library.write(name, pd.DataFrame({"who": [name]}))
    library.snapshot("day")
    yield library
    library.session.close()


@pytest.fixture(scope="module")
def plain(lib):
    connection = duckdb.connect()
    for number in range(2):
        connection.register("rows", lib.read("trades", as_of=number).data)
        connection.execute(f"CREATE TABLE trades_v{number} AS FROM rows")
    yield connection
    connection.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_symbol_of_any_name_is_found_in_every_form(store, lib, name):
    quoted = '"' + name.replace('"', '""') + '"'
    newest, first = [(name, 1)], [(name, 2)]
    forms = {
        f"{quoted}": newest,
        f"{quoted} AT VERSION 0": first,
        f"{quoted} AT (VERSION => 0) AS {quoted}": first,
        f"{quoted} FOR VERSION AS OF 0": first,
        f"{quoted} AT SNAPSHOT 'day'": newest,
        f"day.{quoted}": newest,
        f"lib.day.{quoted}": newest,
        f"{quoted} AT VERSION 0 x SEMI JOIN {quoted} y USING (who)": first,
    }
    for form, expected in forms.items():
        assert lib.sql(f"SELECT any_value(who), count(*) FROM {form}").fetchall() == expected, form
    for form in (f"lib.{quoted}", f"lib.day.{quoted}", f"LIB.{quoted} AT VERSION -1"):
        assert store.sql(f"SELECT any_value(who), count(*) FROM {form}").fetchall() == newest, form
    assert lib.sql(f"SELECT {quoted}.who FROM {quoted}").columns == ["who"]
    assert lib.sql(f"DESCRIBE {quoted} AT VERSION 0").fetchall()[0][:2] == ("who", "VARCHAR")


@pytest.mark.parametrize("column", ["filename", "file_row_number", "FILE_INDEX"])
def test_columns_that_duckdb_adds_to_files_are_no_columns_of_a_symbol(lib, column):
    """Such a name is the other table's column, without any ambiguity, also from within a subquery."""
    mine = pd.DataFrame({column: ["w03", "nobody"], "n": [1, 2]})  # noqa: F841
    sql = f"SELECT n FROM mine WHERE EXISTS (SELECT 1 FROM trades AT VERSION 0 WHERE word = {column})"
    assert lib.sql(sql).fetchall() == [(1,)]
    assert lib.sql(f"SELECT max({column}) FROM trades, mine").fetchall() == [("w03",)]
    with pytest.raises(SqlError, match="not found"):
        lib.sql(f"SELECT {column} FROM trades")


SETTINGS = {
    "Calendar = 'buddhist'": ["seen > '2026-01-09'", "seen > TIMESTAMP '2026-01-09'", "seen > DATE '2026-01-09'"],
    "Calendar = 'japanese'": ["seen > '2026-01-09'", "seen <= '2026-01-09 00:00:00+00'", "day > '2026-01-09'"],
    "TimeZone = 'Pacific/Kiritimati'": [
        "seen >= '2026-01-09'",
        "seen = TIMESTAMP '2026-01-09'",
        "local > '2026-01-09'",
    ],
    "TimeZone = 'Etc/GMT+12'": ["seen < '2026-01-09'", "seen BETWEEN DATE '2026-01-05' AND DATE '2026-01-09'"],
    "default_collation = 'NOCASE'": ["word = 'W05'", "word IN ('W05', 'W20')", "word < 'W05'"],
    "old_implicit_casting = true": ["id > '5'", "id = '05'", "id > $text", "id BETWEEN '3' AND '11'", "day > $day"],
    "ieee_floating_point_ops = false": ["id > 'nan'::DOUBLE", "id < 1e308 * 10"],
}


@pytest.mark.parametrize(("setting", "where"), [(s, where) for s, wheres in SETTINGS.items() for where in wheres])
def test_settings_that_change_what_a_comparison_means_change_what_is_pruned(lib, plain, setting, where):
    parameters = {
        name: value for name, value in {"text": "5", "day": "2026-1-9"}.items() if f"${name}" in where
    } or None
    name = setting.partition(" ")[0]
    answers = []
    for run in (
        lambda sql, given=None: lib.sql(sql.replace("trades_v0", "trades AT VERSION 0"), given).fetchall(),
        lambda sql, given=None: plain.execute(sql, given).fetchall(),
    ):
        run(f"SET {setting}")
        try:
            answers.append(run(f"SELECT id FROM trades_v0 WHERE {where} ORDER BY id", parameters))
        except (vs.SqlError, duckdb.Error) as error:
            answers.append(type(error.__cause__ or error).__name__)
        finally:
            run(f"RESET {name}")
    assert answers[0] == answers[1]


COLUMN_NAMES = {
    "SELECT (SELECT max(id) FROM trades AT VERSION 0)": ["(SELECT max(id) FROM trades AT VERSION 0)"],
    "SELECT (SELECT max(id) FROM trades), (SELECT min(x.id) FROM day.trades x)": [
        "(SELECT max(id) FROM trades)",
        "(SELECT min(x.id) FROM day.trades AS x)",
    ],
    "SELECT EXISTS (FROM trades WHERE id > $v AND held IS NULL)": [
        "EXISTS(SELECT * FROM trades WHERE ((id > $v) AND (held IS NULL)))"
    ],
    "SELECT 6 IN (SELECT id FROM trades AT VERSION $v)": ["(6 = ANY(SELECT id FROM trades AT VERSION $v))"],
    "SELECT (SELECT max(n) FROM mine), (SELECT count(*) FROM vstore.snapshots)": [
        "(SELECT max(n) FROM mine)",
        "(SELECT count_star() FROM vstore.snapshots)",
    ],
    'SELECT (SELECT id FROM trades WHERE id > 1000) FROM "T able"': ["(SELECT id FROM trades WHERE (id > 1000))"],
}


@pytest.mark.parametrize("sql", COLUMN_NAMES)
def test_a_column_that_is_named_by_its_subquery_shows_the_users_names(lib, sql):
    """In every form of the result; and nothing stays behind."""
    mine = pd.DataFrame({"n": [1]})  # noqa: F841
    result = lib.sql(sql, {"v": 0} if "$v" in sql else None)
    expected = COLUMN_NAMES[sql]
    assert result.columns == expected
    assert result.arrow().column_names == expected
    assert list(result.df().columns) == expected
    assert pa.RecordBatchReader.from_stream(result).schema.names == expected
    assert len(result.fetchall()) == 1
    assert lib.sql("SELECT view_name FROM system.main.duckdb_views() WHERE NOT internal").fetchall() == []


@pytest.mark.parametrize("space", ["\N{NO-BREAK SPACE}", "\N{ZERO WIDTH SPACE}", "\N{IDEOGRAPHIC SPACE}"])
def test_a_column_has_one_name_where_a_text_ends_with_a_space_of_another_alphabet(lib, space):
    """DuckDB takes it for an alias at one time and for nothing at another."""
    result = lib.sql(f"SELECT (SELECT max(id) FROM trades AT VERSION 0) {space}")
    assert result.columns == result.arrow().column_names == ["(SELECT max(id) FROM trades AT VERSION 0)"]


@pytest.mark.parametrize("value", [np.int64(5), np.uint8(5), np.float32(5), np.bool_(True), 5])
def test_numbers_of_numpy_are_values(lib, value):
    result = lib.sql("SELECT count(*) FROM trades AT VERSION 0 WHERE id = ? AND ? = 'w05'", [value, "w05"])
    assert result.fetchall() == [(1,)] if value == 5 else [(0,)]


def test_a_number_in_another_notation_is_no_other_version(lib):
    for form in ("0x1", "0b1", "0o1", "1e0", "1.0"):
        with pytest.raises(SqlError, match=f"expected a whole number, found {form}"):
            lib.sql(f"FROM trades AT VERSION {form}")
    assert lib.sql("SELECT count(*) FROM trades AT VERSION 0WHERE id > 3").fetchall() == [(COUNT - 4,)]


@pytest.mark.parametrize("text", [None, 5, b"SELECT 1", ["SELECT 1"]])
def test_what_is_no_text_is_no_sql(lib, text):
    with pytest.raises(InvalidInput, match="SQL is text, not"):
        lib.sql(text)


def test_nothing_behind_a_nul_is_left_out_in_silence(lib):
    with pytest.raises(SqlError, match="NUL") as caught:
        lib.sql("SELECT id FROM trades\0 WHERE id > 6")
    assert caught.value.offset == len("SELECT id FROM trades")


@pytest.mark.parametrize("call", ["symbols", "diff('trades', 0, 1)"])
def test_the_catalogue_of_another_library_is_told_what_to_leave_out(lib, call):
    with pytest.raises(vs.NoSuchLibrary, match="it has no 'other': leave it out, or use store.sql"):
        lib.sql(f"FROM other.vstore.{call}")


def test_an_unknown_bare_name_in_a_store_is_told_its_library(store, lib):
    with pytest.raises(SqlError, match=r"Names in the store: 'lib\.trades'"):
        store.sql("FROM trades")


def test_libraries_match_without_regard_to_case_when_only_one_does(tmp_path):
    store = vs.open(tmp_path)
    store.create_library("Eod").write("t", pd.DataFrame({"n": [1]}))
    assert store.sql("SELECT eod.t.n FROM eod.t").fetchall() == [(1,)]
    store.create_library("eod").write("t", pd.DataFrame({"n": [2]}))
    assert store.sql("FROM eod.t").fetchall() == [(2,)]
    with pytest.raises(SqlError, match="'EOD' matches the libraries 'Eod', 'eod'"):
        store.sql("FROM EOD.t")
    store.session.close()


LIBRARIES = [
    'a "b" c',
    "'; DROP TABLE x; --",
    "select",
    "dots.and.more",
    "Ü ß 🦆",
    "x" * 200,
    "%s {0}",
    "recurring",
    "a\nb",
    "a`b",
    "\u200b",
    "\u202e\u0301",
    "\u2028$$",
    "\x01",
]


@pytest.mark.parametrize("name", LIBRARIES)
def test_hostile_libraries_in_every_statement(tmp_path, name):
    """A library, its symbol, column and snapshot, all of one hostile name, through a store's SQL."""
    store = vs.open(tmp_path)
    store.create_library(name)
    quoted = '"' + name.replace('"', '""') + '"'
    where = f"{quoted}.{quoted}"
    literal = "'" + name.replace("'", "''") + "'"
    for statement in (
        f"CREATE TABLE {where} AS SELECT range AS {quoted} FROM range(3)",
        f"CREATE SNAPSHOT {where}",
        f"INSERT INTO {where} VALUES (7)",
        f"UPDATE {where} SET {quoted} = 8 WHERE {quoted} = 7",
        f"DELETE FROM {where} WHERE {quoted} = 0",
        f"MERGE INTO {where} USING (SELECT 9 AS k) s ON false WHEN NOT MATCHED THEN INSERT VALUES (s.k)",
    ):
        store.sql(statement)
    assert sorted(store.sql(f"FROM {where}").fetchall()) == [(1,), (2,), (8,), (9,)]
    for form in (f"{where} AT VERSION 0", f"{where} AT SNAPSHOT {literal}", f"{where}.{quoted}"):
        assert store.sql(f"SELECT count({quoted}) FROM {form}").fetchall() == [(3,)], form
    changes = store.sql(f"SELECT change, {quoted} FROM {quoted}.vstore.diff({literal}, 0, 1)").fetchall()
    assert changes == [("insert", 7)]
    assert (name,) in store.sql(f"SELECT symbol FROM {quoted}.vstore.symbols").fetchall()
    assert store.sql("SELECT DISTINCT library FROM vstore.versions").fetchall() == [(name,)]
    store.sql(f"RESTORE TABLE {where} TO VERSION 0")
    store.sql(f"CREATE OR REPLACE TABLE {where} AS FROM {where} AT VERSION 1")
    assert store.sql(f"SELECT count(*) FROM {where}").fetchall() == [(4,)]
    store.sql(f"DROP SNAPSHOT {where}; DROP TABLE {where}")
    assert store[name].list_symbols() == []
    store.session.close()


def test_names_that_differ_in_case_only_are_kept_apart_in_every_statement(tmp_path):
    """Each statement changes the symbol that is written exactly so; another spelling is ambiguous."""
    library = vs.open(tmp_path).create_library("lib")
    for name in ("Trades", "trades"):
        library.sql(f'CREATE TABLE "{name}" AS SELECT 1 AS "N"; CREATE SNAPSHOT "{name}"')
    library.sql('INSERT INTO trades VALUES (2); UPDATE "Trades" SET n = 5; DELETE FROM trades WHERE n = 1')
    pairs = 'SELECT t."N", old."N" FROM trades t, "Trades" newest, "Trades" AT VERSION 0 old'
    assert library.sql(pairs).fetchall() == [(2, 1)]
    assert library.sql('FROM "Trades"."Trades"').fetchall() == [(1,)]
    assert library.sql('FROM "trades"."Trades"').fetchall() == [(1,)]
    for statement in (
        "FROM TRADES",
        "INSERT INTO TRADES VALUES (1)",
        "DELETE FROM TRADES",
        "FROM vstore.diff('TRADES', 0, 1)",
    ):
        with pytest.raises(vs.SqlError, match=r"'Trades', 'trades'|exactly"):
            library.sql(statement)
    library.sql("DROP TABLE trades")
    assert library.list_symbols() == ["Trades"]
    library.session.close()


@pytest.mark.parametrize("name", ["main", "temp", "memory"])
def test_a_library_with_the_name_of_a_schema_of_duckdbs_is_asked_by_itself(tmp_path, name, monkeypatch):
    """Through a store its name is DuckDB's, which the error says; its own SQL is like that of others."""
    monkeypatch.setattr(libraries, "check_unreserved", lambda *_: None)  # earlier releases made such
    store = vs.open(tmp_path)
    library = store.create_library(name)
    library.sql("CREATE TABLE t AS SELECT 1 AS n; INSERT INTO t VALUES (2)")
    assert library.sql("FROM t AT VERSION 0").fetchall() == [(1,)]
    with pytest.raises(vs.SqlError, match=rf"store\['{name}'\]"):
        store.sql(f"FROM {name}.t AT VERSION 0")
    store.session.close()
    library.session.close()
