"""INSERT, UPDATE and MERGE into columns without any value: they take the types of what comes.

What SQL declared keeps its own.
"""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.objects.memory import MemoryObjects
from duckvstore.sql.writing import insert
from tests.cuts import cut_every

OPEN = {
    "pandas, None": pd.DataFrame({"a": [1], "c": [None]}),
    "pandas, NaN": pd.DataFrame({"a": [1], "c": [np.nan]}),
    "pandas, NaT": pd.DataFrame({"a": [1], "c": [pd.NaT]}),
    "pandas, no rows": pd.DataFrame({"a": [1], "c": [np.nan]})[:0],
    "arrow": pa.table({"a": [1], "c": pa.nulls(1)}),
    "polars": pl.DataFrame({"a": [1], "c": [None]}),
}
STATEMENTS = [
    ("INSERT INTO s (a, c) VALUES (2, 'x')", {}, (2, "x"), "VARCHAR"),
    ('INSERT INTO s ("c") VALUES ([1, 2])', {}, (None, [1, 2]), "INTEGER[]"),
    ("INSERT INTO s BY NAME SELECT {'k': 1} AS C, 5 AS a", {}, (5, {"k": 1}), "STRUCT(k INTEGER)"),
    ("WITH q AS (SELECT 5, $day::DATE) INSERT INTO s FROM q", {"day": date(2024, 5, 5)}, (5, date(2024, 5, 5)), None),
    ("INSERT INTO s AS t (SELECT 3, true WHERE 1 IN (1, 2)) RETURNING c", {}, (3, True), None),
]


def library(value):
    """Return a library with this value."""
    made = vs.Store(MemoryObjects("inserting")).create_library("l")
    made.write("s", value)
    return made


def types(made):
    """Return the SQL types of the columns."""
    return dict(made.sql("SELECT column_name, column_type FROM (DESCRIBE s)").fetchall())


@pytest.mark.parametrize("name", OPEN)
def test_a_column_without_values_takes_the_type_of_what_comes(name):
    """In all forms of the statement; read() and verify() agree, and the next rows are of that type."""
    for statement, parameters, row, kind in STATEMENTS:
        made = library(OPEN[name])
        made.sql(statement, parameters)
        before = [(1, None)] if "no rows" not in name else []
        is_time = "NaT" in name and isinstance(row[1], date)  # which a column of times holds already
        cell = datetime(2024, 5, 5) if is_time else row[1]
        assert made.sql("SELECT a, c FROM s").fetchall() == [*before, (row[0], cell)]
        assert kind is None or types(made)["c"] == kind
        assert made.read("s", output_format="pyarrow").data["c"].to_pylist()[-1] == cell
        assert made.sql("SELECT count(*) FROM s WHERE c IS NULL").fetchone() == (len(before),)
        made.sql("INSERT INTO s SELECT 7, c FROM s WHERE c IS NOT NULL")
        assert made.sql("SELECT c FROM s WHERE a = 7").fetchall() == [(cell,)]
        assert made.verify().ok


SOURCE = "(SELECT 1 AS a, 'x' AS v UNION ALL SELECT 2, 'y')"
ASSIGNING = [
    ("UPDATE s SET c = 'x' RETURNING c", {}, [(1, "x")], "VARCHAR"),
    ('UPDATE s AS t SET "C" = [1, 2]', {}, [(1, [1, 2])], "INTEGER[]"),
    ("UPDATE s SET c = CASE WHEN a = 2 THEN 'y' ELSE coalesce(c, 'x') END", {}, [(1, "x")], "VARCHAR"),
    ("UPDATE s SET a = a + 1, c = {'k': 1, 'l': 'x'} WHERE a = 1", {}, [(2, {"k": 1, "l": "x"})], None),
    ("UPDATE s SET c = ?, a = ? WHERE a = ?", [date(2024, 5, 5), 9, 1], [(9, date(2024, 5, 5))], None),
    (f"WITH q AS {SOURCE} UPDATE s SET c = q.v FROM q WHERE q.a = s.a -- done", {}, [(1, "x")], "VARCHAR"),
    ("UPDATE s SET c = a IS DISTINCT FROM 2", {}, [(1, True)], "BOOLEAN"),
    ("EXPLAIN ANALYZE UPDATE s SET c = 'x'", {}, [(1, "x")], "VARCHAR"),
    (
        (
            f"MERGE INTO s USING {SOURCE} AS n USING (a) WHEN MATCHED AND n.v = 'x' THEN UPDATE SET c = n.v || $end "
            "WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (a, c) VALUES (n.a, upper(n.v)) RETURNING c"
        ),
        {"end": "!"},
        [(1, "x!"), (2, "Y")],
        "VARCHAR",
    ),
    (
        f"MERGE INTO s AS t USING {SOURCE} AS n(a, c) USING (a) WHEN MATCHED THEN UPDATE WHEN NOT MATCHED THEN INSERT",
        {},
        [(1, "x"), (2, "y")],
        "VARCHAR",
    ),
    (
        (
            "MERGE INTO s USING (SELECT 2 AS a, true AS c) USING (a) WHEN NOT MATCHED THEN INSERT BY NAME "
            "WHEN NOT MATCHED BY SOURCE THEN UPDATE SET c = s.a = 1"
        ),
        {},
        [(1, True), (2, True)],
        "BOOLEAN",
    ),
    (
        (
            "MERGE INTO s USING (SELECT 2 AS a) AS n USING (a) WHEN MATCHED THEN UPDATE BY NAME "
            "WHEN NOT MATCHED BY SOURCE THEN UPDATE SET c = DATE '2024-05-05'"
        ),
        {},
        [(1, date(2024, 5, 5))],
        None,
    ),
    (f"MERGE INTO s USING {SOURCE} AS n USING (a) WHEN NOT MATCHED THEN INSERT VALUES (n.a, n.v)", {}, None, "VARCHAR"),
]


@pytest.mark.parametrize("name", [name for name in OPEN if name not in ("pandas, NaT", "pandas, no rows")])
@pytest.mark.parametrize("at", range(len(ASSIGNING)))
def test_what_is_assigned_gives_its_type_too(name, at):
    """In each form of UPDATE and MERGE, and each action; read() and verify() agree, and the next values are of it."""
    statement, parameters, wanted, kind = ASSIGNING[at]
    made = library(OPEN[name])
    made.sql(statement, parameters)
    wanted = wanted or [(1, None), (2, "y")]
    assert made.sql("SELECT a, c FROM s ORDER BY a").fetchall() == wanted
    is_number = kind == "BOOLEAN" and name == "pandas, NaN"  # DuckDB makes one of it
    assert kind is None or types(made)["c"] == ("DOUBLE" if is_number else kind)
    read = made.read("s", output_format="pyarrow").data["c"].to_pylist()
    assert all(cell in read for _, cell in wanted)
    made.sql("UPDATE s SET c = (SELECT any_value(c) FROM s)")
    assert made.sql("SELECT DISTINCT c FROM s").fetchall()[0] in [(cell,) for _, cell in wanted]
    assert made.verify().ok


@pytest.mark.parametrize("made_of", [pd.DataFrame, pl.DataFrame, pa.table])
def test_an_update_of_some_segments_gives_all_the_type(made_of, monkeypatch):
    """The others stay as they are, and are read as columns without a value."""
    cut_every(monkeypatch, 2)
    made = library(made_of({"a": [1, 2, 3, 4, 5, 6], "c": [None] * 6, "d": [None] * 6}))
    before = [segment.key for segment in made.open_library.version("s", 0).segments]
    made.sql("UPDATE s SET c = 'x', d = NULL WHERE a = 3")
    after = [segment.key for segment in made.open_library.version("s", 1).segments]
    assert (len(before), len(set(before) & set(after))) == (3, 2)
    assert made.sql("SELECT a FROM s WHERE c IS NULL ORDER BY a").fetchall() == [(1,), (2,), (4,), (5,), (6,)]
    made.sql("UPDATE s SET d = DATE '2024-05-05' WHERE c = 'x'; UPDATE s SET c = c || 'y' WHERE d IS NOT NULL")
    assert made.sql("SELECT a, c, d FROM s WHERE c IS NOT NULL").fetchall() == [(3, "xy", date(2024, 5, 5))]
    assert made.sql("SELECT a, c, d FROM s AT VERSION 0 WHERE c IS NOT NULL").fetchall() == []
    made.append("s", made.read("s").data)
    assert made.sql("SELECT count(c), count(*) FROM s").fetchone() == (2, 12)
    assert made.verify().ok


def test_an_assignment_of_no_value_decides_nothing():
    """Nor does one that no row gets; a column of numbers keeps its type where all that comes can be one."""
    for value in (OPEN["pandas, None"], OPEN["arrow"], OPEN["polars"]):
        made = library(value)
        kept = types(made)["c"]
        for statement in ("UPDATE s SET c = NULL", "UPDATE s SET c = 'x' WHERE a = 2"):
            made.sql(statement)
            assert types(made)["c"] == kept, statement
        made.sql(f"MERGE INTO s USING {SOURCE} AS n USING (a) WHEN MATCHED AND n.v = 'z' THEN UPDATE SET c = n.v")
        assert made.sql("FROM s").fetchall() == [(1, None)]
    made = library(OPEN["pandas, NaN"])
    made.sql("UPDATE s SET c = '1.5'")
    assert made.sql("FROM s").fetchall() == [(1, 1.5)]
    made.sql("CREATE TABLE t (a INTEGER, c DATE); INSERT INTO t VALUES (1, NULL)")
    with pytest.raises(vs.SqlError, match="'x'"):
        made.sql("UPDATE t SET c = 'x'")


def test_what_duckdb_can_cast_is_cast():
    """A column of times or numbers keeps its type where all that comes can be one."""
    made = library(pd.DataFrame({"t": [pd.NaT], "n": [np.nan]}))
    made.sql("INSERT INTO s VALUES ('2024-05-05', '1.5')")
    assert made.sql("FROM s").fetchall() == [(None, None), (datetime(2024, 5, 5), 1.5)]
    made = library(pd.DataFrame({"t": [pd.NaT], "n": [np.nan]}))
    made.sql("INSERT INTO s VALUES ('2024-05-05', '1.5'), ('x', 'y')")
    assert made.sql("FROM s").fetchall() == [(None, None), ("2024-05-05", "1.5"), ("x", "y")]


def test_what_sql_declared_keeps_its_type():
    """Also without any row; and so does a column of Arrow, whose types are declared as well."""
    made = vs.Store(MemoryObjects("declared")).create_library("l")
    made.sql("CREATE TABLE s (a BIGINT, c DOUBLE)")
    for value in (None, pa.table({"a": [1], "c": pa.nulls(1, pa.float64())})):
        if value is not None:
            made.write("s", value)
        with pytest.raises(vs.SqlError, match="Could not convert string 'x' to DOUBLE"):
            made.sql("INSERT INTO s VALUES (2, 'x')")
        made.sql("INSERT INTO s VALUES (2, '1.5')")
        assert types(made)["c"] == "DOUBLE"


def test_nothing_but_null_decides_nothing():
    """The column stays open for what comes."""
    for value in (pd.DataFrame({"a": [1], "c": [None]}), pa.table({"a": [1], "c": pa.nulls(1)})):
        made = library(value)
        made.sql("INSERT INTO s VALUES (2, NULL)")
        made.sql("INSERT INTO s (a) VALUES (3)")
        made.sql("INSERT INTO s VALUES (4, 'x'), (5, NULL)")
        assert made.sql("FROM s").fetchall() == [(1, None), (2, None), (3, None), (4, "x"), (5, None)]


@pytest.mark.parametrize("kind", ["UUID", "TIMETZ", "BIT", "UHUGEINT"])
def test_a_type_that_would_be_another_is_not_taken(kind):
    """Of what Arrow has no form for the text would be stored: the statement has to say so."""
    cell = {"UUID": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "TIMETZ": "12:00:00+02"}.get(kind, "101")
    made = library(OPEN["arrow"])
    with pytest.raises(vs.SqlError):
        made.sql(f"INSERT INTO s VALUES (2, '{cell}'::{kind})")
    made.sql(f"INSERT INTO s VALUES (2, '{cell}'::{kind}::VARCHAR)")
    assert made.sql("FROM s").fetchall() == [(1, None), (2, cell)]
    made = library(OPEN["arrow"])
    made.sql("INSERT INTO s SELECT 2, sum(n) FROM range(3) r(n)")
    assert made.sql("FROM s").fetchall() == [(1, None), (2, 3)]


def test_inside_a_transaction_too():
    """One statement after the other; a value that fits neither is DuckDB's error, and nothing changes."""
    made = library(pd.DataFrame({"a": [1], "c": [np.nan], "d": [None]}))
    made.sql("BEGIN; INSERT INTO s VALUES (2, DATE '2024-05-05', 'x'); INSERT INTO s (c) VALUES ('2024-05-06'); COMMIT")
    wanted = [(1, None, None), (2, date(2024, 5, 5), "x"), (None, date(2024, 5, 6), None)]
    assert made.sql("FROM s").fetchall() == wanted
    with pytest.raises(vs.SqlError, match="date field value out of range|invalid date field"):
        made.sql("INSERT INTO s (c) VALUES ('y')")
    assert made.sql("FROM s").fetchall() == wanted


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('INSERT INTO "t" VALUES (1)', ("", "VALUES (1)", None, False)),
        ('INSERT INTO "t" (a, "B c") (SELECT 1)', ("", "(SELECT 1)", ("a", "B c"), False)),
        ('INSERT INTO "t" AS x BY NAME FROM y RETURNING z', ("", "FROM y ", None, True)),
        ('INSERT INTO "t" BY POSITION SELECT 1;', ("", "SELECT 1", None, False)),
        ('WITH q AS (SELECT 1) INSERT INTO "t" TABLE q', ("WITH q AS (SELECT 1) ", "TABLE q", None, False)),
        ('INSERT INTO "t" DEFAULT VALUES', None),
        ('INSERT INTO "t" VALUES (DEFAULT)', None),
        ('UPDATE "t" SET a = 1', None),
    ],
)
def test_where_the_query_stands(text, found):
    """And which columns it fills."""
    source = insert.source(text, '"t"')
    assert (source and (source.before, source.query, source.columns, source.is_by_name)) == found
