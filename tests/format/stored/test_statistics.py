"""Bounds are never wrong: whatever a segment holds lies within them, as DuckDB compares."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duckvstore.format.stored import schema as schemas
from duckvstore.format.stored import statistics
from duckvstore.format.stored.documents import Version
from duckvstore.format.stored.segments import ColumnStatistics, Segment
from tests.format.codecs.values_cases import sampled

CONNECTION = duckdb.connect()
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
COLUMNS = {
    pa.int8(): st.integers(-128, 127),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.large_string(): TEXT,
    pa.string(): st.one_of(TEXT, TEXT.map(lambda text: "é" * 40 + text)),
    pa.dictionary(pa.int32(), pa.large_string()): TEXT,
    pa.date32(): st.integers(-700_000, 2_900_000),
    pa.timestamp("us"): st.integers(-(10**16), 10**16),
    pa.timestamp("ns"): st.integers(-(10**18), 10**18),
    pa.timestamp("ms", "Asia/Tokyo"): st.integers(-(10**13), 10**13),
    pa.time64("us"): st.integers(0, 86_399_999_999),
    pa.decimal128(12, 3): st.decimals(-(10**8), 10**8, places=3),
    pa.decimal64(12, 3): st.decimals(-(10**8), 10**8, places=3),
}


def version_of(tables: list[pa.Table]) -> Version:
    """A version whose segments are these tables; statistics as JSON gives them back."""
    schema = schemas.from_arrow(tables[0].schema)
    segments = []
    for table in tables:
        found = statistics.compute(table, schema)
        plain = json.loads(json.dumps({key: _tuple(item) for key, item in found.items()}, allow_nan=False))
        back = {int(key): ColumnStatistics(*items) for key, items in plain.items()}
        assert back == found
        segments.append(Segment("segments/s/0-0.parquet", table.num_rows, 1, "0", 1, back))
    created_at = datetime(2026, 1, 1, tzinfo=UTC)
    return Version("l", "s", 0, "w", created_at, "write", "arrow", schema=schema, segments=tuple(segments))


def _tuple(item: ColumnStatistics) -> list:
    return [item.minimum, item.maximum, item.null_count, item.has_nan]


@given(st.data(), st.sampled_from(sorted(COLUMNS, key=str)))
@sampled(150)
def test_every_value_lies_within_the_bounds(data, kind):
    """DuckDB finds no value below the minimum or above the maximum; nulls and NaN are counted."""
    items = [data.draw(st.lists(st.one_of(st.none(), COLUMNS[kind]), max_size=5)) for _ in range(2)]
    tables = [pa.table({"x": pa.array(rows, kind)}) for rows in items]
    version = version_of(tables)
    bounds = statistics.typed_table(version, [1])
    assert bounds.column("segment").to_pylist() == [0, 1]
    assert bounds.column("rows").to_pylist() == [len(rows) for rows in items]
    for position, table in enumerate(tables):
        found = version.segments[position].statistics[1]
        assert found.null_count == table.column("x").null_count
        has_nan = any(isinstance(item, float) and math.isnan(item) for item in items[position])
        assert found.has_nan in (has_nan, None)
        bound, rows = bounds.slice(position, 1), table
        con = CONNECTION.cursor()
        con.register("bound", bound)
        con.register("rows", rows.cast(_scannable(rows.schema)))
        wrong = con.sql(
            "SELECT count(*) FROM rows, bound WHERE x IS NOT NULL AND (x < min_1 OR x > max_1) "
            "AND NOT coalesce(isnan(try_cast(x AS DOUBLE)), false)"
        ).fetchall()[0]
        assert wrong == (0,)
        con.close()


def _scannable(schema: pa.Schema) -> pa.Schema:
    kind = schema.field(0).type
    return pa.schema([("x", pa.decimal128(12, 3) if pa.types.is_decimal(kind) else kind)])


def bounds_of(array: pa.Array) -> ColumnStatistics:
    """The statistics of one column."""
    table = pa.table({"x": array})
    return statistics.compute(table, schemas.from_arrow(table.schema))[1]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([3, None, -1]), ColumnStatistics(-1, 3, 1, has_nan=False)),
        (pa.array([1.5, float("nan"), None]), ColumnStatistics(1.5, 1.5, 1, has_nan=True)),
        (pa.array([float("nan")]), ColumnStatistics(None, None, 0, has_nan=True)),
        (pa.array([float("inf"), 0.0]), ColumnStatistics(0.0, "inf", 0, has_nan=False)),
        (pa.array([1.5, 2.5], pa.float16()), ColumnStatistics(1.5, 2.5, 0, has_nan=False)),
        (pa.array([None, None], pa.int8()), ColumnStatistics(None, None, 2, has_nan=False)),
        (pa.array([], pa.int8()), ColumnStatistics(None, None, 0, has_nan=False)),
        (pa.array([True, None]), ColumnStatistics(True, True, 1, has_nan=False)),
        (pa.array(["b", "a"]), ColumnStatistics("a", "b", 0, has_nan=False)),
        (pa.array([5], pa.timestamp("ns", "UTC")), ColumnStatistics(5, 5, 0, has_nan=False)),
        (pa.array([5], pa.duration("s")), ColumnStatistics(5, 5, 0, has_nan=False)),
        (pa.array([5], pa.date32()), ColumnStatistics(5, 5, 0, has_nan=False)),
        (pa.array([Decimal("1.50"), Decimal("-2.25")]), ColumnStatistics("-2.25", "1.50", 0, has_nan=False)),
        (pa.array([Decimal(1)], pa.decimal256(50, 0)), ColumnStatistics(None, None, 0)),
        (pa.array([b"a"]), ColumnStatistics(None, None, 0)),
        (pa.array([[1]]), ColumnStatistics(None, None, 0)),
        (pa.array([None]), ColumnStatistics(None, None, 1, has_nan=False)),
        (pa.array([1]).dictionary_encode(), ColumnStatistics()),
    ],
    ids=str,
)
def test_statistics_of_each_type(array, expected):
    """What is not known is None."""
    assert bounds_of(array) == expected


def test_a_dictionary_counts_only_what_the_rows_use():
    """A slice has the bounds of its own rows."""
    whole = pa.array(["a", "m", "z", None]).dictionary_encode()
    assert bounds_of(whole.slice(1, 1)) == ColumnStatistics("m", "m", 0, has_nan=False)
    assert bounds_of(whole.slice(3)) == ColumnStatistics(None, None, 1, has_nan=False)
    with_null = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None]))
    assert bounds_of(with_null).null_count == 1


def test_long_text_is_cut_below_and_left_out_above():
    """A prefix is never greater than the text; a cut upper bound would be."""
    found = bounds_of(pa.array(["a" * 100, "b" * 100]))
    assert found == ColumnStatistics("a" * 64, None, 0, has_nan=False)
    found = bounds_of(pa.array(["é" * 33]))  # 66 bytes: a character is not cut in two
    assert found.minimum == "é" * 32


def test_wide_tables_have_statistics_for_the_index_and_the_first_columns():
    """So that a document stays small."""
    table = pa.table({f"c{n}": [n] for n in range(50)})
    schema = schemas.from_arrow(table.schema, index=["c0", "c1"])
    assert sorted(statistics.compute(table, schema)) == list(range(1, 35))


def test_missing_statistics_are_null_in_the_typed_table():
    """Also for types without bounds, so that nothing is pruned by them."""
    version = version_of([pa.table({"x": pa.array([[1]]), "y": pa.array([1])})])
    found = statistics.typed_table(version, [1, 2]).to_pylist()[0]
    assert (found["min_1"], found["max_1"], found["nulls_1"], found["nan_1"]) == (None, None, 0, None)
    assert (found["min_2"], found["max_2"], found["nulls_2"], found["nan_2"]) == (1, 1, 0, False)
    bare = Version(**{**_fields(version), "segments": (Segment("k", 5, 1, "0", 1),)})
    assert statistics.typed_table(bare, [2]).to_pylist() == [
        {"segment": 0, "rows": 5, "min_2": None, "max_2": None, "nulls_2": None, "nan_2": None}
    ]


def _fields(version: Version) -> dict:
    return {name: getattr(version, name) for name in Version.__slots__}


def test_numpy_floats_with_nulls_below_are_not_trusted():
    """The memory under a null may hold any number."""
    values = np.array([5.0, -1e300, 7.0])
    array = pa.array(values, mask=np.array([False, True, False]))
    assert bounds_of(array) == ColumnStatistics(5.0, 7.0, 1, has_nan=False)
