"""PREPARE, EXECUTE and DEALLOCATE over symbols, compared with DuckDB's own over tables of the same rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.errors import DuckVStoreError, NoSuchSymbol, NoSuchVersion, SqlError
from tests.cuts import cut_every

ROWS = pa.table({"id": [1, 2, 3, 4], "s": ["a", "b", "c", None], "x": [1.5, 2.5, None, 4.5]})
HOSTILE = ('we;ird "" name', "a -- b", "/* c */", "x'y", "Ä", "$v", "?", "select", "p(1)", "🙂", " ")
COUNTED = "PREPARE p AS SELECT count(*) FROM trades"


@pytest.fixture
def lib(tmp_path):
    """A library where trades has version 0 (two rows) and 1 (four); snapshot ``eod`` holds version 0."""
    library = vs.open(tmp_path / "store").create_library("lib")
    library.write("trades", ROWS.slice(0, 2))
    library.snapshot("eod")
    library.write("trades", ROWS)
    yield library
    library.session.close()


@pytest.fixture
def plain():
    """DuckDB with tables of the same rows."""
    connection = duckdb.connect(config={"python_enable_replacements": "false"})
    connection.execute("SET errors_as_json = true")
    connection.register("source", ROWS)
    connection.execute("CREATE TABLE trades AS FROM source")
    yield connection
    connection.close()


def rows(result):
    return result.fetchall()


def count(lib, symbol="trades"):
    return rows(lib.sql(f"SELECT count(*) FROM {symbol}"))[0][0]


def shown(result):
    """What a result holds, with the names and types of its columns."""
    table = result.arrow()
    table = table.read_all() if hasattr(table, "read_all") else table
    return result.columns, [str(kind) for kind in result.types], table.to_pylist()


@pytest.mark.parametrize(
    ("body", "calls"),
    [
        ("SELECT * FROM trades WHERE id > $1", ["(2)", "(1 + 1)", "('3')", "(NULL)", "(2.5)", "(abs(-2)::UTINYINT)"]),
        ("SELECT id, ?2 AS given, $1 FROM trades WHERE id < $2", ["(1, 3)"]),
        ("FROM trades WHERE s = ? OR x < ?", ["('c', 2)", "('a' || '', 1e0)", "(NULL, 99::HUGEINT)"]),
        ("SELECT $a + id, $b FROM trades", ["(a := 1, b := 'x')", "(B := NULL, A := 2)", "(a := 2.50, b := [1, 2])"]),
        ("FROM trades ORDER BY id LIMIT ? OFFSET ?", ["(2, 1)", "(0, 0)"]),
        ("SELECT list_contains($1, id), $1 FROM trades", ["([1, 4])", "([])"]),
        ("DESCRIBE trades", [""]),
        ("WITH t AS (FROM trades) SELECT count(*) AS n FROM t", [""]),
        ("(SELECT max(id) FROM trades)", [";"]),
        ("TABLE trades", [" -- all"]),
    ],
)
def test_prepared_queries_give_what_duckdb_gives(lib, plain, body, calls):
    for connection in (lib, plain):
        connection.sql(f"PREPARE p AS {body}")
    for call in calls:
        assert shown(lib.sql(f"EXECUTE p{call}")) == shown(plain.sql(f"EXECUTE p{call}"))
        assert shown(lib.sql(f'\n/* c */ execute "P"{call}')) == shown(plain.sql(f"EXECUTE p{call}"))


@pytest.mark.parametrize(
    "argument",
    [
        *("1", "1::BIGINT", "3000000000", "-1::HUGEINT", "2::UHUGEINT", "1::UTINYINT", "1.50", "1::DECIMAL(38, 10)"),
        *("0.1::FLOAT", "1e300", "'nan'::DOUBLE", "true", "''", "'it''s ; $1 \\ \"'", "'\\x00z'::BLOB", "'0101'::BIT"),
        *("DATE '2026-11-20'", "'infinity'::DATE", "DATE '0044-03-15 (BC)'", "TIMESTAMP '2026-11-20 01:02:03.000004'"),
        *("TIMESTAMP_NS '2026-11-20 01:02:03.123456789'", "TIMESTAMPTZ '2026-11-20 01:02:03+05:30'", "TIME '01:02:03'"),
        *(
            "'01:02:03+02'::TIMETZ",
            "INTERVAL '13 months 3 days'",
            "['a,b', 'NULL', NULL, '[ ']",
            "{'a': 1, 'b': 'x, y'}",
        ),
        *(
            "MAP {'k = 1': 1}",
            "[[1], []]",
            "row(1, 'x')",
            "'{\"a\": 1}'::JSON",
            "UUID '00000000-0000-0000-0000-00000000000a'",
        ),
    ],
)
def test_arguments_have_the_types_and_values_of_duckdb(lib, argument):
    lib.sql("PREPARE p AS SELECT $1 AS given, $1 IS NOT DISTINCT FROM ($2) FROM trades AT VERSION 0 LIMIT 1")
    lib.sql("PREPARE plain AS SELECT $1 AS given")
    found = lib.sql(f"SELECT CAST(given AS VARCHAR) FROM (SELECT {argument} AS given)").fetchone()
    result = lib.sql(f"EXECUTE p({argument}, {argument})")
    assert result.types[0] == lib.sql(f"EXECUTE plain({argument})").types[0]
    assert rows(result)[0][1] is True
    lib.sql("PREPARE text AS SELECT CAST($given AS VARCHAR) FROM trades LIMIT 1")
    assert rows(lib.sql(f"EXECUTE text(given := {argument})"))[0] == found


def test_versions_times_and_snapshots_are_given_at_each_execute(lib):
    lib.sql("PREPARE v AS SELECT count(*) FROM trades AT VERSION $v WHERE id > $low")
    assert rows(lib.sql("EXECUTE v(v := 0, low := 1)")) == [(1,)]
    assert rows(lib.sql("EXECUTE v(low := 1, v := -1::BIGINT)")) == [(3,)]
    lib.sql("PREPARE s AS SELECT count(*) FROM trades AT SNAPSHOT ?; PREPARE t AS FROM trades AT TIMESTAMP ? LIMIT ?")
    assert rows(lib.sql("EXECUTE s('eo' || 'd')")) == [(2,)]
    assert len(rows(lib.sql("EXECUTE t(now() + INTERVAL 1 HOUR, 3)"))) == 3
    lib.sql("PREPARE d AS SELECT change, id FROM vstore.diff($symbol, $a, $b, key := 'id') ORDER BY id")
    assert rows(lib.sql("EXECUTE d(symbol := 'trades', a := 0, b := 1::UTINYINT)")) == [("insert", 3), ("insert", 4)]
    with pytest.raises(NoSuchVersion, match="has no version 7"):
        lib.sql("EXECUTE v(v := 7, low := 1)")
    with pytest.raises(SqlError, match=r"takes a whole number, not '0'\nline 1, column 29: SELECT count"):
        lib.sql("EXECUTE v(v := '0', low := 1)")


def test_names_are_resolved_anew_at_each_execute(lib):
    with pytest.raises(SqlError, match="fills does not exist"):
        lib.sql("PREPARE n AS SELECT count(*) FROM trades, fills")
    lib.write("fills", ROWS)
    lib.sql("PREPARE n AS SELECT (SELECT count(*) FROM trades), (SELECT count(*) FROM fills)")
    assert rows(lib.sql("EXECUTE n")) == [(4, 4)]
    lib.write("trades", ROWS.slice(0, 1))
    assert rows(lib.sql("EXECUTE n")) == [(1, 4)]
    lib.delete("fills")
    with pytest.raises((NoSuchSymbol, SqlError), match="fills"):
        lib.sql("EXECUTE n")
    lib.write("fills", ROWS)
    lib.sql("CREATE TEMP TABLE fills AS SELECT 7 AS id")
    assert rows(lib.sql("EXECUTE n")) == [(1, 1)]


def test_views_macros_dataframes_and_the_catalogue_can_be_prepared(lib):
    lib.sql("CREATE VIEW v AS FROM trades WHERE id > 1; CREATE MACRO top(a) AS (SELECT max(id) + a FROM trades)")
    lib.sql("PREPARE p AS SELECT count(*), top($1) FROM v; PREPARE c AS FROM vstore.symbols WHERE symbol = $1")
    assert rows(lib.sql("EXECUTE p(10)")) == [(3, 14)]
    lib.sql("CREATE OR REPLACE VIEW v AS FROM trades AT VERSION 0")
    assert rows(lib.sql("EXECUTE p(10)")) == [(2, 14)]
    assert len(rows(lib.sql("EXECUTE c('trades')"))) == 1
    frame = pd.DataFrame({"id": [1]})
    lib.sql("PREPARE f AS SELECT count(*) FROM frame JOIN trades USING (id)")
    frame = pd.DataFrame({"id": [1, 2, 9]})
    assert rows(lib.sql("EXECUTE f")) == [(2,)]
    del frame
    with pytest.raises(SqlError, match="frame does not exist"):
        lib.sql("EXECUTE f")


def test_each_execute_of_a_change_makes_one_version_with_the_text_as_message(lib):
    lib.sql("PREPARE i AS INSERT INTO trades VALUES (?, ?, 0.5)")
    assert rows(lib.sql("EXECUTE i(5, 'e'); EXECUTE i(3 + 3, NULL)")) == [(1,)]
    lib.sql("EXECUTE i(7, 'g')", message="mine")
    lib.sql("PREPARE u AS UPDATE trades SET s = $s WHERE id = $id RETURNING id, s")
    lib.sql("PREPARE d AS DELETE FROM trades WHERE id = ?")
    assert rows(lib.sql("EXECUTE u(id := 6, s := 'f')")) == [(6, "f")]
    lib.sql("EXECUTE d(1)")
    messages = [rows(lib.sql("SELECT message FROM vstore.versions WHERE version = $1", [n]))[0][0] for n in range(2, 7)]
    assert messages == [
        *["INSERT INTO trades VALUES (?, ?, 0.5)"] * 2,
        "mine",
        "UPDATE trades SET s = $s WHERE id = $id RETURNING id, s",
        "DELETE FROM trades WHERE id = ?",
    ]
    assert rows(lib.sql("SELECT id, s FROM trades WHERE id > 4 ORDER BY id")) == [(5, "e"), (6, "f"), (7, "g")]
    lib.sql("PREPARE gone AS TRUNCATE trades; EXECUTE gone")
    assert count(lib) == 0


def test_a_transaction_takes_prepared_statements_too(lib):
    lib.sql("PREPARE i AS INSERT INTO trades VALUES (?, 'n', 0); PREPARE n AS SELECT count(*) FROM trades")
    lib.sql("BEGIN; EXECUTE i(10); EXECUTE i(11)")
    assert (rows(lib.sql("EXECUTE n")), len(lib.list_versions("trades"))) == ([(6,)], 2)
    lib.sql("PREPARE late AS SELECT min(id) FROM trades; ROLLBACK")
    assert (rows(lib.sql("EXECUTE n")), rows(lib.sql("EXECUTE late"))) == ([(4,)], [(1,)]), "as DuckDB keeps its own"
    lib.sql("BEGIN; EXECUTE i(10); EXECUTE i(11); COMMIT")
    assert (count(lib), len(lib.list_versions("trades"))) == (6, 3)


def test_only_segments_that_the_values_of_execute_want_are_read(lib, monkeypatch):
    cut_every(monkeypatch, 100)
    lib.write("many", pa.table({"k": pa.array(range(1000)), "s": [f"{at:04}" for at in range(1000)]}))
    lib.sql("PREPARE p AS SELECT count(*) FROM many WHERE k >= $low AND s < $high")
    for low, high, read, found in (
        (0, "9999", 10, 1000),
        (950, "9999", 1, 50),
        (0, "0150", 2, 150),
        (950, "0000", 0, 0),
    ):
        result = lib.sql(f"EXECUTE p(low := {low} + 0, high := '{high}')")
        assert (rows(result), result.figures.segments_read, result.figures.segments_total) == ([(found,)], read, 10)
    assert "1 of 10 segments" in rows(lib.sql("EXPLAIN EXECUTE p(low := 950, high := '9999')"))[-1][1]
    lib.sql("PREPARE d AS DELETE FROM many WHERE k = ?")
    result = lib.sql("EXECUTE d(777)")
    assert (result.figures.segments_read, count(lib, "many")) == (1, 999)


def test_a_name_is_replaced_and_given_up_by_statements_of_both_kinds(lib):
    lib.sql("PREPARE p AS SELECT count(*) FROM trades; PREPARE P AS SELECT 7 * $1")
    assert rows(lib.sql("EXECUTE p(6)")) == [(42,)]
    lib.sql(COUNTED)
    assert rows(lib.sql("EXECUTE p")) == [(4,)]
    for text in ("PREPARE p AS SELECT nope", "PREPARE p AS SELECT nope FROM trades", "PREPARE p AS DROP TABLE trades"):
        with pytest.raises(SqlError, match="nope|DROP"):
            lib.sql(text)
    assert rows(lib.sql("EXECUTE p")) == [(4,)], "one that fails replaces nothing, as in DuckDB"
    for text in ("DEALLOCATE p", "deallocate prepare P"):
        lib.sql(COUNTED)
        lib.sql(text)
        with pytest.raises(SqlError, match='Prepared statement "p" does not exist'):
            lib.sql("EXECUTE p")
    lib.sql("DEALLOCATE p; PREPARE p AS SELECT 1; DEALLOCATE p")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_may_be_anything(lib, name):
    quoted = '"' + name.replace('"', '""') + '"'
    lib.sql(f"PREPARE {quoted} AS SELECT id + ? FROM trades AT VERSION 0 WHERE s <> 'EXECUTE p; $1' ORDER BY ALL")
    assert rows(lib.sql(f"EXECUTE {quoted}(10)")) == [(11,), (12,)]
    with pytest.raises(SqlError, match="Values were not provided"):
        lib.sql(f"EXECUTE {quoted}")
    lib.sql("PREPARE ä AS SELECT 'other' FROM trades LIMIT 1")
    assert len(rows(lib.sql(f"EXECUTE {quoted}(10)"))) == 2, "of letters beyond ASCII, case counts"
    lib.sql(f"DEALLOCATE {quoted}")
    with pytest.raises(SqlError, match="does not exist"):
        lib.sql(f"EXECUTE {quoted}(10)")


def test_prepared_statements_belong_to_the_thread_that_made_them(lib):
    def ask(at: int) -> list[object]:
        lib.sql(f"PREPARE mine AS SELECT {at}, count(*) FROM trades WHERE id > ?")
        return [rows(lib.sql(f"EXECUTE mine({low})"))[0] for low in (0, 2, 3)]

    assert "prepared 'p'" in lib.sql(COUNTED).figures.footer()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ask, range(20))) == [[(at, 4), (at, 2), (at, 1)] for at in range(20)]
        with pytest.raises(SqlError, match='Prepared statement "p" does not exist'):
            pool.submit(lambda: rows(lib.sql("EXECUTE p"))).result()
    assert rows(lib.sql("EXECUTE p")) == [(4,)]


@pytest.mark.parametrize(
    "text",
    [
        *("EXECUTE p", "EXECUTE p(1, 2)", "EXECUTE p((SELECT 1))", "EXECUTE p(id)", "EXECUTE p('ü', nope(3))"),
        *("EXECUTE p(2 +)", "EXECUTE p(x := 3)", "EXECUTE p(sum(1))", "EXECUTE p(*)", "EXECUTE p('a'::INT)"),
        *("EXECUTE p(a.b)", "EXECUTE p(1 AS x)", "EXECUTE q(a := 1)", "EXECUTE q(1, 2)", "EXECUTE q(a := 1, 2)"),
        *(
            "EXECUTE q(a := 1, b := 2, c := 3)",
            "EXECUTE p('zz')",
            "EXECUTE s.p(1)",
            "EXECUTE p(1) x",
            "EXECUTE nope(1)",
        ),
        *(
            "PREPARE z AS SELECT nope FROM trades",
            "PREPARE z(INT) AS SELECT $1 FROM trades",
            "PREPARE 1 AS FROM trades",
        ),
        *("PREPARE z AS SELECT ?, $b FROM trades", "PREPARE z AS FROM trades WHERE", "PREPARE AS FROM trades"),
        *("PREPARE z AS CREATE TABLE y AS FROM trades", "PREPARE z AS PREPARE y AS FROM trades", "PREPARE z AS BEGIN"),
        *(
            "PREPARE z AS MERGE INTO trades t USING trades u USING (id) WHEN MATCHED THEN DELETE",
            "PREPARE z FROM trades",
        ),
    ],
)
def test_errors_are_those_of_duckdb_with_their_place(lib, plain, text):
    for connection in (lib, plain):
        connection.sql("PREPARE p AS FROM trades WHERE id > $1")
        connection.sql("PREPARE q AS SELECT $a, $b FROM trades")
    with pytest.raises(duckdb.Error) as theirs:
        plain.sql(text).fetchall()
    with pytest.raises(SqlError) as ours:
        rows(lib.sql(f"SELECT 1;\n{text}"))
    message = duckdb_message(theirs.value)
    assert message.partition("\n")[0] in str(ours.value)
    if text.startswith(("EXECUTE p", "EXECUTE q")) and text != "EXECUTE p('zz')":
        assert f"\nline 2, column {ours.value.offset - 9}: {text}\n" in str(ours.value)
    assert rows(lib.sql("EXECUTE p(3)")) == [(4, None, 4.5)], "the session goes on"


def duckdb_message(error: duckdb.Error) -> str:
    from duckvstore.sql.driver import duckdb_errors

    return duckdb_errors.take_apart(error).message


def test_what_cannot_be_prepared_says_so(lib):
    for text, place in (
        ("PREPARE m AS MERGE INTO trades USING trades AT VERSION 0 o USING (id) WHEN MATCHED THEN DELETE", 14),
        ("PREPARE m AS CREATE TABLE y AS FROM trades AT VERSION 0", 14),
        ("PREPARE m AS EXPLAIN FROM trades AT VERSION ?", 14),
    ):
        with pytest.raises(SqlError, match=f"PREPARE is for queries.*\nline 1, column {place}: "):
            lib.sql(text)
    with pytest.raises(SqlError, match=r"number them all.*\nline 1, column 24: "):
        lib.sql("PREPARE m AS SELECT ?, $2 FROM trades AT VERSION ?")
    with pytest.raises(SqlError, match="cannot read this SQL"):
        lib.sql("PREPARE m AS SELEC id FROM trades AT VERSION 0")
    with pytest.raises(SqlError, match="AT VERSION: expected a whole number"):
        lib.sql("PREPARE m AS FROM trades AT VERSION 'x'")
    with pytest.raises(DuckVStoreError):
        lib.sql("PREPARE a AS " * 5000 + "FROM trades")
    lib.sql("PREPARE p AS FROM trades WHERE id = ?")
    with pytest.raises(SqlError, match=r"EXECUTE takes constants.*\nline 1, column 11: "):
        lib.sql("EXECUTE p(?)", [1])


def test_parameters_of_a_prepared_statement_are_not_those_of_the_call(lib):
    text = "PREPARE p AS SELECT count(*) FROM trades WHERE id > ?; EXECUTE p(2); SELECT ? + 1"
    assert rows(lib.sql(text, [41])) == [(42,)]
    text = "PREPARE p AS SELECT $v + $v FROM trades LIMIT 1; EXECUTE p(v := 2); SELECT $v"
    assert rows(lib.sql(text, {"v": 1})) == [(1,)]


def test_a_result_stays_what_it_was_when_its_statement_runs_again(lib):
    lib.sql("PREPARE p AS SELECT id + ? AS n FROM trades ORDER BY id")
    first, second = lib.sql("EXECUTE p(0)"), lib.sql("EXECUTE p(10)")
    lib.sql("PREPARE p AS SELECT 'new' FROM trades; DEALLOCATE p; DELETE FROM trades")
    assert (rows(first), rows(second)) == ([(1,), (2,), (3,), (4,)], [(11,), (12,), (13,), (14,)])


def test_statements_over_several_libraries_of_a_store(tmp_path):
    store = vs.open(tmp_path / "store")
    for name in ("a", "b"):
        store.create_library(name).write("trades", ROWS)
    store.sql("PREPARE p AS SELECT count(*) FROM a.trades JOIN b.trades AT VERSION ? USING (id) WHERE id > ?")
    store.sql("PREPARE i AS INSERT INTO b.trades SELECT id + $by, s, x FROM a.trades; EXECUTE i(by := 10)")
    assert rows(store.sql("EXECUTE p(0, 2)")) == [(2,)]
    assert rows(store.sql("SELECT count(*) FROM b.trades")) == [(8,)]
    with pytest.raises(SqlError, match="which library is trades of"):
        store.sql("PREPARE p AS FROM trades AT VERSION ?; EXECUTE p(1)")


def test_a_read_only_connection_prepares_and_changes_nothing(lib):
    with lib.connect(read_only=True) as connection:
        cursor = connection.cursor()
        cursor.execute("PREPARE p AS SELECT count(*) FROM trades WHERE id > $1")
        assert cursor.execute("EXECUTE p(1)").fetchall() == [(3,)]
        cursor.execute("PREPARE i AS DELETE FROM trades WHERE id = ?")
        with pytest.raises(Exception, match="read-only"):
            cursor.execute("EXECUTE i(1)")
    assert count(lib) == 4
