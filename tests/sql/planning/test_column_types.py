"""SQL over versions whose segments were written with other columns and types: the same names, types and rows."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from decimal import Decimal

import duckdb
import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given, settings

import duckvstore as vs
from duckvstore.objects.local import LocalObjects
from duckvstore.objects.memory import MemoryObjects
from duckvstore.sql.values.types import duckdb_type
from tests.sizes import sized

FIRST = pa.table(
    {
        "id": pa.array([1, 2, None, 4], pa.int32()),
        "price": pa.array([10, None, 30, -7], pa.int32()),
        "qty": pa.array([1, 2, 250, None], pa.uint8()),
        "ratio": pa.array([1.5, float("nan"), None, -2.0], pa.float32()),
        "moment": pa.array([datetime(2024, 1, day) for day in (1, 2, 3)] + [None], pa.timestamp("s")),
        "zoned": pa.array([datetime(2024, 1, 1, 12), None, None, datetime(1969, 1, 1)], pa.timestamp("ms", "UTC")),
        "fee": pa.array([Decimal("1.25"), None, Decimal("-3.50"), Decimal(0)], pa.decimal128(9, 2)),
        "note": pa.nulls(4),
        "sym": pa.array(["b", None, "a", "b"]).dictionary_encode(),
        "clock": pa.array([time(9, 30), None, time(17), time(0)], pa.time32("s")),
        "wait": pa.array([1, None, 3_600_000_000, -5], pa.duration("us")),
        "tags": pa.array([["x"], None, [], ["y", None]], pa.list_(pa.string())),
        "gone": pa.array([True, None, False, True]),
        "void": pa.nulls(4, pa.float64()),
        "big": pa.array([2**53, None, -(2**53), 1]),
        "legs": pa.array([[], None, [], []]),
        "box": pa.array([{"w": 1}, None, {"w": None}, {"w": 4}], pa.struct([("w", pa.int32())])),
        "path": pa.array([[{"x": 1}], None, [], [None, {"x": 2}]]),
    }
)
SECOND = pa.table(
    {
        "extra": pa.array([0.5, None, float("nan")]),
        "id": pa.array([2**40, None, -1], pa.int64()),
        "price": pa.array([10.5, None, 1e300]),
        "qty": pa.array([-1, 70_000, None], pa.int64()),
        "ratio": pa.array([0.1, None, float("inf")]),
        "moment": pa.array([1, 1_704_153_600_000_000_001, None], pa.timestamp("ns")),
        "zoned": pa.array([datetime(2024, 1, 1, 12, 0, 0, 1), None, None], pa.timestamp("us", "UTC")),
        "fee": pa.array([Decimal("1.2501"), None, Decimal("99999999999999.0001")], pa.decimal128(30, 4)),
        "note": pa.array(["seen", None, ""]),
        "sym": pa.array(["c", "a", None]),
        "clock": pa.array([time(9, 30, 0, 1), None, time(23)], pa.time64("us")),
        "wait": pa.array([7, None, -1], pa.duration("us")),
        "tags": pa.array([["z"], None, ["x"]], pa.list_(pa.string())),
        "made": pa.array([timedelta(seconds=1), None, None], pa.duration("ms")),
        "shape": pa.array(
            [{"w": 1, "h": timedelta(0)}, None, None], pa.struct([("w", pa.int8()), ("h", pa.duration("s"))])
        ),
        "size": pa.array([[1.0, 2.0], None, None], pa.list_(pa.float32(), 2)),
        "fine": pa.array([time(1), None, time(2)], pa.time64("ns")),
        "void": pa.array([datetime(2024, 1, 1), None, None], pa.timestamp("us")),
        "big": pa.array([0.5, None, 2.0**60]),
        "legs": pa.array([[1, None], None, [3]]),
        "box": pa.array([{"h": [2.5], "w": 1.5}, None, {"h": None, "w": -1.0}]),
        "path": pa.array([[{"y": "n", "x": 1.5}], None, [{"y": None, "x": None}]]),
    }
)


@pytest.fixture(scope="module", params=["memory", "folder"])
def library(request, tmp_path_factory):
    """Return a library with FIRST at version 0, SECOND behind it at version 1, and FIRST once more at version 2."""
    if request.param == "memory":
        store = vs.Store(MemoryObjects("evolution"))
    else:
        store = vs.Store(LocalObjects(str(tmp_path_factory.mktemp("store"))))
    made = store.create_library("l")
    made.write("t", FIRST)
    made.append("t", SECOND)
    made.append("t", FIRST)
    return made


def whole(library, version=-1):
    """Return the rows that read() gives, as DuckDB takes them from Arrow."""
    return library.read("t", as_of=version).data


def answers(connection, sql):
    """Return rows as text, which tells NaN, null and every digit apart."""
    return [tuple(map(repr, row)) for row in connection.sql(sql).fetchall()]


def test_all_columns_come_with_the_types_and_rows_of_the_version(library):
    """SELECT * has the version's names and types in its order, and the values that read() has, nulls included."""
    table = whole(library)
    described = {row[0]: row[1] for row in library.sql("DESCRIBE SELECT * FROM t").fetchall()}
    assert list(described) == table.column_names
    assert described == {field.name: duckdb_type(field.type).replace('"', "") for field in table.schema}
    text = ", ".join(f'"{name}"::VARCHAR' for name in table.column_names)
    with duckdb.connect() as connection:
        connection.register("expected", table)
        expected = connection.sql(f"SELECT {text} FROM expected").fetchall()
    assert library.sql(f"SELECT {text} FROM t").fetchall() == expected


def test_time_travel_sees_each_version_in_its_own_schema(library):
    """The version before has its own columns and types, in the same query too."""
    assert library.sql("SELECT * FROM t AT VERSION 0").arrow().num_columns == FIRST.num_columns
    assert library.sql("SELECT typeof(id) FROM t AT VERSION 0 LIMIT 1").fetchone() == ("INTEGER",)
    assert library.sql("SELECT typeof(id), typeof(extra) FROM t AT VERSION 1 LIMIT 1").fetchone() == (
        "BIGINT",
        "DOUBLE",
    )
    joined = "SELECT count(*) FROM t AT VERSION 0 a JOIN t AT VERSION 2 b USING (id)"
    assert library.sql(joined).fetchone() == (6,)


_COLUMNS = {
    "id": ["1", "2147483648", "1099511627776", "-1", "0", "4.0"],
    "price": ["10", "10.5", "-7", "1e300", "'NaN'::DOUBLE", "2147483648"],
    "qty": ["250", "-1", "256", "70000"],
    "ratio": ["0.1", "1.5", "'NaN'", "'inf'::DOUBLE", "'NaN'::FLOAT"],
    "moment": ["TIMESTAMP '2024-01-02'", "'2024-01-02 00:00:00.000000001'", "DATE '1970-01-01'"],
    "zoned": ["TIMESTAMPTZ '2024-01-01 12:00:00+00'", "TIMESTAMPTZ '1969-06-01 00:00:00+00'"],
    "fee": ["1.25", "1.2501", "0", "99999999999999.0001", "-4"],
    "note": ["'seen'", "''", "'zzz'"],
    "sym": ["'a'", "'b'", "'c'", "'zz'"],
    "clock": ["TIME '09:30:00'", "TIME '23:00:00'"],
    "gone": ["true", "false"],
    "extra": ["0.5", "0", "'NaN'::DOUBLE", "1e9"],
    "fine": ["'01:00:00'", "'03:00:00'"],
    "void": ["TIMESTAMP '2024-01-01'", "DATE '2025-01-01'"],
    "big": ["9007199254740992", "9007199254740991.5", "0.5", "1e18", "-1"],
    "legs[1]": ["1", "3", "0.5"],
    "box.w": ["1", "1.5", "1.25", "-1"],
    "box.h[1]": ["2.5", "0"],
    "path[1].x": ["1", "1.5", "1.25"],
    "path[1].y": ["'n'", "'z'"],
}
_CONJUNCT = st.sampled_from(sorted(_COLUMNS)).flatmap(
    lambda column: st.one_of(
        st.tuples(st.sampled_from(["=", "<", "<=", ">", ">=", "<>"]), st.sampled_from(_COLUMNS[column])).map(
            lambda pair: f"{column} {pair[0]} {pair[1]}"
        ),
        st.sampled_from([f"{column} IS NULL", f"{column} IS NOT NULL"]),
        st.tuples(st.sampled_from(_COLUMNS[column]), st.sampled_from(_COLUMNS[column])).map(
            lambda pair: f"{column} IN ({pair[0]}, {pair[1]})"
        ),
        st.tuples(st.sampled_from(_COLUMNS[column]), st.sampled_from(_COLUMNS[column])).map(
            lambda pair: f"{column} BETWEEN {pair[0]} AND {pair[1]}"
        ),
    )
)


@settings(max_examples=sized(100, full=600), deadline=None)
@given(conjuncts=st.lists(_CONJUNCT, min_size=1, max_size=2), version=st.sampled_from([1, 2]))
def test_filters_and_aggregates_are_those_of_the_rows(library, conjuncts, version):
    """Whatever is pruned, and whatever DuckDB skips within files: results equal those over the rows in memory.

    read(where=…) agrees.
    """
    table = whole(library, version)
    where = " AND ".join(conjuncts)
    shown = "count(*), count(id), min(id), max(price), min(price), max(extra), min(moment), max(fee), min(sym)"
    with duckdb.connect() as connection:
        connection.execute("SET disabled_optimizers = 'filter_pushdown'")  # into Arrow it is not right for NaN
        connection.register("expected", table)
        wanted = answers(connection, f"SELECT {shown} FROM expected WHERE {where}")
        rows = answers(connection, f"SELECT id, price, extra, sym FROM expected WHERE {where}")
    found = library.sql(f"SELECT {shown} FROM t AT VERSION {version} WHERE {where}").fetchall()
    assert [tuple(map(repr, row)) for row in found] == wanted
    found = library.sql(f"SELECT id, price, extra, sym FROM t AT VERSION {version} WHERE {where}").fetchall()
    assert [tuple(map(repr, row)) for row in found] == rows
    kept = library.read("t", as_of=version, where=where).data
    assert kept.num_rows == len(rows)
    names = ["id", "price", "extra", "sym"]
    assert [tuple(map(repr, row.values())) for row in kept.select(names).to_pylist()] == rows


_BETWEEN = {  # narrow values, a wide one beside them, and constants that the narrow type rounds
    "whole": ([10, 11, -7], pa.int32(), 0.5, pa.float64(), ["10.5::DOUBLE", "10.4999::DOUBLE", "-7.0001::DOUBLE"]),
    "single": ([0.1, 1.5, -2.0], pa.float32(), 0.25, pa.float64(), ["0.1::DOUBLE", "1.5000000001::DOUBLE"]),
    "decimal": (
        [Decimal("1.25"), Decimal("1.26"), Decimal("-3.50")],
        pa.decimal128(9, 2),
        Decimal("0.0001"),
        pa.decimal128(18, 4),
        ["1.2501", "1.2499", "1.255", "-3.5001"],
    ),
}


@pytest.mark.parametrize("name", sorted(_BETWEEN))
def test_constants_are_not_rounded_to_the_types_of_old_files(tmp_path, name):
    """Filters and joins see the values in the version's type, in sql() and in the attach file.

    DuckDB 1.5 rounds a constant to the type of each file: `price < 10.5` would lose the 10 of a file of whole numbers.
    """
    narrow, kind, wide, wide_kind, constants = _BETWEEN[name]
    made = vs.Store(LocalObjects(str(tmp_path))).create_library("l")
    made.write("t", pa.table({"c": pa.array(narrow, kind)}))
    made.append("t", pa.table({"c": pa.array([wide, None], wide_kind)}))
    uri = made.publish()
    operators = ("<", "<=", ">", ">=", "=", "<>")
    queries = [f"SELECT count(*) FROM {{}} WHERE c {operator} {text}" for operator in operators for text in constants]
    queries += [f"SELECT count(*) FROM {{}} WHERE c BETWEEN {text} AND 5" for text in constants]
    queries += [f"SELECT count(*) FROM {{}} JOIN (SELECT {text} AS k) ON c = k" for text in constants]
    with duckdb.connect() as connection:
        connection.execute("SET disabled_optimizers = 'filter_pushdown'")
        connection.register("expected", made.read("t").data)
        wanted = [connection.sql(query.format("expected")).fetchall() for query in queries]
    found = [made.sql(query.format("t")).fetchall() for query in queries]
    assert dict(zip(queries, found, strict=True)) == dict(zip(queries, wanted, strict=True))
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{uri}' AS l (READ_ONLY)")
        assert [connection.sql(query.format("l.t")).fetchall() for query in queries] == wanted


@pytest.mark.parametrize(
    ("where", "read"),
    [
        ("extra > 0", 1),
        ("extra IS NULL", 3),
        ("extra IS NOT NULL", 1),
        ("gone IS NULL", 3),
        ("void IS NOT NULL", 1),
        ("big > 9007199254740992", 1),
        ("big < -1.5", 2),
        ("big IS NULL", 3),
        ("gone = true", 2),
        ("price > 1000", 1),
        ("id > 2147483648", 1),
        ("note = 'seen'", 1),
        ("fee < -3", 2),
        ("moment < TIMESTAMP '1971-01-01'", 2),  # the first has its bounds in another unit
    ],
)
def test_segments_are_pruned_through_the_merged_schema(library, where, read):
    """Of three segments as many are read as may hold such rows."""
    result = library.sql(f"SELECT count(*) FROM t WHERE {where}")
    result.fetchall()
    assert (result.figures.segments_read, result.figures.segments_total) == (read, 3)


def test_a_query_that_only_old_segments_are_left_for_has_the_new_columns(library):
    """A column that is in no file that is scanned is null, and still has its type."""
    sql = "SELECT typeof(extra), extra, typeof(made), made, typeof(size) FROM t WHERE gone AND id = 1"
    assert set(library.sql(sql).fetchall()) == {("DOUBLE", None, "INTERVAL", None, "FLOAT[2]")}


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("box.h", [None, None, None, None, [2.5], None, None, None, None, None, None]),
        ("box.w", [1.0, None, None, 4.0, 1.5, None, -1.0, 1.0, None, None, 4.0]),
        ("path[1].y", [None, None, None, None, "n", None, None, None, None, None, None]),
        ("shape.w", [None, None, None, None, 1, None, None, None, None, None, None]),
    ],
)
def test_fields_that_files_lack_are_null(library, asked, wanted):
    """Alone, in filters, and where only such files are left: DuckDB 2.0 would end in a fatal error for these."""
    assert [row[0] for row in library.sql(f"SELECT {asked} FROM t").fetchall()] == wanted
    present = [value for value in wanted if value is not None]
    assert [row[0] for row in library.sql(f"SELECT {asked} FROM t WHERE {asked} IS NOT NULL").fetchall()] == present
    assert library.sql(f"SELECT {asked} FROM t WHERE gone AND id = 1").fetchall() == [(wanted[0],)] * 2
    assert library.sql("SELECT 1").fetchall() == [(1,)]


def test_files_are_no_columns(library):
    """What DuckDB adds to the rows of files stays unseen."""
    with pytest.raises(vs.InvalidInput, match="filename"):
        library.sql("SELECT filename FROM t").fetchall()


def test_what_cannot_be_seen_in_sql_is_an_error():
    """A decimal that grew too wide for SQL says so on use, and other columns can be read."""
    made = vs.Store(MemoryObjects("wide")).create_library("l")
    made.write("t", pa.table({"a": pa.array([Decimal(1)], pa.decimal256(40, 0)), "b": [1]}))
    made.append("t", pa.table({"a": pa.array([Decimal(2)], pa.decimal256(50, 2)), "b": [2]}))
    assert made.sql("SELECT b FROM t").fetchall() == [(1,), (2,)]
    with pytest.raises(vs.DuckVStoreError, match="wider than the 38"):
        made.sql("SELECT a FROM t").fetchall()


def test_rows_in_pandas_are_the_same_in_sql():
    """Index levels, categories and nullable columns of dataframes that grew."""
    import pandas as pd

    first = pd.DataFrame(
        {"n": [1, 2], "c": pd.Categorical(["a", "b"])}, index=pd.date_range("2024-01-01", periods=2, name="time")
    )
    second = pd.DataFrame(
        {"c": pd.Categorical(["z", None]), "m": [True, False]},
        index=pd.date_range("2024-02-01", periods=2, name="time"),
    )
    made = vs.Store(MemoryObjects("pandas")).create_library("l")
    made.write("t", first)
    made.append("t", second)
    assert made.sql("SELECT n, c, m FROM t WHERE time >= '2024-01-02' ORDER BY time").fetchall() == [
        (2, "b", None),
        (None, "z", True),
        (None, None, False),
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * EXCLUDE (zoned, shape) FROM {}",
        "SELECT count(extra), max(price), sum(id) FROM {}",
        "SELECT id FROM {} WHERE extra IS NULL AND price < 20",
    ],
)
def test_the_attach_file_answers_the_same(tmp_path, sql):
    """A connection that attaches the published file sees what sql() does: both versions, and the snapshot."""
    made = vs.Store(LocalObjects(str(tmp_path))).create_library("l")
    made.write("t", FIRST)
    made.append("t", SECOND)
    made.snapshot("s")
    uri = made.publish()
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{uri}' AS l (READ_ONLY)")
        wanted = [tuple(map(repr, row)) for row in made.sql(sql.format("t")).fetchall()]
        for name in ("l.t", "l.t(1)", "l.s.t"):
            assert answers(connection, sql.format(name)) == wanted
        assert answers(connection, "SELECT id, gone FROM l.t(0)") == [
            tuple(map(repr, row)) for row in made.sql("SELECT id, gone FROM t AT VERSION 0").fetchall()
        ]
