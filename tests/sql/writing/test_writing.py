"""Statements that make versions: what they do is what DuckDB does to a table, and each makes one version."""

from __future__ import annotations

import threading
from datetime import date
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.errors import (
    AlreadyExists,
    Conflict,
    DuckVStoreError,
    InvalidInput,
    NoSuchSnapshot,
    NoSuchSymbol,
    NoSuchVersion,
    SqlError,
    caret,
)
from duckvstore.objects.memory import MemoryObjects
from duckvstore.sql.writing import row_change
from tests.counting import CountingObjects
from tests.sizes import sized

ROWS = """SELECT * FROM (VALUES
    (1, 'a', 1.5, DATE '2026-01-01', [1, 2]), (2, 'b', 'nan'::DOUBLE, NULL, NULL),
    (3, NULL, -0.0, DATE '2026-01-03', []),
    (4, 'd''x', NULL, DATE '2026-01-04', [NULL]), (2, 'b', 2.5, DATE '2026-01-02', [7]))
    AS t(id, s, v, d, l)"""
OTHER = "SELECT * FROM (VALUES (2, 20.0, 'two'), (4, 40.0, 'four'), (9, 90.0, 'nine')) AS o(id, w, label)"

STATEMENTS = [
    "INSERT INTO t VALUES (7, 'g', 7.0, DATE '2026-07-07', [7])",
    "INSERT INTO t (v, id) VALUES (1, 2), (NULL, 3)",
    "INSERT INTO t BY NAME SELECT 'n' AS s, 5 AS id",
    "INSERT INTO t AS x SELECT id + 10, s, v, d, l FROM t WHERE id > 1 RETURNING x.id, *",
    "INSERT INTO t DEFAULT VALUES",
    "WITH c AS (SELECT id, label FROM o) INSERT INTO t (id, s) FROM c",
    "INSERT INTO t SELECT * FROM t",
    "INSERT INTO t SELECT * FROM t WHERE false",
    "INSERT INTO t (id) VALUES ('12')",
    "DELETE FROM t",
    "DELETE FROM t WHERE id = 2",
    "DELETE FROM t WHERE id = 77",
    "DELETE FROM t AS x USING o WHERE x.id = o.id AND o.w > 20 RETURNING x.id, s",
    "DELETE FROM t WHERE v > (SELECT avg(v) FROM t WHERE NOT isnan(v))",
    "DELETE FROM t WHERE EXISTS (FROM o WHERE o.id = t.id) RETURNING *",
    "DELETE FROM t WHERE id > 1 RETURNING t",
    "DELETE FROM t AS x WHERE id > 1 RETURNING id + 1 AS next, upper(x.s), /* c */ [x.id] -- all",
    "DELETE FROM t WHERE id > 1 RETURNING (SELECT max(w) FROM o)",
    "WITH keys AS (SELECT 2 AS id) DELETE FROM t USING keys WHERE t.id = keys.id RETURNING t.*",
    "DELETE FROM t RETURNING nope",
    "DELETE FROM t USING o WHERE t.id = o.id RETURNING o.w",
    "WITH c AS (SELECT 3 AS k) DELETE FROM t WHERE id IN (SELECT k FROM c)",
    "DELETE FROM t USING o, range(1000) r WHERE o.id = t.id",
    "DELETE FROM t USING t AS y, range(3000) r WHERE y.id = t.id - 1",
    "TRUNCATE t",
    "UPDATE t SET v = v + 1",
    "UPDATE t SET v = NULL, s = upper(s) WHERE id < 3 RETURNING *",
    "UPDATE t SET l = list_append(l, 9), id = id * 10 WHERE s = 'b'",
    "UPDATE t AS x SET s = o.label, v = o.w FROM o WHERE o.id = x.id AND x.id > 2",
    "UPDATE t SET d = d + INTERVAL 1 DAY WHERE d IS NOT NULL",
    "UPDATE t SET s = DEFAULT",
    "UPDATE t SET v = 0 RETURNING * EXCLUDE v",
    "UPDATE t SET v = 0 RETURNING * EXCLUDE (s, d, l, v)",
    "UPDATE t SET v = 0 RETURNING * REPLACE (v + 1 AS v), t.* EXCLUDE (id)",
    "UPDATE t SET v = 0 RETURNING id, id, v + 1, *, COLUMNS(*)::VARCHAR, COLUMNS('i|v') AS x",
    "UPDATE t SET v = 0 WHERE id < 3 RETURNING t, hash(t), [*COLUMNS(* EXCLUDE (s, d, l))], to_json(t) AS j",
    "UPDATE t AS x SET v = id FROM o WHERE o.id = x.id RETURNING x, x.id AS id, -- all",
    "WITH c AS (SELECT 3 AS k) UPDATE t SET v = 7 WHERE id IN (SELECT k FROM c) RETURNING id + 1 AS next, t.v",
    "UPDATE t SET v = 0 WHERE false RETURNING *, 1 AS one",
    "DELETE FROM t RETURNING id, id, v + 1, COLUMNS('i|v') AS x, hash(t)",
    "INSERT INTO t (id) VALUES (7) RETURNING t.id, main.t.v, t.*, id, [*COLUMNS('i|v')]",
    "INSERT INTO t SELECT t.* FROM t WHERE t.id > 2 RETURNING t.id + 1, s",
    "MERGE INTO t USING o USING (id) WHEN MATCHED THEN UPDATE SET v = w RETURNING merge_action, *, COLUMNS('i|v')",
    "MERGE INTO t USING o USING (id) WHEN MATCHED THEN DELETE RETURNING id, merge_action, t.v + 1",
    "UPDATE t SET (id, s) = (id + 1, 'both') WHERE id = 1",
    "UPDATE t SET v = (SELECT max(w) FROM o WHERE o.id = t.id)",
    "UPDATE t SET v = v WHERE id = 77",
    (
        "MERGE INTO t USING o ON t.id = o.id WHEN MATCHED AND t.id = 4 THEN UPDATE SET v = o.w "
        "WHEN NOT MATCHED THEN INSERT (id, s) VALUES (o.id, o.label)"
    ),
    "MERGE INTO t AS x USING (SELECT id AS k FROM o) AS y ON x.id = y.k WHEN MATCHED THEN DELETE",
    "MERGE INTO t USING o ON t.id = o.id WHEN NOT MATCHED BY SOURCE THEN DELETE",
    (
        "MERGE INTO t USING (SELECT 5 AS id, 'e' AS s, 5.5 AS v, DATE '2026-05-05' AS d, [5] AS l) u USING (id) "
        "WHEN MATCHED THEN UPDATE WHEN NOT MATCHED THEN INSERT"
    ),
    (
        "MERGE INTO t USING (SELECT 4 AS id, 'e' AS s, 5.5 AS v, DATE '2026-05-05' AS d, [5] AS l) USING (id) "
        "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    ),
    (
        "MERGE INTO t USING (SELECT 'e' AS s, 4 AS id) u USING (id) WHEN MATCHED THEN UPDATE BY NAME "
        "WHEN NOT MATCHED THEN INSERT BY NAME RETURNING merge_action, id"
    ),
    "MERGE INTO t USING o USING (id) WHEN NOT MATCHED THEN INSERT VALUES (o.id, o.label, o.w, NULL, [1])",
    "MERGE INTO t USING o USING (id) WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
    "CREATE OR REPLACE TABLE t AS SELECT id, count(*) AS n FROM t GROUP BY id",
    "CREATE OR REPLACE TABLE t (a, b) AS SELECT id, v, v FROM t WHERE id > 1",
    "CREATE OR REPLACE TABLE t (x INTEGER, y VARCHAR[], z DECIMAL(10, 2))",
    "CREATE TABLE IF NOT EXISTS t AS SELECT 1 AS one",
    # Each of these fails in both.
    "TRUNCATE t, o",
    "DROP TABLE t, o",
    "DROP TABLE IF EXISTS t, missing",
    "CREATE OR REPLACE TABLE IF NOT EXISTS t (x INTEGER)",
    "CREATE OR REPLACE TABLE t (x BIGINT) AS SELECT 1",
    "INSERT INTO t VALUES (1)",
    "INSERT INTO t (id) VALUES ('x')",
    "INSERT INTO t (nope) VALUES (1)",
    "UPDATE t SET nope = 1",
    "UPDATE t SET id = 's'",
    "UPDATE t SET v = 0 RETURNING * EXCLUDE (id, s, v, d, l)",
    "UPDATE t SET v = 0 RETURNING * EXCLUDE nope",
    "UPDATE t SET v = 0 RETURNING CAST(s AS INTEGER)",
    "UPDATE t SET v = 0 RETURNING CASE WHEN id = 4 THEN error('late') END",
    "UPDATE t SET v = 0 RETURNING sum(id)",
    "UPDATE t SET v = 0 RETURNING row_number() OVER ()",
    "UPDATE t SET v = 0 RETURNING (SELECT max(w) FROM o)",
    "UPDATE t SET v = o.w FROM o WHERE o.id = t.id RETURNING o.w",
    "INSERT INTO t (id) VALUES (7), (8) RETURNING CASE WHEN id = 8 THEN error('late') END",
    "INSERT INTO t (id) VALUES (7) RETURNING * EXCLUDE (id, s, v, d, l)",
    "DELETE FROM t RETURNING CASE WHEN id = 4 THEN error('late') END",
    "DELETE FROM t RETURNING * EXCLUDE (id, s, v, d, l)",
    "DELETE FROM t RETURNING count(*)",
    "MERGE INTO t USING o USING (id) WHEN MATCHED THEN UPDATE SET v = w RETURNING * EXCLUDE (id, s, v, d, l)",
    "MERGE INTO t USING o USING (id) WHEN MATCHED THEN DELETE RETURNING CASE WHEN id = 4 THEN error('late') END",
    "CREATE OR REPLACE TABLE t AS SELECT CASE WHEN id = 4 THEN error('late') END AS id FROM t",
    "DELETE FROM t WHERE nope",
    "MERGE INTO t USING o ON t.id = o.id WHEN NOT MATCHED THEN INSERT",
    "MERGE INTO t USING o ON t.id = o.id WHEN MATCHED THEN UPDATE",
    "MERGE INTO t USING (SELECT 2 AS id, 'x', 1, NULL, [], 7) u USING (id) WHEN MATCHED THEN UPDATE SET *",
    "INSERT INTO missing VALUES (1)",
    "CREATE TABLE t AS SELECT 1 AS one",
]


@pytest.fixture
def lib():
    library = vs.Store(MemoryObjects("writing")).create_library("eod")
    yield library
    library.session.close()


@pytest.fixture
def plain():
    with duckdb.connect(":memory:") as connection:
        yield connection


def contents(run, name="t"):
    """Return the names, types and rows of a table, in order where that can be told."""
    found = run(f"FROM {name}")
    return list(found.columns), [str(kind) for kind in found.types], sorted(map(repr, found.fetchall()))


def outcome(run, statement, name="t"):
    """Return the rows of RETURNING (None without) and the contents after; an error has none."""
    try:
        found = run(statement)
    except (duckdb.Error, DuckVStoreError):
        return "error", contents(run, name)
    returned = (list(found.columns), sorted(map(repr, found.fetchall()))) if "RETURNING" in statement else None
    return returned, contents(run, name)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_does_what_duckdb_does_to_a_table(lib, plain, statement):
    """The same rows, the same RETURNING, the same refusals; and a refusal makes no version."""
    for run in (lib.sql, plain.sql):
        run(f"CREATE TABLE t AS {ROWS}")
        run(f"CREATE TABLE o AS {OTHER}")
    before = len(lib.list_versions())
    ours, theirs = outcome(lib.sql, statement), outcome(plain.sql, statement)
    assert ours == theirs
    made = len(lib.list_versions()) - before
    assert made <= 1
    assert made == 0 or ours[0] != "error"


@pytest.mark.parametrize(
    ("statement", "count"),
    [
        ("INSERT INTO t SELECT range, 'r', range, NULL, NULL FROM range(4)", 4),
        ("UPDATE t SET v = 0 WHERE id = 2", 2),
        ("DELETE FROM t WHERE id > 2", 2),
        ("MERGE INTO t USING range(3, 6) r(id) USING (id) WHEN MATCHED THEN DELETE", 2),
        ("CREATE OR REPLACE TABLE t AS FROM range(7)", 7),
        ("DELETE FROM t WHERE false", 0),
    ],
)
def test_a_statement_returns_how_many_rows_it_touched(lib, statement, count):
    """As DuckDB does; and the figures name the version that was made, if one was."""
    lib.sql(f"CREATE TABLE t AS {ROWS}")
    result = lib.sql(statement)
    assert (result.columns, result.fetchall()) == (["Count"], [(count,)])
    assert [(made.symbol, made.version) for made in result.figures.made] == ([("t", 1)] if count else [])


def test_delete_gives_back_each_row_once_however_often_it_is_found(lib):
    """DuckDB 1.5.5 itself crashes in such a RETURNING, or leaves rows behind."""
    lib.sql("CREATE TABLE t AS SELECT range AS id FROM range(5)")
    found = lib.sql("DELETE FROM t USING range(3000) r WHERE t.id > r.range % ? RETURNING id, t", [4])
    assert found.fetchall() == [(number, {"id": number}) for number in range(1, 5)]
    assert lib.sql("FROM t").fetchall() == [(0,)]


def test_copies_of_segments_are_let_go_after_every_statement(lib):
    """A store that DuckDB cannot scan in place: what a statement needed does not stay for good."""
    lib.sql("CREATE TABLE t AS SELECT range AS id FROM range(5); CREATE TABLE o AS SELECT 1 AS id")
    for statement in (
        "DELETE FROM t USING o WHERE t.id = o.id RETURNING t.id",
        "DELETE FROM t USING o WHERE t.id = o.id + 1",
        "UPDATE t SET id = 7 FROM o WHERE t.id = o.id + 2 RETURNING t.id",
        "MERGE INTO t USING o USING (id) WHEN NOT MATCHED THEN INSERT",
        "INSERT INTO t FROM o",
    ):
        lib.sql(statement).fetchall()
        assert [copy.leases for copy in lib.session._files._copies.values()] == [0], statement
    with pytest.raises(vs.SqlError):
        lib.sql("DELETE FROM t USING o WHERE t.id = o.id RETURNING error('boom')").fetchall()
    assert [copy.leases for copy in lib.session._files._copies.values()] == [0]


def test_a_result_says_what_its_statements_did(lib):
    """In one line, for all statements of the text; the count is there for code."""
    lib.sql("CREATE TABLE t AS SELECT range AS v FROM range(3)")
    updated = lib.sql("UPDATE t SET v = v + 1 WHERE true")
    count = updated.fetchall()[0][0]
    version = lib.list_versions("t", latest_only=True)
    (newest,) = (pair.version for pair in version)
    assert repr(updated).startswith(f"made t v{newest} · ")
    assert f"{count} rows changed" in repr(updated)
    assert f"{count} rows changed" in updated._repr_html_()
    script = lib.sql("BEGIN; DELETE FROM t; CREATE TABLE other AS SELECT 1 AS n; COMMIT; CREATE SNAPSHOT done")
    assert f"made other v0 · made t v{newest + 1}" in repr(script)
    assert "created snapshot 'done'" in repr(script)
    assert "rows" not in repr(script)
    assert "created view 'v'" in repr(lib.sql("CREATE VIEW v AS FROM other"))
    assert "dropped snapshot 'done'" in repr(lib.sql("DROP SNAPSHOT done"))


def test_the_sql_is_the_message_unless_another_is_given(lib):
    """Long statements are cut."""
    lib.sql("CREATE TABLE t AS SELECT 1 AS a")
    lib.sql("UPDATE t\nSET a = 2", message="corrected")
    lib.sql(f"INSERT INTO t VALUES {', '.join(['(1)'] * 1000)}")
    found = lib.sql("SELECT message, operation FROM vstore.versions ORDER BY version").fetchall()
    assert found[:2] == [("CREATE TABLE t AS SELECT 1 AS a", "write"), ("corrected", "update")]
    assert found[2][0].startswith("INSERT INTO t VALUES (1), (1)")
    assert len(found[2][0]) < 1100


# -- what is stored ----------------------------------------------------------------------------------------------------


def frame(rows=1000, start="2026-01-01"):
    index = pd.date_range(start, periods=rows, freq="h", name="time")
    return pd.DataFrame({"id": np.arange(rows), "price": np.arange(rows) / 4, "sym": ["a", "b"] * (rows // 2)}, index)


def test_rows_are_inserted_where_their_time_belongs(lib):
    """So a sorted DatetimeIndex stays sorted, and update() and date_range still work."""
    data = frame(10)
    lib.write("trades", data)
    lib.sql("INSERT INTO trades VALUES ('2026-01-01 02:30', 100, 1, 'x'), ('2025-12-31', 101, 2, 'x')")
    lib.sql("INSERT INTO trades VALUES ('2026-02-01', 102, 3, 'end')")
    lib.sql("UPDATE trades SET time = TIMESTAMP '2026-03-01' WHERE id = 0")
    found = lib.read("trades").data
    assert found.index.is_monotonic_increasing
    assert list(found["id"]) == [101, 1, 2, 100, 3, 4, 5, 6, 7, 8, 9, 102, 0]
    lib.update("trades", data.iloc[4:6] * 1)
    assert len(lib.read("trades", date_range=("2026-02-01", None)).data) == 2


def test_a_row_without_a_time_is_refused_where_the_index_must_ascend(lib):
    """Unless the library does not check: then the index is no longer known to ascend."""
    lib.write("trades", frame(4))
    with pytest.raises(InvalidInput, match="no time in 'time'"):
        lib.sql("INSERT INTO trades (id) VALUES (1)")
    lib.set_options(validate_index=False)
    lib.sql("INSERT INTO trades (id) VALUES (1)")
    assert lib.read("trades").data.index.isna().sum() == 1


def test_only_segments_with_matching_rows_are_written_again(monkeypatch):
    """And only those that may match are read."""
    counting = CountingObjects(MemoryObjects("touched"))
    lib = vs.Store(counting).create_library("eod", segment_bytes=64 * 1024)
    lib.write("trades", frame(40_000))
    total = lib.get_description("trades").segment_count
    assert total > 10
    counting.reset()
    made = lib.sql("UPDATE trades SET price = -1 WHERE time = TIMESTAMP '2026-02-01 05:00'")
    assert made.figures.segments_read == 1
    assert made.figures.segments_total == total
    assert counting.counts["read"] <= 3
    monkeypatch.setattr(row_change, "ASKED_BYTES_MIN", 0)
    assert lib.sql("DELETE FROM trades WHERE price % 9999 = 9998").figures.segments_read == 1, "no bound tells"
    upsert = "MERGE INTO trades USING (SELECT 77 AS id) s USING (id) WHEN MATCHED THEN UPDATE SET price = 0"
    assert lib.sql(upsert).figures.segments_read == 1
    frame_of_keys = pd.DataFrame({"id": [3, 39_990]})  # noqa: F841 - named in the SQL
    joined = lib.sql("DELETE FROM trades AS t USING frame_of_keys f WHERE t.id = f.id RETURNING t.id")
    assert (sorted(joined.fetchall()), joined.figures.segments_read) == ([(3,), (39990,)], 2)
    for statement in (
        "DELETE FROM trades WHERE id = 20000",
        "MERGE INTO trades USING (SELECT 100 AS id) s USING (id) WHEN MATCHED THEN UPDATE SET price = 0",
        "INSERT INTO trades VALUES ('2026-02-01 05:30', 1, 1, 'z')",
        "DELETE FROM trades WHERE price = -1 AND sym = 'b'",
    ):
        before = {row[0] for row in segments(lib)}
        lib.sql(statement)
        after = {row[0] for row in segments(lib)}
        assert len(after - before) <= 2, statement
        assert len(before & after) >= total - 2, statement
    lib.session.close()


def segments(lib):
    newest = "(SELECT max(version) FROM vstore.versions)"
    return lib.sql(f"SELECT key FROM vstore.segments WHERE version = {newest}").fetchall()


def test_values_that_duckdb_shows_coarsely_are_kept():
    """Rows that a statement leaves alone, and columns that it does not set, keep what is stored to the nanosecond."""
    lib = vs.open("memory://coarse").create_library("eod")
    times = pd.DatetimeIndex(["2026-01-01 00:00:00.000000123", "1950-01-01 00:00:00.000000789"]).tz_localize(
        "Asia/Tokyo"
    )
    data = pd.DataFrame(
        {
            "when": times,
            "took": pd.to_timedelta([1_000_000_007, -5], "ns"),
            "grade": pd.Categorical(["b", "a"], categories=["z", "b", "a"], ordered=True),
            "half": np.array([1.5, 2], dtype=np.float16),
            "n": [1, 2],
        }
    )
    lib.write("t", data)
    lib.sql("UPDATE t SET n = n + 10, grade = 'z' WHERE n = 1")
    expected = data.assign(n=[11, 2], grade=pd.Categorical(["z", "a"], categories=["z", "b", "a"], ordered=True))
    pd.testing.assert_frame_equal(lib.read("t").data, expected)
    lib.sql("UPDATE t SET \"when\" = TIMESTAMPTZ '2026-05-05 00:00:00+00', took = INTERVAL 3 SECOND WHERE n = 11")
    changed = lib.read("t").data
    assert changed["when"][0] == pd.Timestamp("2026-05-05", tz="UTC")
    assert changed["when"][1] == times[1]
    assert list(changed["took"]) == [pd.Timedelta("3s"), pd.Timedelta(-5, "ns")]
    lib.sql("UPDATE t SET took = INTERVAL 0 SECOND, \"when\" = TIMESTAMPTZ '1950-01-01 00:00:00+09' WHERE n = 2")
    zeroed = lib.read("t").data.iloc[1]
    assert (zeroed["took"], zeroed["when"]) == (pd.Timedelta(0), pd.Timestamp("1950-01-01", tz="Asia/Tokyo"))
    with pytest.raises(InvalidInput, match="'grade'.*ordered categorical without the value 'unknown'"):
        lib.sql("UPDATE t SET grade = 'unknown' WHERE n = 2")
    lib.session.close()


def test_nested_values_are_kept_whole_too(lib):
    """A row whose other columns change keeps the nanoseconds in its lists and structs, and their durations."""
    zoned = pa.timestamp("ns", "UTC")
    first = pa.table(
        {
            "k": [1, 2, 3],
            "times": pa.array([[1001, None], None, [7]], pa.list_(zoned)),
            "pair": pa.array([{"at": 1, "took": 2001}, None, {"at": None, "took": 5}])
            .cast(pa.struct([("at", pa.int64()), ("took", pa.int64())]))
            .cast(pa.struct([("at", zoned), ("took", pa.duration("ns"))])),
        }
    )
    lib.write("t", first)
    lib.sql("UPDATE t SET k = k + 10 WHERE k < 3")
    lib.sql("MERGE INTO t USING (SELECT 3 AS k) s USING (k) WHEN MATCHED THEN UPDATE SET k = 13")
    expected = first.set_column(0, "k", pa.array([11, 12, 13]))
    assert lib.read("t").data.equals(expected)
    lib.sql("UPDATE t SET times = [TIMESTAMPTZ '2026-01-01 00:00:00+00'] WHERE k = 12")
    assert lib.read("t").data.column("pair").equals(expected.column("pair"))
    times = lib.read("t").data.column("times").cast(pa.list_(pa.int64())).to_pylist()
    assert times == [[1001, None], [1767225600 * 10**9], [7]]


def test_merge_sets_what_differs_only_by_collation_or_sign(lib):
    """What DuckDB takes for equal is not the same to whoever reads it."""
    lib.sql("CREATE TABLE t AS SELECT 1 AS k, 'a' AS s, 0.0::DOUBLE AS v, ['x'] AS l")
    lib.sql("SET default_collation = 'NOCASE'")
    lib.sql(
        "MERGE INTO t USING (SELECT 1 AS k, 'A' AS s, '-0.0'::DOUBLE AS v, ['x'] AS l) u USING (k) "
        "WHEN MATCHED THEN UPDATE"
    )
    lib.sql("MERGE INTO t USING (SELECT 1 AS k) u USING (k) WHEN MATCHED THEN UPDATE SET l = ['X']")
    lib.sql("RESET default_collation")
    assert repr(lib.sql("FROM t").fetchall()) == "[(1, 'A', -0.0, ['X'])]"


MONTHS = pd.PeriodIndex(["2026-01", "2026-02"], freq="M")
SPANS = pd.IntervalIndex.from_tuples([(0, 2), (2, 5)])


@pytest.mark.parametrize(
    ("labels", "value", "added"),
    [
        (MONTHS, "'2026-05-01'", pd.Period("2026-05", "M")),
        (SPANS, "{'left': 5, 'right': 9}", pd.Interval(5, 9)),
        (pd.DatetimeIndex(["2026", "2027"], tz="Europe/Paris"), "'2028-01-01'", pd.Timestamp("2028-01-01", tz="UTC")),
    ],
    ids=["periods", "intervals", "times in a zone"],
)
def test_categories_that_are_stored_as_something_else(lib, labels, value, added):
    """What a statement leaves stays as it was, and a new value becomes a category of their kind."""
    frame = pd.DataFrame({"n": [1, 2, 3], "c": pd.Categorical.from_codes([0, 1, -1], labels)})
    lib.write("t", frame)
    lib.sql("UPDATE t SET n = n + 1 WHERE n > 1")
    pd.testing.assert_frame_equal(lib.read("t").data, frame.assign(n=[1, 3, 4]))
    lib.sql("SET TimeZone = 'UTC'")
    lib.sql(f"UPDATE t SET c = {value} WHERE n = 4")
    found = lib.read("t").data["c"]
    assert list(found.cat.categories) == [*labels, added]
    assert found.astype(object).tolist() == [*labels, added]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (pd.Categorical(MONTHS), "'2026-05-15'"),
        (pd.Categorical(SPANS), "{'left': 9, 'right': 5}"),
        (SPANS, "{'left': 9, 'right': 5}"),
        (pd.Categorical([1.5, 2.5]), "'nan'"),
    ],
    ids=[
        "a day of a month",
        "a category that ends before it begins",
        "an interval that does",
        "a category that is NaN",
    ],
)
def test_no_statement_stores_what_pandas_could_not_read(lib, column, value):
    lib.write("t", pd.DataFrame({"n": [1, 2], "c": column}))
    with pytest.raises(InvalidInput, match=r"column 'c' of 'eod/t' .*write\(\) the column"):
        lib.sql(f"UPDATE t SET c = {value} WHERE n = 1")
    assert len(lib.list_versions("t")) == 1


@pytest.mark.parametrize("is_index", [False, True], ids=["column", "index"])
@pytest.mark.parametrize(
    ("freq", "value", "start"),
    [
        ("M", "2026-02-15", "2026-02-01"),
        ("W-SUN", "2026-02-15", "2026-02-09"),
        ("h", "2026-02-15 10:20", "2026-02-15 10:00"),
    ],
)
def test_a_time_within_a_period_is_refused_and_its_start_is_taken(lib, freq, value, start, is_index):
    """SQL would show the time, and pandas the period; a row that lacks one has neither."""
    frame = pd.DataFrame({"c": pd.period_range("2026-01-01", periods=2, freq=freq), "n": [1, 2]})
    lib.write("t", frame.set_index("c") if is_index else frame)
    for text in ("INSERT INTO t (c, n) VALUES ('{}', 3)", "UPDATE t SET c = '{}' WHERE n = 2"):
        with pytest.raises(InvalidInput, match=rf"column 'c' of 'eod/t' .*{value}.* is not the start .*give {start}"):
            lib.sql(text.format(value))
        lib.sql(text.format(start))
    found = lib.read("t").data.reset_index().sort_values("n")
    assert found["c"].tolist() == [frame["c"][0], *[pd.Period(value, freq)] * 2]
    seen = lib.sql("SELECT c FROM t ORDER BY n").fetchall()
    assert [pd.Timestamp(row[0]) for row in seen] == [period.start_time for period in found["c"]]


def test_no_infinite_time_is_stored_in_a_column_of_periods(lib):
    """They have none; a missing one is one."""
    lib.write("t", pd.DataFrame({"c": MONTHS, "n": [1, 2]}))
    for value in ("infinity", "-infinity"):
        with pytest.raises(InvalidInput, match="column 'c' of 'eod/t' has"):
            lib.sql(f"UPDATE t SET c = '{value}' WHERE n = 1")
    lib.sql("UPDATE t SET c = NULL WHERE n = 1")
    assert lib.read("t").data["c"].tolist() == [pd.NaT, MONTHS[1]]


def test_a_pandas_dtype_takes_what_sql_stores(lib):
    """As in an append: a new category becomes one, and a missing whole number makes the column nullable."""
    index = pd.CategoricalIndex(["x", "y"], name="key")
    data = pd.DataFrame({"sym": pd.Categorical(["a", "b"]), "grade": pd.Categorical([1, 2]), "n": [1, 2]}, index=index)
    lib.write("t", data)
    lib.sql("INSERT INTO t VALUES ('z', 'c', 7, NULL), ('x', NULL, NULL, 5)")
    lib.sql("UPDATE t SET sym = 'new' WHERE n = 2")
    found = lib.read("t").data
    assert list(found.index) == ["x", "y", "z", "x"]
    assert list(found["sym"].cat.categories) == ["a", "b", "c", "new"]
    assert found["sym"].astype(object).where(found["sym"].notna(), None).tolist() == ["a", "new", "c", None]
    assert list(found["grade"].cat.categories) == [1, 2, 7]
    assert (str(found["n"].dtype), found["n"].fillna(-1).tolist()) == ("Int64", [1, 2, -1, 5])
    lib.write("s", pd.Series([1, 2], name="v", index=pd.date_range("2026-01-01", periods=2, name="at")))
    lib.sql("INSERT INTO s VALUES ('2026-01-01 12:00', NULL)")
    assert lib.read("s").data.fillna(0).tolist() == [1, 0, 2]
    lib.append("t", data)
    lib.append("s", pd.Series([9], name="v", index=pd.date_range("2026-03-01", periods=1, name="at")))


TYPES = {
    "uint64": pa.array([2**64 - 1, None], pa.uint64()),
    "half": pa.array([1.5, None], pa.float16()),
    "wide decimal": pa.array([Decimal("12345678901234567890123456789012345.67"), None], pa.decimal256(38, 2)),
    "date64": pa.array([date(2026, 1, 1), None], pa.date64()),
    "seconds": pa.array([5, None], pa.int64()).cast(pa.timestamp("s", "UTC")),
    "duration": pa.array([5, None], pa.int64()).cast(pa.duration("ms")),
    "bytes": pa.array([b"ab\0d", None], pa.binary(4)),
    "codes": pa.array(["a", None]).dictionary_encode(),
    "fixed list": pa.array([[1, 2], None], pa.list_(pa.int16(), 2)),
    "struct": pa.array([{"a": 1, "b": "x"}, None]),
    "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
    "uuid": pa.array([bytes(range(16)), None], pa.binary(16)).cast(pa.uuid()),
    "null": pa.nulls(2),
}


@pytest.mark.parametrize("name", TYPES)
def test_every_type_goes_through_and_stays_what_it_is(lib, name):
    """Rows that another column's change carries along, and rows that are inserted."""
    first = pa.table({"k": [1, 2], "v": TYPES[name]})
    second = first.set_column(0, "k", pa.array([2, 3]))
    lib.write("t", first)
    lib.sql("UPDATE t SET k = k + 1")
    assert lib.read("t").data.equals(second)
    lib.sql("INSERT INTO t SELECT * FROM t AT VERSION 0")
    assert lib.read("t").data.equals(pa.concat_tables([second, first]))


def test_a_query_larger_than_memory_streams_into_a_symbol(lib):
    """CREATE TABLE AS pulls rows as it stores them: 4 million rows, never all at once."""
    lib.sql("CREATE TABLE big AS SELECT range AS n, range::VARCHAR AS s FROM range(4_000_000)")
    assert lib.sql("SELECT count(*), sum(n), count(DISTINCT s) FROM big").fetchall() == [
        (4_000_000, 7999998000000, 4_000_000)
    ]
    assert lib.get_description("big").segment_count > 3


def test_the_schema_main_is_where_symbols_are_for_statements_that_change_them_too(lib):
    """What FROM main.t reads is what INSERT INTO main.t adds to; and nothing is kept in DuckDB alone in silence."""
    lib.sql(
        "CREATE TABLE main.made AS SELECT 1 AS n; INSERT INTO main.made VALUES (2); UPDATE eod.main.made SET n = n + 1"
    )
    assert lib.read("made", output_format="pyarrow").data["n"].to_pylist() == [2, 3]
    lib.sql(
        "DELETE FROM main.made WHERE n = 2; CREATE TEMP TABLE own AS SELECT 5 AS n; INSERT INTO temp.main.own SELECT 6"
    )
    assert lib.sql("FROM main.made UNION ALL FROM temp.main.own ORDER BY n").fetchall() == [(3,), (5,), (6,)]
    lib.sql("DROP TABLE main.made")
    assert "made" not in lib.list_symbols()
    with pytest.raises(vs.SqlError, match=r"main\.none|none"):
        lib.sql("INSERT INTO main.none VALUES (1)")


def test_copy_from_a_file_appends(lib, tmp_path):
    """COPY symbol FROM file is an INSERT of its rows."""
    path = tmp_path / "new.csv"
    path.write_text("a,b\n1,x\n2,y\n")
    lib.sql("CREATE TABLE t (a INTEGER, b VARCHAR)")
    lib.sql(f"COPY t FROM '{path}' (HEADER)")
    assert lib.sql("FROM t").fetchall() == [(1, "x"), (2, "y")]


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.arange(4), "ndarray"), ({"a": frame(2)}, "nested")],
)
def test_rows_of_other_values_cannot_be_edited(lib, value, message):
    """An array or a dict of frames has no rows to insert or delete; DROP and CREATE OR REPLACE work."""
    lib.write("x", value)
    with pytest.raises((InvalidInput, SqlError), match=message):
        lib.sql("DELETE FROM x")
    lib.sql("CREATE OR REPLACE TABLE x AS SELECT 1 AS a")
    lib.sql("DROP TABLE x")
    assert lib.list_symbols() == []


# -- names -------------------------------------------------------------------------------------------------------------

HOSTILE = ['a "b" c', "'; DROP TABLE x; --", "select", "dots.and.more", "Ü ß 🦆", "x" * 200, "a\nb", "%s {0}"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_in_every_statement(lib, name):
    """As symbols, columns and snapshots."""
    quoted = '"' + name.replace('"', '""') + '"'
    lib.sql(f"CREATE TABLE {quoted} ({quoted} INTEGER, b INTEGER)")
    lib.sql(f"INSERT INTO {quoted} ({quoted}) VALUES (1), (2), (3)")
    lib.sql(f"UPDATE {quoted} SET {quoted} = {quoted}.{quoted} + 1, b = 0 WHERE {quoted} > 1")
    lib.sql(f"CREATE SNAPSHOT {quoted}")
    lib.sql(f"DELETE FROM {quoted} WHERE {quoted}.{quoted} = 1")
    lib.sql(
        f"MERGE INTO {quoted} USING (SELECT 9 AS k) s ON {quoted}.{quoted} = s.k "
        f"WHEN NOT MATCHED THEN INSERT ({quoted}) VALUES (s.k)"
    )
    assert lib.sql(f"SELECT {quoted} FROM {quoted} ORDER BY 1").fetchall() == [(3,), (4,), (9,)]
    assert lib.sql(f"SELECT count(*) FROM {quoted}.{quoted}").fetchall() == [(3,)]
    lib.sql(f"RESTORE TABLE {quoted} TO SNAPSHOT '{name.replace(chr(39), chr(39) * 2)}'")
    assert lib.sql(f"SELECT count(*) FROM {quoted}").fetchall() == [(3,)]
    lib.sql(f"DROP SNAPSHOT {quoted}; DROP TABLE {quoted}")
    assert (lib.list_symbols(), lib.list_snapshots()) == ([], {})


def test_a_store_writes_by_the_name_of_the_library():
    """And says so where it is left out."""
    store = vs.Store(MemoryObjects("two"))
    for name in ("eod", "lab"):
        store.create_library(name)
    store.sql("CREATE TABLE eod.t AS SELECT 1 AS a; CREATE TABLE lab.t AS SELECT a + 1 AS a FROM eod.t")
    store.sql("INSERT INTO lab.t SELECT a FROM eod.t; CREATE SNAPSHOT lab.s; UPDATE lab.t SET a = lab.t.a * 10")
    assert sorted(store["lab"].sql("FROM t").fetchall()) == [(10,), (20,)]
    assert sorted(store["lab"].sql("FROM s.t").fetchall()) == [(1,), (2,)]
    with pytest.raises(SqlError, match="which library is t of"):
        store.sql("CREATE TABLE t AS SELECT 1 AS a")
    with pytest.raises(SqlError, match="which library is s of"):
        store.sql("DROP SNAPSHOT s")
    store.sql("BEGIN; INSERT INTO eod.t VALUES (2)")
    with pytest.raises(InvalidInput, match="one library"):
        store.sql("INSERT INTO lab.t VALUES (2)")
    store.sql("ROLLBACK")
    store.session.close()


@pytest.mark.parametrize(
    ("statement", "kind", "place"),
    [
        ("RESTORE TABLE t TO VERSION 9", NoSuchVersion, "TO VERSION"),
        ("SELECT 'é';\nRESTORE TABLE t TO TIMESTAMP '2001-01-01'", NoSuchVersion, "TO TIMESTAMP"),
        ("RESTORE TABLE t TO SNAPSHOT 'snpa'", NoSuchSnapshot, "TO SNAPSHOT"),
        ("RESTORE TABLE u TO SNAPSHOT 'snap'", NoSuchVersion, "TO SNAPSHOT"),
        ("RESTORE TABLE tt TO VERSION 0", NoSuchSymbol, "tt"),
        ('DROP SNAPSHOT "snpa"', NoSuchSnapshot, '"snpa"'),
        ("CREATE SNAPSHOT 'snap'", AlreadyExists, "'snap'"),
    ],
)
def test_a_wrong_name_or_version_is_shown_in_its_place(lib, statement, kind, place):
    lib.sql("CREATE TABLE t AS SELECT 1 AS a; CREATE SNAPSHOT snap; CREATE TABLE u AS SELECT 1 AS a")
    with pytest.raises(kind) as caught:
        lib.sql(statement)
    assert type(caught.value) is kind
    assert str(caught.value).endswith(caret(statement, statement.index(place)))
    assert "as_of" not in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "kind", "message"),
    [
        ("CREATE TABLE t AS SELECT 2 AS b", AlreadyExists, "CREATE OR REPLACE"),
        ("CREATE TABLE u (a INTEGER PRIMARY KEY)", SqlError, "no constraints"),
        ("CREATE TABLE u (a INTEGER NOT NULL)", SqlError, "no constraints"),
        ("CREATE TABLE u (a INTEGER, CHECK (a > 0))", SqlError, "no constraints"),
        ("INSERT INTO t AT VERSION 0 VALUES (1)", SqlError, "past version .* leave out AT"),
        ("DELETE FROM snap.t", SqlError, "snapshot never changes"),
        ("DELETE FROM vstore.versions", SqlError, "nothing can be written into it"),
        ("UPDATE eod.vstore.symbols SET message = 'x'", SqlError, "nothing can be written into it"),
        ("DROP TABLE vstore.snapshots", SqlError, "nothing can be written into it"),
        ("CREATE SNAPSHOT snap", AlreadyExists, "snapshots are never edited"),
        ("CREATE SNAPSHOT", SqlError, "needs a name"),
        ("CREATE SNAPSHOT a b", SqlError, "too much"),
        ("DROP SNAPSHOT none", DuckVStoreError, "no snapshot 'none'"),
        ("RESTORE TABLE t TO VERSION 9", DuckVStoreError, "9"),
        ("RESTORE TABLE none TO VERSION 0", NoSuchSymbol, "none"),
        ("RESTORE t TO VERSION 0", SqlError, "write RESTORE TABLE trades TO VERSION 3"),
        ("RESTORE TABLE t", SqlError, "RESTORE TABLE trades TO VERSION 3"),
        ("RESTORE TABLE t TO VERSION x", SqlError, "whole number"),
        ("INSERT INTO none VALUES (1)", SqlError, "none"),
        ("DROP TABLE none", SqlError, "none"),
        ("COMMIT", SqlError, "no transaction"),
        ("ALTER TABLE t ADD COLUMN b INTEGER DEFAULT 1", SqlError, "keeps no constraints, defaults"),
        ("INSERT INTO t VALUES (1, 2)", SqlError, 'table "?t"? has 1 columns'),
        ("CREATE TABLE u AS SELECT 1::VARIANT AS i", SqlError, "'i' has the type VARIANT"),
        ("CREATE TABLE u (a INTEGER, i STRUCT(b VARIANT))", SqlError, "'i' has the type STRUCT"),
        ("CREATE TABLE u AS SELECT CAST(a || 'x' AS INTEGER) AS n FROM t", SqlError, "1x"),
        *(
            (
                f"MERGE INTO t USING (SELECT 1 AS a) s USING (a) WHEN MATCHED THEN DELETE RETURNING {asked}",
                SqlError,
                "whole rows",
            )
            for asked in ("t", "hash(t)", "[*COLUMNS('.*')]", "[*COLUMNS(*)]")
        ),
    ],
)
def test_refusals_say_what_to_do_and_make_nothing(lib, statement, kind, message):
    """No name of ours is in any message."""
    lib.sql("CREATE TABLE t AS SELECT 1 AS a; CREATE SNAPSHOT snap")
    with pytest.raises(kind, match=message) as caught:
        lib.sql(statement)
    assert "__vstore" not in str(caught.value)
    assert (len(lib.list_versions()), list(lib.list_snapshots())) == (1, ["snap"])
    assert lib.sql("FROM t").fetchall() == [(1,)], "the session works on"


def test_a_result_that_fails_on_its_way_into_a_symbol_is_the_sql_error(lib):
    """Whether a statement or write() pulls its rows."""
    failing = "SELECT CASE WHEN range = 300_000 THEN error('row 300000') ELSE range END AS n FROM range(400_000)"
    with pytest.raises(SqlError, match="row 300000"):
        lib.sql(f"CREATE TABLE t AS {failing}")
    with pytest.raises(SqlError, match="row 300000"):
        lib.write("t", lib.sql(failing))
    assert lib.list_symbols() == []


def test_a_read_only_session_refuses_every_change(lib):
    """Before anything is read or run."""
    from duckvstore.sql.session import Session

    lib.sql("CREATE TABLE t AS SELECT 1 AS a")
    session = Session({"eod": lib.open_library}, default=lib.open_library, read_only=True)
    for statement in (
        "INSERT INTO t VALUES (2)",
        "DELETE FROM t",
        "UPDATE t SET a = 2",
        "DROP TABLE t",
        "CREATE TABLE u AS SELECT 1 AS a",
        "MERGE INTO t USING t s USING (a) WHEN MATCHED THEN DELETE",
        "TRUNCATE t",
        "CREATE SNAPSHOT s",
        "DROP SNAPSHOT s",
        "RESTORE TABLE t TO VERSION 0",
    ):
        with pytest.raises(SqlError, match="read-only"):
            session.sql(statement)
    assert session.sql("CREATE TEMP TABLE mine AS FROM t; INSERT INTO mine VALUES (5); FROM mine").fetchall() == [
        (1,),
        (5,),
    ]
    assert len(lib.list_versions()) == 1
    session.close()


# -- transactions ------------------------------------------------------------------------------------------------------


def test_the_footer_tells_of_a_transaction_that_is_open(lib):
    """Until COMMIT or ROLLBACK, so that one is not forgotten; also after an error in it."""
    lib.sql("CREATE TABLE t AS SELECT 1 AS a")

    def is_open(statement):
        return lib.sql(statement).figures.footer().endswith(" · transaction open")

    for end in ("COMMIT", "ROLLBACK"):
        assert [is_open("BEGIN"), is_open("INSERT INTO t VALUES (2)"), is_open("FROM t")] == [True] * 3
        with pytest.raises(SqlError):
            lib.sql("INSERT INTO t AT VERSION 0 VALUES (3)")
        assert is_open("SELECT count(*) FROM t")
        assert [is_open(end), is_open("FROM t"), is_open("INSERT INTO t VALUES (2)")] == [False] * 3
    assert not is_open("BEGIN; INSERT INTO t VALUES (3); COMMIT")


def test_a_transaction_is_seen_inside_at_once_and_outside_after_commit(lib):
    """Several edits of a symbol are one version; tables of the session take part."""
    lib.sql("CREATE TABLE a AS SELECT 1 AS n; CREATE TABLE b AS SELECT 2 AS n; CREATE TEMP TABLE log (x INTEGER)")
    lib.sql("BEGIN TRANSACTION; UPDATE a SET n = n - 1; INSERT INTO b SELECT n FROM a; INSERT INTO b VALUES (7)")
    lib.sql("INSERT INTO log VALUES (1); CREATE TABLE c AS FROM b")
    assert lib.session.in_transaction
    assert lib.sql("SELECT (SELECT sum(n) FROM a), (SELECT sum(n) FROM b), (SELECT count(*) FROM c)").fetchall() == [
        (0, 9, 3)
    ]
    assert (lib.read("a").data.column("n").to_pylist(), lib.list_symbols()) == ([1], ["a", "b"])
    made = lib.sql("COMMIT").figures.made
    assert sorted((one.symbol, one.version) for one in made) == [("a", 1), ("b", 1), ("c", 0)]
    assert not lib.session.in_transaction
    assert lib.sql("SELECT (SELECT sum(n) FROM a), (SELECT sum(n) FROM b), (FROM log)").fetchall() == [(0, 9, 1)]


def test_every_statement_of_a_transaction_reads_what_those_before_it_made(lib, plain):
    """The same texts over again too, and what is committed is what was seen; after a ROLLBACK nothing of it is."""
    count = "SELECT count(*), sum(a) FROM t WHERE a < 1000"
    own_sum = "UPDATE t SET a = (SELECT sum(a) FROM t) WHERE id = "
    program = [
        "CREATE TABLE t(id INTEGER, a INTEGER)",
        "INSERT INTO t SELECT r, r * 10 FROM range(1, 6) AS x(r)",
        count,
    ]
    program += ["BEGIN", "UPDATE t SET a = 7 WHERE id = 1", count, f"{own_sum}2", count, f"{own_sum}3", count]
    program += ["DELETE FROM t WHERE a = (SELECT max(a) FROM t)", count, "INSERT INTO t FROM t", count]
    program += ["COMMIT", count, "BEGIN", "INSERT INTO t VALUES (8, 8)", count, "INSERT INTO t VALUES (9, 9)", count]
    program += ["ROLLBACK", count, "BEGIN", "INSERT INTO t VALUES (18, 18)", count, "ROLLBACK", count, "DELETE FROM t"]
    for statement in program:
        found, expected = lib.sql(statement), plain.sql(statement)
        if statement == count:
            assert found.fetchall() == expected.fetchall()
    assert [found.version for found in lib.list_versions("t")] == [3, 2, 1, 0]


def test_begin_in_all_its_words(lib):
    """A transaction that only DuckDB knew of would never end."""
    lib.sql("CREATE TABLE a AS SELECT 1 AS n")
    for words in ("BEGIN", "BEGIN WORK", "START TRANSACTION", "BEGIN TRANSACTION READ WRITE", "BEGIN READ WRITE"):
        lib.sql(f"{words}; INSERT INTO a VALUES (2)")
        assert lib.session.in_transaction
        lib.sql("ROLLBACK")


def test_a_rollback_leaves_nothing(lib):
    """Neither in the library nor in the session; an error inside does not commit half."""
    lib.sql("CREATE TABLE a AS SELECT 1 AS n; CREATE TEMP TABLE log (x INTEGER)")
    lib.sql("BEGIN; DELETE FROM a; INSERT INTO log VALUES (1); DROP TABLE a; CREATE TABLE a AS SELECT 'x' AS s")
    assert lib.sql("FROM a").fetchall() == [("x",)]
    with pytest.raises(SqlError, match="no part of a transaction"):
        lib.sql("CREATE SNAPSHOT s")
    lib.sql("ROLLBACK")
    assert (lib.sql("FROM a").fetchall(), lib.sql("FROM log").fetchall()) == ([(1,)], [])
    lib.sql("BEGIN; INSERT INTO a VALUES (2)")
    with pytest.raises(SqlError):
        lib.sql("SELECT error('stop')").fetchall()
    with pytest.raises(DuckVStoreError):
        lib.sql("INSERT INTO a VALUES (3)")
        lib.sql("COMMIT")
    if lib.session.in_transaction:
        lib.sql("ROLLBACK")
    assert lib.sql("FROM a").fetchall() == [(1,)]
    assert len(lib.list_versions()) == 1


def test_a_transaction_that_lost_its_race_is_a_conflict_and_leaves_nothing(lib):
    """The writer who was first wins; the session can go on at once."""
    lib.sql("CREATE TABLE a AS SELECT 1 AS n; CREATE TABLE b AS SELECT 1 AS n")
    lib.sql("BEGIN; UPDATE a SET n = 10; UPDATE b SET n = 10")
    lib.append("b", pa.table({"n": pa.array([5], pa.int32())}))
    with pytest.raises(Conflict, match="eod/b"):
        lib.sql("COMMIT")
    assert not lib.session.in_transaction
    assert lib.sql("SELECT (FROM a), (SELECT sum(n) FROM b)").fetchall() == [(1, 6)]


def test_a_conflict_at_a_statement_ends_the_transaction_as_one_at_commit_does(lib):
    """What it says is so: nothing of it is committed, and the same text can be run again."""
    lib.sql("CREATE TABLE a AS SELECT 1 AS n; CREATE TABLE b AS SELECT 1 AS n")
    lib.sql("BEGIN; CREATE TABLE c AS FROM a")
    for symbol in ("a", "b"):
        lib.append(symbol, pa.table({"n": pa.array([5], pa.int32())}))
    with pytest.raises(Conflict, match="nothing is committed: repeat the transaction"):
        lib.sql("FROM b")
    assert not lib.session.in_transaction
    assert lib.list_symbols() == ["a", "b"]
    with pytest.raises(vs.SqlError, match="there is no transaction"):
        lib.sql("COMMIT")
    lib.sql("BEGIN; CREATE TABLE c AS FROM a; FROM b; COMMIT")
    assert lib.list_symbols() == ["a", "b", "c"]
    lib.sql("BEGIN")
    with pytest.raises(vs.SqlError, match="open already: COMMIT or ROLLBACK it first"):
        lib.sql("BEGIN TRANSACTION")
    lib.sql("ROLLBACK")


def test_a_transaction_belongs_to_its_thread(lib):
    """Another thread of the session sees nothing of it and may have its own."""
    lib.sql("CREATE TABLE a AS SELECT 1 AS n")
    lib.sql("BEGIN; UPDATE a SET n = 2")
    seen = []

    def other():
        seen.append(lib.sql("FROM a").fetchall())
        lib.sql("BEGIN; INSERT INTO a VALUES (3); ROLLBACK")

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    lib.sql("COMMIT")
    assert (seen, lib.sql("FROM a").fetchall()) == ([[(1,)]], [(2,)])


def test_statements_of_many_threads_lose_no_update(lib):
    """Each is evaluated again on the version of whoever was first."""
    lib.sql("CREATE TABLE counter AS SELECT 0 AS n")
    failures = []

    def work():
        try:
            for _ in range(6):
                lib.sql("UPDATE counter SET n = n + 1")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert lib.sql("FROM counter").fetchall() == [(24,)]
    assert len(lib.list_versions("counter")) == 25


def test_a_table_that_replaces_itself_loses_nothing_that_came_between(lib):
    """CREATE OR REPLACE TABLE t AS … FROM t is evaluated on the version that it follows."""
    lib.sql("CREATE TABLE t AS SELECT 0 AS n")
    other = vs.Store(lib.open_library.objects)["eod"]
    stale = lib.sql("FROM t")
    other.sql("INSERT INTO t VALUES (1)")
    lib.sql("CREATE OR REPLACE TABLE t AS SELECT n + 10 AS n FROM t")
    assert sorted(lib.sql("FROM t").fetchall()) == [(10,), (11,)]
    other.sql("INSERT INTO t SELECT count(*) FROM t")
    lib.sql("UPDATE t SET n = n + (SELECT count(*) FROM t)")
    assert sorted(lib.sql("FROM t").fetchall()) == [(5,), (13,), (14,)]
    assert stale.fetchall() == [(0,)]
    other.session.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM t WHERE rowid < 3000 AND n > 15_000",
        "DELETE FROM t WHERE rowid NOT IN (SELECT min(rowid) FROM t GROUP BY n)",
        "DELETE FROM t AS x WHERE x.RowID = 1",
        "UPDATE t SET n = rowid",
        "MERGE INTO t USING (SELECT 1 AS k) s ON t.rowid = s.k WHEN MATCHED THEN DELETE",
    ],
)
def test_rows_have_no_number_of_their_own(lib, statement):
    """DuckDB's would be that of a row among those that were loaded: rows that nobody meant."""
    lib.sql("CREATE TABLE t AS SELECT range AS n FROM range(20_000); CREATE TEMP TABLE own AS SELECT 5 AS n")
    with pytest.raises(SqlError, match="no rowid"):
        lib.sql(statement)
    lib.sql("DELETE FROM t USING own WHERE own.rowid = 0 AND t.n = own.n")
    lib.sql("DELETE FROM t WHERE n IN (SELECT n + 1 FROM own WHERE rowid = 0)")
    lib.sql("CREATE OR REPLACE TABLE t AS SELECT n AS rowid FROM t; DELETE FROM t WHERE rowid = 7")
    assert lib.sql("SELECT count(*) FROM t").fetchall() == [(19_997,)]


STREAM_SCHEMA = pa.schema([("n", pa.int64()), ("s", pa.string())])


def stream(texts, before=lambda: None):
    """Return a reader of rows (n, s), which can be read once; ``before`` is called when somebody begins to."""

    def batches():
        before()
        for n, text in enumerate(texts):
            if text == "stop":
                raise RuntimeError("the source broke off")
            yield pa.record_batch([pa.array([n]), pa.array([text])], schema=STREAM_SCHEMA)

    return pa.RecordBatchReader.from_batches(STREAM_SCHEMA, batches())


@pytest.mark.parametrize(("texts", "message"), [(["1", "x"], "Could not convert"), (["1", "stop"], "broke off")])
@pytest.mark.parametrize("statement", ["INSERT INTO t SELECT n, s::BIGINT FROM rows", "CREATE TABLE u AS {}"])
def test_a_stream_that_fails_is_an_error_and_not_a_short_one(lib, statement, texts, message):
    """A statement is evaluated again on a fresh head, and what is left of a stream then is not all of it."""
    lib.sql("CREATE TABLE t (n BIGINT, s BIGINT)")
    rows = stream(texts)  # noqa: F841 - named in the SQL
    with pytest.raises(SqlError, match=message):
        lib.sql(statement.format("SELECT n, s::BIGINT AS s FROM rows"))
    assert (lib.list_symbols(), lib.sql("FROM t").fetchall()) == (["t"], [])


@pytest.mark.parametrize(
    ("statement", "count"),
    [
        ("INSERT INTO t SELECT n, s FROM rows", 5),
        ("MERGE INTO t USING (SELECT n + 100 AS n, s FROM rows) r USING (n) WHEN NOT MATCHED THEN INSERT", 5),
        ("CREATE OR REPLACE TABLE t AS FROM t UNION ALL FROM rows", 5),
        ("CREATE OR REPLACE TABLE t AS FROM rows", 3),
        ("CREATE OR REPLACE TABLE t AS FROM v UNION ALL FROM rows", 5),
    ],
)
def test_all_rows_of_a_stream_arrive_when_another_writer_was_first(lib, statement, count):
    """Also where a view reads what is replaced: the other one's row stays where the statement would keep it."""
    lib.sql("CREATE TABLE t AS SELECT 7::BIGINT AS n, 's' AS s; CREATE VIEW v AS FROM t")
    other = vs.Store(lib.open_library.objects)["eod"]
    rows = stream(["a", "b", "c"], lambda: other.sql("INSERT INTO t VALUES (8, 'other')"))  # noqa: F841 - in the SQL
    lib.sql(statement)
    assert lib.sql("SELECT count(*) FROM t").fetchall() == [(count,)]
    other.session.close()


def test_what_fails_in_a_transaction_is_told_as_it_was(lib):
    """Not that DuckDB's transaction is aborted by it."""
    lib.sql("BEGIN")
    with pytest.raises(SqlError, match="Could not convert"):
        lib.sql("CREATE TABLE u AS SELECT 'x'::INTEGER AS n")
    lib.sql("ROLLBACK")
    assert lib.list_symbols() == []


@pytest.mark.parametrize(
    ("statement", "wanted"),
    [
        ("UPDATE t SET a = a + 1", {"list": 1, "read": 1, "put": 2, "create": 1}),
        ("INSERT INTO t VALUES (1)", {"list": 1, "put": 2, "create": 1}),
        ("INSERT INTO t SELECT * FROM u", {"list": 2, "read": 1, "put": 2, "create": 1}),
        ("CREATE TABLE v AS SELECT 1 AS a", {"list": 1, "put": 2, "create": 1}),
        ("DROP TABLE t", {"list": 1, "put": 1, "create": 1}),
    ],
)
def test_what_a_statement_asks_of_the_object_store(statement, wanted):
    """The names in one cut, each segment that changes once, and the three requests of a commit."""
    counting = CountingObjects(MemoryObjects("requests"))
    lib = vs.Store(counting).create_library("eod")
    lib.sql("CREATE TABLE t AS FROM range(5) r(a); CREATE TABLE u AS FROM range(5) r(a)")
    counting.reset()
    lib.sql(statement)
    assert {name: count for name, count in counting.counts.items() if not name.startswith("bytes_")} == wanted
    lib.session.close()


def test_parameters_stand_in_values(lib):
    """By name and by position, also before the condition that prunes."""
    lib.sql("CREATE TABLE t AS SELECT range AS n, 'x' AS s FROM range(5)")
    lib.sql("INSERT INTO t VALUES (?, ?)", [9, "nine"])
    lib.sql("UPDATE t SET s = ? WHERE n = ?", ["two", 2])
    lib.sql("DELETE FROM t WHERE n > $least AND s = $s", {"least": 2, "s": "x"})
    lib.sql("CREATE TABLE u AS SELECT * FROM t AT VERSION $v WHERE n < $n", {"v": 0, "n": 2})
    lib.sql("RESTORE TABLE u TO VERSION $v", {"v": 0})
    assert lib.sql("FROM t ORDER BY n").fetchall() == [(0, "x"), (1, "x"), (2, "two"), (9, "nine")]
    assert lib.sql("FROM u").fetchall() == [(0, "x"), (1, "x")]


@pytest.mark.parametrize(
    "source",
    [
        "(SELECT n FROM s USING SAMPLE 5 ROWS)",
        "(SELECT n FROM s TABLESAMPLE reservoir(5 ROWS))",
        "(SELECT DISTINCT (random() * 19999)::BIGINT AS n FROM range(5))",
        "by_chance()",
        "own_chance",
        "symbols_chance",
    ],
)
def test_rows_by_chance_are_matched_as_they_are_drawn(monkeypatch, source):
    """Whatever draws them, a sample or random(), in the statement, in a view or in a macro: nothing is there twice."""
    monkeypatch.setattr(row_change, "ASKED_BYTES_MIN", 0)
    lib = vs.Store(MemoryObjects("chance")).create_library("eod", segment_bytes=64 * 1024)
    lib.sql("CREATE TABLE t AS SELECT range AS n, 0 AS k, range::VARCHAR AS text FROM range(20_000)")
    lib.sql("CREATE TABLE s AS SELECT n FROM t")
    drawn = "SELECT DISTINCT (random() * 19999)::BIGINT AS n FROM range(5)"
    lib.sql(f"CREATE MACRO by_chance() AS TABLE ({drawn}); CREATE VIEW own_chance AS {drawn}")
    lib.sql("CREATE VIEW symbols_chance AS (SELECT n FROM s USING SAMPLE 5 ROWS)")
    for _ in range(2):
        lib.sql(
            f"MERGE INTO t USING {source} AS r ON t.n = r.n "
            "WHEN MATCHED THEN UPDATE SET k = k + 1 WHEN NOT MATCHED THEN INSERT (n, k) VALUES (r.n, 1)"
        )
    assert lib.sql("SELECT count(*), count(DISTINCT n) FROM t").fetchall() == [(20_000, 20_000)]
    lib.session.close()


@pytest.mark.parametrize("is_asked", [False, True])
@pytest.mark.parametrize(
    ("statement", "given"),
    [
        ("UPDATE t SET s = ? WHERE n % 1000 = ? RETURNING n", ["new", 7]),
        ("UPDATE t SET s = $s WHERE n % 1000 = $rest RETURNING n", {"s": "new", "rest": 7}),
        ("UPDATE t SET s = $2 WHERE n % 1000 = $1 RETURNING n", [7, "new"]),
        (
            (
                "MERGE INTO t USING (SELECT range * 1000 + ? AS n, ? AS s FROM range(5)) r USING (n) "
                "WHEN MATCHED AND t.s <> ? THEN UPDATE WHEN NOT MATCHED THEN INSERT RETURNING n"
            ),
            [7, "new", "y"],
        ),
        (
            (
                "MERGE INTO t USING (SELECT range * 1000 + 7 AS n, 'new' AS s FROM range(5)) r USING (n) "
                "WHEN MATCHED AND t.s <> $other THEN UPDATE WHEN NOT MATCHED THEN INSERT RETURNING n"
            ),
            {"other": "y"},
        ),
        ("MERGE INTO t USING v USING (n) WHEN MATCHED THEN UPDATE WHEN NOT MATCHED THEN INSERT RETURNING n", None),
        ("MERGE INTO t USING m('new') v ON t.n = v.n WHEN MATCHED THEN UPDATE SET * RETURNING n", None),
    ],
)
def test_parameters_and_views_in_transactions_too(lib, monkeypatch, statement, given, is_asked):
    """What is asked about a statement beforehand takes of its parameters those that it has, and its views."""
    if is_asked:
        monkeypatch.setattr(row_change, "ASKED_BYTES_MIN", 0)
    lib.sql("CREATE TABLE t AS SELECT range AS n, 'x' AS s FROM range(5000)")
    lib.sql("CREATE TABLE o AS SELECT range * 1000 + 7 AS n FROM range(5)")
    lib.sql("CREATE VIEW v AS SELECT n, 'new' AS s FROM o")
    lib.sql("CREATE MACRO m(word) AS TABLE (SELECT n, word AS s FROM o)")
    lib.sql("BEGIN")
    assert sorted(lib.sql(statement, given).fetchall()) == [(7,), (1007,), (2007,), (3007,), (4007,)]
    lib.sql("COMMIT")
    assert lib.sql("SELECT count(*), count(*) FILTER (s = 'new') FROM t").fetchall() == [(5000, 5)]


def test_parameters_of_a_later_statement_are_its_own():
    """Among them those that tell which segments may have its rows."""
    lib = vs.Store(MemoryObjects("later")).create_library("eod", segment_bytes=64 * 1024)
    lib.sql("CREATE TABLE t AS SELECT range AS n, 'x' AS s FROM range(20_000)")
    assert lib.get_description("t").segment_count > 2
    lib.sql("UPDATE t SET s = ? WHERE n = ?; DELETE FROM t WHERE n = ?; DELETE FROM t WHERE n < ?", ["y", 1, 19_000, 1])
    assert lib.sql("SELECT count(*), count(*) FILTER (s = 'y') FROM t").fetchall() == [(19_998, 1)]
    lib.session.close()


# -- at random ---------------------------------------------------------------------------------------------------------


def random_statement(random):
    """Return a statement that changes t, whose columns are id, k, v, s."""
    number = lambda: int(random.integers(-3, 12))  # noqa: E731 - a name for a draw
    value = lambda: str(random.choice(["NULL", "0", "-1", "2.5", "'nan'::DOUBLE", "v + 1", "v * 2", "id"]))  # noqa: E731
    text = lambda: str(random.choice(["NULL", "''", "'a'", "'zz'", "s || 'x'", "upper(s)"]))  # noqa: E731
    where = str(
        random.choice(
            [
                f"id = {number()}",
                f"id BETWEEN {number()} AND {number()}",
                f"v > {number()} OR s IS NULL",
                f"k IN ({number()}, {number()}) AND NOT v < {number()}",
                "s LIKE 'a%'",
                f"id % 3 = {abs(number()) % 3}",
                "v = (SELECT max(v) FROM t)",
                f"EXISTS (SELECT 1 FROM o WHERE o.k = t.k AND o.w > {number()})",
                "false",
                "true",
            ],
        )
    )
    upsert = (
        "MERGE INTO t USING (SELECT DISTINCT ON (k) k, w FROM o ORDER BY ALL) o ON t.id = o.k AND t.k > {} "
        "WHEN MATCHED THEN UPDATE SET v = o.w WHEN NOT MATCHED THEN INSERT (id, k) VALUES (o.k, o.w)"
    )
    cleaned = (
        "MERGE INTO t USING (SELECT DISTINCT k FROM o) o ON t.id = o.k WHEN MATCHED AND t.v > {} THEN DELETE "
        "WHEN NOT MATCHED BY SOURCE AND t.k = {} THEN UPDATE SET s = 'gone'"
    )
    rows = ", ".join(
        f"({number()}, {number()}, {number()}.5, 'n{number()}')" for _ in range(int(random.integers(1, 5)))
    )
    return str(
        random.choice(
            [
                f"INSERT INTO t VALUES {rows}",
                f"INSERT INTO t (k, id) SELECT k, w FROM o WHERE w < {number()}",
                f"INSERT INTO t SELECT id + 1, k, v, s FROM t WHERE {where} ORDER BY ALL LIMIT 20",
                f"UPDATE t SET v = {value()} WHERE {where}",
                f"UPDATE t SET s = {text()}, k = k + 1 WHERE {where}",
                f"UPDATE t SET v = o.w FROM (SELECT k, max(w) AS w FROM o GROUP BY k) o WHERE o.k = t.k AND {where}",
                f"DELETE FROM t WHERE {where} AND id > {number()}",
                f"DELETE FROM t USING o WHERE o.k = t.k AND o.w = {number()} AND t.id < {number()}",
                upsert.format(number()),
                cleaned.format(number(), number()),
                f"CREATE OR REPLACE TABLE t AS SELECT * FROM t WHERE {where} OR id < 8",
            ],
        )
    )


@pytest.mark.parametrize("seed", range(sized(8, full=40)))
def test_random_statements_do_what_they_do_to_a_table(seed, plain, monkeypatch):
    """Histories of statements over several small segments; after each, and at the end at every version, equal rows.

    In half of them DuckDB is asked first which segments have rows that match, as it is for large symbols.
    """
    if seed % 2:
        monkeypatch.setattr(row_change, "ASKED_BYTES_MIN", 0)
    random = np.random.default_rng(seed)
    lib = vs.Store(MemoryObjects(f"random-{seed}")).create_library("eod", segment_bytes=64 * 1024)
    base = "SELECT range % 40 AS id, range % 7 AS k, (range % 11)::DOUBLE AS v, 'a' || range % 5 AS s FROM range(3000)"
    for run in (lib.sql, plain.sql):
        run(f"CREATE TABLE t AS {base}")
        run("CREATE TABLE o AS SELECT range % 9 AS k, range AS w FROM range(20)")
    kept = {lib.get_description("t").version: contents(plain.sql)}
    for _ in range(25):
        statement = random_statement(random)
        ours, theirs = outcome(lib.sql, statement), outcome(plain.sql, statement)
        assert ours == theirs, f"seed {seed}: {statement}"
        kept[lib.get_description("t").version] = theirs[1]
    for number in list(kept)[:: max(1, len(kept) // 5)]:
        assert contents(lib.sql, f"t AT VERSION {number}") == kept[number], f"seed {seed}: version {number}"
    lib.session.close()
