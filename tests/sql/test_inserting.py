"""INSERT into columns without any value: they take the types of what comes, and what SQL declared keeps its own."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.objects.memory import MemoryObjects
from duckvstore.sql import inserting

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
    source = inserting.source(text, '"t"')
    assert (source and (source.before, source.query, source.columns, source.is_by_name)) == found
